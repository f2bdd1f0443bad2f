"""What past runs have seen of such moves, read off their matrices. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from lab.matrix.model import HostFacts, Matrix, MatrixCell
from lab.preflight.survey import version_of
from lab.verdict import Outcome

__all__ = ["THERE_AND_BACK", "Past", "Seen", "Sought", "past_of"]

THERE_AND_BACK = "there-and-back"
"""On the axis ``trip`` of a cell."""

_JUDGED = frozenset({Outcome.PASS, Outcome.FAIL, Outcome.UNSUPPORTED})

# Cells that break something on purpose say nothing about moves where nobody does.
_PLANTED = frozenset({"fault", "negative", "planted", "control"})


@dataclass(frozen=True, slots=True)
class Sought:
    """A kind of move: what must be alike for one to say something about another.

    Versions are major and minor, of Xen and of libvirt; an empty one is not known. ``type`` and ``bits``, the width of
    the kernel, are those at arrival; ``changes`` says whether the guest left with others.
    """

    xen: tuple[tuple[int, ...], tuple[int, ...]]
    libvirt: tuple[tuple[int, ...], tuple[int, ...]]
    how: str
    type: str
    bits: int
    changes: bool = False

    def covers(self, other: Sought) -> bool:
        """Whether ``other`` is such a move. A Xen version must be known, a libvirt version may be unknown."""
        if not all(self.xen) or replace(self, libvirt=other.libvirt) != other:
            return False
        return all(not a or not b or a == b for a, b in zip(self.libvirt, other.libvirt, strict=True))


@dataclass(frozen=True, slots=True)
class Seen:
    """A move that a run has judged. ``kernel`` is the guest's release if it is known, ``userland`` i386 or amd64."""

    run: str
    cell: str
    move: Sought
    outcome: Outcome
    reason: str = ""
    kernel: str = ""
    userland: str = ""

    @property
    def source(self) -> str:
        """Where that stands."""
        return f"run {self.run}, {self.cell.rpartition('::')[2]}"


@dataclass(frozen=True, slots=True)
class Past:
    """What ``runs`` have seen."""

    seen: tuple[Seen, ...] = ()
    runs: tuple[str, ...] = ()

    def of(self, move: Sought, *, kernel: str = "", bits: int | None = None) -> tuple[Seen, ...]:
        """What was seen of such moves: of those with that very kernel and userland if there are any, else of all."""
        alike = tuple(seen for seen in self.seen if move.covers(seen.move))
        userland = {32: "i386", 64: "amd64"}.get(bits or 0, "")
        closest = tuple(one for one in alike if (one.kernel, one.userland) == (kernel, userland))
        return closest if kernel and userland and closest else alike

    def __add__(self, other: Past) -> Past:
        return Past(self.seen + other.seen, self.runs + other.runs)


def past_of(matrix: Matrix) -> Past:
    """What a run has seen; cells without a verdict, and those that break something on purpose, say nothing."""
    hosts = {host.name: host for host in matrix.run.hosts}
    cells = (cell for cell in matrix.cells if cell.kind == "migration" and cell.outcome in _JUDGED)
    honest = (cell for cell in cells if not any(cell.axes.get(axis, "none") != "none" for axis in _PLANTED))
    return Past(tuple(seen for cell in honest for seen in _legs(cell, hosts, matrix.run.id)), (matrix.run.id,))


def _legs(cell: MatrixCell, hosts: Mapping[str, HostFacts], run: str) -> Iterator[Seen]:
    """The moves of a cell. One that goes there and back proves both by its pass; else nobody knows which failed."""
    xen, libvirt = zip(*(_host(cell.axes.get(role, ""), hosts) for role in ("source", "target")), strict=True)
    left = _guest(f"{cell.axes.get('kernel', '')}-{cell.axes.get('type', '')}")
    came = _guest(cell.axes["arrives"]) if "arrives" in cell.axes else left
    there = Sought(xen, libvirt, cell.axes.get("how", ""), *came, changes=came != left)
    back = replace(there, xen=xen[::-1], libvirt=libvirt[::-1], type=left[0], bits=left[1])
    round_trip = cell.axes.get("trip") == THERE_AND_BACK or any(check.name.startswith("back:") for check in cell.checks)
    if round_trip and cell.outcome is not Outcome.PASS:
        return
    for move in (there, back) if round_trip else (there,):
        kernel = "" if move.changes else cell.axes.get("kernel_version", "")
        yield Seen(run, cell.id, move, cell.outcome, cell.reason, kernel, cell.axes.get("userland", ""))


def _guest(label: str) -> tuple[str, int]:
    """Type and width of ``bookworm-i386-686-pae-pvh``."""
    kernel, _, kind = label.rpartition("-")
    return kind, 32 if "i386" in kernel.split("-") else 64


def _host(label: str, hosts: Mapping[str, HostFacts]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Xen's and libvirt's versions of what an axis calls ``4.20``, or by its name in an inventory.

    A host of another make, such as ``4.14-dom0-i386``, has none unless the run has met it.
    """
    found = hosts.get(label) or hosts.get(f"xen-{label}")
    if found is not None:
        return version_of(found.xen), version_of(found.libvirt)
    return (version_of(label) if re.fullmatch(r"\d+\.\d+", label) else ()), ()
