"""What ``lab ntfs perf`` is asked: which drivers on which kernels, what is measured, and how often. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.engine.question import DEFAULT_KERNELS
from lab.errors import UnknownNameError, UsageError
from lab.hosts.embedded.recipe import embedded_versions
from lab.ntfs.drivers import Driver, DriverKind, drivers
from lab.ntfs.perf import MEASURES, Measure
from lab.ntfs.perf.measure import chosen
from lab.scenario.stages import Stage

__all__ = ["DEFAULT_ROUNDS", "Field", "PerfQuestion", "perf_question"]

DEFAULT_ROUNDS = 5
"""Two drivers that are equally fast are told apart by chance in one of 126 measures then; with three, in one of ten."""

_MOST_ROUNDS = 100
"""A day under emulation, and as many fresh copies as a shelf has room for."""


@dataclass(frozen=True, slots=True)
class Field:
    """The kernel of a Debian release, who takes turns on it, and who was asked for and is not to be had there."""

    kernel: str
    entrants: tuple[Driver, ...]
    absent: tuple[Driver, ...] = ()


@dataclass(frozen=True, slots=True)
class PerfQuestion:
    """What is asked. ``host`` is the Xen that the guests run on; empty on a stage without."""

    fields: tuple[Field, ...]
    measures: tuple[Measure, ...] = MEASURES
    rounds: int = DEFAULT_ROUNDS
    stage: Stage = Stage.XEN
    host: str = "4.20"


def perf_question(  # noqa: PLR0913 - what is asked for, by name
    *,
    names: Sequence[str] = (),
    kernels: Sequence[str] = (),
    measured: Iterable[str] = (),
    rounds: int = DEFAULT_ROUNDS,
    stage: Stage = Stage.XEN,
    host: str = "4.20",
) -> PerfQuestion:
    """The question in a user's words.

    Without drivers it is all that a kernel has. Without kernels it is those that the lab has by default, and for each
    driver that was named and is on none of them, the newest that has it.

    Raises:
        UnknownNameError: there is no such driver, kernel, measure or Xen version.
        UsageError: a number of rounds that cannot be meant.
    """
    if not 1 <= rounds <= _MOST_ROUNDS:
        raise UsageError(f"--rounds {rounds}: not between 1 and {_MOST_ROUNDS}", hint="ranks need 3, and 5 are better")
    if stage is Stage.XEN and host not in embedded_versions():
        raise UnknownNameError("embedded Xen version", host, embedded_versions())
    wanted = tuple(drivers[name] for name in dict.fromkeys(names))
    known = {release for driver in drivers.values() for release in driver.releases}
    for kernel in kernels:
        if kernel not in known:
            raise UnknownNameError("kernel", kernel, known)
    fields = tuple(_field(kernel, wanted) for kernel in dict.fromkeys(kernels or _homes(wanted)))
    return PerfQuestion(fields, chosen(measured), rounds, stage, host if stage is Stage.XEN else "")


def _homes(wanted: Sequence[Driver]) -> list[str]:
    """The kernels to take where none is named."""
    if not wanted:
        return list(DEFAULT_KERNELS)
    homes = [kernel for kernel in DEFAULT_KERNELS if any(_is_there(driver, kernel) for driver in wanted)]
    strangers = [driver for driver in wanted if not any(_is_there(driver, kernel) for kernel in DEFAULT_KERNELS)]
    return [*homes, *(driver.releases[-1] for driver in strangers)]


def _field(kernel: str, wanted: Sequence[Driver]) -> Field:
    asked = wanted or drivers.values()
    entrants = tuple(driver for driver in asked if _is_there(driver, kernel))
    return Field(kernel, entrants, tuple(driver for driver in wanted if driver not in entrants))


def _is_there(driver: Driver, kernel: str) -> bool:
    """A FUSE driver is a program of the guest, whose userland is the same on every kernel."""
    return driver.kind is DriverKind.FUSE or kernel in driver.releases
