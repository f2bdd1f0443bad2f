"""The move that is meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import UsageError

__all__ = ["Move"]

_WAYS = ("cold", "cold-shared", "live", "save-restore")


@dataclass(frozen=True, slots=True)
class Move:
    """How the guests are to be moved, and what they will be there.

    ``how`` is as in scenario files: cold (its disks are copied), cold-shared (both hosts have them), save-restore or
    live. A cold move may bring another ``kernel`` (its release, as uname -r will say it) and another ``type``.
    ``modules`` are those that the guest needs there. ``brings`` are paths that will be on the target by then, because
    whoever moves the guest brings them: a disk that is plugged in, a kernel; also a folder with all in it. ``shadow``
    says whether the guest will be there with shadow paging (``hap`` off); None is: as it is here. ``based_at_zero``
    says that the ELF notes of its kernel are known to have a virtual base of 0 (:mod:`lab.debian.xen_notes`).
    """

    how: str = "live"
    kernel: str = ""
    type: str = ""
    modules: frozenset[str] = frozenset()
    brings: frozenset[str] = frozenset()
    shadow: bool | None = None
    based_at_zero: bool = False

    def __post_init__(self) -> None:
        if self.how not in _WAYS:
            raise UsageError(f"how {self.how!r} is not one of {', '.join(_WAYS)}")
        changed = [name for name, value in (("kernel", self.kernel), ("type", self.type)) if value and not self.cold]
        if changed:
            raise UsageError(
                f"{changed[0]} {getattr(self, changed[0])!r}: a guest that is moved {self.how} keeps its {changed[0]}",
                hint="only a cold move starts it anew",
            )
        if self.type not in {"", "pv", "pvh", "hvm"}:
            raise UsageError(f"type {self.type!r} is not one of hvm, pv, pvh")

    @property
    def cold(self) -> bool:
        """Whether the guest is shut down here and started there: nothing of its memory travels."""
        return self.how in {"cold", "cold-shared"}

    @property
    def copies(self) -> bool:
        """Whether the disks are copied on the way."""
        return self.how == "cold"

    def brought(self, path: str) -> bool:
        """Whether ``path`` will be there, itself or by a folder that holds it."""
        return any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in self.brings)
