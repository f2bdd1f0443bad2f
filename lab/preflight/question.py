"""One guest, two hosts, and what is meant: all that a rule may look at. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lab.preflight.guest import GuestSurvey
from lab.preflight.kernels import kernel_bits
from lab.preflight.move import Move
from lab.preflight.past import Past, Seen, Sought
from lab.preflight.survey import HostSurvey, Place, version_of
from lab.verdict import Outcome

__all__ = ["Question"]

_NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Question:
    """Whether ``guest`` can be moved from ``source`` to ``target``."""

    source: HostSurvey
    target: HostSurvey
    guest: GuestSurvey
    move: Move = field(default_factory=Move)
    past: Past = field(default_factory=Past)

    @property
    def type(self) -> str:
        """What the guest will be there: pv, pvh or hvm."""
        return self.move.type or self.guest.type

    @property
    def bits(self) -> tuple[int, str]:
        """How wide the kernel will be that runs there, and where that comes from.

        libvirt's XML is the weakest witness: it names the ABI of the domain, which is x86_64 for most 686-pae kernels.
        """
        if self.move.kernel:
            return kernel_bits(self.move.kernel), f"the name of kernel {self.move.kernel}"
        if self.guest.inside is not None and self.guest.inside.machine:
            machine = self.guest.inside.machine
            return (64 if machine in {"x86_64", "aarch64"} else 32), f"uname -m in {self.guest.name}"
        kernel = next((path for what, path in self.guest.boots if what == "kernel"), "")
        elf = self.source.places.get(kernel, _NOWHERE).bits
        if elf is not None:
            return elf, f"the ELF header of {kernel} on {self.source.name}"
        return (32 if self.guest.arch in {"i686", "armv7l"} else 64), f"domain XML of {self.guest.name}"

    @property
    def shadow(self) -> bool:
        """Whether the guest will be there with shadow paging."""
        return self.guest.shadow if self.move.shadow is None else self.move.shadow

    @property
    def seen(self) -> tuple[Seen, ...]:
        """What past runs saw of such moves."""
        inside, left = self.guest.inside, replace(self, move=Move(self.move.how))
        kind = Sought(
            xen=(self.source.version, self.target.version),
            libvirt=(version_of(self.source.libvirt), version_of(self.target.libvirt)),
            how=self.move.how,
            type=self.type,
            bits=self.bits[0],
            changes=(self.type, self.bits[0]) != (left.type, left.bits[0]),
        )
        release = self.move.kernel or (inside.release if inside is not None else "")
        return self.past.of(kind, kernel=release, bits=inside.bits if inside is not None else None)

    @property
    def proven(self) -> bool:
        """Whether past runs saw such moves pass, and never anything else."""
        seen = self.seen
        return bool(seen) and all(one.outcome is Outcome.PASS for one in seen)

    def home(self, move: Move) -> Question:
        """Whether it could come back by ``move`` once it has arrived: its name and its memory are free again here."""
        others = tuple(one for one in self.source.tenants if one.uuid != self.guest.uuid)
        free = self.source.free_mib
        here = replace(self.source, tenants=others, free_mib=None if free is None else free + self.guest.needed_mib)
        arrived = replace(self.guest, type=self.type, shadow=self.shadow)
        return replace(self, source=self.target, target=here, guest=arrived, move=move)
