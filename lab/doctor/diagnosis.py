"""From facts to what is well, what is doubtful, what is missing, and the one command that mends it. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from lab.doctor.machine import Machine
from lab.doctor.requirement import Requirement

__all__ = ["Diagnosis", "State", "cure", "diagnose", "well"]

GIB = 1 << 30

COLD_DISK = 8 * GIB
"""What three hosts, their snapshots, guests and kernels take in the cache."""

LEAST_DISK = GIB
"""What one warm run may write: overlays, volumes, evidence."""

PAIR_MEMORY = 6 * GIB
"""Two hosts of 2.5 GiB and what runs around them."""

ONE_MEMORY = 3 * GIB
"""One host."""

KNOWN_DEBIANS = (12, 13)


class State(Enum):
    """How well it is. Only ``missing`` keeps the lab from working."""

    WELL = "ok"
    NOTE = "note"
    DOUBTFUL = "warning"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at. ``packages`` and ``command`` are what mends it, ``advice`` what no command can."""

    name: str
    state: State
    seen: str
    packages: tuple[str, ...] = ()
    command: str = ""
    advice: str = ""


def diagnose(machine: Machine, required: Sequence[Requirement]) -> tuple[Diagnosis, ...]:
    """Everything there is to say about the machine, in a fixed order."""
    return (
        _distribution(machine),
        _root(machine),
        *_packages(machine, required),
        _libraries(machine),
        _disk(machine),
        _memory(machine),
        _cores(machine),
        _fuse(machine),
        _accelerator(machine),
        _mirror(machine),
        _samples(machine),
        _cache(machine),
        _leftovers(machine),
    )


def well(diagnoses: Sequence[Diagnosis]) -> bool:
    """Whether nothing that the lab needs is missing."""
    return all(diagnosis.state is not State.MISSING for diagnosis in diagnoses)


def cure(machine: Machine, diagnoses: Sequence[Diagnosis]) -> str:
    """The one command that mends everything that a command can mend; empty when there is nothing to mend."""
    packages = list(dict.fromkeys(name for diagnosis in diagnoses for name in diagnosis.packages))
    commands = list(dict.fromkeys(diagnosis.command for diagnosis in diagnoses if diagnosis.command))
    if packages:
        rights = "" if machine.root else "sudo "
        install = f"{rights}apt-get install -y --no-install-recommends {shlex.join(packages)}"
        commands.insert(0, f"{rights}apt-get update && {install}")
    return " && ".join(commands)


def _distribution(machine: Machine) -> Diagnosis:
    if machine.release in KNOWN_DEBIANS:
        return Diagnosis("system", State.WELL, machine.distribution)
    known = " and ".join(str(release) for release in KNOWN_DEBIANS)
    advice = f"the lab is tried on Debian {known}; packages have other names or versions elsewhere"
    return Diagnosis("system", State.DOUBTFUL, machine.distribution or "unknown", advice=advice)


def _root(machine: Machine) -> Diagnosis:
    if machine.root:
        return Diagnosis("root", State.WELL, "yes")
    advice = "images are built and volumes mounted as root: run the lab with sudo -E"
    return Diagnosis("root", State.MISSING, "no", advice=advice)


def _packages(machine: Machine, required: Sequence[Requirement]) -> Iterator[Diagnosis]:
    # On a system that is no Debian the newest names are the best guess at what to look for.
    release = machine.release or KNOWN_DEBIANS[-1]
    for requirement in required:
        if requirement.purpose == "build" or not requirement.proof or not requirement.holds_for(release):
            # What only the set-up needs has done its work, or the libraries below say that it has not.
            continue
        where = machine.found.get(requirement.proof, "")
        if where:
            yield Diagnosis(requirement.package, State.WELL, where)
            continue
        seen = f"no {requirement.proof}: {requirement.reason}"
        if requirement.purpose == "test":
            seen += " (only for the lab's own tests)"
            yield Diagnosis(requirement.package, State.NOTE, seen)
        else:
            yield Diagnosis(requirement.package, State.MISSING, seen, packages=(requirement.package,))


def _libraries(machine: Machine) -> Diagnosis:
    absent = [name for name, version in machine.libraries.items() if not version]
    if absent:
        return Diagnosis(
            "Python packages", State.MISSING, f"not installed: {', '.join(absent)}", command="scripts/quickstart"
        )
    return Diagnosis("Python packages", State.WELL, ", ".join(f"{n} {v}" for n, v in machine.libraries.items()))


def _disk(machine: Machine) -> Diagnosis:
    if machine.cache_trouble:
        advice = "point LAB_CACHE at a folder that you may write"
        return Diagnosis("disk", State.MISSING, f"{machine.cache}: {machine.cache_trouble}", advice=advice)
    cached = sum(entry.bytes for entry in machine.entries)
    seen = f"{_gib(machine.free)} free for {machine.cache}"
    if machine.free < LEAST_DISK:
        advice = f"a run needs {_gib(LEAST_DISK)}: free some, or point LAB_CACHE at a larger disk"
        return Diagnosis("disk", State.MISSING, seen, advice=advice)
    if machine.free + cached < COLD_DISK:
        advice = f"a cache with everything in it takes about {_gib(COLD_DISK)}; point LAB_CACHE at a larger disk"
        return Diagnosis("disk", State.DOUBTFUL, seen, advice=advice)
    return Diagnosis("disk", State.WELL, seen)


def _memory(machine: Machine) -> Diagnosis:
    seen = f"{_gib(machine.memory)} available"
    if machine.memory < ONE_MEMORY:
        return Diagnosis("memory", State.MISSING, seen, advice=f"one embedded host takes {_gib(ONE_MEMORY)}")
    if machine.memory < PAIR_MEMORY:
        advice = f"a migration between two embedded hosts takes {_gib(PAIR_MEMORY)}"
        return Diagnosis("memory", State.DOUBTFUL, seen, advice=advice)
    return Diagnosis("memory", State.WELL, seen)


def _cores(machine: Machine) -> Diagnosis:
    if machine.cores < 2:
        advice = "a pair of hosts shares one core: every limit on time is tight"
        return Diagnosis("cores", State.DOUBTFUL, str(machine.cores), advice=advice)
    return Diagnosis("cores", State.WELL, str(machine.cores))


def _fuse(machine: Machine) -> Diagnosis:
    if machine.fuse_trouble:
        advice = "sample volumes are written through ntfs-3g: load the module fuse, or give the container the device"
        return Diagnosis("FUSE", State.MISSING, machine.fuse_trouble, advice=advice)
    return Diagnosis("FUSE", State.WELL, "/dev/fuse")


def _accelerator(machine: Machine) -> Diagnosis:
    if not machine.accelerator:
        return Diagnosis("accelerator", State.NOTE, machine.accelerator_reason)
    seen = f"{machine.accelerator}: {machine.accelerator_reason}"
    return Diagnosis("accelerator", State.WELL if machine.accelerator == "kvm" else State.NOTE, seen)


def _mirror(machine: Machine) -> Diagnosis:
    silent = {suite: trouble for suite, trouble in machine.mirror_trouble.items() if trouble}
    if silent:
        advice = "hosts and guests are made from what apt on this machine reaches: `apt-get update` must work first"
        seen = "; ".join(f"{suite}: {trouble}" for suite, trouble in silent.items())
        return Diagnosis("Debian mirror", State.MISSING, seen, advice=advice)
    return Diagnosis("Debian mirror", State.WELL, "has " + ", ".join(machine.mirror_trouble))


def _samples(machine: Machine) -> Diagnosis:
    if machine.samples is None:
        return Diagnosis("LAB_SAMPLES", State.NOTE, "not set: no sample volumes besides the lab's own")
    if machine.samples_found is None:
        advice = "unset LAB_SAMPLES or point it at a folder"
        return Diagnosis("LAB_SAMPLES", State.MISSING, f"{machine.samples}: no such folder", advice=advice)
    return Diagnosis("LAB_SAMPLES", State.WELL, f"{machine.samples}: {machine.samples_found} files")


def _cache(machine: Machine) -> Diagnosis:
    if not machine.entries:
        return Diagnosis("cache", State.NOTE, "empty: the first run builds its hosts and guests, which takes minutes")
    total = sum(entry.bytes for entry in machine.entries)
    counted = Counter(entry.kind for entry in machine.entries)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(counted.items()))
    return Diagnosis("cache", State.WELL, f"{_gib(total)}: {kinds}")


def _leftovers(machine: Machine) -> Diagnosis:
    if machine.leftovers:
        return Diagnosis("leftovers", State.DOUBTFUL, ", ".join(machine.leftovers), command="lab clean")
    return Diagnosis("leftovers", State.WELL, "none")


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
