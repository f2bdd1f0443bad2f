# ruff: noqa: PTH102, PTH103, PTH104, PTH108, PTH116, PTH118, PTH123, PTH208
# in a guest under emulation pathlib alone takes longer to import than a small volume to mount
"""Measure inside a guest how fast one NTFS driver does one thing, and whether it did it right, as one JSON document.

This file is copied into a guest beside probe.py, whose ways of mounting, of keeping the time and of leaving nothing
behind it uses; else standard library only, Python 3.9 and later. What is timed is the driver's work alone: modules are
loaded before, caches are dropped before, and what has come of it is looked at after the clock has been stopped.

    python3 perf_probe.py mount --driver ntfs3 --part /dev/xvdb:0:50331648 --options ro --work '{}'
    python3 perf_probe.py reference --work '{"write-sequential": {"size": 16777216}}'
    python3 perf_probe.py serve --port 7080

``reference`` does what a driver will be asked to write to the guest's own root file system, and says what the files
are then: what is written differs from byte to byte, and only fio knows what it is.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import hashlib
import json
import mmap
import os
import select
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

try:
    from lab.ntfs import probe
except ImportError:  # in a guest
    import probe  # type: ignore[import-not-found, no-redef]  # it lies beside this file

SCHEMA = "lab.ntfs.perf.probe/1"
FOLDER = "lab-perf"
"""On a volume, where everything is written."""
FIO_SEED = 7
BLOCK = 128 << 10
PIECE = 1 << 20
DROP = "echo 3 > /proc/sys/vm/drop_caches"
DROP_FILE = "/proc/sys/vm/drop_caches"
SCRATCH = "/run"
"""Where fio may leave what it likes; it writes notes of its own into the folder that it was started in."""
REFERENCE = "/var/tmp"  # noqa: S108 - inside a guest that has no other users

Work = dict[str, Any]
Found = dict[str, Any]


class MeasureError(Exception):
    """The measure could not be taken: the driver or fio failed at it."""


# --- what is timed --------------------------------------------------------------------------------------------------


def no_more(root: str, work: Work) -> Found:
    """Nothing: that it is mounted is all."""
    del root, work
    return {}


def walk(root: str, work: Work) -> Found:
    """Stat every name. What was seen is summed up in a digest, which is worked out after the clock has stopped."""
    del work
    found: list[tuple[str, os.stat_result]] = []
    begun = time.monotonic()
    pending = [root]
    while pending:
        folder = pending.pop()
        with os.scandir(folder) as names:
            for name in names:
                state = os.lstat(name.path)
                found.append((name.path, state))
                if stat.S_ISDIR(state.st_mode):
                    pending.append(name.path)
    seconds = time.monotonic() - begun
    lines = sorted(line_of(os.path.relpath(path, root), state) for path, state in found if not is_system(path, root))
    return {"seconds": seconds, "amount": len(found), "seen": {"names": len(lines), "digest": digest_of(lines)}}


def is_system(path: str, root: str) -> bool:
    """$MFT and the like, which drivers may or may not list."""
    return os.path.relpath(path, root).startswith("$")


def line_of(path: str, state: os.stat_result) -> str:
    """A name as it goes into the digest: as in lab/ntfs/perf/truth.py, and a test holds the two together."""
    return f"d {path}" if stat.S_ISDIR(state.st_mode) else f"f {path} {state.st_size}"


def digest_of(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_sequential(root: str, work: Work) -> Found:
    """One file from its beginning to its end."""
    name = str(work["file"])
    found = fio(root, "read", filename=name, bs=BLOCK, **sized(work))
    found["seen"] = {"files": {name: file_facts(os.path.join(root, name))}}
    return found


def read_small(root: str, work: Work) -> Found:
    """Many small files, one after the other."""
    folder = os.path.join(root, str(work["folder"]))
    found = fio(folder, "read", **many(work))
    names = ["{}/f.{}".format(work["folder"], number) for number in range(work["count"])]
    found["seen"] = {"files": {name: file_facts(os.path.join(root, name)) for name in names}}
    return found


def write_sequential(root: str, work: Work) -> Found:
    """One new file, and fsync."""
    folder = os.path.join(root, FOLDER)
    os.mkdir(folder)
    found = fio(folder, "write", filename="large.bin", bs=BLOCK, end_fsync=1, **sized(work))
    return synced(root, found)


def write_small(root: str, work: Work) -> Found:
    """Many small new files, one after the other."""
    folder = os.path.join(root, FOLDER)
    os.mkdir(folder)
    return synced(root, fio(folder, "write", create_on_open=1, **many(work)))


def metadata(root: str, work: Work) -> Found:
    """Empty files: all made, all renamed, and of every ten nine taken away again."""
    folder = os.path.join(root, FOLDER)
    os.mkdir(folder)
    count, kept = work["count"], work["kept"]
    before = [os.path.join(folder, f"made {number:05d}") for number in range(count)]
    after = [os.path.join(folder, f"renamed {number:05d}") for number in range(count)]
    gone = [name for number, name in enumerate(after) if number % kept]
    begun = time.monotonic()
    for name in before:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    for old, new in zip(before, after):  # noqa: B905 - Python 3.9 has no strict=
        os.rename(old, new)
    for name in gone:
        os.unlink(name)
    return synced(root, {"seconds": time.monotonic() - begun, "amount": count * 2 + len(gone)})


def synced(root: str, found: Found) -> Found:
    """With the time that it takes until all of it is on the disk; that is part of writing."""
    begun = time.monotonic()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if probe.LIBC.syncfs(fd):
            raise OSError(errno.EIO, "syncfs")
    finally:
        os.close(fd)
    found["sync_seconds"] = time.monotonic() - begun
    found["seconds"] += found["sync_seconds"]
    return found


def written(root: str) -> Found:
    """What is in the folder that was written to."""
    folder = os.path.join(root, FOLDER)
    return {"files": {name: file_facts(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}}


DO: dict[str, Callable[[str, Work], Found]] = {
    "mount": no_more,
    "mount-1t": no_more,
    "walk": walk,
    "read-sequential": read_sequential,
    "read-small": read_small,
    "write-sequential": write_sequential,
    "write-small": write_small,
    "metadata": metadata,
}
WRITING = frozenset({"write-sequential", "write-small", "metadata"})


# --- fio ------------------------------------------------------------------------------------------------------------


def sized(work: Work) -> Work:
    return {"size": work["size"]}


def many(work: Work) -> Work:
    """Files ``f.0``, ``f.1`` and so on, each opened when its turn comes."""
    return {
        "filename_format": "f.$filenum",
        "nrfiles": work["count"],
        "filesize": work["each"],
        "bs": work["each"],
        "openfiles": 1,
        "file_service_type": "sequential",
    }


def fio(folder: str, how: str, **more: object) -> Found:
    """Have fio read or write in a folder; how long it took, and how much it was.

    What it writes is the same each time (``randseed``), and no two blocks of it are. It looks for its files before its
    clock starts, so that caches are dropped once more then.
    """
    words = {"name": "lab", "directory": folder, "rw": how, "ioengine": "psync", "thread": 1, "fallocate": "none"}
    words.update(randseed=FIO_SEED, scramble_buffers=0, refill_buffers=1)
    if how == "read":
        words.update(exec_prerun=DROP, allow_file_create=0)
    words.update(more)
    argv = ["fio", "--eta=never", "--output-format=json", *(f"--{key}={value}" for key, value in words.items())]
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        try:
            done = subprocess.run(argv, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except OSError as broken:
            raise RuntimeError(f"fio: {broken.strerror}") from broken
    said = done.stdout.decode("utf-8", "replace")
    job = job_of(said)
    if done.returncode or job is None or job["error"]:
        raise MeasureError(why_not(done.stderr.decode("utf-8", "replace"), said, done.returncode))
    part = job[how]
    return {"seconds": part["runtime"] / 1000, "amount": part["io_bytes"], "fio": {"bytes": part["io_bytes"]}}


def job_of(said: str) -> dict[str, Any] | None:
    """The one job of fio's document, before which it may have said other things."""
    with contextlib.suppress(ValueError, KeyError, IndexError):
        found: dict[str, Any] = json.loads(said[said.index("{") :])["jobs"][0]
        return found
    return None


def why_not(errors: str, said: str, status: int) -> str:
    """What went wrong, in fio's own words."""
    lines = [line.strip() for line in (*errors.splitlines(), *said.partition("{")[0].splitlines())]
    spoken = [line for line in lines if line.startswith("fio:") or "error" in line.lower()]
    return " | ".join(spoken[:3]) or f"fio ended with status {status}"


def file_facts(path: str) -> list[Any]:
    """Size, and the CRC-32 of each block; or, where it cannot be read, the reason."""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return [size, checksums(file, probe.block_size(size))]
    except OSError as broken:
        return [None, broken.strerror]


def checksums(file: Any, step: int) -> list[int]:  # noqa: ANN401 - a raw file
    found: list[int] = []
    pending = b""
    for chunk in iter(functools.partial(file.read, PIECE), b""):
        pending += chunk
        full = len(pending) - len(pending) % step
        found.extend(zlib.crc32(pending[at : at + step]) for at in range(0, full, step))
        pending = pending[full:]
    return found + ([zlib.crc32(pending)] if pending else [])


# --- mounting -------------------------------------------------------------------------------------------------------


def settle(args: argparse.Namespace, report: probe.Report) -> None:
    """Have the driver's own module loaded. Two drivers here may register one type of file system under one name."""
    report.step("load", args.driver.encode())
    if args.kind == "kernel" and not args.insmod:
        for name in args.modules:
            if "O" in probe.module_facts(name).get("taint", ""):
                said = probe.call("rmmod", name)
                if said:
                    raise RuntimeError(f"rmmod {name}: {said}")
    probe.load(args.modules, report)
    if args.kind == "kernel":
        probe.exchange(args.rmmod, args.insmod, report)
        report.say(fact={"module": probe.module_facts(args.type, probe.built_facts(args.insmod))})
    else:
        report.say(fact={"program": probe.program_facts(args.program)})


def drop(args: argparse.Namespace) -> None:
    """Nothing of the volume is cached any more, nor of anything else."""
    os.sync()
    for path in filter(None, (args.device, args.part and args.part.rsplit(":", 2)[0])):
        probe.forget(path)
    with open(DROP_FILE, "w") as file:
        file.write("3")


def mounted(args: argparse.Namespace, report: probe.Report) -> tuple[Any, float]:
    """Mount, and look at the root; the daemon if there is one, and the seconds that it took.

    Raises:
        probe.Refusal: the driver does not want to.
    """
    report.step("mount", args.at.encode())
    report.say(mounting=True)
    begun = time.monotonic()
    daemon = None
    if args.kind == "fuse":
        daemon = started(args, report)
    else:
        probe.mount_kernel(args)
    os.stat(args.at)
    return daemon, time.monotonic() - begun


def started(args: argparse.Namespace, report: probe.Report) -> subprocess.Popen[bytes]:
    """As :func:`probe.mount_fuse`, but woken by the kernel at the moment when it is mounted (proc(5): poll)."""
    options = ",".join(word for word in [args.options, "no_detach"] if word)
    with open("/proc/self/mountinfo", "rb") as mounts, tempfile.TemporaryFile() as said:
        change = select.poll()
        change.register(mounts, select.POLLERR | select.POLLPRI)
        words = [args.program, args.device, args.at, "-o", options]
        try:
            daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        except OSError as broken:
            text = f"{args.program}: {broken.strerror}"
            raise probe.Refusal(operation="exec", cause="no-driver", errno=broken.errno, text=text) from broken
        report.say(daemon=daemon.pid)
        while probe.mount_in_force(args.at) is None:
            if daemon.poll() is not None:
                said.seek(0)
                text = said.read().decode("utf-8", "replace").strip()[-2000:]
                raise probe.Refusal(
                    operation=args.program, cause="refused", errno=None, status=daemon.returncode, text=text
                )
            change.poll(100)
    return daemon


# --- the child: does it ---------------------------------------------------------------------------------------------


def observe(args: argparse.Namespace, report: probe.Report) -> None:
    """Everything, reported as it goes."""
    settle(args, report)
    os.makedirs(args.at, exist_ok=True)
    if probe.mount_in_force(args.at) is not None:
        raise RuntimeError(f"something is mounted at {args.at} already")
    drop(args)
    try:
        daemon, seconds = mounted(args, report)
    except probe.Refusal as refusal:
        report.say(fact={"mount": dict(refusal.facts, ok=False)})
        return
    in_force = probe.mount_in_force(args.at) or {}
    read_only = probe.is_read_only(in_force)
    report.say(fact={"mount": dict(in_force, ok=True, read_only=read_only, seconds=seconds)})
    writes = args.measure in WRITING
    done = False
    if not (writes and read_only):
        done = measure(args, report)
    report.say(fact={"root": sorted(name for name in os.listdir(args.at) if not name.startswith("$"))})
    probe.unmount(args, daemon, report)
    if writes and done:
        look_again(args, report)


def measure(args: argparse.Namespace, report: probe.Report) -> bool:
    """Take the measure; whether it could be taken."""
    report.step(args.measure, args.at.encode())
    try:
        report.say(fact={"taken": DO[args.measure](args.at, args.work)})
    except OSError as broken:
        where = f"{os.fsdecode(broken.filename)}: " if broken.filename else ""
        report.say(fact={"failed": f"{where}{broken.strerror or broken}"})
    except MeasureError as failed:
        report.say(fact={"failed": str(failed)})
    else:
        return True
    return False


def look_again(args: argparse.Namespace, report: probe.Report) -> None:
    """What was written, read back from the disk by the same driver, which knows nothing any more."""
    drop(args)
    again = argparse.Namespace(**dict(vars(args), options=args.again))
    try:
        daemon, _ = mounted(again, report)
    except probe.Refusal as refusal:
        report.say(fact={"remount": dict(refusal.facts, ok=False)})
        return
    report.say(fact={"remount": {"ok": True}})
    report.step("read back", args.at.encode())
    try:
        report.say(fact={"written": written(args.at)})
    except OSError as broken:
        report.say(fact={"failed": f"what was written cannot be listed: {broken.strerror}"})
    probe.unmount(again, daemon, report)


# --- the parent: keeps the time -------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The document."""
    begun = time.monotonic()
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "measure": args.measure,
        "driver": args.driver,
        "kind": args.kind,
        "options_asked": args.options,
        "kernel": os.uname().release,
        "errors": [],
        "steps": [],
        "entries": [],
    }
    log = probe.open_kernel_log()
    reading, writing = os.pipe()
    steps = mmap.mmap(-1, probe.STEP_BYTES)
    child = os.fork()
    if child == 0:
        live(args, reading, probe.Report(writing, steps))
    os.close(writing)
    started_by = probe.follow(reading, document, begun + args.seconds)
    os.close(reading)
    document["last_step"] = probe.last_step(steps)
    probe.finish(child, started_by, args, document)
    document["kernel_log"] = probe.read_kernel_log(log)
    if log is not None:
        os.close(log)
    document["seconds"] = round(time.monotonic() - begun, 3)
    return document


def live(args: argparse.Namespace, reading: int, report: probe.Report) -> NoReturn:
    """The child's life; never returns."""
    os.close(reading)
    status = 1
    try:
        observe(args, report)
        report.say(end=True)
        status = 0
    except BaseException as broken:  # noqa: BLE001 - whatever it is must reach the document
        report.say(trouble=f"{type(broken).__name__}: {broken}")
    finally:
        os._exit(status)


def reference(works: dict[str, Work]) -> dict[str, Any]:
    """What the files are that each of these measures writes, where nobody doubts the file system."""
    found = {}
    for name, work in works.items():
        root = tempfile.mkdtemp(dir=REFERENCE)
        try:
            DO[name](root, work)
            found[name] = written(root)
        finally:
            shutil.rmtree(root)
    return {"schema": SCHEMA, "reference": found, "fio": version_of_fio(), "ended": "complete"}


def version_of_fio() -> str:
    said = subprocess.run(["fio", "--version"], stdout=subprocess.PIPE, check=False)
    return said.stdout.decode("utf-8", "replace").strip()


def parse(words: list[str]) -> argparse.Namespace:
    """Its own words, and those of :func:`probe.parse`, which say what is mounted and how."""
    parser = argparse.ArgumentParser(description="measure one thing that an NTFS driver does", allow_abbrev=False)
    parser.add_argument("measure", choices=[*DO, "reference"])
    parser.add_argument("--work", type=json.loads, default={}, metavar="JSON", help="how much of it")
    own, rest = parser.parse_known_args(words)
    args = argparse.Namespace() if own.measure == "reference" else probe.parse(["mount", *rest])
    args.measure, args.work = own.measure, own.work
    return args


def perform(args: argparse.Namespace) -> str:
    """The document, as a line."""
    if args.measure == "reference":
        document = reference(args.work)
    elif args.part:
        with probe.loop_device(args.part, args.sector, write=args.measure in WRITING) as args.device:
            document = run(args)
    else:
        document = run(args)
    return json.dumps(document) + "\n"


# --- staying ready --------------------------------------------------------------------------------------------------


def serve(words: list[str]) -> NoReturn:
    """Answer requests until killed, as probe.py does; returns in the foreground when it listens."""
    parser = argparse.ArgumentParser(prog="perf_probe.py serve", description="do what is asked over TCP")
    parser.add_argument("--port", type=int, required=True, help="0: any; it is printed")
    parser.add_argument("--address", default="0.0.0.0")  # noqa: S104 - inside a guest, on the lab's own network
    args = parser.parse_args(words)
    listener = socket.create_server((args.address, args.port))
    if os.fork():
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        os._exit(0)
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    for line in connections(listener):
        if os.fork() == 0:
            listener.close()
            answer(line)
        line.close()
    os._exit(0)


def connections(listener: socket.socket) -> Iterator[socket.socket]:
    """One after the other; who has been answered is reaped."""
    while True:
        line, _ = listener.accept()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        yield line


def answer(line: socket.socket) -> NoReturn:
    """Do one request, a line of JSON with its ``words``, and end."""
    try:
        with tempfile.TemporaryFile("w+") as said:
            os.dup2(said.fileno(), 2)
            with line.makefile("rb") as lines:
                words = json.loads(lines.readline())["words"]
            try:
                document = perform(parse(words)) if words else "{}\n"
            except SystemExit:
                said.seek(0)
                document = json.dumps({"refused": said.read()}) + "\n"
            except Exception as broken:  # noqa: BLE001 - whatever it is must reach who asked
                document = json.dumps({"refused": f"{type(broken).__name__}: {broken}"}) + "\n"
        line.sendall(document.encode("ascii"))
        line.shutdown(socket.SHUT_RDWR)
    finally:
        os._exit(0)


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["serve"]:
        serve(words[1:])
    sys.stdout.write(perform(parse(words)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
