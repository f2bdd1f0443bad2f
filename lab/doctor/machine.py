"""What is known of this machine: facts without judgement, so that a test can write down any machine it likes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.cache import Entry

__all__ = ["SUITES", "Machine"]

SUITES = ("bullseye", "bookworm", "trixie", "forky")
"""Debian suites that hosts, guests and their kernels are made of."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts. Where a text says what is wrong, an empty one means that nothing is."""

    distribution: str
    """As the system calls itself."""
    release: int | None
    """Of Debian; None elsewhere."""
    root: bool
    found: Mapping[str, str]
    """Where each proof of a package is; empty where it is not."""
    libraries: Mapping[str, str]
    """The version of each Python distribution that the lab depends on; empty where it is not installed."""
    cache: Path
    cache_trouble: str
    free: int
    """Bytes on the disk of the cache."""
    memory: int
    """Bytes that programs may still have."""
    cores: int
    fuse_trouble: str
    accelerator: str
    """tcg or kvm; empty when it was not probed."""
    accelerator_reason: str
    mirror_trouble: Mapping[str, str]
    """By suite."""
    samples: Path | None = None
    samples_found: int | None = None
    """Files in the folder of more sample volumes; None where there is no such folder."""
    entries: tuple[Entry, ...] = ()
    """Of the cache."""
    leftovers: tuple[str, ...] = field(default=())
    """What runs that were killed left behind."""
