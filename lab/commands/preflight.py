"""``lab preflight``: go, no-go or untested for each guest, before anything is moved."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from lab.commands.inside import cache, xen_name
from lab.commands.runs import matrix_of
from lab.deadline import Deadline
from lab.errors import EXIT_LAB, EXIT_PRODUCT, LabError, UnknownNameError, UsageError
from lab.hosts.living import living
from lab.preflight import Answer, Decision, Move, Past, guests_of, past_of, preflight, score_of, scored, way_to
from lab.report.preflight_text import render, render_score
from lab.run_record import RecordError
from lab.scenario.inventory import Inventory
from lab.settings import Settings

__all__ = ["register"]

_EXAMPLE = """Examples: lab preflight --from xen-4.14 --to xen-4.20 all | lab preflight --score latest |
lab preflight --hosts hosts.yaml --from old-rack-1 --to new-rack-1 web db

Exit codes: 0 go for all, 1 no-go for some, 2 usage error, 3 some untested or a host in trouble. With --score: 0 no
false go, 1 some, 3 nothing to score."""

_SECONDS = 120.0
"""Two emulated hosts that have other things to do answer in some seconds; one that hangs must not be waited for."""


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("preflight", epilog=_EXAMPLE)(_preflight)


def _preflight(  # noqa: PLR0913, PLR0917 - one parameter an option
    guests: Annotated[list[str] | None, typer.Argument(metavar="[GUEST...|all]", help="Which; else all.")] = None,
    source: Annotated[
        str, typer.Option("--from", metavar="HOST", help="Where they are: a host that is up, or yours.")
    ] = "",
    target: Annotated[str, typer.Option("--to", metavar="HOST", help="Where to. Or a URI: xen+ssh://H/system.")] = "",
    how: Annotated[
        str, typer.Option(metavar="HOW", help="live, save-restore, cold-shared, cold (disks are copied).")
    ] = "live",
    kernel: Annotated[str, typer.Option(metavar="RELEASE", help="The kernel that a cold move brings.")] = "",
    kind: Annotated[str, typer.Option("--type", metavar="TYPE", help="pv, pvh, hvm, if it changes too.")] = "",
    module: Annotated[list[str] | None, typer.Option(metavar="NAME", help="One that the guest needs there.")] = None,
    bring: Annotated[list[str] | None, typer.Option(metavar="PATH", help="What will be there by then.")] = None,
    evidence: Annotated[
        list[str] | None, typer.Option(metavar="RUN", help="Past runs that count; else the latest, if there is one.")
    ] = None,
    scores: Annotated[str, typer.Option("--score", metavar="RUN", help="How right it was in a run.")] = "",
    run: Annotated[str, typer.Option("--run", metavar="TAG", help="Which run's hosts, where several have some.")] = "",
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where records are.")] = None,
    hosts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own Xen hosts, by name; else those of LAB_HOSTS.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> int:
    """Say whether guests can be moved from one host to another, with every reason and its source.

    Nothing is moved and nothing is written: hosts are asked by libvirt and one ssh command each.
    """
    if scores:
        if source or target or guests:
            raise UsageError("--score looks at a run; it takes no hosts and no guests")
        return _score(scores, reports, as_json=as_json)
    if not source or not target:
        raise UsageError(
            f"{'--to' if source else '--from'} is missing", hint="lab preflight --from HOST --to HOST; see lab host ls"
        )
    inventory = Inventory.of(hosts or Settings.from_environment().hosts)
    here, there = (name if name in inventory.hosts else xen_name(name) for name in (source, target))
    if here == there:
        raise UsageError(f"--from and --to are both {here}; a guest must move to another host")
    brings = frozenset(bring or ())
    move = Move(how, kernel, kind, frozenset(module or ()), brings)
    answers = _ask((here, there), guests or (), move, _past(evidence, reports), inventory=inventory, tag=run)
    _print(answers, as_json=as_json)
    return _exit_code(answers)


def _ask(  # noqa: PLR0913 - both hosts, the guests, and what is meant and known
    hosts: tuple[str, str], guests: Sequence[str], move: Move, past: Past, *, inventory: Inventory, tag: str
) -> tuple[Answer, ...]:
    deadline = Deadline(_SECONDS)
    runs = living(cache())
    # Both names first: a mistyped one is not found out after a login to the other.
    ways = [way_to(name, runs, inventory=inventory, tag=tag) for name in hosts]
    with ExitStack() as undo:
        here, there = (undo.enter_context(way(deadline)) for way in ways)
        names = guests_of(here, guests, move, deadline=deadline)
        return preflight(here, there, names, move, past, deadline=deadline)


def _past(named: Sequence[str] | None, reports: Path | None) -> Past:
    """What the named runs have seen; without a name the latest, if there is one that can be read."""
    past = Past()
    for name in named or ():
        past += past_of(matrix_of(name, reports))
    if named:
        return past
    try:
        return past_of(matrix_of(None, reports))
    except (RecordError, UnknownNameError):
        return past


def _print(answers: Sequence[Answer], *, as_json: bool) -> None:
    if as_json:
        document = {"schema": "lab.preflight/1", "answers": [answer.to_json() for answer in answers]}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(render(answers, encoding=sys.stdout.encoding or "ascii"))


def _exit_code(answers: Sequence[Answer]) -> int:
    decisions = {answer.decision for answer in answers}
    if Decision.NO_GO in decisions:
        return EXIT_PRODUCT
    # Not a no, but no yes either: as where `lab run` has proven nothing.
    return EXIT_LAB if Decision.UNTESTED in decisions else 0


def _score(name: str, reports: Path | None, *, as_json: bool) -> int:
    matrix = matrix_of(name, reports)
    cells, unasked = scored(matrix)
    found = score_of(cells, unasked=unasked)
    if not found.cells:
        raise LabError(
            f"run {matrix.run.id}: none of its {len(cells) + unasked} migrations has a verdict and preflight's answer",
            hint="score a run of migration scenarios",
        )
    if as_json:
        sys.stdout.write(json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(render_score(found, matrix.run.id, encoding=sys.stdout.encoding or "ascii"))
    return EXIT_PRODUCT if found.false_go else 0
