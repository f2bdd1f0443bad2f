"""The Master File Table: record number to bytes, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lab.errors import ImageError
from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.boot import BOOT_BYTES, Boot
from lab.ntfs.ondisk.record import protect, unprotect
from lab.ntfs.ondisk.runlist import Run, runs

__all__ = ["VOLUME", "Mft"]

VOLUME = 3
"""The record number of $Volume."""


class Mft:
    """Reads and writes MFT records of a volume file; the first four are kept in $MFTMirr too.

    ntfs-3g refuses a volume whose mirror differs from the table, so a write goes to both.
    """

    def __init__(self, file: BinaryIO, *, place: str) -> None:
        self._file = file
        self._place = place
        file.seek(0)
        self.boot = Boot.parse(file.read(BOOT_BYTES), place=place)
        first = self._read_at(self.boot.mft_cluster * self.boot.cluster, f"{place}: $MFT")
        table = attribute.find(first, attribute.DATA, place=f"{place}: $MFT")
        self._runs: tuple[Run, ...] = tuple(runs(table.runlist, place=f"{place}: $MFT runlist"))

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, write: bool = False) -> Iterator[Mft]:
        """The table of a volume file, closed at the end.

        Raises:
            ImageError: the file cannot be opened or is no NTFS volume.
        """
        try:
            file = path.open("r+b" if write else "rb")
        except OSError as broken:
            raise ImageError(f"{path}: {broken.strerror}") from broken
        with file:
            yield cls(file, place=str(path))

    def read(self, number: int) -> bytes:
        """Record ``number``, unprotected.

        Raises:
            ImageError: it does not exist or is torn.
        """
        return self._read_at(self.offset(number), f"{self._place}: MFT record {number}")

    def write(self, number: int, record: bytes) -> None:
        """Put ``record`` (unprotected) in its place, and in the mirror if it is one of the first four."""
        raw = protect(record, place=f"{self._place}: MFT record {number}")
        offsets = [self.offset(number)]
        if number < 4:
            offsets.append(self.boot.mirror_cluster * self.boot.cluster + number * self.boot.record)
        for offset in offsets:
            self._file.seek(offset)
            self._file.write(raw)

    def offset(self, number: int) -> int:
        """Where record ``number`` lies in the file.

        Raises:
            ImageError: it is past the end of the table.
        """
        at = number * self.boot.record
        for run in self._runs:
            size = run.length * self.boot.cluster
            if at < size and run.start is not None:
                return run.start * self.boot.cluster + at
            at -= size
        raise ImageError(f"{self._place}: MFT record {number} is past the end of the table")

    def _read_at(self, offset: int, place: str) -> bytes:
        self._file.seek(offset)
        raw = self._file.read(self.boot.record)
        if len(raw) < self.boot.record:
            raise ImageError(
                f"{place}: the file ends at byte {offset + len(raw)}, inside this record", hint="is it whole?"
            )
        return unprotect(raw, place=place)
