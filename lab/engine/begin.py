"""How a run begins: whoever owns the session makes the record, xdist's workers join it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab import __version__, events
from lab.cache import fingerprint
from lab.deadline import Deadline
from lab.engine import allure
from lab.engine.alarm import terminate_like_interrupt
from lab.engine.carried import Carried, carry, fingerprint_of
from lab.engine.configured import settings_of
from lab.engine.items import cells_in
from lab.engine.run import LabRun
from lab.engine.stash import CONTINUED, RUN
from lab.errors import LabError
from lab.known import Accepted
from lab.known import load as load_known
from lab.process import run
from lab.run_record import RecordError, RunRecord
from lab.scenario.cell import Cell
from lab.wait import wait_until

__all__ = ["JUNIT", "begin", "join"]

JUNIT = "junit.xml"
ALLURE = "allure-results"
KNOWN = "scenarios/known.yaml"


def begin(config: pytest.Config, cells: Sequence[Cell], *, session_id: str = "") -> LabRun:
    """Make the record of a run of ``cells``. ``session_id`` is xdist's, and given where its workers run them.

    Where the run continues another, what stands of that is taken over.

    Raises:
        Exit: the record cannot be made; its message is the reason, its code that of the trouble.
    """
    undo = ExitStack()
    try:
        accepted = _accepted(config)
        carried = _carried(config, cells, accepted)
        reports = settings_of(config).reports
        revision = _revision(config.rootpath)
        record = RunRecord.create(reports, command=_command(config), revision=revision)
        plan = carried.plan if carried else cells
        record.planned(plan, {cell.id: fingerprint_of(cell) for cell in plan})
        notes = carried.into(record, revision=revision) if carried else ()
        if session_id:
            undo.callback(_meet(reports, record.folder, session_id).unlink, missing_ok=True)
    except LabError as trouble:
        undo.close()
        pytest.exit(f"error: {trouble}", returncode=trouble.exit_code)
    lab_run = LabRun(config, record, owner=True, retries=_retries(config), accepted=accepted, undo=undo)
    lab_run.notes += notes
    lab_run.carried = carried
    _junit(config, record.folder / JUNIT)
    _start(lab_run, performs=not session_id)
    config.hook.pytest_lab_begin(config=config, folder=record.folder, cells=cells)
    return lab_run


def join(config: pytest.Config, session_id: str) -> LabRun:
    """Join the record that the controller of xdist makes as soon as it has heard of the cells.

    Raises:
        Exit: it never does.
    """
    meeting = _meeting(settings_of(config).reports, session_id)
    try:
        accepted = _accepted(config)
        wait_until(f"{meeting}: the record of the controller", meeting.is_symlink, deadline=Deadline(60), interval=0.05)
        record = RunRecord(meeting.resolve())
    except LabError as trouble:
        pytest.exit(f"error: {trouble}", returncode=trouble.exit_code)
    lab_run = LabRun(config, record, owner=False, retries=_retries(config), accepted=accepted)
    _start(lab_run, performs=True)
    return lab_run


def _start(lab_run: LabRun, *, performs: bool) -> None:
    lab_run.undo.enter_context(terminate_like_interrupt())
    allure.begin(lab_run.config, lab_run.record.folder / ALLURE)
    if performs:
        lab_run.undo.callback(events.subscribe(lab_run.record.hear))
    lab_run.config.stash[RUN] = lab_run
    lab_run.config.pluginmanager.register(lab_run, "lab-run")


def _junit(config: pytest.Config, path: Path) -> None:
    """Write JUnit's XML beside the record, unless the user asked for a place.

    As with Allure, pytest's own plugin decides before the cells are known; so it is asked once more.
    """
    plugin = config.pluginmanager.get_plugin("junitxml")
    if plugin is None or config.option.xmlpath:
        return
    config.option.xmlpath = str(path)
    before = set(config.pluginmanager.get_plugins())
    plugin.pytest_configure(config)
    for added in config.pluginmanager.get_plugins() - before:
        added.pytest_sessionstart()


def _carried(config: pytest.Config, cells: Sequence[Cell], accepted: Sequence[Accepted]) -> Carried | None:
    """What this run takes over, if it continues another."""
    continued = config.stash.get(CONTINUED, None)
    if continued is None:
        return None
    there = {file for file in continued.earlier.files if (config.rootpath / file).is_file()}
    present = cells_in(there | {cell.path for cell in cells}, config)
    return carry(continued.earlier, cells, present, accepted, datetime.now(UTC).date())


def _accepted(config: pytest.Config) -> tuple[Accepted, ...]:
    named = config.getoption("lab_known")
    if named:
        return load_known(Path(named), root=config.rootpath)
    usual = config.rootpath / KNOWN
    return load_known(usual, root=config.rootpath) if usual.is_file() else ()


def _retries(config: pytest.Config) -> int:
    asked = config.getoption("lab_retries")
    return int(config.getini("lab_retries")) if asked is None else int(asked)


def _command(config: pytest.Config) -> str:
    door = config.pluginmanager.get_plugin("lab-door")
    return str(getattr(door, "command", "")) or shlex.join(("pytest", *map(str, config.invocation_params.args)))


def _revision(root: Path) -> str:
    """Of the scenarios, if git keeps them; else the version of the lab."""
    with suppress(LabError):
        described = run("git", "-C", root, "describe", "--always", "--dirty", deadline=Deadline(10))
        if described and described.text:
            return described.text
    return f"crossroads-lab {__version__}"


def _meeting(reports: Path, session_id: str) -> Path:
    """A link that xdist's workers find, for the record's name is only known once it is made."""
    return reports / f".xdist-{fingerprint(session_id)}"


def _meet(reports: Path, folder: Path, session_id: str) -> Path:
    meeting = _meeting(reports, session_id)
    try:
        meeting.unlink(missing_ok=True)  # of a session that was killed, had the user chosen the same --testrunuid
        meeting.symlink_to(folder.name)
    except OSError as broken:
        raise RecordError(f"{meeting}: cannot be written: {broken.strerror or broken}") from broken
    return meeting
