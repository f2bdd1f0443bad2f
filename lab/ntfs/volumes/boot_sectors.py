"""Boot sectors that are wrong in one thing each. The spare in the last sector is right unless the name says otherwise.

A driver may refuse, or find its way by the spare; it must not show anything wrong, and must not go mad.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lab.ntfs.ondisk.boot import rewrite
from lab.ntfs.volumes.mixture import MIB, mixture
from lab.ntfs.volumes.recipe import Recipe, State, recipes

__all__: list[str] = []


def _put(at: int, raw: bytes, sector: bytearray) -> None:
    sector[at : at + len(raw)] = raw


_WRONG: dict[str, tuple[str, Callable[[bytearray], None], bool]] = {
    "zeroed": ("zeros; only the spare is left", partial(_put, 0, bytes(512)), False),
    "both-zeroed": ("zeros, and so is the spare", partial(_put, 0, bytes(512)), True),
    "oem": ("the system id of another file system", partial(_put, 3, b"MSDOS5.0"), False),
    "sector-size": ("sectors of 500 bytes", partial(_put, 0x0B, struct.pack("<H", 500)), False),
    "cluster-size": ("clusters of no sectors", partial(_put, 0x0D, b"\0"), False),
    "mft-outside": ("$MFT past the end of the volume", partial(_put, 0x30, struct.pack("<Q", 1 << 40)), False),
    "mft-elsewhere": ("$MFT where there is none", partial(_put, 0x30, struct.pack("<Q", 5000)), False),
    "record-size": ("MFT records of 2 to the power of 31 bytes", partial(_put, 0x40, bytes([256 - 31])), False),
    "index-size": ("index blocks of 0 clusters", partial(_put, 0x44, b"\0"), False),
    "too-large": ("more sectors than the device has", partial(_put, 0x28, struct.pack("<Q", 1 << 32)), False),
    "signature": ("no 55 AA at its end", partial(_put, 0x1FE, b"\0\0"), False),
}
"""What is wrong, how it is made so, and whether the spare has it too."""


def _spoil(path: Path, *, change: Callable[[bytearray], None], spare: bool) -> None:
    rewrite(path, change, spare=spare)


for _name, (_what, _change, _spare) in _WRONG.items():
    recipes.add(
        Recipe(
            f"boot-{_name}",
            f"a wrong boot sector: {_what}",
            mixture(4096),
            state=State.DAMAGED,
            size=24 * MIB,
            edits=(partial(_spoil, change=_change, spare=_spare),),
        )
    )
