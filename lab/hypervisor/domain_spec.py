"""A guest as the lab means it, before it becomes libvirt's XML; what libxl cannot do is refused here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from lab.errors import UsageError

__all__ = ["DiskSpec", "DomainSpec", "InterfaceSpec"]

# The first character keeps `xl` from taking the name for an option or, if all were digits, for a domain number.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]*")
_TARGET = re.compile(r"xvd[a-z]{1,2}[0-9]{0,2}")
_MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")
_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}")  # IFNAMSIZ is 16 with the final NUL
_TAG = re.compile(r"[a-z][a-z0-9-]*")
_MAX_VCPUS = 128  # Xen's limit for PVH and HVM (XEN_LEGACY_MAX_VCPUS, HVM_MAX_VCPUS)


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A disk of a guest. ``source`` is a path on the host, ``kind`` block or file, ``format`` raw or qcow2.

    A raw file or device goes through blkback, which for a file makes a loop device; ``qcow2`` needs a QEMU in the
    host for its backend.
    """

    source: str
    target: str = "xvda"
    kind: str = "block"
    format: str = "raw"
    readonly: bool = False

    def __post_init__(self) -> None:
        _require(_is_path(self.source), f"disk source {self.source!r} is not an absolute path")
        _require(_fits(_TARGET, self.target), f"disk target {self.target!r} is not like xvda or xvdb1")
        _require(self.kind in {"block", "file"}, f"disk kind {self.kind!r} is not one of block, file")
        _require(self.format in {"raw", "qcow2"}, f"disk format {self.format!r} is not one of qcow2, raw")


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """A network interface of a guest on a bridge of the host; ``mac`` in lower case."""

    mac: str
    bridge: str

    def __post_init__(self) -> None:
        _require(_fits(_MAC, self.mac), f"MAC {self.mac!r} is not six lower-case bytes of a unicast address")
        _require(_fits(_BRIDGE, self.bridge), f"bridge {self.bridge!r} is not an interface name")


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """A guest. ``type`` is pv, pvh or hvm. ``kernel`` and ``initrd`` are paths on the host.

    ``tsc_native`` lets the guest read the time-stamp counter itself (needed where Xen cannot emulate RDTSCP).
    ``hap=False`` asks for shadow paging. ``on_crash="preserve"`` keeps a crashed guest's memory on the host to be
    looked at, and with it everything it holds; by default it is destroyed, and its console log tells the tale.
    ``serial_log`` is for HVM alone: a PV or PVH guest's console is written by xenconsoled in the host.
    ``tags`` are name-value pairs kept in the domain's metadata, by which what a run left behind is found.
    """

    name: str
    uuid: str
    type: str
    memory_mib: int
    vcpus: int
    kernel: str
    initrd: str | None = None
    cmdline: str = ""
    disks: tuple[DiskSpec, ...] = ()
    interfaces: tuple[InterfaceSpec, ...] = ()
    serial_log: str | None = None
    tsc_native: bool = False
    hap: bool = True
    on_crash: str = "destroy"
    tags: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        _require(
            _fits(_NAME, self.name), f"guest name {self.name!r} is not a letter followed by letters, digits or _.+-"
        )
        _require(_is_uuid(self.uuid), f"guest {self.name}: uuid {self.uuid!r} is not a lower-case UUID with dashes")
        for complaint in (*self._size_complaints(), *self._boot_complaints(), *self._list_complaints()):
            raise UsageError(f"guest {self.name}: {complaint}")
        if self.type == "pv" and not self.hap:
            raise UsageError(f"guest {self.name}: hap is off, but a pv guest has none", hint="only pvh and hvm have it")
        if self.type != "hvm" and self.serial_log is not None:
            raise UsageError(
                f"guest {self.name}: a serial log of a {self.type} guest: libxl gives it no serial port",
                hint="xenconsoled --log=guest writes /var/log/xen/console/guest-NAME.log on the host",
            )

    def _size_complaints(self) -> Iterable[str]:
        if self.type not in {"pv", "pvh", "hvm"}:
            yield f"type {self.type!r} is not one of hvm, pv, pvh"
        if self.memory_mib < 1:
            yield f"memory of {self.memory_mib} MiB"
        if not 1 <= self.vcpus <= _MAX_VCPUS:
            yield f"{self.vcpus} vcpus is not within 1..{_MAX_VCPUS}"

    def _boot_complaints(self) -> Iterable[str]:
        if not _is_path(self.kernel):
            yield f"kernel {self.kernel!r} is not an absolute path"
        if self.initrd is not None and not _is_path(self.initrd):
            yield f"initrd {self.initrd!r} is not an absolute path"
        if self.serial_log is not None and not _is_path(self.serial_log):
            yield f"serial log {self.serial_log!r} is not an absolute path"
        if not self.cmdline.isprintable():
            yield f"cmdline {self.cmdline!r} has an unprintable character"
        if self.on_crash not in {"destroy", "preserve"}:
            yield f"on_crash {self.on_crash!r} is not one of destroy, preserve"

    def _list_complaints(self) -> Iterable[str]:
        yield from (f"two disks {target}" for target in _twice(disk.target for disk in self.disks))
        yield from (f"two interfaces {mac}" for mac in _twice(interface.mac for interface in self.interfaces))
        yield from (f"two tags {name}" for name in _twice(name for name, _value in self.tags))
        for name, value in self.tags:
            if not _fits(_TAG, name):
                yield f"tag {name!r} is not a lower-case word"
            if not value.isprintable():
                yield f"tag {name}: {value!r} has an unprintable character"


def _require(holds: bool, complaint: str) -> None:  # noqa: FBT001 - the truth is the value here
    if not holds:
        raise UsageError(complaint)


def _fits(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.fullmatch(text) is not None


def _is_path(text: str) -> bool:
    return text.startswith("/") and len(text) > 1 and text.isprintable()


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _twice(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    again = []
    for name in names:
        if name in seen:
            again.append(name)
        seen.add(name)
    return again
