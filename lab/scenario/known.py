"""Names that a scenario may use but that live elsewhere: drivers, volumes, operations. And patterns of names."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from lab.scenario.document import Node
from lab.scenario.mistake import Mistakes, suggest
from lab.scenario.model import GuestScenario, NtfsScenario

__all__ = ["Known", "check_hosts", "fits", "settle"]

_WILD = frozenset("*?")

_MOST_LISTED = 24


@dataclass(frozen=True, slots=True)
class Known:
    """The names that exist; the caller takes them from its registries."""

    drivers: frozenset[str]
    volumes: frozenset[str]
    operations: frozenset[str]
    hosts: frozenset[str] | None = None
    """Names in the hosts file, none without a file; None where nobody asks."""


def check_hosts(scenario: GuestScenario | NtfsScenario, known: Known, tree: Node, mistakes: Mistakes) -> None:
    """Every host of the user's that ``scenario`` names and that is not listed goes to ``mistakes``."""
    if known.hosts is None:
        return
    for role, host in scenario.hosts.items():
        for index, name in enumerate(host.inventory or ()):
            if name in known.hosts:
                continue
            if known.hosts:
                listed = suggest(name, known.hosts) or f"; listed: {', '.join(sorted(known.hosts))}"
                words = f"the hosts file has no host {name!r}{listed}"
            else:
                words = f"{name!r} is a host of your own, and no hosts file is named: --hosts FILE, or LAB_HOSTS"
            mistakes.add(tree.at(("hosts", role, "inventory", index)).mark, words)


def fits(name: str, pattern: str) -> bool:
    """Whether ``pattern`` is the name, or fits it: ``*`` stands for anything, ``?`` for one character."""
    # Square brackets mean themselves: a name may be in none of these files and still have one.
    return name == pattern or (_is_wild(pattern) and fnmatchcase(name, pattern.replace("[", "[[]")))


def settle(scenario: NtfsScenario, known: Known, tree: Node, mistakes: Mistakes) -> NtfsScenario:
    """The scenario with each pattern replaced by the names it stands for, in alphabetical order.

    Every driver, volume and operation that does not exist, and every pattern that fits none, goes to ``mistakes``.
    """
    settled = {}
    for key, what, named, names in (
        ("drivers", "driver", scenario.drivers, known.drivers),
        ("volumes", "volume", scenario.volumes, known.volumes),
        ("operations", "operation", scenario.operations, known.operations),
        ("written_by", "driver", scenario.written_by or (), known.drivers),
    ):
        found: dict[str, None] = {}
        for index, name in enumerate(named):
            meant = sorted(each for each in names if fits(each, name))
            # A scenario about writing means by "every operation" those that write.
            found.update(dict.fromkeys(each for each in meant if each != "read" or not scenario.written_by))
            if not meant:
                mistakes.add(tree.at((key, index)).mark, _unknown(what, name, names))
        settled[key] = tuple(found) or named
    return scenario.model_copy(update={**settled, "written_by": settled["written_by"] or None})


def _is_wild(text: str) -> bool:
    return not _WILD.isdisjoint(text)


def _unknown(what: str, name: str, names: frozenset[str]) -> str:
    listed = sorted(names)
    some = ", ".join(listed[:_MOST_LISTED]) + (", ..." if len(listed) > _MOST_LISTED else "")
    if _is_wild(name):
        return f"no {what} fits {name!r}; known: {some}"
    return f"no {what} {name!r}{suggest(name, names) or f'; known: {some}'}"
