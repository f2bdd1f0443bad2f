"""A volume file mounted on this machine by ntfs-3g, for as long as a ``with`` lasts."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import DeadlineError, LabError, UnsupportedError
from lab.process import last_line, run, spawn
from lab.wait import wait_until

__all__ = ["can_mount", "mounted"]

_DEVICE = Path("/dev/fuse")


def can_mount() -> str:
    """Why this machine cannot mount by FUSE, or an empty string."""
    if not _DEVICE.exists():
        return "/dev/fuse is missing"
    return "" if os.geteuid() == 0 else "mounting by FUSE needs root"


@contextmanager
def mounted(image: Path, at: Path, *, options: tuple[str, ...], deadline: Deadline) -> Iterator[Path]:
    """``image`` mounted at the folder ``at``; unmounted and written out at the end, whatever happens.

    When time runs out the FUSE daemon is killed, not its user: a process that waits for a dead daemon gets an error
    at once, one that waits for a live but stuck daemon cannot even be killed.

    Raises:
        UnsupportedError: this machine has no FUSE, or we are not root.
        MissingToolError: ntfs-3g is not installed.
        LabError: ntfs-3g refused the volume, or it could not be unmounted.
        DeadlineError: the time ran out.
    """
    if why := can_mount():
        raise UnsupportedError(f"{image}: cannot be mounted: {why}", reason="no-fuse", hint="run as root with FUSE")
    if _is_mounted(at):
        raise LabError(f"{at}: something is mounted there already")
    with tempfile.TemporaryFile() as said:
        words = ("ntfs-3g", str(image), str(at), "-o", ",".join(("no_detach", *options)))
        daemon = spawn(*words, stdin=subprocess.DEVNULL, stdout=said.fileno(), stderr=said.fileno())
        late = threading.Event()
        watchdog = threading.Timer(deadline.remaining(), _give_up, (daemon, late))
        watchdog.start()
        try:
            _await_mount(daemon, image, at, said.fileno(), deadline)
            yield at
        except OSError as broken:
            if late.is_set() and not isinstance(broken, LabError):
                raise DeadlineError(f"{image}: not done within {deadline.seconds:g} s") from broken
            raise
        finally:
            watchdog.cancel()
            _unmount(daemon, at, deadline)


def _give_up(daemon: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    with suppress(ProcessLookupError):
        os.killpg(daemon.pid, signal.SIGKILL)


def _await_mount(daemon: subprocess.Popen[bytes], image: Path, at: Path, said: int, deadline: Deadline) -> None:
    wait_until(
        f"{image}: mount by ntfs-3g",
        lambda: daemon.poll() is not None or _is_mounted(at),
        deadline=deadline,
        interval=0.005,
    )
    if daemon.poll() is not None and not _is_mounted(at):
        words = os.pread(said, 1 << 16, 0)
        raise LabError(
            f"{image}: ntfs-3g refused it: {last_line(words) or 'it said nothing'}", hint="is it NTFS, and sound?"
        )


def _is_mounted(at: Path) -> bool:
    """By device number: cheaper than mountinfo, and no path has to be decoded. Never asks a dead daemon for more."""
    try:
        return at.stat().st_dev != at.parent.stat().st_dev
    except OSError:
        return True  # "transport endpoint is not connected": mounted, its daemon gone


def _unmount(daemon: subprocess.Popen[bytes], at: Path, deadline: Deadline) -> None:
    """Undo the mount. A daemon that was killed has nothing left to write, and is simply detached."""
    grace = Deadline(max(10.0, deadline.remaining()))  # undoing must not fail because the work was late
    try:
        if daemon.poll() is None:
            run("umount", at, deadline=grace).check(hint=f"umount -l {at}")
            daemon.wait(grace.remaining())
    except (LabError, subprocess.TimeoutExpired) as stuck:
        raise LabError(f"{at}: cannot be unmounted: {stuck}", hint="what was written to the volume is lost") from stuck
    finally:
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
        if _is_mounted(at):
            # Not canonicalized: umount(8) would ask the dead daemon for the path, and get no answer.
            run("umount", "--no-canonicalize", "--lazy", at, deadline=Deadline(10))
