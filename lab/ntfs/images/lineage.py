"""What an image needs besides itself: parents whose blocks show through it, and the other parts of a split one.

QEMU follows the parents of qcow2 and VMDK, and reads a VHD that holds differences as if it held all. So parents are
looked for first: what is not whole is refused by name, and a parent is a file of this machine or none.

Sources: docs/interop/qcow2.rst and block/{vpc,vhdx,vdi,vmdk}.c in QEMU, [MS-VHDX], Microsoft's "Virtual Hard Disk Image
Format Specification", VMware's "Virtual Disk Format 1.1".
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from lab.errors import ImageError
from lab.ntfs.images.source import reading
from lab.ntfs.naming import spelled

__all__ = ["fixed_vhd_bytes", "refuse_what_is_not_whole"]

_MERGE = "merge it with its parents first, into one image, and name that"


def refuse_what_is_not_whole(path: Path, form: str, file: BinaryIO) -> None:
    """Nothing, where ``path`` and what it names hold all of the disk.

    Raises:
        ImageError: it is one part of a split image, or encrypted, or needs a file that is not there or no file.
    """
    look = _LOOKS.get(form)
    if look is not None:
        look(path, file)


def fixed_vhd_bytes(file: BinaryIO) -> int:
    """The bytes of the disk in a VHD of fixed size, which come first and as they are; 0 if it is of another type."""
    footer, at = _vhd_footer(file)
    if len(footer) < 512 or _u32(footer, 60, ">") != 2:
        return 0
    return min(int(struct.unpack_from(">Q", footer, 48)[0]), at)


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly ``size`` bytes; what is past the end, and past all ends, reads as zeros."""
    if offset >= file.seek(0, os.SEEK_END):
        return bytes(size)
    file.seek(offset)
    return file.read(size).ljust(size, b"\0")


def _u32(raw: bytes, offset: int, order: str = "<") -> int:
    return int(struct.unpack_from(f"{order}I", raw, offset)[0])


# --- VHD: the footer is the last sector; all types but the fixed one have a copy of it in front.


def _vhd(path: Path, file: BinaryIO) -> None:
    footer, _ = _vhd_footer(file)
    if _u32(footer, 60, ">") != 4:
        return
    header = _at(file, struct.unpack_from(">Q", footer, 16)[0], 1024)
    name = header[64:576].decode("utf-16-be", "replace").partition("\0")[0]
    raise _differences(path, "VHD", name)


def _vhd_footer(file: BinaryIO) -> tuple[bytes, int]:
    end = file.seek(0, os.SEEK_END) - 512
    last = _at(file, max(0, end), 512)
    return (last, end) if last[:8] == b"conectix" else (_at(file, 0, 512), end)


# --- VHDX: a table of regions, one of which is a table of items: file parameters, and where the parent is.

_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
_HAS_PARENT = 2
_MOST = 2047


def _vhdx(path: Path, file: BinaryIO) -> None:
    region = next((at for kind, at in _vhdx_regions(file) if kind == _METADATA), None)
    if region is None:
        return
    items = dict(_vhdx_items(file, region))
    parameters = items.get(_PARAMETERS, b"").ljust(8, b"\0")
    if _u32(parameters, 4) & _HAS_PARENT:
        known = dict(_vhdx_locator(items.get(_LOCATOR, b"")))
        keys = ("relative_path", "absolute_win32_path", "volume_path")
        raise _differences(path, "VHDX", next((known[key] for key in keys if key in known), ""))


def _vhdx_regions(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    for table in (0x30000, 0x40000):
        raw = _at(file, table, 0x10000)
        for entry in range(16, 16 + 32 * min(_u32(raw, 8), _MOST), 32) if raw[:4] == b"regi" else ():
            yield raw[entry : entry + 16], struct.unpack_from("<Q", raw, entry + 16)[0]


def _vhdx_items(file: BinaryIO, region: int) -> Iterator[tuple[bytes, bytes]]:
    raw = _at(file, region, 0x10000)
    count = struct.unpack_from("<H", raw, 10)[0] if raw[:8] == b"metadata" else 0
    for entry in range(32, 32 + 32 * min(count, _MOST - 1), 32):
        offset, length = struct.unpack_from("<II", raw, entry + 16)
        yield raw[entry : entry + 16], _at(file, region + offset, min(length, 0x10000))


def _vhdx_locator(raw: bytes) -> Iterator[tuple[str, str]]:
    count = struct.unpack_from("<H", raw, 18)[0] if len(raw) >= 20 else 0
    for entry in range(20, min(20 + 12 * count, len(raw) - 11), 12):
        key, value, key_size, value_size = struct.unpack_from("<IIHH", raw, entry)
        yield _utf16(raw[key : key + key_size]), _utf16(raw[value : value + value_size])


def _utf16(raw: bytes) -> str:
    return raw.decode("utf-16-le", "replace")


# --- VDI: a type, and the identities of itself and of its parent; where that one lies is nowhere said.


def _vdi(path: Path, file: BinaryIO) -> None:
    header = _at(file, 0, 512)
    parent = UUID(bytes_le=header[0x1A8:0x1B8])
    if _u32(header, 0x4C) == 4 or parent.int:
        raise _differences(path, "VDI", str(parent))


# --- qcow2: the name of its backing file, and whether it is encrypted.

_QCOW_CIPHERS = {1: "AES", 2: "LUKS"}


def _qcow2(path: Path, file: BinaryIO) -> None:
    header = _at(file, 0, 104)
    offset, size, cipher = struct.unpack_from(">QI", header, 8) + struct.unpack_from(">I", header, 32)
    if cipher:
        name = _QCOW_CIPHERS.get(cipher, f"method {cipher}")
        raise ImageError(
            f"{_place(path)}: encrypted by QEMU ({name})", hint="decrypt it first, with `qemu-img convert`"
        )
    if offset:
        _follow(path, _at(file, offset, min(size, 1023)).decode("utf-8", "surrogateescape"))


# --- VMDK: a text that names the parts; in an image of one file it is in that file.

_EXTENT = re.compile(r'^\s*(?:RW|RDONLY)\s+\d+\s+[A-Z]+\s+"([^"]+)"', re.MULTILINE)
_PARENT = re.compile(r'^\s*parentFileNameHint\s*=\s*"([^"]+)"', re.MULTILINE)
_TEXT_BYTES = 1 << 20


def _vmdk(path: Path, file: BinaryIO) -> None:
    text = _vmdk_text(path, file)
    if _at(file, 0, 4) != b"KDMV":  # else its only part is itself, by whatever name it had before
        for name in _EXTENT.findall(text):
            _there(path, name, "part")
    if found := _PARENT.search(text):
        _follow(path, found[1])


def _vmdk_text(path: Path, file: BinaryIO) -> str:
    header = _at(file, 0, 64)
    if header[:4] not in {b"KDMV", b"COWD"}:
        return _at(file, 0, _TEXT_BYTES).decode("utf-8", "surrogateescape")
    offset, size = struct.unpack_from("<QQ", header, 28)
    text = _at(file, offset * 512, min(size * 512, _TEXT_BYTES)) if offset else b""
    if header[:4] == b"COWD" or b"createType" not in text:  # some leave room for the text, and write none
        hint = "name the small .vmdk beside it, the text that lists the parts"
        raise ImageError(f"{_place(path)}: one part of a split VMDK", hint=hint)
    return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")


_LOOKS: dict[str, Callable[[Path, BinaryIO], None]] = {
    "vpc": _vhd,
    "vhdx": _vhdx,
    "vdi": _vdi,
    "qcow2": _qcow2,
    "vmdk": _vmdk,
}


def _follow(path: Path, name: str) -> None:
    """The parent is there, and so is its own, and none of them is ``path`` again."""
    seen = {os.path.realpath(path)}
    while name:
        parent = _there(path, name, "parent")
        if os.path.realpath(parent) in seen:
            raise ImageError(f"{_place(path)}: its parent {_quoted(name)} comes back to itself")
        seen.add(os.path.realpath(parent))
        path, name = parent, _parent_of(parent)


def _parent_of(path: Path) -> str:
    with reading(path) as file:
        magic = _at(file, 0, 4)
        if magic == b"QFI\xfb":
            offset, size = struct.unpack(">QI", _at(file, 8, 12))
            return _at(file, offset, min(size, 1023)).decode("utf-8", "surrogateescape") if offset else ""
        found = _PARENT.search(_vmdk_text(path, file)) if magic in {b"KDMV", b"# Di"} else None
        return found[1] if found else ""


def _there(path: Path, name: str, what: str) -> Path:
    """The file that ``path`` names as its ``what``.

    Raises:
        ImageError: it is not there, or no name of a file: QEMU would also take addresses on the network.
    """
    if re.match(r"[^/]*:", name):
        raise ImageError(f"{_place(path)}: its {what} is {_quoted(name)}, which is not a file of this machine")
    other = path.absolute().parent / name
    if not (other.is_file() or other.is_block_device()):
        raise ImageError(
            f"{_place(path)}: its {what} {_quoted(name)} is not there", hint=f"put its {what}s where it looks for them"
        )
    return other


def _differences(path: Path, form: str, parent: str) -> ImageError:
    of = f" from its parent {_quoted(parent)}" if parent else " from a parent that it does not name"
    return ImageError(f"{_place(path)}: this {form} holds only what differs{of}", hint=_MERGE)


def _quoted(name: str) -> str:
    return f"'{spelled(name)}'"


def _place(path: Path) -> str:
    return spelled(str(path))
