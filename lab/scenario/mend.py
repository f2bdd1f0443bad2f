"""Mends a tree with mistakes just enough to look for more of them, so that a file's mistakes come all at once.

What cannot be mended without guessing puts the axes it decides in doubt: conditions on them are not judged.
A mended tree is never expanded into cells that anybody runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.errors import nearest
from lab.scenario.document import Loc, Node
from lab.scenario.model import Complaint, GuestScenario, NtfsScenario, keys_at

__all__ = ["EVERY_AXIS", "Mender"]

EVERY_AXIS = "*"
"""Among the doubtful axes: all of them."""

_STAND_INS = {"scenario": "unnamed", "release": "bookworm", "how": "cold"}
"""What a missing key is taken to say meanwhile; of the ways to move, one that goes together with everything."""

_MAP_WANTED = frozenset({"model_type", "dict_type"})
_AXES: dict[str, tuple[str, ...]] = {
    "hosts": ("source", "target", "host"),
    "kernels": ("kernel",),
    "drivers": ("driver",),
    "volumes": ("volume",),
    "operations": ("operation",),
    "written_by": ("writer",),
    "migrate": ("how", "trip", "arrives"),
    "modules": ("delivery",),
    "stage": ("stage", "host"),
}
_SURE = frozenset({"scenario", "why", "limits", "exclude", "expect", "pairwise"})
_GUEST_AXES = frozenset({"kernel", "release", "userland", "type", "memory", "system"})
_MIGRATE_AXES = {"how": ("how",), "trip": ("trip",), "arrive": ("arrives",), "iterations": ()}
_MAKE_ARRIVALS = frozenset({"kernel", "release", "type"})
"""The axes of a guest on which it depends as what it arrives."""


@dataclass(slots=True)
class Mender:
    """Mends ``tree`` in place and remembers what that put in doubt."""

    model: type[GuestScenario | NtfsScenario]
    tree: Node
    doubtful: set[str] = field(default_factory=set)
    dropped: set[tuple[int, str]] = field(default_factory=set)
    emptied: set[int] = field(default_factory=set)

    def gaps(self) -> None:
        """Drop the keys without a value, which the schema would take for keys that are not there."""
        for loc in reversed(self.tree.gaps()):  # backwards, so that indices of lists stay true
            self.doubtful.update(_axes(loc))
            self._drop(_whole(loc))

    def names(self, complaints: tuple[Complaint, ...]) -> bool:
        """Put the right name on misspelt keys whose right name is not there; whether there were any."""
        found = False
        for complaint in complaints:
            if complaint.kind == "extra_forbidden":
                found = self._rename(complaint.loc) or found
        return found

    def values(self, complaints: tuple[Complaint, ...]) -> bool:
        """Mend or drop what is wrong; whether that is worth another look."""
        targets = [(complaint, self.tree.at(_whole(complaint.loc)[:2])) for complaint in complaints]
        mended = True
        for complaint, entry in reversed(targets):  # backwards, so that indices of lists stay true
            if self.tree.at(_whole(complaint.loc)[:2]) is entry:  # else an earlier complaint has taken it away
                mended = self._mend(complaint, self.tree.at(complaint.loc[:-1])) and mended
        return mended

    def follows(self, complaint: Complaint) -> bool:
        """Whether the complaint is only about the gap that mending left."""
        if complaint.kind == "missing":
            parent = id(self.tree.at(complaint.loc[:-1]))
            return parent in self.emptied or (parent, str(complaint.loc[-1])) in self.dropped
        # A map with too few keys, or with keys that do not go together, may have lost one of them here.
        lossy = self.emptied | {parent for parent, _ in self.dropped}
        return complaint.kind in {"fault", "too_short"} and id(self.tree.at(complaint.loc)) in lossy

    def _rename(self, loc: Loc) -> bool:
        parent = self.tree.at(loc[:-1])
        wrong = str(loc[-1])
        right = nearest(wrong, keys_at(self.model, loc[:-1]))
        if not right or not isinstance(parent.value, dict) or right in parent.value or wrong not in parent.value:
            return False
        parent.value = {right if key == wrong else key: node for key, node in parent.value.items()}
        return True

    def _mend(self, complaint: Complaint, parent: Node) -> bool:
        if complaint.kind == "missing":
            return self._stand_in(complaint.loc, parent)
        node = self.tree.at(complaint.loc)
        if complaint.kind == "string_type" and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            node.value = node.text
            return True
        if complaint.kind == "too_long" and isinstance(node.value, dict):
            node.value = dict(list(node.value.items())[:1])
            return True
        if complaint.kind != "extra_forbidden":
            self.doubtful.update(_axes(complaint.loc))
        if complaint.kind in _MAP_WANTED and _whole(complaint.loc) == complaint.loc:
            # Not dropped: the mere presence of `migrate` decides what a scenario is about.
            node.value = {}
            self.emptied.add(id(node))
            return True
        self._drop(_whole(complaint.loc))
        return True

    def _stand_in(self, loc: Loc, parent: Node) -> bool:
        key = str(loc[-1])
        if key not in _STAND_INS or not isinstance(parent.value, dict):
            if loc[0] not in {"expect", "exclude"}:
                return False
            self._drop(loc[:2])
            return True
        parent.value[key] = Node(_STAND_INS[key], parent.mark, parent.key, _STAND_INS[key])
        self.doubtful.update(_axes(loc))
        return True

    def _drop(self, loc: Loc) -> None:
        """Take the value at ``loc`` away, and the list around it if that is then empty."""
        node = self.tree.at(loc)
        for depth in range(len(loc), 0, -1):
            parent = self.tree.at(loc[: depth - 1])
            if parent is node:
                continue  # `loc` counts a scalar as the only item of its axis
            if isinstance(parent.value, dict):
                for key in [key for key, child in parent.value.items() if child is node]:
                    del parent.value[key]
                    self.dropped.add((id(parent), key))
                return
            if isinstance(parent.value, list):
                parent.value = [child for child in parent.value if child is not node]
            if parent.value:
                return
            node = parent


def _whole(loc: Loc) -> Loc:
    """What has to go with the value at ``loc``: of an expect or exclude all, for half a condition means other cells."""
    return loc[:2] if loc[:1] in {("expect",), ("exclude",)} else loc


def _axes(loc: Loc) -> frozenset[str]:
    """The axes whose values the value at ``loc`` decides."""
    top = str(loc[0]) if loc else EVERY_AXIS
    if top in _SURE:
        return frozenset()
    if top in {"guests", "guest"}:
        named = _GUEST_AXES & {str(step) for step in loc[1:]}
        found = frozenset(named & {"kernel"} or named or {EVERY_AXIS})
        return found | {"arrives"} if found & _MAKE_ARRIVALS else found
    if top == "migrate" and len(loc) > 1 and loc[1] in _MIGRATE_AXES:
        return frozenset(_MIGRATE_AXES[str(loc[1])])
    return frozenset(_AXES.get(top, (EVERY_AXIS,)))
