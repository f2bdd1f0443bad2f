"""The rules: each a small pure function from a question to reasons. What a host could not say is never a go.

A rule that has nothing to say of a move says nothing; one that looked and found all well says so, with its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from lab.preflight.answer import Answer, Decision, Reason
from lab.preflight.disks import disks
from lab.preflight.kernels import KNOWN_BAD, real_version
from lab.preflight.question import Question
from lab.preflight.survey import version_of
from lab.verdict import Outcome

__all__ = ["RULES", "judge"]

Rule = Callable[[Question], Iterator[Reason]]

GO, WARN, UNTESTED, NO_GO = Decision.GO, Decision.WARN, Decision.UNTESTED, Decision.NO_GO

_XEN_VERSIONS = "https://wiki.xenproject.org/wiki/Xen_Project_Version_Compatibility"
_HVM_MAX_VCPUS = 128
"""Xen's own limit for PVH and HVM guests (public/hvm/hvm_info_table.h)."""


def judge(question: Question) -> Answer:
    """Every rule's reasons, in the order of the rules."""
    reasons = tuple(chain.from_iterable(rule(question) for rule in RULES.values()))
    return Answer(question.guest.name, question.source.name, question.target.name, question.move.how, reasons)


def state(q: Question) -> Iterator[Reason]:
    """Only what runs can be moved with its memory."""
    if not q.move.cold and not q.guest.active:
        words = f"it does not run, and {q.move.how} moves what runs; start it, or ask with --how cold"
        yield Reason(NO_GO, "state", words, f"libvirt on {q.source.name}")


def abi(q: Question) -> Iterator[Reason]:
    """The target's Xen takes guests of that kind."""
    bits, whence = q.bits
    wanted = _abi(q.type, bits, q.guest.arch)
    where = f"xl info on {q.target.name}: xen_caps; {whence}"
    if not wanted:
        yield Reason(UNTESTED, "abi", f"guests of type {q.type or 'unknown'!r} are not known", where)
    elif not q.target.xen_caps:
        known = f"; libvirt there names {q.target.abis}" if q.target.abis else ""
        yield Reason(UNTESTED, "abi", f"the target does not say its xen_caps, and {wanted} is needed{known}", where)
    elif wanted not in q.target.xen_caps:
        words = f"the target takes no {wanted}, which a {q.type} guest with a {bits}-bit kernel needs"
        yield Reason(NO_GO, "abi", words, f"{where} is {' '.join(sorted(q.target.xen_caps))}")
    else:
        yield Reason(GO, "abi", f"the target takes {wanted}", where)


def _abi(kind: str, bits: int, arch: str) -> str:
    if arch in {"aarch64", "armv7l"}:
        return f"xen-3.0-{arch}"
    names: Mapping[str, str] = {"pv": "xen-3.0", "pvh": "hvm-3.0", "hvm": "hvm-3.0"}
    if kind not in names:
        return ""
    return f"{names[kind]}-{'x86_64' if bits == 64 else 'x86_32p'}"


def suspend(q: Question) -> Iterator[Reason]:
    """Xen on Arm neither saves nor restores a domain."""
    arms = [host.name for host in (q.source, q.target) if any("arm" in c or "aarch" in c for c in host.xen_caps)]
    if arms and not q.move.cold:
        words = f"Xen on Arm ({', '.join(arms)}) neither saves, restores nor migrates; only a cold move is possible"
        yield Reason(NO_GO, "suspend", words, "libxl.h: LIBXL_HAVE_NO_SUSPEND_RESUME; xl info: xen_caps")


def log_dirty(q: Question) -> Iterator[Reason]:
    """A live move of a PV guest follows its writes by shadow paging."""
    if q.move.how != "live" or q.type != "pv":
        return
    where = f"xl info on {q.source.name}: virt_caps"
    if q.source.virt_caps is None or q.source.version < (4, 13):
        words = "the source does not say whether it has shadow paging, which a live move of a PV guest needs"
        yield Reason(UNTESTED, "log-dirty", words, f"{where}; Xen 4.13 is the first to say")
    elif "shadow" not in q.source.virt_caps:
        words = "the source's Xen is built without shadow paging, which a live move of a PV guest needs"
        yield Reason(NO_GO, "log-dirty", words, f"{where} is {' '.join(sorted(q.source.virt_caps))}")
    else:
        yield Reason(GO, "log-dirty", "the source has shadow paging, which a live move of a PV guest needs", where)


def shadow(q: Question) -> Iterator[Reason]:
    """A guest that asks for shadow paging gets it there."""
    if q.type not in {"pvh", "hvm"} or not q.shadow:
        return
    where = f"domain XML: hap off; xl info on {q.target.name}: virt_caps"
    if q.target.virt_caps is None or q.target.version < (4, 13):
        yield Reason(UNTESTED, "shadow", "it wants shadow paging; the target does not say whether it has it", where)
    elif "shadow" not in q.target.virt_caps:
        words = "it wants shadow paging, and the target's Xen is built without it"
        yield Reason(NO_GO, "shadow", words, f"{where} is {' '.join(sorted(q.target.virt_caps))}")


def builder(q: Question) -> Iterator[Reason]:
    """Kernels that a toolstack is known not to load."""
    if not q.move.cold or q.type != "pvh" or q.bits[0] != 32 or q.target.version != (4, 14):
        return
    if q.move.based_at_zero:
        words = "its kernel's ELF notes have a virtual base of 0, as Xen 4.14 wants it of a 32-bit kernel as PVH"
        yield Reason(GO, "builder", words, "who moves the guest")
    else:
        words = "Xen 4.14 does not load a 32-bit kernel as PVH: segment boundary too low"
        yield Reason(NO_GO, "builder", words, f"seen with Debian's 686-pae kernels; {q.bits[1]}")


def cpu(q: Question) -> Iterator[Reason]:
    """What the guest has found out about its CPU stays true."""
    if q.move.cold:
        return
    where = f"xl info: hw_caps of {q.source.name} and {q.target.name}"
    if q.source.features is None or q.target.features is None:
        silent = q.source.name if q.source.features is None else q.target.name
        yield Reason(UNTESTED, "cpu", f"{silent} does not say what its CPU can do", where)
        return
    lost = q.source.features - q.target.features
    flags = q.guest.inside.flags if q.guest.inside is not None else frozenset()
    used = sorted(lost & flags if flags else lost)
    if used:
        seen = f"; /proc/cpuinfo in {q.guest.name}" if flags else ""
        words = f"the target's CPU lacks {_few(used)}, which the guest {'has' if flags else 'may have'} found here"
        yield Reason(NO_GO, "cpu", words, f"{where}{seen}")
    else:
        yield Reason(GO, "cpu", "the target's CPU has all that the guest was shown", where)


def memory(q: Question) -> Iterator[Reason]:
    """The target has room for it."""
    need, where = q.guest.needed_mib, f"xl info on {q.target.name}: free_memory"
    if q.target.free_mib is None:
        yield Reason(UNTESTED, "memory", f"the target does not say how much is free; it needs {need} MiB", where)
    elif need <= q.target.free_mib:
        yield Reason(GO, "memory", f"it needs {need} MiB and {q.target.free_mib} MiB are free", where)
    elif q.target.dom0_fixed is False:
        words = f"it needs {need} MiB and {q.target.free_mib} MiB are free; dom0 ({q.target.dom0_mib or '?'} MiB)"
        yield Reason(UNTESTED, "memory", f"{words} would have to give the rest", f"{where}; no dom0_mem at boot")
    else:
        yield Reason(NO_GO, "memory", f"it needs {need} MiB and only {q.target.free_mib} MiB are free", where)


def vcpus(q: Question) -> Iterator[Reason]:
    """The target takes that many virtual CPUs."""
    limits = [(q.target.max_vcpus, f"xl info on {q.target.name}: max_cpu_id, which is virsh maxvcpus")]
    if q.type in {"pvh", "hvm"}:
        limits.append((_HVM_MAX_VCPUS, "Xen: HVM_MAX_VCPUS"))
    for limit, where in limits:
        if limit is None:
            yield Reason(WARN, "vcpus", "the target does not say how many virtual CPUs it takes", where)
        elif q.guest.vcpus > limit:
            yield Reason(NO_GO, "vcpus", f"it has {q.guest.vcpus}, and the target takes {limit}", where)


def bridges(q: Question) -> Iterator[Reason]:
    """Its interfaces find their bridges."""
    where = f"/sys/class/net on {q.target.name}"
    for name in q.guest.bridges:
        if q.target.bridges is None:
            yield Reason(UNTESTED, "bridge", f"the target does not say whether it has bridge {name}", where)
        elif name not in q.target.bridges:
            there = ", ".join(sorted(q.target.bridges)) or "none"
            yield Reason(NO_GO, "bridge", f"the target has no bridge {name}; there: {there}", where)
        else:
            yield Reason(GO, "bridge", f"the target has bridge {name}", where)
    for name in q.guest.networks:
        yield Reason(UNTESTED, "bridge", f"interface {name}: only bridges by name are compared", "domain XML")


def names(q: Question) -> Iterator[Reason]:
    """Its name and its UUID are free there, or its own."""
    where = f"libvirt on {q.target.name}"
    namesake = q.target.tenant(q.guest.name)
    if namesake is not None and namesake.uuid != q.guest.uuid:
        words = f"the name is taken there, by a guest with UUID {namesake.uuid}"
        yield Reason(NO_GO, "name", words, where)
    elif namesake is not None and namesake.active:
        yield Reason(NO_GO, "name", "it is there already, and runs", where)
    elif namesake is not None:
        yield Reason(WARN, "name", "it is defined there already; that definition will be replaced", where)
    for other in q.target.tenants:
        if other.uuid and other.uuid == q.guest.uuid and other.name != q.guest.name:
            yield Reason(NO_GO, "uuid", f"its UUID {q.guest.uuid} is taken there, by {other.name}", where)


def boot_files(q: Question) -> Iterator[Reason]:
    """What it starts from is there. Nothing of it is read when its memory is moved, and at its next start it is."""
    for what, path in q.guest.boots:
        if q.move.brought(path):
            continue
        place = q.target.places.get(path)
        where = f"{path} on {q.target.name}"
        if place is None or not place.kind:
            yield Reason(UNTESTED, "boot-files", f"the target does not say whether it has the {what}", where)
        elif place.kind == "absent" and (q.move.cold or what == "emulator"):
            yield Reason(NO_GO, "boot-files", f"the target lacks the {what} that it starts from", where)
        elif place.kind == "absent":
            words = f"the target lacks the {what}: it would arrive, and not start there again"
            yield Reason(WARN, "boot-files", words, where)


def kernel(q: Question) -> Iterator[Reason]:
    """Its kernel is not known to break on the way."""
    if q.move.cold:
        return
    inside = q.guest.inside
    if inside is None or not version_of(inside.release):
        words = f"which kernel it runs is unknown: {q.guest.silent or 'it does not say'}"
        yield Reason(WARN, "kernel", words, f"asked within {q.guest.name}")
        return
    version, vendor = real_version(inside.release, inside.version)
    for bad in KNOWN_BAD:
        decision = bad.judge(version, vendor=vendor)
        if decision is not GO:
            doubt = "; its vendor may have mended that" if decision is UNTESTED else ""
            words = f"kernel {'.'.join(map(str, version))} ({inside.release}): {bad.what}{doubt}"
            yield Reason(decision, "kernel", words, bad.source)


def modules(q: Question) -> Iterator[Reason]:
    """Another kernel finds its modules in the guest."""
    release = q.move.kernel
    inside = q.guest.inside
    if not release or (inside is not None and release == inside.release and not q.move.modules):
        return
    where = f"/lib/modules/{release} in {q.guest.name}"
    if inside is None:
        yield Reason(UNTESTED, "modules", f"whether it has modules for {release} is unknown: {q.guest.silent}", where)
    elif release not in inside.trees:
        there = ", ".join(sorted(inside.trees)) or "none"
        yield Reason(NO_GO, "modules", f"it has no modules for kernel {release}; there: {there}", where)
    elif lacking := sorted(_plain(q.move.modules) - inside.has):
        yield Reason(NO_GO, "modules", f"kernel {release} needs {_few(lacking)}, and the guest lacks it", where)
    elif lost := sorted(inside.loaded - inside.has):
        words = f"now loaded, and not there for kernel {release}: {_few(lost)}"
        yield Reason(WARN, "modules", words, where)
    else:
        yield Reason(GO, "modules", f"it has the modules for kernel {release}", where)


def _plain(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.replace("-", "_") for name in names)


def direction(q: Question) -> Iterator[Reason]:
    """Xen takes in what an older Xen sends; the next one is supported, a later one often works, an older one rarely."""
    here, there = q.source.version, q.target.version
    if q.move.cold:
        yield Reason(GO, "xen-version", "nothing of its memory travels", f"--how {q.move.how}")
    elif not here or not there:
        silent = q.target.name if here else q.source.name
        yield Reason(UNTESTED, "xen-version", f"{silent} does not say its Xen's version", "xl info; libvirt")
    elif here[0] == there[0] and 0 <= there[1] - here[1] <= 1:
        yield Reason(GO, "xen-version", f"from Xen {q.source.xen} to {q.target.xen} is supported", _XEN_VERSIONS)
    elif here < there:
        words = f"from Xen {q.source.xen} to {q.target.xen} skips releases: it often works, and nobody promises it"
        yield Reason(WARN if q.proven else UNTESTED, "xen-version", words, _XEN_VERSIONS)
    else:
        words = f"from Xen {q.source.xen} back to {q.target.xen} is not supported"
        yield Reason(WARN if q.proven else UNTESTED, "xen-version", words, _XEN_VERSIONS)


def libvirt(q: Question) -> Iterator[Reason]:
    """A libvirt reads what an older one writes."""
    here, there = version_of(q.source.libvirt), version_of(q.target.libvirt)
    if q.move.cold or not here or not there or here <= there:
        return
    words = f"from libvirt {q.source.libvirt} back to {q.target.libvirt}: it may not read what the newer one sends"
    yield Reason(WARN if q.proven else UNTESTED, "libvirt-version", words, "libvirt on both hosts")


def past(q: Question) -> Iterator[Reason]:
    """What runs have seen of such moves."""
    seen = q.seen
    bad = [one for one in seen if one.outcome is not Outcome.PASS]
    good = [one for one in seen if one.outcome is Outcome.PASS]
    for one in bad:
        words = f"such a move was seen: {one.outcome.value}: {_brief(one.reason) or 'no reason given'}"
        yield Reason(NO_GO, "past", words, one.source)
    if good:
        words = f"such a move was seen to work{f' {len(good)} times' if len(good) > 1 else ''}"
        yield Reason(WARN if bad else GO, "past", words, good[-1].source)
    if not seen:
        runs = ", ".join(q.past.runs) or "none was given"
        yield Reason(UNTESTED, "past", "no run has seen such a move", f"runs: {runs}")


def _few(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _brief(text: str, most: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


RULES: Mapping[str, Rule] = {
    "state": state,
    "abi": abi,
    "suspend": suspend,
    "log-dirty": log_dirty,
    "shadow": shadow,
    "builder": builder,
    "cpu": cpu,
    "memory": memory,
    "vcpus": vcpus,
    "bridge": bridges,
    "disk": disks,
    "name": names,
    "boot-files": boot_files,
    "kernel": kernel,
    "modules": modules,
    "xen-version": direction,
    "libvirt-version": libvirt,
    "past": past,
}
