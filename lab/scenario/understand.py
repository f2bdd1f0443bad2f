"""A document's tree -> its validated scenario; what is wrong goes to the file's mistakes."""

from __future__ import annotations

from dataclasses import dataclass

from lab.scenario.document import Node
from lab.scenario.mend import Mender
from lab.scenario.mistake import Mistakes
from lab.scenario.model import Complaint, GuestScenario, NtfsScenario, validate
from lab.scenario.wording import NO_VALUE, message, place

__all__ = ["Understood", "understand"]

_NTFS_KEYS = ("kernels", "drivers", "volumes", "operations")
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Understood:
    """A scenario, the tree it stands in, and the axes whose values are in doubt because of mistakes."""

    scenario: GuestScenario | NtfsScenario
    tree: Node
    doubtful: frozenset[str]
    sound: bool


def understand(tree: Node, mistakes: Mistakes) -> Understood | None:
    """The scenario of ``tree``, or None if too much is missing to say more than ``mistakes`` now does."""
    before = len(mistakes.found)
    mender = Mender(_model(tree, mistakes), tree)
    kind_is_sure = _say_gaps(mender, mistakes)
    for _ in range(_ROUNDS):
        scenario, complaints = validate(mender.model, tree.plain)
        if scenario is not None:
            sound = len(mistakes.found) == before
            return Understood(scenario, tree, frozenset(mender.doubtful), sound) if kind_is_sure else None
        if not _say_and_mend(mender, complaints, mistakes):
            return None
    return None


def _say_gaps(mender: Mender, mistakes: Mistakes) -> bool:
    """Report keys without a value; whether the kind of the scenario is still sure, which its top keys decide."""
    marked = [(loc, mender.tree.at(loc).key) for loc in mender.tree.gaps()]
    mender.gaps()
    for loc, mark in marked:
        mistakes.add(mark, f"{'.'.join(str(step) for step in loc if isinstance(step, str))}: {NO_VALUE}")
    return not any(len(loc) == 1 for loc, _ in marked)


def _say_and_mend(mender: Mender, complaints: tuple[Complaint, ...], mistakes: Mistakes) -> bool:
    """Report one round of complaints and mend what they are about; whether another round can tell more."""
    tree, earlier = mender.tree, mistakes.marks()
    said = [(one, place(tree, one), message(mender.model, tree, one)) for one in complaints if not mender.follows(one)]
    misspelt = mender.names(complaints)
    for complaint, mark, words in said:
        # Under a right name the rest of a round says something else; and a mended value is not blamed twice.
        if mark not in earlier and (not misspelt or complaint.kind == "extra_forbidden"):
            mistakes.add(mark, words)
    if misspelt:
        mender.model = _model(tree, mistakes)
        return True
    return mender.values(complaints)


def _model(tree: Node, mistakes: Mistakes) -> type[GuestScenario | NtfsScenario]:
    """Which of the two kinds the keys of ``tree`` mean; keys of the other kind are dropped with a mistake."""
    keys = tree.value if isinstance(tree.value, dict) else {}
    of_ntfs = [key for key in _NTFS_KEYS if key in keys]
    if not of_ntfs:
        return GuestScenario
    if "migrate" in keys:
        _part(keys, "migrate", of_ntfs[0], mistakes)
        for key in (*of_ntfs, "stage", "guest"):
            keys.pop(key, None)
        return GuestScenario
    for key in ("modules", "guests"):
        if key in keys:
            _part(keys, of_ntfs[0], key, mistakes)
            del keys[key]
    return NtfsScenario


def _part(keys: dict[str, Node], one: str, other: str, mistakes: Mistakes) -> None:
    words = f"{other!r} does not go together with {one!r} in one scenario; make it two, parted by a line with ---"
    mistakes.add(keys[other].key, words)
