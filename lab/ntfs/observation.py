"""What the probe saw, read from its document (``lab.ntfs.probe/1``) into frozen values."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.errors import LabError
from lab.ntfs import filetime
from lab.ntfs.manifest import Attachment, Entry, Feature, Kind, Manifest, Reparse, Stream, Times
from lab.ntfs.naming import shown

__all__ = ["SCHEMA", "Module", "Mount", "Observation", "ReadError", "Stamp", "is_system_name"]

SCHEMA = "lab.ntfs.probe/1"

_SYSTEM_NAMES = frozenset(
    {
        "$AttrDef",
        "$BadClus",
        "$Bitmap",
        "$Boot",
        "$Extend",
        "$LogFile",
        "$MFT",
        "$MFTMirr",
        "$Secure",
        "$UpCase",
        "$Volume",
    }
)

_LOADING = frozenset({"modprobe", "insmod"})

NOT_SUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.E2BIG, errno.ERANGE, errno.ENOKEY, errno.ENAMETOOLONG})
"""A driver that says so knows what it cannot do: unimplemented, a stream too long for an attribute, a missing key, a
name of 255 UTF-16 units that takes more than the 255 bytes of NAME_MAX (lowntfs-3g)."""


def is_system_name(path: str) -> bool:
    """Whether ``path`` is one of NTFS' own files, which drivers and readers may or may not list."""
    return path.split("/", 1)[0].split(":", 1)[0] in _SYSTEM_NAMES


@dataclass(frozen=True, slots=True)
class ReadError:
    """One operation the driver refused; ``number`` is its errno where there is one."""

    path: str
    operation: str
    number: int | None
    text: str

    @property
    def not_supported(self) -> bool:
        """Whether the driver says that it lacks the feature, rather than that it failed."""
        return self.number in NOT_SUPPORTED

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.operation}: {self.text}"


@dataclass(frozen=True, slots=True)
class Mount:
    """How the mount went. ``cause`` is refused, no-driver or no-device when ``ok`` is false."""

    ok: bool
    type: str = ""
    options: tuple[str, ...] = ()
    cause: str = ""
    text: str = ""

    @property
    def read_only(self) -> bool:
        """Whether the mount in force, or the superblock below it, is read-only."""
        return "ro" in self.options


@dataclass(frozen=True, slots=True)
class Module:
    """The module of a kernel driver as the guest had it loaded, if it was.

    ``srcversion`` is modpost's hash of its source, which only some have; ``taint`` has an O if it is not of the
    kernel's own tree (Documentation/admin-guide/tainted-kernels.rst). ``built`` is the srcversion of the one that was
    compiled for this guest, where the driver is one of those, and ``source`` of what.
    """

    name: str
    loaded: bool
    srcversion: str = ""
    taint: str = ""
    built: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time as stat(2) tells it. Drivers were seen to tell of a number of nanoseconds that is no part of a second."""

    seconds: int
    nanoseconds: int

    @property
    def possible(self) -> bool:
        """Whether there is such a time."""
        return 0 <= self.nanoseconds < 1_000_000_000

    @property
    def filetime(self) -> int:
        """What is finer than 100 ns is cut off."""
        return filetime.from_nanoseconds(self.seconds * 1_000_000_000 + self.nanoseconds)

    def __str__(self) -> str:
        if self.possible:
            return filetime.show(self.filetime)
        return f"{filetime.show(Stamp(self.seconds, 0).filetime)} and {self.nanoseconds} ns"


@dataclass(frozen=True, slots=True)
class Observation:
    """``ended`` is complete, deadline (time ran out), endless (a listing came round again and again), died
    (the reader was killed) or trouble (the probe's own).
    """

    driver: str
    kind: str
    type_asked: str
    options_asked: tuple[str, ...]
    ended: str
    last_step: str
    trouble: str
    mount: Mount | None
    manifest: Manifest
    errors: tuple[ReadError, ...]
    kernel_log: tuple[str, ...]
    device: tuple[str, str] | None
    """Hash of the device before and after, where the probe was asked for it."""
    answering: bool = False
    """Whether the driver answered all along, and only time ran out."""
    endless: str = ""
    """What came again and again."""
    signal: int = 0
    """The signal that ended the FUSE program, while mounting or later; 0 where none did."""
    module: Module | None = None
    """Of a kernel driver, as far as it got."""
    stat: Mapping[str, Mapping[str, Stamp]] = field(default_factory=dict)
    """By path and by the name of the time, where the manifest does not have all that stat(2) says: the driver tells its
    times in an attribute, too, or of times that cannot be. Records from before the probe told have none.
    """
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Observation:
        """The observation of a parsed document.

        Raises:
            LabError: it is not the probe's document.
        """
        if document.get("schema") != SCHEMA:
            raise LabError(f"the probe's document has schema {document.get('schema')!r}, not {SCHEMA!r}")
        try:
            return _parse(document)
        except (KeyError, TypeError, ValueError) as broken:
            raise LabError(f"the probe's document is broken: {type(broken).__name__}: {broken}") from broken


_SILENCE = 15.0
"""Seconds without a word from which on a driver counts as hung, or half its time; a call takes less than one."""


def _was_answering(document: Mapping[str, Any]) -> bool:
    silent = document.get("silent")
    return silent is not None and silent < min(_SILENCE, document.get("seconds", 0.0) / 2)


def _parse(document: Mapping[str, Any]) -> Observation:
    told = [ReadError(error["path"], error["operation"], error["errno"], error["text"]) for error in document["errors"]]
    # A module that is built in cannot be loaded, and need not be: whether it matters is for the mount to tell.
    errors = tuple(error for error in told if error.operation not in _LOADING)
    before, after = document.get("device_before"), document.get("device_after")
    return Observation(
        driver=document["driver"],
        kind=document["kind"],
        type_asked=document["type_asked"],
        options_asked=tuple(document["options_asked"].split(",")),
        ended=document["ended"],
        last_step=" ".join(str(word) for word in document.get("last_step", ())),
        answering=_was_answering(document),
        endless=document.get("endless", ""),
        trouble=document.get("trouble", ""),
        mount=_mount(document["mount"]) if "mount" in document else None,
        manifest=_manifest(document, errors),
        errors=errors,
        kernel_log=tuple(document.get("kernel_log", ())),
        device=(before, after) if before and after else None,
        signal=max(0, -(document.get("daemon_status") or document.get("mount", {}).get("status") or 0)),
        module=_module(document["module"]) if "module" in document else None,
        stat=_stat(document),
        facts=_facts(document),
    )


def _module(document: Mapping[str, Any]) -> Module:
    built = document.get("built", {})
    return Module(
        document["name"],
        document["loaded"],
        document.get("srcversion", ""),
        document.get("taint", ""),
        built.get("srcversion", ""),
        built.get("source", ""),
    )


def _mount(document: Mapping[str, Any]) -> Mount:
    if not document["ok"]:
        return Mount(ok=False, cause=document["cause"], text=document["text"])
    # FUSE mounts of an ro daemon show ro in the superblock's options, kernel ones in both.
    options = (*document["options"].split(","), *document["super_options"].split(","))
    return Mount(ok=True, type=document["type"], options=tuple(dict.fromkeys(options)))


def _manifest(document: Mapping[str, Any], errors: Sequence[ReadError]) -> Manifest:
    """What could not be looked at or listed is unsure, not missing: the error is told on its own."""
    entries = [entry for entry in document["entries"] if not is_system_name(entry["path"])]
    known = tuple(_entry(entry, _unread_streams(entry["path"], errors)) for entry in entries)
    unsure = {entry.path for entry in known if entry.kind is Kind.UNKNOWN}
    unsure |= {error.path for error in errors if error.operation == "list"}
    sees = {Feature.NAMES, Feature.SIZES, Feature.BYTES, Feature.TIMES, Feature.HOLES}
    if document["streams_as"] != "none":
        sees.add(Feature.STREAMS)
    if any(entry.kind is Kind.SYMLINK for entry in known):
        sees.add(Feature.LINKS)
    if any(entry.attributes is not None for entry in known):
        sees.add(Feature.ATTRIBUTES)
    sees |= {feature for name, feature in _METADATA.items() if any(getattr(one, name) is not None for one in known)}
    return Manifest(known, frozenset(sees), frozenset(unsure))


_METADATA = {
    "eas": Feature.EAS,
    "reparse": Feature.REPARSE_DATA,
    "security": Feature.SECURITY,
    "object_id": Feature.OBJECT_IDS,
    "short_name": Feature.SHORT_NAMES,
    "names": Feature.NAME_COUNTS,
}
"""What is seen by a driver that shows it anywhere."""

_STREAM = "xattr user."


def _unread_streams(path: str, errors: Sequence[ReadError]) -> tuple[Stream, ...]:
    """Streams of ``path`` that are there, but were not read: Linux hands nothing on that is longer than 64 KiB."""
    failed = (error.operation for error in errors if error.path == path)
    return tuple(Stream(name.removeprefix(_STREAM), None, None) for name in failed if name.startswith(_STREAM))


def _entry(document: Mapping[str, Any], unread: tuple[Stream, ...] = ()) -> Entry:
    streams = document.get("streams")
    if streams is not None:
        read = (*(Stream(**stream) for stream in streams), *unread)
        streams = tuple(sorted(read, key=lambda stream: stream.name))
    eas, reparse = document.get("eas"), document.get("reparse")
    holes = document.get("holes")
    blocks = document.get("blocks")
    return Entry(
        document["path"],
        Kind(document["kind"]),
        size=document.get("size"),
        sha256=document.get("sha256"),
        blocks=None if blocks is None else tuple(blocks),
        target=document.get("target"),
        streams=streams,
        times=Times(**document.get("times", {})),
        attributes=document.get("attributes"),
        holes=None if holes is None else tuple((offset, length) for offset, length in holes),
        eas=None if eas is None else tuple(Attachment(**one) for one in eas),
        reparse=None if reparse is None else Reparse(**reparse),
        security=document.get("security"),
        object_id=document.get("object_id"),
        short_name=document.get("short_name"),
        names=document.get("links") if document["kind"] == "file" else None,
    )


def _stat(document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Stamp]]:
    told = (entry for entry in document["entries"] if "stat" in entry and not is_system_name(entry["path"]))
    return {entry["path"]: {which: Stamp(*said) for which, said in entry["stat"].items()} for entry in told}


def _facts(document: Mapping[str, Any]) -> dict[str, str]:
    """More axes of the cell, as text."""
    module = document.get("module", {})
    version = document.get("program", {}).get("version") or module.get("version") or module.get("srcversion")
    if "built" in module:  # the version that it calls itself has not changed for ten years of changes
        version = f"{module['built']['srcversion']} ({module['built']['source']})"
    mount = document.get("mount", {})
    loading = "; ".join(
        f"{one['operation']} {one['path']}: {one['text']}" for one in document["errors"] if one["operation"] in _LOADING
    )
    facts = {
        "driver_version": version or document["kernel"],  # a driver in the kernel's own tree has the kernel's version
        "kernel_version": document["kernel"],
        "options_asked": document["options_asked"],
        "loading": loading,
        "options_in_force": f"{mount.get('options', '')};{mount.get('super_options', '')}" if mount.get("ok") else "",
    }
    return {name: value for name, value in facts.items() if value}
