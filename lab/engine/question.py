"""What ``lab ntfs compare`` is asked: which images, which drivers on which kernels, and what is done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import UnknownNameError, UsageError
from lab.hosts.embedded.recipe import embedded_versions
from lab.ntfs.drivers import Driver, DriverKind, drivers
from lab.ntfs.operations import operations as registered
from lab.scenario.stages import Stage

__all__ = ["DEFAULT_KERNELS", "EVERYTHING", "READ", "Question", "Way", "images_of", "operations", "question", "ways"]

DEFAULT_KERNELS = ("trixie", "forky")
"""Between them they ship every driver: ntfs3 is in 6.12 and off in 7.2, the new ntfs the other way round."""

READ = "read"
EVERYTHING = "everything"
"""The operation that does all others, one after the other."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to read a volume: a driver, in a guest whose kernel is that of a Debian release."""

    driver: str
    kernel: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: these images (or folders or archives of them), each by each of these ways, on a host of that
    version of Xen.

    ``operations`` are what is done to a volume, each to a fresh copy. ``allow_mounted`` also takes a volume that is
    mounted for writing at this moment. ``stage`` is where the guests run: not on ``host``, if it has none.
    ``continues`` is a run whose verdicts are taken over, by its name or folder, or empty.
    """

    images: tuple[Path, ...]
    ways: tuple[Way, ...]
    host: str
    operations: tuple[str, ...] = (READ,)
    allow_mounted: bool = False
    stage: Stage = Stage.XEN
    continues: str = ""


def question(images: Sequence[Path], wanted: Sequence[str], kernels: Sequence[str], host: str) -> Question:
    """The question in a user's words; no driver and no kernel named means those of :func:`ways`.

    Raises:
        UnknownNameError: there is no such driver, kernel or Xen version.
    """
    if host not in embedded_versions():
        raise UnknownNameError("embedded Xen version", host, embedded_versions())
    return Question(tuple(dict.fromkeys(images)), ways(wanted, kernels), host)


def images_of(named: Sequence[Path], samples: Path | None, *, wanted: bool) -> tuple[Path, ...]:
    """What is to be tried: what was named, and the folder ``samples`` if that is ``wanted``.

    Raises:
        UsageError: that is nothing, or there is no such folder.
    """
    if wanted and samples is None:
        raise UsageError("LAB_SAMPLES is not set", hint="let it name the folder of your sample volumes")
    found = (*named, *((samples,) if wanted and samples is not None else ()))
    if not found:
        raise UsageError("no image is named", hint="name images or folders of them, or take your own with --samples")
    return found


def operations(wanted: Sequence[str], *, write: bool) -> tuple[str, ...]:
    """What is done to each volume: it is read, and with ``write`` also written to, or as ``wanted`` names.

    Raises:
        UnknownNameError: there is no such operation.
    """
    named = wanted or ((EVERYTHING,) if write else ())
    return tuple(registered[name].name for name in dict.fromkeys((READ, *named)))


def ways(wanted: Sequence[str], kernels: Sequence[str]) -> tuple[Way, ...]:
    """Each driver on the first default kernel that has it; with ``kernels``, every driver on each of them.

    Raises:
        UnknownNameError: there is no such driver, or no release of that name ships one.
    """
    chosen = [drivers[name] for name in dict.fromkeys(wanted)] or sorted(drivers.values(), key=_kernel_drivers_first)
    releases = {release for driver in drivers.values() for release in driver.releases}
    for kernel in kernels:
        if kernel not in releases:
            raise UnknownNameError("kernel", kernel, releases)
    if kernels:
        return tuple(Way(driver.name, kernel) for driver in chosen for kernel in dict.fromkeys(kernels))
    return tuple(Way(driver.name, _home(driver)) for driver in chosen)


def _kernel_drivers_first(driver: Driver) -> tuple[bool, str]:
    return driver.kind is not DriverKind.KERNEL, driver.name


def _home(driver: Driver) -> str:
    """A default kernel that has the driver, else the newest that has."""
    known = driver.releases
    return next((kernel for kernel in DEFAULT_KERNELS if kernel in known), (known or DEFAULT_KERNELS)[-1])
