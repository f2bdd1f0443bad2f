"""The Master File Table: record number to bytes, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lab.errors import ImageError
from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.boot import BOOT_BYTES, Boot
from lab.ntfs.ondisk.record import protect, unprotect
from lab.ntfs.ondisk.runlist import Run, runs

__all__ = ["BITMAP", "LOG_FILE", "ROOT", "UPCASE", "USER", "VOLUME", "Mft"]

_MIRROR = 1
LOG_FILE = 2
"""The record number of $LogFile."""

VOLUME = 3
"""The record number of $Volume."""
ROOT = 5
"""The record number of the root directory."""
BITMAP = 6
"""The record number of $Bitmap."""
UPCASE = 10
"""The record number of $UpCase."""
USER = 24
"""The first record number that is not NTFS' own (16 to 23 are kept free)."""


class Mft:
    """Reads and writes MFT records of a volume file; the first are kept in $MFTMirr too.

    Four of them, or as many as fit a cluster. ntfs-3g refuses a volume whose mirror differs, so a write goes to both.
    """

    def __init__(self, file: BinaryIO, *, place: str) -> None:
        self._file = file
        self._place = place
        file.seek(0)
        self.boot = Boot.parse(file.read(BOOT_BYTES), place=place)
        first = self._read_at(self.boot.mft_cluster * self.boot.cluster, f"{place}: $MFT")
        table = attribute.find(first, attribute.DATA, place=f"{place}: $MFT")
        if table.resident:
            raise ImageError(f"{place}: $MFT: its table lies in its own record")
        self._runs: tuple[Run, ...] = tuple(runs(table.runlist, place=f"{place}: $MFT runlist"))
        self.count = table.size // self.boot.record
        """How many records the table has, used or not."""
        mirror = attribute.find(self.read(_MIRROR), attribute.DATA, place=f"{place}: $MFTMirr")
        self._mirrored = mirror.size // self.boot.record

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
        """Put ``record`` (unprotected) in its place, and in the mirror if it is one of those that are kept there."""
        raw = protect(record, place=f"{self._place}: MFT record {number}")
        offsets = [self.offset(number)]
        if number < self._mirrored:
            offsets.append(self.boot.mirror_cluster * self.boot.cluster + number * self.boot.record)
        for offset in offsets:
            self._file.seek(offset)
            self._file.write(raw)

    def used(self) -> Iterator[tuple[int, bytes]]:
        """Number and content of each record in use (flag 0x0001 at 0x16), in order; torn ones are left out."""
        for number in range(self.count):
            at = self.offset(number)
            self._file.seek(at)
            raw = self._file.read(self.boot.record)
            if raw[:4] == b"FILE" and raw[0x16] & 1:
                with suppress(ImageError):
                    yield number, unprotect(raw, place=f"{self._place}: MFT record {number}")

    def read_at(self, cluster: int, offset: int, length: int) -> bytes:
        """``length`` bytes, ``offset`` bytes behind the start of ``cluster``."""
        self._file.seek(cluster * self.boot.cluster + offset)
        return self._file.read(length)

    def write_bytes(self, cluster: int, offset: int, raw: bytes) -> None:
        """Put ``raw`` ``offset`` bytes behind the start of ``cluster``."""
        self._file.seek(cluster * self.boot.cluster + offset)
        self._file.write(raw)

    def first_run(self, number: int) -> tuple[int, int]:
        """First cluster of the unnamed $DATA of record ``number``, which is to be in one run, and its size in bytes.

        Raises:
            ImageError: it is in several, or in none.
        """
        place = f"{self._place}: MFT record {number}"
        found = attribute.find(self.read(number), attribute.DATA, place=place)
        listed = () if found.resident else tuple(runs(found.runlist, place=place))
        if len(listed) != 1 or listed[0].start is None:
            raise ImageError(f"{place}: $DATA is in {len(listed)} runs, not in one")
        return listed[0].start, found.size

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
