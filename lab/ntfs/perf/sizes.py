"""How much is read, written and looked up in a measure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Sizes", "sizes_for"]

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """``large`` is in bytes; ``small`` files of ``each`` bytes; ``names`` are made, renamed, and all but every
    ``kept``-th of them removed.
    """

    large: int = 8 * MIB
    small: int = 128
    each: int = 4096
    names: int = 200
    kept: int = 10

    @property
    def operations(self) -> int:
        """How many operations the metadata loop does."""
        return 3 * self.names - len(range(0, self.names, self.kept))


_EMULATED = Sizes()
"""Under emulation a turn with all measures takes some 30 s of a CPU, most of it for the walk, whose size is fixed."""

_FASTER = 8
"""fio counts in milliseconds, and 8 MiB take a real machine three of them."""


def sizes_for(accelerator: str) -> Sizes:
    """What fits the speed of a machine; figures of different sizes are not to be compared."""
    if accelerator == "tcg":
        return _EMULATED
    return Sizes(large=_EMULATED.large * _FASTER, small=_EMULATED.small * _FASTER, names=_EMULATED.names * _FASTER)
