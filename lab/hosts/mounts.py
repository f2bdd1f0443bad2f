"""File systems that killed builds left mounted in folders that must go, and the removal of such folders."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import CacheError
from lab.process import run

__all__ = ["mounts_in", "remove"]


def mounts_in(folder: Path) -> tuple[Path, ...]:
    """What is mounted at ``folder`` or below it, the innermost first."""
    # proc_pid_mountinfo(5): the fifth field, with blanks and the like as \040.
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    found = [Path(os.fsdecode(_unescaped(line.split()[4]))) for line in lines]
    inside = [path for path in found if path == folder or folder in path.parents]
    return tuple(sorted(inside, key=lambda path: len(path.parts), reverse=True))


def remove(folder: Path) -> None:
    """Unmount what is mounted in a folder, and remove it with all that is in it. A folder that is not there is fine.

    Raises:
        CacheError: something is still mounted in it, or it cannot be removed.
    """
    for mount in mounts_in(folder):
        # Not canonicalized: umount(8) would ask a dead FUSE daemon for the path, and get no answer.
        run("umount", "--no-canonicalize", "--lazy", mount, deadline=Deadline(10))
    if held := mounts_in(folder):
        # Never rmtree: what is mounted there is not ours to empty.
        raise CacheError(f"{folder}: something is still mounted at {held[0]}", hint=f"umount {held[0]}")
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as trouble:
        raise CacheError(f"{folder}: cannot be removed: {trouble.strerror}") from trouble


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), field)
