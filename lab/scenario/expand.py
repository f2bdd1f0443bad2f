"""A scenario -> the combinations that become its cells: excludes, expectations and pairwise applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from lab.scenario.candidate import SHOWN, THERE_AND_BACK, Candidate, candidates, host_requests, kind_of
from lab.scenario.cell import Expectation, GuestRequest, MigrationRequest
from lab.scenario.condition import Condition, explain, known_axes, matching, values
from lab.scenario.document import Node
from lab.scenario.mend import EVERY_AXIS
from lab.scenario.mistake import Mark, Mistakes, suggest
from lab.scenario.model import Expect, GuestScenario
from lab.scenario.pairwise import Pair, cover, untested
from lab.scenario.understand import Understood

__all__ = ["MAX_CELLS", "Draft", "Untested", "expand"]

MAX_CELLS = 100_000
"""More is a slip of the pen, and would fill the memory before anybody could say so."""

_ROLES = ("source", "target")

_TELLING = frozenset({("host", "microvm"), ("stage", "microvm"), ("trip", THERE_AND_BACK)})
"""What cells show also where all of them have it, because readers take the opposite for granted."""


@dataclass(frozen=True, slots=True)
class Untested:
    """A pair of values on two axes that is in no cell, and whether that is because of ``exclude``.

    It is a single value where only one axis varies.
    """

    pair: Pair
    excluded: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """What becomes of one document: its kind, its combinations, what is expected of each, how many were left out.

    ``untested`` are the pairs that are in no cell; None where nobody asked for pairs.
    """

    understood: Understood
    kind: str
    chosen: tuple[Candidate, ...]
    expected: tuple[Expectation | None, ...]
    left_out: int
    untested: tuple[Untested, ...] | None = None

    @property
    def mark(self) -> Mark:
        """Where the scenario begins."""
        return self.understood.tree.at(("scenario",)).key

    def shown(self) -> frozenset[str]:
        """The axes that its cells show: those of the kind, and any other that varies."""
        found = values(self.chosen).items()
        varying = {axis for axis, labels in found if len(labels) > 1 or (axis, labels[0]) in _TELLING}
        return frozenset(SHOWN[self.kind]) | varying


def expand(understood: Understood, mistakes: Mistakes) -> Draft:
    """The draft of a scenario; what is wrong goes to ``mistakes``."""
    scenario = understood.scenario
    kind = kind_of(scenario)
    _check_roles(understood, mistakes)
    found = tuple(islice(candidates(scenario), MAX_CELLS + 1))
    if len(found) > MAX_CELLS or not found:
        if found:
            mistakes.add(
                understood.tree.mark, f"more than {MAX_CELLS} combinations; name fewer values or use several files"
            )
        return Draft(understood, kind, (), (), 0)
    judge = _Judge(understood, mistakes)
    kept = judge.exclude(found)
    judge.possible(kept)
    expected = judge.expect(kept)
    indices = cover([candidate.axes for candidate in kept]) if scenario.pairwise else list(range(len(kept)))
    chosen = tuple(kept[index] for index in indices)
    return Draft(
        understood,
        kind,
        chosen,
        tuple(expected.get(index) for index in indices),
        len(kept) - len(chosen),
        _untested(found, kept, chosen) if scenario.pairwise else None,
    )


def _untested(
    found: Sequence[Candidate], kept: Sequence[Candidate], chosen: Sequence[Candidate]
) -> tuple[Untested, ...]:
    """The pairs of ``found`` that are not in ``chosen``; counted anew rather than believed of the cover."""
    whole = [candidate.axes for candidate in found]
    excluded = frozenset(untested(whole, [candidate.axes for candidate in kept]))
    missing = untested(whole, [candidate.axes for candidate in chosen])
    return tuple(Untested(pair, pair in excluded) for pair in missing)


def _check_roles(understood: Understood, mistakes: Mistakes) -> None:
    """A migration goes from source to target; elsewhere each role is another host."""
    scenario, hosts = understood.scenario, understood.tree.at(("hosts",))
    if not isinstance(scenario, GuestScenario):
        return
    if not scenario.migrate:
        _check_distinct(scenario, hosts, mistakes)
        return
    for role in scenario.hosts:
        if role not in _ROLES:
            words = f"hosts: {role!r} is neither source nor target; a migration has these two{suggest(role, _ROLES)}"
            mistakes.add(hosts.at((role,)).key, words)
    missing = [role for role in _ROLES if role not in scenario.hosts]
    if not understood.doubtful.isdisjoint({*_ROLES, EVERY_AXIS}):
        return
    if missing and len(scenario.hosts) < len(_ROLES):
        mistakes.add(hosts.key, f"hosts: no {' and no '.join(missing)}; a migration goes from source to target")
    elif not missing and bool(scenario.hosts["source"].inventory) is not bool(scenario.hosts["target"].inventory):
        mistakes.add(hosts.key, "hosts: one is embedded and the other of the inventory; no network joins these two")
    elif not missing and next(candidates(scenario), None) is None:
        mistakes.add(
            hosts.key, "hosts: source and target are the same host everywhere; a guest must move to another one"
        )


def _check_distinct(scenario: GuestScenario, hosts: Node, mistakes: Mistakes) -> None:
    roles: dict[str, str] = {}
    for role, host in scenario.hosts.items():
        for name in (request.label for request in host_requests(role, host)):
            first = roles.setdefault(name, role)
            if first != role:
                mistakes.add(
                    hosts.at((role,)).key, f"hosts: {first!r} and {role!r} are both {name}; one of them is enough"
                )


@dataclass(frozen=True, slots=True)
class _Judge:
    understood: Understood
    mistakes: Mistakes

    def exclude(self, found: Sequence[Candidate]) -> tuple[Candidate, ...]:
        gone: set[int] = set()
        axes = values(found)
        for index, condition in enumerate(self.understood.scenario.exclude):
            gone.update(self._matching(found, condition, ("exclude", index), axes))
        if len(gone) == len(found) and self.understood.sound:
            self.mistakes.add(self.understood.tree.at(("exclude",)).key, "exclude: nothing is left")
        return tuple(candidate for index, candidate in enumerate(found) if index not in gone)

    def expect(self, kept: Sequence[Candidate]) -> dict[int, Expectation]:
        expected: dict[int, Expectation] = {}
        axes = values(kept)
        for index, expect in enumerate(self.understood.scenario.expect) if kept else ():
            loc = ("expect", index)
            self._finding_fits(expect, loc)
            mark = self.understood.tree.at(loc).mark
            said = Expectation(expect.outcome, expect.because, expect.finding or "", mark.place(self.mistakes.path))
            cells = self._matching(kept, expect.when, (*loc, "when"), axes)
            taken = [cell for cell in cells if cell in expected]
            if taken and not self.understood.doubtful:
                self.mistakes.add(
                    mark, f"expect: {len(taken)} of its cells {_have(taken)} the expect at {expected[taken[0]].place}"
                )
            expected.update(dict.fromkeys(cells, said))
        return expected

    def possible(self, kept: Sequence[Candidate]) -> None:
        """A 64-bit userland needs a 64-bit kernel; the other way round works, and is why the lab exists."""
        for guest in dict.fromkeys(candidate.request.guest for candidate in kept):
            if guest.kernel.arch == "i386" and guest.userland == "amd64" and not self.understood.doubtful:
                self.mistakes.add(
                    self._guest_mark(guest), f"kernel {guest.kernel.name} cannot run an amd64 userland; exclude that"
                )

        self._arrivals_possible(kept)

    def _arrivals_possible(self, kept: Sequence[Candidate]) -> None:
        for candidate in kept:
            arrive = candidate.request.arrive if isinstance(candidate.request, MigrationRequest) else None
            if arrive is None or arrive.kernel == candidate.request.guest.kernel or self.understood.doubtful:
                continue
            if arrive.kernel.arch == "i386" and arrive.userland == "amd64":
                self.mistakes.add(
                    self.understood.tree.at(("migrate", "arrive", "kernel")).key,
                    f"kernel {arrive.kernel.name} cannot run the amd64 userland of guest {arrive.name!r}; exclude that",
                )

    def _guest_mark(self, guest: GuestRequest) -> Mark:
        tree = self.understood.tree
        if isinstance(self.understood.scenario, GuestScenario):
            return tree.at(("guests", guest.name)).key
        return tree.at(("kernels",)).key

    def _finding_fits(self, expect: Expect, loc: tuple[str | int, ...]) -> None:
        if expect.finding and isinstance(self.understood.scenario, GuestScenario):
            mark = self.understood.tree.at((*loc, "finding")).key
            self.mistakes.add(mark, "expect.finding: only an NTFS scenario has findings")

    def _matching(
        self,
        found: Sequence[Candidate],
        condition: Condition,
        loc: tuple[str | int, ...],
        axes: dict[str, tuple[str, ...]],
    ) -> list[int]:
        node = self.understood.tree.at(loc)
        doubtful = self.understood.doubtful
        # An axis that exists only with a certain key may be missing because of the mistake in that key.
        if not known_axes([axis for axis in condition if axis not in doubtful], tuple(axes), node, self.mistakes):
            return []
        sure = {} if EVERY_AXIS in doubtful else {axis: condition[axis] for axis in condition if axis not in doubtful}
        cells = matching(found, sure)
        if not cells:
            mark = self.understood.tree.at(loc[:2]).mark
            self.mistakes.add(mark, f"{loc[0]} matches no cell: {explain(sure, axes)}")
        return cells if len(sure) == len(condition) else []


def _have(taken: Sequence[int]) -> str:
    return "is also named by" if len(taken) == 1 else "are also named by"
