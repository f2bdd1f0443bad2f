"""What ``lab ntfs compare`` is asked: which images, and which drivers on which kernels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import UnknownNameError
from lab.hosts.embedded.recipe import embedded_versions
from lab.ntfs.drivers import Driver, DriverKind, drivers

__all__ = ["DEFAULT_KERNELS", "Question", "Way", "question", "ways"]

DEFAULT_KERNELS = ("trixie", "forky")
"""Between them they ship every driver: ntfs3 is in 6.12 and off in 7.2, the new ntfs the other way round."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to read a volume: a driver, in a guest whose kernel is that of a Debian release."""

    driver: str
    kernel: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: these images, each by each of these ways, on a host of that Xen version."""

    images: tuple[Path, ...]
    ways: tuple[Way, ...]
    host: str


def question(images: Sequence[Path], wanted: Sequence[str], kernels: Sequence[str], host: str) -> Question:
    """The question in a user's words; no driver and no kernel named means those of :func:`ways`.

    Raises:
        UnknownNameError: there is no such driver, kernel or Xen version.
    """
    if host not in embedded_versions():
        raise UnknownNameError("embedded Xen version", host, embedded_versions())
    return Question(tuple(dict.fromkeys(images)), ways(wanted, kernels), host)


def ways(wanted: Sequence[str], kernels: Sequence[str]) -> tuple[Way, ...]:
    """Each driver on the first default kernel that ships it; with ``kernels``, every driver on each of them.

    Raises:
        UnknownNameError: there is no such driver, or no release of that name ships one.
    """
    chosen = [drivers[name] for name in dict.fromkeys(wanted)] or sorted(drivers.values(), key=_kernel_drivers_first)
    releases = {shipped.release for driver in drivers.values() for shipped in driver.shipped}
    for kernel in kernels:
        if kernel not in releases:
            raise UnknownNameError("kernel", kernel, releases)
    if kernels:
        return tuple(Way(driver.name, kernel) for driver in chosen for kernel in dict.fromkeys(kernels))
    return tuple(Way(driver.name, _home(driver)) for driver in chosen)


def _kernel_drivers_first(driver: Driver) -> tuple[bool, str]:
    return driver.kind is not DriverKind.KERNEL, driver.name


def _home(driver: Driver) -> str:
    return next((kernel for kernel in DEFAULT_KERNELS if driver.ships_in(kernel)), DEFAULT_KERNELS[0])
