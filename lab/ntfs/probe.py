# ruff: noqa: PTH101, PTH102, PTH103, PTH104, PTH106, PTH108, PTH110, PTH112, PTH115, PTH118, PTH119, PTH123, PTH211
# names on a volume are bytes, which pathlib does not take
"""Mount an NTFS volume inside a guest, read every byte, and say what was seen, as one JSON document; or change it too.

This one file is copied into a guest and run there as root: standard library only, Python 3.9 and later, nothing of
the lab imported (which is why it is longer than the lab's other modules). Kernel drivers are mounted by mount(2)
itself: ``mount -t ntfs`` would run /sbin/mount.ntfs, which is ntfs-3g where that is installed. A child does the work
and streams what it sees; the parent keeps the time and writes the document even when the child is stuck in the driver
or died in it.

    python3 probe.py mount-and-read --driver ntfs3 --device /dev/xvdb --options ro --at /mnt
    python3 probe.py operate --steps @steps.json --driver ntfs3 --device /dev/xvdb --options rw --again ro --at /mnt
    python3 probe.py serve --port 7079

To operate is to mount for writing, do the steps one after the other whatever becomes of each, unmount, drop what is
cached, and mount again with the same driver to read all of it.

As a server it stays, and does each request (a line of JSON: ``words`` as on the command line) in a process of its own,
forked from it: under emulation that saves the second or two that Python takes to start.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import fcntl
import functools
import hashlib
import json
import mmap
import os
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

SCHEMA = "lab.ntfs.probe/1"
EPOCH = 116_444_736_000_000_000  # 1970 in 100 ns steps since 1601
CHUNK = 1 << 20
MOST_HOLES = 4096
MOST_LOG_LINES = 400
LOOP_CONFIGURE, LOOP_CLR_FD, LOOP_CTL_GET_FREE = 0x4C0A, 0x4C01, 0x4C82  # linux/loop.h; the first since 5.8
LOOP_CONFIG = "<II3Q2Q4I64x64x32x16x64x"  # struct loop_config: fd, block size, struct loop_info64, 8 spare words
LOOP_READ_ONLY = 1
MOST_REPEATS = 100  # of names in a directory that are there more than once: more are not told
ENDLESS = 100_000  # repeats, besides a hundred of each name, after which a listing counts as one without an end
MOST_BYTES = 1 << 36  # of a file that is read: at 10 MB/s two hours; hostile volumes have some of 8 EiB
BLKFLSBUF = 0x1261  # linux/fs.h: drop the device's cached pages, which a driver may have written past
FITRIM, FS_IOC_SETFSLABEL = 0xC0185879, 0x41009432  # linux/fs.h: struct fstrim_range; char[256]
NOT_HERE = (errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS)  # what a file system says of an ioctl that it does not know
MNT_DETACH = 2
STEP_BYTES = 65536
PAGE = 4096  # to which direct reads are aligned
FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "sync": 16, "noatime": 1024, "nodiratime": 2048}
LIBC = ctypes.CDLL(None, use_errno=True)


class Refusal(Exception):  # noqa: N818 - a fact to report, not an error of this program
    """The volume was not mounted; ``facts`` go into the document."""

    def __init__(self, **facts: object) -> None:
        super().__init__(facts)
        self.facts = facts


class Endless(Exception):  # noqa: N818 - what a driver does, not an error of this program
    """The listing of a directory has no end; the message says what came."""


class Report:
    """The child's end of the pipe: one JSON object a line.

    What it is about to do, several times a file, goes into memory that it shares with the parent instead: under
    emulation a message costs more than most of what it announces.
    """

    def __init__(self, fd: int, steps: mmap.mmap | None = None) -> None:
        self.fd = fd
        self.steps = steps

    def step(self, operation: str, path: bytes) -> None:
        if self.steps is not None:
            words = operation.encode() + b"\0" + path[: STEP_BYTES // 2]
            self.steps[: 4 + len(words)] = struct.pack("<I", len(words)) + words

    def say(self, **message: object) -> None:
        data = (json.dumps(message) + "\n").encode("ascii")
        while data:
            data = data[os.write(self.fd, data) :]

    def error(self, path: bytes, operation: str, broken: OSError) -> None:
        found = {
            "path": text(path),
            "operation": operation,
            "errno": broken.errno,
            "text": broken.strerror or str(broken),
        }
        self.say(error=found)


def last_step(steps: mmap.mmap) -> list[str]:
    """What was announced last: the operation and what it is done to; empty if nothing was."""
    (size,) = struct.unpack("<I", steps[:4])
    operation, _, path = steps[4 : 4 + min(size, STEP_BYTES - 4)].partition(b"\0")
    return [text(operation), text(path)] if size else []


def text(name: bytes) -> str:
    """A name as text; NTFS may hold half a surrogate pair, which drivers write as three bytes (WTF-8)."""
    for errors in ("strict", "surrogatepass"):
        with contextlib.suppress(UnicodeDecodeError):
            return name.decode("utf-8", errors)
    return name.decode("utf-8", "surrogateescape")


def block_size(size: int) -> int:
    """As in lab/ntfs/manifest.py: a test holds the two together."""
    return max(4096, 1 << max(0, (size + 255) // 256 - 1).bit_length())


# --- what is mounted ------------------------------------------------------------------------------------------------


def unescape(field: bytes) -> bytes:
    """Undo the octal escapes of /proc/self/mountinfo (blank, tab, newline, backslash)."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), field)


def mount_in_force(at: str, mountinfo: str = "/proc/self/mountinfo") -> dict[str, str] | None:
    """Type, options and source of the last mount at ``at``, or None."""
    found = None
    with open(mountinfo, "rb") as lines:
        for line in lines:
            fields = line.split()
            dash = fields.index(b"-", 6)
            if unescape(fields[4]) == os.fsencode(at):
                kind, source, superblock = fields[dash + 1], unescape(fields[dash + 2]), fields[dash + 3 :]
                found = {
                    "type": kind.decode(),
                    "options": fields[5].decode(),
                    "super_options": b" ".join(superblock).decode("utf-8", "replace"),
                    "source": text(source),
                }
    return found


def module_facts(name: str, built: dict[str, str] | None = None) -> dict[str, Any]:
    """Version and source version of a loaded module, where it has them; ``built`` is what it ought to be."""
    facts: dict[str, Any] = {"name": name, "loaded": os.path.isdir("/sys/module/" + name)}
    if built:
        facts["built"] = built
    for key in ("version", "srcversion", "taint"):
        with contextlib.suppress(OSError), open(f"/sys/module/{name}/{key}") as file:
            facts[key] = file.read().strip()
    return facts


def program_facts(program: str) -> dict[str, Any]:
    """Where the program is and what it calls itself."""
    try:
        said = subprocess.run([program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as broken:
        return {"name": program, "error": broken.strerror}
    lines = said.stdout.decode("utf-8", "replace").strip().splitlines()
    return {"name": program, "version": lines[0] if lines else ""}


def load(modules: list[str], report: Report) -> None:
    """Load modules by name. That one cannot be loaded is a fact; the mount will tell whether it matters."""
    # To start a program that finds its work done takes half a second under emulation.
    absent = [name for name in modules if not os.path.isdir("/sys/module/" + name.replace("-", "_"))]
    for name in absent:
        try:
            said = call("modprobe", name)
        except OSError as broken:
            report.error(name.encode(), "modprobe", broken)
            continue
        if said:
            report.say(error={"path": name, "operation": "modprobe", "errno": None, "text": said})


def call(*words: str) -> str:
    """Run a program; empty, or why it failed.

    Raises:
        OSError: there is no such program.
    """
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if not done.returncode:
        return ""
    return done.stdout.decode("utf-8", "replace").strip() or f"status {done.returncode}"


def built_facts(files: list[str]) -> dict[str, str]:
    """What lies beside a module that was compiled for this kernel: of what it was made, and its srcversion."""
    for file in files:
        with contextlib.suppress(FileNotFoundError), open(f"{file}.json") as facts:
            found: dict[str, str] = json.load(facts)
            return found
    return {}


def exchange(others: list[str], files: list[str], report: Report) -> None:
    """Have these files loaded, and nothing else of their names: what is not theirs is unloaded.

    That a file is not there is a refusal: it was not compiled for this kernel. mount(2) must not even be tried then,
    since it would load whatever else registers the type.
    """
    built = built_facts(files)
    if files and not built:
        raise Refusal(operation="insmod", cause="no-driver", errno=None, text=f"{files[0]} is not there")
    for name in others:
        there = module_facts(name)
        if there["loaded"] and there.get("srcversion") != built.get("srcversion"):
            report.step("rmmod", name.encode())
            said = call("rmmod", name)
            if said:
                raise RuntimeError(f"rmmod {name}: {said}")
    for file in files:
        name = os.path.basename(file).partition(".")[0].replace("-", "_")
        if not module_facts(name)["loaded"]:
            report.step("insmod", file.encode())
            said = call("insmod", file)
            if said:
                raise RuntimeError(f"insmod {file}: {said}")


@contextlib.contextmanager
def loop_device(part: str, sector: int, *, write: bool = False) -> Iterator[str]:
    """A loop device for ``part`` (PATH:OFFSET:SIZE, in bytes) whose sectors are as large as asked; read-only unless
    it is to be written. What was written is on the disk behind it at the end.

    If something still holds it at the end, the kernel takes it away when that lets go (loop(4), autoclear aside).
    """
    path, offset, size = part.rsplit(":", 2)
    if not os.path.isdir("/sys/module/loop"):
        subprocess.run(["modprobe", "loop"], check=False)
    access = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
    backing = os.open(path, access)
    try:
        with open("/dev/loop-control", "rb", buffering=0) as control:
            name = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
        device = os.open(name, access)
        try:
            limits = (0, 0, 0, int(offset), int(size), 0, 0, 0, 0 if write else LOOP_READ_ONLY)
            fcntl.ioctl(device, LOOP_CONFIGURE, struct.pack(LOOP_CONFIG, backing, sector, *limits))
            try:
                yield name
            finally:
                if write:
                    with contextlib.suppress(OSError):
                        os.fsync(device)
                        os.fsync(backing)
                with contextlib.suppress(OSError):
                    fcntl.ioctl(device, LOOP_CLR_FD)
        finally:
            os.close(device)
    finally:
        os.close(backing)


# --- mounting -------------------------------------------------------------------------------------------------------


def mount_kernel(args: argparse.Namespace) -> None:
    """mount(2). The cause tells a kernel without the driver (ENODEV) from a driver that does not want the volume."""
    words = [word for word in args.options.split(",") if word and word != "rw"]
    flags = sum(FLAGS.get(word, 0) for word in words)
    rest = ",".join(word for word in words if word not in FLAGS).encode()
    ctypes.set_errno(0)
    if LIBC.mount(args.device.encode(), args.at.encode(), args.type.encode(), ctypes.c_ulong(flags), rest):
        number = ctypes.get_errno()
        cause = {errno.ENODEV: "no-driver", errno.ENOENT: "no-device", errno.ENOTBLK: "no-device"}.get(
            number, "refused"
        )
        if cause == "no-device" and os.path.exists(args.device):
            cause = "refused"
        raise Refusal(operation="mount(2)", cause=cause, errno=number, text=os.strerror(number))


def mount_fuse(args: argparse.Namespace, report: Report) -> subprocess.Popen[bytes]:
    """Start the daemon in the foreground, so that it can be waited for and killed; back when it is mounted."""
    said = tempfile.TemporaryFile()  # noqa: SIM115 - the daemon writes to it until it is unmounted
    options = ",".join(word for word in [args.options, "no_detach"] if word)
    try:
        daemon = subprocess.Popen(
            [args.program, args.device, args.at, "-o", options], stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    except OSError as broken:
        raise Refusal(
            operation="exec", cause="no-driver", errno=broken.errno, text=f"{args.program}: {broken.strerror}"
        ) from broken
    report.say(daemon=daemon.pid)
    while mount_in_force(args.at) is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = daemon.wait(0.02)
            said.seek(0)
            words = said.read().decode("utf-8", "replace").strip()
            cause = "refused" if os.path.exists(args.device) else "no-device"
            raise Refusal(operation=args.program, cause=cause, errno=None, status=status, text=words[-2000:])
    return daemon


def mount(args: argparse.Namespace, report: Report) -> subprocess.Popen[bytes] | None:
    """Mount as asked; the daemon, where there is one."""
    if args.kind == "fuse":
        return mount_fuse(args, report)
    exchange(args.rmmod, args.insmod, report)
    # Now, too: of a driver that crashes or hangs nothing is heard later.
    report.say(fact={"module": module_facts(args.type, built_facts(args.insmod))})
    mount_kernel(args)
    return None


def unmount(args: argparse.Namespace, daemon: subprocess.Popen[bytes] | None, report: Report) -> int:
    """Unmount and, for FUSE, wait until the daemon has written all and gone; its status."""
    report.step("unmount", args.at.encode())
    if LIBC.umount2(args.at.encode(), 0):
        number = ctypes.get_errno()
        report.error(args.at.encode(), "unmount", OSError(number, os.strerror(number)))
        LIBC.umount2(args.at.encode(), MNT_DETACH)
    status = 0 if daemon is None else daemon.wait()
    if daemon is not None:
        report.say(fact={"daemon_status": status})
    return status


# --- reading --------------------------------------------------------------------------------------------------------


def walk(root: bytes, report: Report, streams: str, *, more: bool = False) -> None:
    """Report every name below ``root``, directories before what they hold, in the order of their bytes.

    Damaged volumes have directories that contain themselves; such a one is an error, and is not gone into again.
    """
    pending: list[tuple[bytes, frozenset[int]]] = [(b"", frozenset())]
    while pending:
        folder, above = pending.pop()
        report.step("list", folder)
        try:
            here, names = listing(os.path.join(root, folder), above)
        except OSError as broken:
            report.error(folder, "list", broken)
            continue
        below = []
        for name in names:
            path = os.path.join(folder, name)
            if look(root, path, report, streams, more=more) == "directory":
                below.append((path, above | {here}))
        pending.extend(reversed(below))


def listing(folder: bytes, above: frozenset[int]) -> tuple[int, list[bytes]]:
    """The inode of a directory and the names in it; ``above`` are the inodes of those that it is in.

    Raises:
        Endless: it comes round to its beginning again and again.
    """
    here = os.lstat(folder).st_ino
    if here in above:
        raise OSError(errno.ELOOP, "the directory contains itself")
    names: list[bytes] = []
    known: set[bytes] = set()
    repeats = 0
    with os.scandir(folder) as found:
        for entry in found:
            if entry.name in known:
                repeats += 1
                if repeats > ENDLESS + MOST_REPEATS * len(known):
                    raise Endless(f"its {len(known)} names came {repeats} times more")
                if repeats > MOST_REPEATS:  # they would fill the memory
                    continue
            names.append(entry.name)
            known.add(entry.name)
    return here, sorted(names)


def look(root: bytes, path: bytes, report: Report, streams: str, *, more: bool = False) -> str:
    """Report one name; its kind."""
    whole = os.path.join(root, path)
    report.step("stat", path)
    try:
        state = os.lstat(whole)
    except OSError as broken:
        report.error(path, "stat", broken)
        report.say(entry={"path": text(path), "kind": "unknown"})
        return "unknown"
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    kind = kinds.get(stat.S_IFMT(state.st_mode), "other")
    entry = {
        "path": text(path),
        "kind": kind,
        **times(whole, state),
        "mode": state.st_mode,
        "links": state.st_nlink,
    }
    if state.st_uid or state.st_gid:
        entry["owner"] = [state.st_uid, state.st_gid]
    if state.st_rdev:
        entry["device"] = state.st_rdev
    if kind == "file":
        entry["size"] = state.st_size
        entry.update(attempt(report, path, "read", lambda: read_file(whole, state.st_size)) or {})
    elif kind == "symlink":
        entry["target"] = attempt(report, path, "readlink", lambda: text(os.readlink(whole)))
    entry.update(attributes(whole, path, report, streams))
    if more:
        entry.update(metadata(whole))
    report.say(entry=entry)
    return kind


def attempt(report: Report, path: bytes, operation: str, action: Callable[[], Any]) -> Any:  # noqa: ANN401 - of any type
    report.step(operation, path)
    try:
        return action()
    except OSError as broken:
        report.error(path, operation, broken)
        return None


def read_file(path: bytes, size: int) -> dict[str, Any]:
    """Hash of all bytes, checksum of each block, holes as the driver reports them; nothing for what has no end."""
    if size > MOST_BYTES:
        return {}
    whole, step, count = hashlib.sha256(), block_size(size), 0
    blocks: list[int] = []
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        while chunk := os.read(fd, CHUNK):
            whole.update(chunk)
            # A block may be larger than this guest's memory: it is never there as a whole.
            while chunk:
                inside = count % step
                part, chunk = chunk[: step - inside], chunk[step - inside :]
                if not inside:
                    blocks.append(0)
                blocks[-1] = zlib.crc32(part, blocks[-1])
                count += len(part)
        return {"sha256": whole.hexdigest(), "blocks": blocks, "bytes_read": count, "holes": holes(fd, size)}
    finally:
        os.close(fd)


def holes(fd: int, size: int) -> list[list[int]] | None:
    """(offset, length) of each hole, or None where lseek cannot say."""
    found: list[list[int]] = []
    at = 0
    try:
        while at < size and len(found) < MOST_HOLES:
            start = os.lseek(fd, at, os.SEEK_HOLE)
            if start >= size:
                break
            try:
                at = os.lseek(fd, start, os.SEEK_DATA)
            except OSError as broken:
                if broken.errno != errno.ENXIO:  # ENXIO: nothing but hole until the end
                    return None
                at = size
            found.append([start, at - start])
    except OSError:
        return None
    return found


def times(path: bytes, state: os.stat_result) -> dict[str, Any]:
    """FILETIME ints: all four exactly as ntfs-3g tells them, elsewhere by stat. ``stat`` is what that says, where it
    may be something else: besides ntfs-3g's, and where its nanoseconds make no time of day.
    """
    said = stamps(path, state)
    with contextlib.suppress(OSError, struct.error):
        created, modified, accessed, changed = struct.unpack("<4Q", xattr(path, "system.ntfs_times"))
        exact = {"created": created, "modified": modified, "changed": changed, "accessed": accessed}
        return {"times": exact, "stat": said}
    found = {name: seconds * 10_000_000 + more // 100 + EPOCH for name, (seconds, more) in said.items()}
    odd = any(not 0 <= more < 1_000_000_000 for _, more in said.values())
    return {"times": found, "stat": said} if odd else {"times": found}


def stamps(path: bytes, state: os.stat_result) -> dict[str, list[int]]:
    """Seconds and nanoseconds of each time by statx(2), which has the creation time too, and 64 bits for the seconds on
    every machine (struct statx: mask at 0, times from 64 on); by stat(2) where there is none.
    """
    buffer = ctypes.create_string_buffer(256)
    with contextlib.suppress(AttributeError):
        if not LIBC.statx(-100, path, 0x100, 0xFFF, buffer):  # AT_FDCWD, AT_SYMLINK_NOFOLLOW, basic and STATX_BTIME
            mask, *numbers = struct.unpack("<I60x" + "qI4x" * 4, buffer.raw[:128])
            names = ("accessed", "created", "changed", "modified")
            found = {name: numbers[2 * at : 2 * at + 2] for at, name in enumerate(names)}
            # Without a bit for the others stat(2) shows them nevertheless, as it does the access time with SB_NOATIME.
            if not mask & 0x800:
                del found["created"]
            return found
    whole = {
        "accessed": (int(state[stat.ST_ATIME]), state.st_atime_ns),
        "changed": (int(state[stat.ST_CTIME]), state.st_ctime_ns),
        "modified": (int(state[stat.ST_MTIME]), state.st_mtime_ns),
    }
    return {name: [seconds, total - seconds * 1_000_000_000] for name, (seconds, total) in whole.items()}


def xattr(path: bytes, name: str) -> bytes:
    return os.getxattr(path, name, follow_symlinks=False)


def attributes(whole: bytes, path: bytes, report: Report, streams: str) -> dict[str, Any]:
    """DOS attributes, extended attributes and, where ``user.*`` stands for them, named streams."""
    found = {}
    with contextlib.suppress(OSError, struct.error):
        found["attributes"] = struct.unpack("<I", xattr(whole, "system.ntfs_attrib")[:4])[0]
    try:
        names = sorted(os.listxattr(whole, follow_symlinks=False))
    except OSError:
        return found
    values = {}
    for name in names:
        value = attempt(report, path, "xattr " + name, functools.partial(xattr, whole, name))
        if value is not None:
            values[name] = {"size": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    if streams == "xattr":
        found["streams"] = [dict(values[name], name=name[5:]) for name in sorted(values) if name.startswith("user.")]
    else:
        found["xattrs"] = values
    return found


def metadata(whole: bytes) -> dict[str, Any]:
    """What ntfs-3g shows as system.ntfs_*, and ntfs3 some of; what a driver does not show is left out."""
    found: dict[str, Any] = {}
    for key, names, read in (
        ("eas", ("system.ntfs_ea",), extended_attributes),
        ("reparse", ("system.ntfs_reparse_data",), reparse_point),
        ("security", ("system.ntfs_acl", "system.ntfs_security"), sha256),
        ("object_id", ("system.ntfs_object_id",), object_id),
        ("short_name", ("system.ntfs_dos_name",), text),
    ):
        for name in names:
            with contextlib.suppress(OSError, struct.error):
                found[key] = read(xattr(whole, name))
                break
    return found


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def object_id(raw: bytes) -> str:
    """The id, and the three of its birth where there are any (ntfs-3g shows zeros where there are none)."""
    return raw.hex() if any(raw[16:]) else raw[:16].hex()


def reparse_point(raw: bytes) -> dict[str, Any]:
    """Tag (4 bytes), length (2), unused (2), buffer."""
    tag, length = struct.unpack_from("<IH", raw)
    return {"tag": tag, "sha256": sha256(raw[8 : 8 + length])}


def extended_attributes(raw: bytes) -> list[dict[str, Any]]:
    """Each: distance to the next (4 bytes), flags (1), length of the name (1), of the value (2), name, NUL, value."""
    found = []
    at = 0
    while at + 8 <= len(raw):
        distance, _, name, value = struct.unpack_from("<IBBH", raw, at)
        start = at + 8 + name + 1
        content = raw[start : start + value]
        found.append({"name": text(raw[at + 8 : at + 8 + name]), "size": value, "sha256": sha256(content)})
        if not distance:
            break
        at += distance
    return found


def fingerprint(device: str) -> str:
    """SHA-256 of the whole device, past the page cache where the device has one of its own."""
    whole = hashlib.sha256()
    with open(device, "rb", buffering=0) as file:
        if stat.S_ISBLK(os.fstat(file.fileno()).st_mode):
            fcntl.ioctl(file.fileno(), BLKFLSBUF, 0)
        while True:
            chunk = file.read(CHUNK)
            if not chunk:
                return whole.hexdigest()
            whole.update(chunk)


# --- changing -------------------------------------------------------------------------------------------------------


def generated(seed: str, length: int, form: str = "noise") -> bytes:
    """As ``Extent.bytes`` in lab/ntfs/volumes/content.py: a test holds the two together."""
    if form == "noise":
        return hashlib.shake_256(seed.encode()).digest(length)
    word = hashlib.sha256(seed.encode()).hexdigest()[:12]
    count = length // 64 + 1
    return "".join(
        f"{number:08x} {word} the same words on every line but one number\n" for number in range(count)
    ).encode()[:length]


def encoded(name: str) -> bytes:
    """What :func:`text` undoes."""
    for errors in ("strict", "surrogatepass"):
        with contextlib.suppress(UnicodeEncodeError):
            return name.encode("utf-8", errors)
    return name.encode("utf-8", "surrogateescape")


class Step:
    """One thing to do: ``do`` says what, ``path`` to what; the rest of its words depend on that."""

    def __init__(self, root: bytes, words: dict[str, Any]) -> None:
        self.root = root
        self.words = words
        self.path = self.at("path")

    def at(self, key: str) -> bytes:
        return os.path.join(self.root, encoded(self.words[key]))

    def number(self, key: str, default: int = 0) -> int:
        return int(self.words.get(key, default))

    def content(self) -> bytes:
        return generated(self.words["seed"], self.words["length"], self.words.get("form", "noise"))

    @contextlib.contextmanager
    def opened(self, flags: int) -> Iterator[int]:
        """The file, closed at the end; that may fail too, as where it is only then that there is no room."""
        fd = os.open(self.path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            yield fd
            if self.words.get("sync"):
                os.fsync(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(fd)
            raise
        os.close(fd)


def put(fd: int, raw: bytes, offset: int | None, piece: int) -> None:
    """Write all of it, at most ``piece`` bytes a call; without an offset where the file stands."""
    done, view = 0, memoryview(raw)
    while done < len(raw):
        some = view[done : done + (piece or len(raw))]
        written = os.write(fd, some) if offset is None else os.pwrite(fd, some, offset + done)
        if not written:
            raise OSError(errno.EIO, "nothing was written, without an error")
        done += written


def do_create(step: Step) -> None:
    with step.opened(os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
        if step.words.get("length"):
            put(fd, step.content(), None, step.number("piece"))


def do_write(step: Step) -> None:
    with step.opened(os.O_WRONLY) as fd:
        put(fd, step.content(), step.number("offset"), step.number("piece"))


def do_append(step: Step) -> None:
    with step.opened(os.O_WRONLY | os.O_APPEND) as fd:
        put(fd, step.content(), None, step.number("piece"))


def do_map(step: Step) -> None:
    """Write through memory; what is written must lie inside the file."""
    offset, raw = step.number("offset"), step.content()
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    with step.opened(os.O_RDWR) as fd, mmap.mmap(fd, offset + len(raw) - start, offset=start) as memory:
        memory[offset - start :] = raw
        memory.flush()


def do_truncate(step: Step) -> None:
    os.truncate(step.path, step.number("size"))


def do_fallocate(step: Step) -> None:
    with step.opened(os.O_RDWR) as fd:
        ctypes.set_errno(0)
        place = (ctypes.c_int64(step.number("offset")), ctypes.c_int64(step.number("length")))
        if LIBC.fallocate64(fd, step.number("mode"), *place):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def do_times(step: Step) -> None:
    """Nanoseconds since 1970."""
    os.utime(step.path, ns=(step.number("accessed"), step.number("modified")), follow_symlinks=False)


def do_lookup(step: Step) -> bool:
    """Whether one name means what another one means."""
    return os.lstat(step.path).st_ino == os.lstat(step.at("like")).st_ino


def do_setxattr(step: Step) -> None:
    value = bytes.fromhex(step.words["value"]) if "value" in step.words else step.content()
    os.setxattr(step.path, step.words["name"], value, follow_symlinks=False)


def on_root(step: Step, action: Callable[[int], object]) -> None:
    fd = os.open(step.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        action(fd)
    finally:
        os.close(fd)


def do_trim(step: Step) -> dict[str, int]:
    """How many bytes the driver says it has trimmed, and how many are free by any account, then or now."""
    on_root(step, LIBC.syncfs)
    free = free_bytes(step.root)
    span = bytearray(struct.pack("<QQQ", 0, (1 << 64) - 1, 0))
    on_root(step, lambda fd: fcntl.ioctl(fd, FITRIM, span))
    return {"trimmed": int(struct.unpack("<QQQ", span)[1]), "free": max(free, free_bytes(step.root))}


def free_bytes(root: bytes) -> int:
    """By the driver's account, or by $Bitmap if that has more: `ntfs` of 7.2 loses count of writes that it cuts off."""
    space = os.statvfs(root)
    counted = 0
    device = (mount_in_force(os.fsdecode(root)) or {"source": ""})["source"]
    with contextlib.suppress(OSError, struct.error, LookupError, ArithmeticError, ValueError):  # it is damaged
        counted = unused_on_disk(device)
    return max(space.f_bfree * space.f_frsize, counted)


def on_disk(device: str, offset: int, length: int) -> bytes:
    """What is stored there, past the page cache, which may be behind what a driver has written."""
    begin = offset // PAGE * PAGE
    with mmap.mmap(-1, -(-(offset + length - begin) // PAGE) * PAGE) as aligned:
        fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
        try:
            there = os.preadv(fd, [aligned], begin)
        finally:
            os.close(fd)
        if begin + there < offset + length:
            raise LookupError("behind the end of the device")
        return aligned[offset - begin : offset - begin + length]


def unused_on_disk(device: str) -> int:
    """The bytes of all clusters whose bits in $Bitmap, which is record 6 of the MFT, are not set.

    Raises OSError, struct.error, LookupError, ArithmeticError or ValueError where the structures are broken.
    """
    boot = on_disk(device, 0, 512)
    sector, count = struct.unpack_from("<HB", boot, 11)
    sectors, mft = struct.unpack_from("<QQ", boot, 40)
    # Both may be powers of two, as negative numbers.
    cluster = sector * (count if count <= 128 else 1 << (256 - count))
    record_size = boot[64] * cluster if boot[64] < 128 else 1 << (256 - boot[64])
    clusters = sectors * sector // cluster
    record = bytearray(on_disk(device, mft * cluster + 6 * record_size, record_size))
    fixups, number = struct.unpack_from("<HH", record, 4)
    for n in range(1, number):
        record[n * 512 - 2 : n * 512] = record[fixups + 2 * n : fixups + 2 * n + 2]
    at = struct.unpack_from("<H", record, 20)[0]
    while struct.unpack_from("<I", record, at)[0] != 0x80:  # $DATA
        at += max(8, struct.unpack_from("<I", record, at + 4)[0])
    unused: int = 0
    left: int = clusters
    for offset, length in runs(bytes(record), at + record[at + 32], cluster):
        for begin in range(offset, offset + min(length, -(-left // 8)), CHUNK):
            piece = on_disk(device, begin, min(CHUNK, offset + length - begin, -(-left // 8)))
            here = min(8 * len(piece), left)
            set_bits = int.from_bytes(piece, "little") & ((1 << here) - 1)
            unused += here - bin(set_bits).count("1")  # noqa: FURB161 - int.bit_count is of Python 3.10
            left -= here
    return int(unused * cluster)


def runs(record: bytes, at: int, cluster: int) -> Iterator[tuple[int, int]]:
    """Offset and length in bytes of each piece of an attribute, by the list of its data runs."""
    place = 0
    while record[at]:
        wide, far = record[at] & 15, record[at] >> 4
        place += int.from_bytes(record[at + 1 + wide : at + 1 + wide + far], "little", signed=True)
        yield place * cluster, int.from_bytes(record[at + 1 : at + 1 + wide], "little") * cluster
        at += 1 + wide + far


def do_label(step: Step) -> str:
    """By ioctl, or where ntfs3 has it: /proc/fs/ntfs3/DEVICE/label. Says by which."""
    label = encoded(step.words["label"])
    try:
        on_root(step, lambda fd: fcntl.ioctl(fd, FS_IOC_SETFSLABEL, label.ljust(256, b"\0")))
    except OSError as broken:
        in_force = mount_in_force(os.fsdecode(step.root)) or {"type": "", "source": ""}
        place = f"/proc/fs/{in_force['type']}/{os.path.basename(in_force['source'])}/label"
        if broken.errno not in NOT_HERE or not os.path.exists(place):
            raise
        with open(place, "wb", buffering=0) as file:
            file.write(label)
        return "proc"
    return "ioctl"


DO: dict[str, Callable[[Step], object]] = {
    "append": do_append,
    "chmod": lambda step: os.chmod(step.path, step.number("mode")),
    "chown": lambda step: os.chown(step.path, step.number("uid"), step.number("gid"), follow_symlinks=False),
    "create": do_create,
    "fallocate": do_fallocate,
    "label": do_label,
    "link": lambda step: os.link(step.path, step.at("to"), follow_symlinks=False),
    "lookup": do_lookup,
    "map": do_map,
    "mkdir": lambda step: os.mkdir(step.path),
    "mknod": lambda step: os.mknod(step.path, step.number("mode"), step.number("device")),
    "removexattr": lambda step: os.removexattr(step.path, step.words["name"], follow_symlinks=False),
    "rename": lambda step: os.rename(step.path, step.at("to")),
    "rmdir": lambda step: os.rmdir(step.path),
    "setxattr": do_setxattr,
    "symlink": lambda step: os.symlink(encoded(step.words["target"]), step.path),
    "times": do_times,
    "trim": do_trim,
    "truncate": do_truncate,
    "unlink": lambda step: os.unlink(step.path),
    "write": do_write,
}


def take(root: bytes, words: dict[str, Any]) -> dict[str, Any]:
    """One step, and what came of it: nothing, a ``value``, or an ``errno`` and its ``text``."""
    try:
        value = DO[words["do"]](Step(root, words))
    except OSError as broken:
        return {"errno": broken.errno, "text": broken.strerror or str(broken)}
    except ValueError as broken:  # mmap(2) of more than the file holds
        return {"errno": errno.EINVAL, "text": str(broken)}
    return {} if value is None else {"value": value}


def change(args: argparse.Namespace, report: Report) -> None:
    """All steps, and the clock before and after."""
    root = os.fsencode(args.at)
    report.say(fact={"began": time.time_ns()})
    for words in args.steps:
        report.step(words["do"], encoded(words["path"]))
        report.say(step=take(root, words))
    report.step("sync", root)
    with contextlib.suppress(OSError):
        on_root(Step(root, {"path": ""}), LIBC.syncfs)
        space = os.statvfs(root)
        report.say(fact={"free": free_bytes(root), "capacity": space.f_blocks * space.f_frsize})
    report.say(fact={"in_force_after": mount_in_force(args.at)})


def forget(path: str) -> None:
    """Write out what is cached of a device or a file, and drop it."""
    with open(path, "rb", buffering=0) as file:
        os.fsync(file.fileno())
        if stat.S_ISBLK(os.fstat(file.fileno()).st_mode):
            fcntl.ioctl(file.fileno(), BLKFLSBUF, 0)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def operate(args: argparse.Namespace, daemon: subprocess.Popen[bytes] | None, report: Report) -> None:
    """Change what is mounted, unmount it, and read it back."""
    change(args, report)
    status = unmount(args, daemon, report)
    report.say(fact={"ended_writing": time.time_ns()})
    if not status:
        read_back(args, report)


def read_back(args: argparse.Namespace, report: Report) -> None:
    """Everything once more, from the disk: by the same driver, which knows nothing any more."""
    for path in filter(None, (args.device, args.part and args.part.rsplit(":", 2)[0])):
        report.step("flush", path.encode())
        forget(path)
    again = argparse.Namespace(**dict(vars(args), options=args.again))
    report.step("mount again", args.at.encode())
    start = time.monotonic()
    try:
        daemon = mount(again, report)
    except Refusal as refusal:
        report.say(fact={"remount": dict(refusal.facts, ok=False, seconds=time.monotonic() - start)})
        return
    report.say(fact={"remount": dict(mount_in_force(args.at) or {}, ok=True, seconds=time.monotonic() - start)})
    walk(os.fsencode(args.at), report, args.streams, more=args.metadata)
    unmount(again, daemon, report)


# --- the child: does it ---------------------------------------------------------------------------------------------


def observe(args: argparse.Namespace, report: Report) -> None:
    """The whole operation, reported as it goes."""
    load(args.modules, report)
    if args.kind == "fuse":
        report.say(fact={"program": program_facts(args.program)})
    if args.fingerprint:
        report.step("fingerprint", args.device.encode())
        report.say(fact={"device_before": fingerprint(args.device)})
    os.makedirs(args.at, exist_ok=True)
    if mount_in_force(args.at) is not None:
        raise RuntimeError(f"something is mounted at {args.at} already")
    report.step("mount", args.at.encode())
    report.say(mounting=True)
    start = time.monotonic()
    try:
        daemon = mount(args, report)
    except Refusal as refusal:
        report.say(fact={"mount": dict(refusal.facts, ok=False, seconds=time.monotonic() - start)})
    else:
        in_force = mount_in_force(args.at) or {}
        report.say(fact={"mount": dict(in_force, ok=True, seconds=time.monotonic() - start)})
        if args.operation == "operate" and not is_read_only(in_force):
            operate(args, daemon, report)
        else:
            if args.operation == "mount-and-read":
                walk(os.fsencode(args.at), report, args.streams, more=args.metadata)
            unmount(args, daemon, report)
    if args.kind == "kernel":
        report.say(fact={"module": module_facts(args.type, built_facts(args.insmod))})
    if args.fingerprint:
        report.step("fingerprint", args.device.encode())
        report.say(fact={"device_after": fingerprint(args.device)})


def is_read_only(in_force: dict[str, str]) -> bool:
    return "ro" in (in_force.get("options", "") + "," + in_force.get("super_options", "")).split(",")


# --- the parent: keeps the time -------------------------------------------------------------------------------------


def open_kernel_log() -> int | None:
    """/dev/kmsg from here on, or None."""
    with contextlib.suppress(OSError):
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(fd, 0, os.SEEK_END)
        return fd
    return None


def read_kernel_log(fd: int | None) -> list[str]:
    """The lines since; each read(2) of /dev/kmsg is one record, "prefix;text" and continuation lines."""
    lines: list[str] = []
    while fd is not None and len(lines) < MOST_LOG_LINES:
        try:
            record = os.read(fd, 8192)
        except BrokenPipeError:
            continue  # records were overwritten before we came; go on with the oldest that is left
        except OSError:
            break
        if not record:
            break
        lines.append(record.decode("utf-8", "replace").partition(";")[2].partition("\n")[0])
    return lines


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The document."""
    system = os.uname()
    start = time.monotonic()
    document = {
        "schema": SCHEMA,
        "operation": args.operation,
        "driver": args.driver,
        "kind": args.kind,
        "type_asked": args.type,
        "device": args.device,
        "options_asked": args.options,
        "streams_as": args.streams,
        "kernel": system.release,
        "kernel_build": system.version,
        "machine": system.machine,
        "entries": [],
        "errors": [],
        "steps": [],
    }
    log = open_kernel_log()
    reading, writing = os.pipe()
    steps = mmap.mmap(-1, STEP_BYTES)
    child = os.fork()
    if child == 0:
        work(args, reading, Report(writing, steps))
    os.close(writing)
    started = follow(reading, document, start + args.seconds)
    if last_step(steps):
        document["last_step"] = last_step(steps)
    finish(child, started, args, document)
    document["kernel_log"] = read_kernel_log(log)
    document["seconds"] = round(time.monotonic() - start, 3)
    return document


def work(args: argparse.Namespace, reading: int, report: Report) -> NoReturn:
    """The child's life; never returns."""
    os.close(reading)
    status = 1
    try:
        observe(args, report)
        report.say(end=True)
        status = 0
    except Endless as listing_of_it:
        report.say(endless=str(listing_of_it))
        status = 0
    except BaseException as broken:  # noqa: BLE001 - whatever it is must reach the document
        report.say(trouble=f"{type(broken).__name__}: {broken}")
    finally:
        os._exit(status)


class Started:
    """What the child set going and the parent may have to undo: nothing that was there before."""

    def __init__(self) -> None:
        self.daemons: list[int] = []
        self.mounting = False


def follow(reading: int, document: dict[str, Any], until: float) -> Started:
    """Take in what the child says until it ends or time runs out."""
    said, late = [], False
    started = Started()
    heard = time.monotonic()
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            late = True
            break
        # A little later there is more of it; to wake up for each message would halve the child's speed.
        select.select([], [], [], min(left, 0.03))
        chunk = os.read(reading, CHUNK)
        if not chunk:
            break
        said.append(chunk)
        heard = time.monotonic()
    document["ended"] = "died"
    for line in b"".join(said).split(b"\n")[:-1]:
        note(json.loads(line), document, started)
    if late:
        document["ended"] = "deadline"
        document["silent"] = round(until - heard, 3)
    return started


def note(message: dict[str, Any], document: dict[str, Any], started: Started) -> None:
    for key, value in message.items():
        if key == "fact":
            document.update(value)
        elif key == "entry":
            document["entries"].append(value)
        elif key == "error":
            document["errors"].append(value)
        elif key == "step":
            document["steps"].append(value)
        elif key == "daemon":
            started.daemons.append(value)
        elif key == "mounting":
            started.mounting = True
        elif key == "end":
            document["ended"] = "complete"
        elif key in ("trouble", "endless"):
            document["ended"], document[key] = key, value


def finish(child: int, started: Started, args: argparse.Namespace, document: dict[str, Any]) -> None:
    """Reap the child, without waiting for one that the kernel will not let die; leave nothing of ours mounted."""
    if document["ended"] != "complete":
        for pid in [*started.daemons, *([child] if document["ended"] == "deadline" else [])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for _ in range(200):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            document["child_status"] = status
            break
        select.select([], [], [], 0.01)
    else:
        document["stuck"] = True
    if document["ended"] != "complete" and started.mounting:
        LIBC.umount2(args.at.encode(), MNT_DETACH)


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="mount an NTFS volume, read all of it, report as JSON")
    parser.add_argument("operation", choices=["mount", "mount-and-read", "operate"])
    parser.add_argument("--driver", required=True, help="the driver's name in the report")
    parser.add_argument("--kind", choices=["kernel", "fuse"], help="default: fuse for names that end in ntfs-3g")
    parser.add_argument("--type", help="file-system type for mount(2); default: the driver's name")
    parser.add_argument("--program", help="FUSE program; default: the driver's name")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--device")
    where.add_argument("--part", metavar="PATH:OFFSET:SIZE", help="this part of it, as a loop device")
    parser.add_argument("--sector", type=int, default=512, help="sector size of that, in bytes")
    parser.add_argument("--write-protected", action="store_true", help="that device cannot be written")
    parser.add_argument("--options", default="ro", help="comma-separated")
    parser.add_argument("--steps", type=steps, default=[], metavar="JSON", help="what to do, or @FILE")
    parser.add_argument("--again", default="ro", help="options to read it back with, after the steps")
    parser.add_argument("--at", default="/mnt", help="where to mount")
    parser.add_argument("--modules", action="append", default=[], help="modprobe this first")
    parser.add_argument("--rmmod", action="append", default=[], metavar="NAME", help="unload it unless --insmod is it")
    parser.add_argument("--insmod", action="append", default=[], metavar="FILE", help="insmod this unless it is loaded")
    parser.add_argument("--streams", choices=["xattr", "none"], default="none", help="user.* attributes are streams")
    parser.add_argument("--metadata", action="store_true", help="ask for EAs, reparse points, security, ids, aliases")
    parser.add_argument("--fingerprint", action="store_true", help="hash the device before and after")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--output", help="write the document there instead of to standard output")
    parser.add_argument("--json", action="store_true", help="accepted for clarity; the output is always JSON")
    args = parser.parse_args(words)
    args.kind = args.kind or ("fuse" if args.driver.endswith("ntfs-3g") else "kernel")
    args.type = args.type or args.driver
    args.program = args.program or args.driver
    args.at = os.path.realpath(args.at)
    return args


def steps(words: str) -> list[dict[str, Any]]:
    """The steps of a document, or of a file that holds one."""
    if words.startswith("@"):
        with open(words[1:], "rb") as file:
            words = file.read().decode("ascii")
    found: list[dict[str, Any]] = json.loads(words)
    return found


def perform(args: argparse.Namespace) -> str:
    """The document, as a line."""
    if args.part:
        write = args.operation == "operate" and not args.write_protected
        with loop_device(args.part, args.sector, write=write) as args.device:
            document = run(args)
    else:
        document = run(args)
    return json.dumps(document, indent=None) + "\n"


# --- staying ready --------------------------------------------------------------------------------------------------


def serve(words: list[str]) -> NoReturn:
    """Answer requests until killed; returns in the foreground when it listens."""
    parser = argparse.ArgumentParser(prog="probe.py serve", description="do what is asked over TCP")
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
    while True:
        line, _ = listener.accept()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork() == 0:
            listener.close()
            answer(line)
        line.close()


def answer(line: socket.socket) -> NoReturn:
    """Do one request, and end."""
    try:
        said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - argparse complains there
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
    args = parse(words)
    document = perform(args)
    if args.output:
        with open(args.output, "w") as file:
            file.write(document)
    else:
        sys.stdout.write(document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
