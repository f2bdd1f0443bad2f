"""Which accelerator really works here, found by booting something under it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.initrd import USERLAND
from lab.errors import DeadlineError, UsageError
from lab.events import emit, step
from lab.process import run

__all__ = ["Accelerator", "choose_accelerator"]

PROBE_SECONDS = 5.0
"""A real boot to the first console line takes 1 s under KVM; a half-working nested KVM spins for minutes."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """``name`` is tcg or kvm; ``why`` says what was seen."""

    name: str
    why: str


def choose_accelerator(  # noqa: PLR0913 - what to boot, on what, and where to remember what came of it
    cache: Cache, wanted: str, *, kernel: Path, initrd: Path, device: Path = Path("/dev/kvm"), deadline: Deadline
) -> Accelerator:
    """KVM only where a kernel truly boots under it within 5 s, else TCG. The answer is remembered until a reboot.

    ``wanted`` is ``auto`` to probe; ``tcg`` and ``kvm`` are taken at their word. ``initrd`` is one of the lab's own,
    which says so on its console and powers off at ``lab.probe``; ``kernel`` is any Linux kernel that it fits.

    Raises:
        UsageError: ``wanted`` is something else.
    """
    if wanted in ("tcg", "kvm"):
        return Accelerator(wanted, "asked for")
    if wanted != "auto":
        raise UsageError(f"LAB_ACCELERATOR: {wanted!r} is not one of auto, kvm, tcg")
    if not os.access(device, os.R_OK | os.W_OK):
        return Accelerator("tcg", f"{device} is absent or not ours to use")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = cache.root / "accelerator" / f"{fingerprint(boot, str(device), 'probe 1')}.json"
    if answer.exists():
        return Accelerator(**json.loads(answer.read_text()))
    with step("probe the accelerator", device=str(device)):
        found = _probe(kernel, initrd, deadline)
    emit("accelerator", name=found.name, why=found.why)
    answer.parent.mkdir(parents=True, exist_ok=True)
    half = answer.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps({"name": found.name, "why": found.why}))
    half.replace(answer)
    return found


def _probe(kernel: Path, initrd: Path, deadline: Deadline) -> Accelerator:
    argv = (
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "q35,accel=kvm", "-cpu", "host"),
        *("-m", "256", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet lab.probe"),
        *("-display", "none", "-serial", "stdio", "-no-reboot"),
    )
    try:
        done = run(*argv, deadline=deadline.at_most(PROBE_SECONDS))
    except DeadlineError:
        return Accelerator("tcg", f"/dev/kvm is there, but no kernel booted under it within {PROBE_SECONDS:g} s")
    if USERLAND.encode() in done.stdout:
        return Accelerator("kvm", "a kernel booted under it")
    said = done.stderr.decode(errors="replace").strip()[-200:] or "nothing"
    return Accelerator("tcg", f"/dev/kvm is there, but no kernel came up under it; QEMU said: {said}")
