"""A plan: the steps of an operation on one volume, each target chosen by what the volume shows to be worth trying."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lab.ntfs.manifest import Entry, Kind, Manifest
from lab.ntfs.observation import is_system_name
from lab.ntfs.operations.layout import Terrain
from lab.ntfs.operations.step import Step

__all__ = ["KINDS", "MOST_BYTES", "MOST_STEPS", "Plan", "Target"]

KIB = 1 << 10
MIB = 1 << 20

MOST_BYTES = 16 * MIB
"""What is written in one cell."""

MOST_STEPS = 400

_LARGEST = 9 * MIB
"""Of a target that is not mostly holes; it is read back and hashed more than once."""

KINDS = ("resident", "non-resident", "fragmented", "attribute-list", "sparse", "compressed", "valid-length")
"""Ways in which a file's bytes are stored, each a target of its own."""

_READ_ONLY = 0x1

_RESIDENT = 300
"""What fits any MFT record beside a name."""

_IN_RECORD = frozenset({"create", "setxattr"})
_WITH_CONTENT = frozenset({"append", "create", "map", "setxattr", "write"})


@dataclass(frozen=True, slots=True)
class Target:
    """An existing file. ``kind`` is what makes it worth trying, ``holes`` where nothing is stored."""

    path: str
    kind: str
    size: int
    holes: tuple[tuple[int, int], ...] = ()

    @property
    def folder(self) -> str:
        """The directory that it is in; empty for the root."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


@dataclass
class Plan:
    """Steps for a volume that holds ``manifest``, on the ground that it lies on.

    ``each`` is how many targets of a kind an operation may take. No target is taken twice, and no more is written than
    there is room for.
    """

    manifest: Manifest
    terrain: Terrain
    each: int = 2
    steps: list[Step] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _room: int = 0
    _linked: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        # A third: drivers take clusters ahead, and directories and the MFT grow too.
        self._room = min(MOST_BYTES, self.terrain.free // 3)
        known = (self.terrain.layouts.get(entry.path) for entry in self.manifest.entries if entry.kind is Kind.FILE)
        self._linked = Counter(layout.number for layout in known if layout is not None)

    # --- targets ------------------------------------------------------------------------------------------------

    def files(self, *, least: int = 0, count: int = 0) -> list[Target]:
        """Up to ``count`` (or :attr:`each`) files of each kind, the smallest and the largest first; they are taken.

        After the ways of storing come what a file has besides: streams, more names, an alias, an unusual name.
        """
        found: list[Target] = []
        pool = [(entry, self.terrain.layouts[entry.path].kind) for entry in self._eligible(least)]
        for kind in KINDS:
            found += self._some([(entry, kind) for entry, its in pool if its == kind], count or self.each)
        for entry, _ in pool:
            for feature in _features(entry):
                if feature not in {target.kind for target in found}:
                    found += self._some([(entry, feature)], 1)
        return found

    def _some(self, candidates: list[tuple[Entry, str]], count: int) -> list[Target]:
        free = [(entry, kind) for entry, kind in candidates if entry.path not in self._taken]
        free.sort(key=lambda one: (one[0].size or 0, one[0].path))
        ends = [free[at // 2] if at % 2 == 0 else free[-1 - at // 2] for at in range(min(count, len(free)))]
        self._taken |= {entry.path for entry, _ in ends}
        return [Target(entry.path, kind, entry.size or 0, entry.holes or ()) for entry, kind in ends]

    def linked(self) -> list[Target]:
        """One file that has another name, if there is one."""
        layouts = self.terrain.layouts
        plain = [one for one in self._known(Kind.FILE) if layouts[one.path].kind in KINDS and one.sha256 is not None]
        return self._some([(one, "linked") for one in plain if self._linked[layouts[one.path].number] > 1], 1)

    def aliased(self) -> Iterator[Entry]:
        """Everything that has an 8.3 alias."""
        yield from (entry for entry in self.manifest.entries if entry.short_name and not self._is_doubtful(entry.path))

    def directories(self) -> list[Target]:
        """One directory of each kind, of those with the most names; they are not taken."""
        holds = Counter(entry.path.rpartition("/")[0] for entry in self.manifest.entries)
        found: dict[str, Target] = {}
        for entry in sorted(self._known(Kind.DIRECTORY), key=lambda one: (-holds[one.path], one.path)):
            kind = self.terrain.layouts[entry.path].kind
            if kind and entry.reparse is None:
                found.setdefault(kind, Target(entry.path, f"in-{kind.removesuffix('-directory')}-directory", 0))
        return list(found.values())

    def spare_directory(self) -> Target | None:
        """A directory with something in it, but not much, that no target lies in; it is taken, with all below."""
        for entry in self._known(Kind.DIRECTORY):
            below = [one for one in self.manifest.entries if one.path.startswith(entry.path + "/")]
            inside = {entry.path, *(one.path for one in below)}
            if any(self._is_doubtful(path) for path in inside):  # elsewhere, nobody would know of it
                continue
            if 0 < len(below) < 40 and not inside & self._taken and entry.reparse is None:
                self._taken |= inside
                return Target(entry.path, "directory", 0)
        return None

    def _eligible(self, least: int) -> Iterator[Entry]:
        for entry in self._known(Kind.FILE):
            layout = self.terrain.layouts[entry.path]
            if layout.kind not in KINDS or self._linked[layout.number] > 1:
                continue
            if entry.sha256 is None or entry.reparse is not None:
                continue
            if (entry.attributes or 0) & _READ_ONLY or (entry.size or 0) < least:
                continue
            if (entry.size or 0) <= _LARGEST or layout.kind == "sparse":
                yield entry

    def _known(self, kind: Kind) -> Iterator[Entry]:
        for entry in self.manifest.entries:
            there = entry.path in self.terrain.layouts and not is_system_name(entry.path)
            if entry.kind is kind and there and not self._is_doubtful(entry.path) and entry.path != "hiberfil.sys":
                yield entry

    def _is_doubtful(self, path: str) -> bool:
        return self.manifest.is_unsure(path) or self.manifest.is_fragile(path)

    # --- steps --------------------------------------------------------------------------------------------------

    def fresh(self, part: str) -> str:
        """A new directory for the operation that ``part`` belongs to; its path, even if there is no room for it."""
        wanted = f"lab {part.partition('/')[0]}"
        while wanted in self.manifest.by_path or any(step.path == wanted for step in self.steps):
            wanted += "+"
        self.do("mkdir", wanted, part, cost=1)  # the first block of its index
        return wanted

    def do(self, what: str, path: str, part: str, *, cost: int | None = None, **more: object) -> bool:
        """One more step; whether it was taken: not if there are too many, or too little room for what it writes.

        ``cost`` is how many bytes it may take on the volume, if not the ``length`` of its content.
        """
        length = more.get("length", 0)
        wanted = cost if cost is not None else length if isinstance(length, int) else 0
        small = what in _IN_RECORD and wanted <= _RESIDENT
        clusters = 0 if small else -(-wanted // self.terrain.cluster) * self.terrain.cluster
        if len(self.steps) >= MOST_STEPS or clusters > self._room:
            return False
        self._room -= clusters
        if length and what in _WITH_CONTENT:
            more.setdefault("seed", f"{len(self.steps)} {part}")
        self.steps.append(Step(what, path, part, more))
        return True

    def fits(self, *sizes: int) -> Iterable[int]:
        """Those of ``sizes`` that there is room for, each once, in order."""
        return sorted({size for size in sizes if 0 <= size <= self._room // 2})


def _features(entry: Entry) -> Iterator[str]:
    if entry.streams:
        yield "streams"
    if entry.short_name:
        yield "aliased"
    name = entry.path.rpartition("/")[2]
    if len(name.encode("utf-16-le", "surrogatepass")) >= 400:
        yield "long-name"
    if any(ord(one) > 0xFFFF for one in name):
        yield "emoji"
    elif any(0x2E80 <= ord(one) < 0xD800 for one in name):
        yield "cjk"
    if name != name.strip(" .") or not name.isprintable() or set(name) & set('"*:<>?|\\'):
        yield "odd-name"
