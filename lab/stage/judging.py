"""Putting a cell's checks to what was brought up for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from lab.beside import beside
from lab.checks.invariants import STEERABLE, move_checks
from lab.checks.modules import kernel_checks, listed_check, loading_checks
from lab.checks.ntfs import check_volume
from lab.deadline import Deadline
from lab.errors import GuestError, HostError, LabError
from lab.guests import moving
from lab.guests.doubled import acquit_of_emulation
from lab.guests.guest import Guest, SilentGuestError
from lab.guests.observation import Observation, observe
from lab.guests.refusals import known_refusal, libxl_words
from lab.hosts.host import Host
from lab.hypervisor import (
    MigrationDeadlineError,
    MigrationError,
    MigrationRefusedError,
)
from lab.kernels.loading import Loading, load_modules
from lab.ntfs.operations import operations
from lab.scenario.cell import BootRequest, MigrationRequest, ModulesRequest, NtfsRequest
from lab.stage.evidence import keep_guest, keep_host, keep_journey, keep_observation
from lab.stage.prepared import PreparedGuest, PreparedMove, PreparedVolume
from lab.stage.repeat import repeated
from lab.stage.travel import Travel, state_on
from lab.stage.writing import judge_writing
from lab.verdict import FINDING_OUTCOMES, Check, Finding, Outcome, Verdict

__all__ = ["blames", "confirmed", "judge_guest", "judge_move", "judge_volume", "move"]


_SILENT = "keepalive timeout"
"""In libvirt's words for a peer that has not answered for long."""


def judge_guest(request: BootRequest, prepared: PreparedGuest, evidence: Path, deadline: Deadline) -> Verdict:
    """The guest runs the kernel that was asked for, and its modules load."""
    host = prepared.guest.host
    return _unless_emulated(prepared.guest, (host,), partial(_judge_guest, request, prepared, evidence, deadline))


def _judge_guest(request: BootRequest, prepared: PreparedGuest, evidence: Path, deadline: Deadline) -> Verdict:
    guest = prepared.guest
    loadings, seen = _look(guest, request.modules, evidence / "guest.txt", deadline)
    checks = (
        *kernel_checks(request.guest, guest.image.boot.kernel.release, seen),
        *loading_checks(loadings),
        *((listed_check(loadings, seen),) if loadings else ()),
    )
    keep_guest(guest, evidence, deadline=deadline)
    return _verdict(checks, prepared.facts)


def judge_move(
    request: MigrationRequest,
    prepared: PreparedMove,
    loadings: tuple[Loading, ...],
    evidence: Path,
    deadline: Deadline,
) -> Verdict:
    """Look, move, look again, load more modules, and put every invariant to what was seen; likewise on the way back, if
    it goes there and back. ``loadings`` is what came of the modules that were to be loaded before.

    Raises:
        LabError: the lab is at fault, or an emulated CPU.
    """
    judge = partial(_judge_move, request, prepared, loadings, evidence, deadline)
    return _unless_emulated(prepared.guest, (prepared.source, prepared.target), judge)


def _unless_emulated(guest: Guest, hosts: Iterable[Host], judge: Callable[[], Verdict]) -> Verdict:
    """The verdict, unless what went wrong with the guest is that an emulated CPU gave it an interrupt twice."""
    try:
        verdict = judge()
    except LabError:
        _acquit(guest, hosts)
        raise
    if verdict.outcome is Outcome.FAIL:
        _acquit(guest, hosts)
    return verdict


def _acquit(guest: Guest, hosts: Iterable[Host]) -> None:
    for host in hosts:
        acquit_of_emulation(guest, host, Deadline(20))


def _judge_move(
    request: MigrationRequest,
    prepared: PreparedMove,
    loadings: tuple[Loading, ...],
    evidence: Path,
    deadline: Deadline,
) -> Verdict:
    guest, modules = prepared.guest, request.modules
    checks: list[Check] = []
    legs = ((prepared.source, prepared.target), (prepared.target, prepared.source))[: 2 if request.back else 1]
    for number, (source, target) in enumerate(legs):
        name, prefix = (("there", ""), ("back", "back:"))[number]
        arrival = prepared.arrival if number == 0 else prepared.departure
        travel = Travel(guest, target, request.how, changes=_changes(guest, arrival))
        travel.depart(deadline)
        keep_observation(travel.before, evidence / f"{name}-before.txt")
        keep_guest(guest, evidence, deadline=deadline)
        if number == 0:
            checks += kernel_checks(guest.request, guest.image.boot.kernel.release, travel.before)
            checks += loading_checks(loadings)
            checks += (listed_check(loadings, travel.before),) if loadings else ()
        try:
            seconds = moving.move(guest, target, request.how, arrival=arrival, deadline=deadline)
        except GuestError as failed:
            if isinstance(failed, SilentGuestError) and not prepared.blames_silence:
                raise SilentGuestError(
                    f"{failed.message}; emulated, nobody is blamed before it is seen twice"
                ) from failed
            moved = dataclasses.replace(_moved(failed.message), name=f"{prefix}migrated")
            return _not_arrived(failed, (*checks, moved), (source, target), prepared)
        try:
            travel.arrive(deadline)
        except LabError as lost:
            if _lives(guest, (source, target)):
                raise
            moved = dataclasses.replace(_moved(f"{lost.message}; it has ended"), name=f"{prefix}migrated")
            return _verdict((*checks, moved), prepared.facts)
        keep_observation(travel.after, evidence / f"{name}-after.txt")
        last = number == len(legs) - 1
        more = load_modules(guest.shell, modules.load_after, deadline=deadline) if number == 0 else ()
        keep_guest(guest, evidence, deadline=deadline)
        if last and request.iterations > 1 and travel.watched:
            measured = repeated(travel, request.iterations, deadline)
            (evidence / "downtime.json").write_text(json.dumps(measured.to_json(), indent=1) + "\n")
        if last:
            travel.steer(deadline)
        keep_journey(travel.journey, evidence / f"{name}-journey.json")
        found = (
            _moved("", seconds),
            *(kernel_checks(guest.request, guest.image.boot.kernel.release, travel.after) if arrival else ()),
            *(check for check in move_checks(travel.journey, prepared.limits) if last or check.name != STEERABLE),
            *loading_checks(more, prefix="module-loads-after"),
        )
        checks += (dataclasses.replace(check, name=prefix + check.name) for check in found)
    with beside(lambda: keep_host(prepared.source, evidence, deadline=deadline)):
        keep_host(prepared.target, evidence, deadline=deadline)
    return _verdict(tuple(checks), prepared.facts)


def _changes(guest: Guest, arrival: moving.Arrival | None) -> frozenset[str]:
    """Fields of its identity that the move means to change."""
    return frozenset({"type"} if arrival is not None and arrival.request.type != guest.request.type else ())


def _lives(guest: Guest, hosts: tuple[Host, Host]) -> bool:
    """Whether a guest of which nothing was heard still runs; that a host has died is the lab's trouble."""
    for host in hosts:
        host.disks.watch()
    return state_on(guest.host.connection, guest.name, Deadline(10)).executes


def _not_arrived(
    failed: GuestError, checks: tuple[Check, ...], hosts: tuple[Host, Host], prepared: PreparedMove
) -> Verdict:
    """The last of ``checks`` says so. A guest that has arrived and does not answer there has not arrived either."""
    unseen = isinstance(failed, MigrationError) and failed.whereabouts.lives_once is None
    if unseen or isinstance(failed, MigrationDeadlineError):
        # That a host has died, or the line to it, is the lab's trouble.
        for host in hosts:
            host.disks.watch()
    if unseen and _SILENT in failed.message and any(host.facts.kind == "inventory" for host in hosts):
        # Over a line that is not the lab's own nobody can tell a host that hangs from one that is busy.
        raise HostError(f"{failed.message}; nobody is blamed for a host that was silent") from failed
    *before, moved = checks
    held = all(check.outcome is Outcome.PASS for check in before)
    # Who refuses must leave the guest as it was; and what was found before is not made good by a refusal.
    if held and isinstance(failed, MigrationRefusedError) and failed.whereabouts.lives_once is not False:
        return Verdict(Outcome.UNSUPPORTED, failed.message, (moved,), facts=prepared.facts)
    if held and isinstance(failed, MigrationError) and failed.whereabouts.lives_once:
        source, target = hosts
        for host, origin in ((source, None), (target, source.facts)):
            known = known_refusal(libxl_words(host, Deadline(20)), host.facts, origin)
            if known is not None:
                refusal, line = known
                reason = f"{refusal.reason}: {host.name}: {line}: {refusal.because}"
                return Verdict(Outcome.UNSUPPORTED, reason, (moved,), facts=prepared.facts)
    return _verdict(checks, prepared.facts)


def judge_volume(request: NtfsRequest, prepared: PreparedVolume, evidence: Path, deadline: Deadline) -> Verdict:
    """Mount, read everything, compare with what is known of it; and the volume is as it was. Or what is written is."""
    if operations[request.operation].write and not request.writer:
        return judge_writing(request, prepared, evidence, deadline)
    bench = prepared.bench
    name = request.shelved
    specimen = bench.shelf.places[name].specimen
    untouched = bench.shelf.digest(name, deadline)
    document = bench.read(prepared.driver, name, seconds=specimen.reading_seconds, deadline=deadline)
    log = [] if not bench.spoiled else bench.guest.console(deadline=deadline.at_most(20)).splitlines()
    verdict = check_volume(specimen.manifest, specimen.state, document, log=log, folder=evidence, run_folder=evidence)
    if verdict.finding in {Finding.CRASH, Finding.HANG}:
        # Its kernel is not to be trusted any more; a driver that merely showed wrong bytes has tainted nothing.
        bench.spoiled = bench.spoiled or verdict.reason
    same = Check.equal("image-untouched", untouched, bench.shelf.digest(name, deadline))
    bench.guest.keep(evidence, deadline=deadline)
    if same.outcome is Outcome.FAIL:
        # Whatever else it did: to have written where it was told not to is the worst. The shelf holds other bytes now.
        bench.spoiled = bench.spoiled or f"{request.driver} has changed {name}"
        reason = f"{same}; {verdict.reason}".rstrip("; ")
        verdict = dataclasses.replace(verdict, outcome=Outcome.FAIL, finding=Finding.DAMAGED, reason=reason)
    return dataclasses.replace(
        verdict,
        checks=(*verdict.checks, same, *specimen.doubt_checks()),
        facts={**prepared.facts, **verdict.facts},
        evidence=(),  # whoever keeps the record names every file of the folder
    )


def blames(verdict: Verdict) -> bool:
    """Whether the verdict says that a driver is wrong."""
    found = verdict.finding is not None and FINDING_OUTCOMES[verdict.finding] is Outcome.FAIL
    return found or verdict.outcome is Outcome.FAIL


def confirmed(first: Verdict, second: Verdict) -> Verdict:
    """What two attempts on two guests say together: blame only where both found the same."""
    if first.finding is second.finding and first.outcome is second.outcome:
        return dataclasses.replace(second, reason=f"{second.reason} (seen twice, the second time on a fresh guest)")
    found = first.finding.value if first.finding else first.outcome.value
    then = second.finding.value if second.finding else second.outcome.value
    return dataclasses.replace(
        second,
        outcome=Outcome.ERROR,
        finding=None,
        reason=f"not reproduced on a fresh guest: {found}, then {then}; {first.reason}",
    )


def move(guest: Guest, target: Host, how: str, deadline: Deadline) -> float:
    """Move a guest; returns the seconds that libvirt took.

    Raises:
        MigrationError: it did not arrive.
        UnknownNameError: no such way.
    """
    return moving.move(guest, target, how, deadline=deadline)


def _look(
    guest: Guest, modules: ModulesRequest, path: Path, deadline: Deadline
) -> tuple[tuple[Loading, ...], Observation]:
    loadings = load_modules(guest.shell, modules.load, deadline=deadline)
    seen = observe(guest.shell, deadline=deadline)
    keep_observation(seen, path)
    return loadings, seen


def _moved(trouble: str, seconds: float = 0.0) -> Check:
    return Check.that(
        "migrated", not trouble, expected="libvirt reports success", observed=trouble or f"in {seconds:.1f} s"
    )


def _verdict(checks: tuple[Check, ...], facts: Mapping[str, str]) -> Verdict:
    verdict = Verdict.of(checks)
    return dataclasses.replace(verdict, facts=facts)
