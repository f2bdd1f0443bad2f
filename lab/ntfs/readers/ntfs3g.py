"""The reader ntfs-3g: the lab's own probe on this machine's FUSE. Run as a program: ``VOLUME`` in, manifest out."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from lab.errors import ImageError
from lab.ntfs import probe
from lab.ntfs.drivers import drivers
from lab.ntfs.manifest import Feature, Manifest
from lab.ntfs.observation import Observation

__all__ = ["read"]

_LONG = "86400"
"""The caller's deadline ends this process; the probe's own limit must not come first."""


def read(volume: str) -> Manifest:
    """The volume as ntfs-3g shows it, mounted read-only.

    Raises:
        ImageError: it cannot be mounted.
    """
    with tempfile.TemporaryDirectory(prefix="lab-ntfs-3g-") as at:
        words = (*drivers["ntfs-3g"].probe_arguments(at=at), "--device", str(Path(volume).absolute()))
        seen = Observation.parse(probe.run(probe.parse(["mount-and-read", *words, "--metadata", "--seconds", _LONG])))
    if seen.mount is None or not seen.mount.ok or seen.ended != "complete":
        said = seen.mount.text if seen.mount else seen.trouble
        raise ImageError(f"ntfs-3g refuses it: {' / '.join(said.splitlines())}")
    # lseek on FUSE calls everything data, which says nothing about holes.
    return Manifest(seen.manifest.entries, seen.manifest.sees - {Feature.HOLES}, seen.manifest.unsure)


if __name__ == "__main__":
    try:
        sys.stdout.write(read(sys.argv[1]).to_text())
    except ImageError as refused:
        sys.exit(refused.message)
