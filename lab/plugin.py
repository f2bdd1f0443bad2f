"""The pytest plugin: ``*.lab.yaml`` become files of cells; fixtures open the same stage to plain tests.

Every session of every user with this package installed imports this module, so it imports nothing of weight; what a
run needs is imported when there is a cell to run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.engine.stash import ATTEMPT, CELL, CONTINUED, KEPT, MISTAKEN, RUN, SUFFIX

if TYPE_CHECKING:  # see above
    from lab.deadline import Deadline
    from lab.engine.attempt import Attempt
    from lab.matrix.model import HostFacts
    from lab.ntfs.volumes.recipe import Volume
    from lab.settings import Settings
    from lab.staging import Guest, Stage

__all__ = [
    "guest_host",
    "lab_deadline",
    "lab_guest",
    "lab_hosts",
    "lab_prepared",
    "lab_stage",
    "lab_verdict",
    "migrate",
    "ntfs_volume",
]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the lab's own hooks."""
    from lab import hookspecs  # noqa: PLC0415 - hooks are declared by a module

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the lab's options; all begin with ``--lab-``."""
    group = parser.getgroup("lab", "Crossroads lab")
    group.addoption(
        "--lab-retries", type=int, metavar="N", help="try a cell up to N more times when the lab itself was at fault"
    )
    group.addoption(
        "--lab-iterations",
        type=_iterations,
        metavar="N",
        help="make every live and every save-restore move N times, whatever its scenario says",
    )
    group.addoption(
        "--lab-stage",
        choices=("xen", "microvm"),
        help="run NTFS cells on Xen guests or on bare QEMU guests, whatever their scenario says",
    )
    group.addoption("--lab-reports", metavar="DIR", help="where records of runs go (default: LAB_REPORTS or reports)")
    group.addoption(
        "--lab-hosts",
        metavar="FILE",
        help="your own Xen hosts, by the names that scenarios use (default: LAB_HOSTS)",
    )
    group.addoption("--lab-known", metavar="FILE", help="accepted failures (default: scenarios/known.yaml if there)")
    group.addoption(
        "--lab-continue",
        metavar="RUN",
        help="finish that run: carry the verdicts that it has, and run the selected cells that have none",
    )
    group.addoption("--lab-keep", action="store_true", help="after a failure keep the stage up for a look")
    parser.addini("lab_retries", "as --lab-retries", default="1")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; watch xdist's controller, where there is one."""
    config.addinivalue_line("markers", "lab_guest(**guest): the guest that the fixture guest_host is bound to")
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        from lab.engine.dist import Controller  # noqa: PLC0415 - only under xdist

        config.pluginmanager.register(Controller(config), "lab-controller")
    if config.getoption("lab_continue") is not None:
        from lab.engine.continuing import Continuation  # noqa: PLC0415 - only for who asks for it

        Continuation.begin(config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect scenario files."""
    if not file_path.name.endswith(SUFFIX):
        return None
    from lab.engine.items import ScenarioFile  # noqa: PLC0415 - only where there are scenarios

    return ScenarioFile.from_parent(parent, path=file_path)


@pytest.hookimpl(tryfirst=True)  # a plugin that shuffles, or runs the last failures first, has the last word
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put quick verdicts first, unless the user named single cells and so an order."""
    worker = hasattr(config, "workerinput")
    if worker and config.stash.get(MISTAKEN, False) and not config.option.continue_on_collection_errors:
        items.clear()  # xdist would run what can be collected; pytest alone would not
    if any(CELL in item.stash for item in items) and not any("::" in argument for argument in config.args):
        from lab.engine.items import quick_first  # noqa: PLC0415 - only where there are cells

        quick_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Begin a run if there are cells to run."""
    items: Sequence[pytest.Item] = getattr(session, "items", ())  # xdist's controller collects none
    worker = getattr(session.config, "workerinput", None)
    stops = session.testsfailed and not session.config.option.continue_on_collection_errors and worker is None
    continued = session.config.stash.get(CONTINUED, None)
    # A run may be continued of which every cell has its verdict: then there is nothing to run, and all to report.
    cells = any(CELL in item.stash for item in items) or (continued is not None and continued.matched and not worker)
    if cells and not session.config.option.collectonly and not stops:
        from lab.engine.begin import begin, join  # noqa: PLC0415 - only where there are cells
        from lab.engine.items import file_order  # noqa: PLC0415 - likewise

        if worker is None:
            begin(session.config, file_order(items))
        else:
            join(session.config, worker["testrunuid"])
    return (yield)


@pytest.hookimpl(trylast=True)  # anybody's own stage comes first
def pytest_lab_open_stage(settings: Settings, keep: bool) -> AbstractContextManager[Stage]:  # noqa: FBT001 - a hook
    """Open the real stage."""
    from lab.stage import open_stage  # noqa: PLC0415 - brings libvirt along

    return open_stage(settings, keep=keep)


@pytest.fixture(scope="session")
def lab_stage(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[Stage]:
    """The hosts and guests of this session (of this worker, under xdist)."""
    from lab.engine.alarm import terminate_like_interrupt  # noqa: PLC0415 - only where there is a stage
    from lab.engine.configured import settings_of  # noqa: PLC0415 - likewise

    # Nobody can look inside one of several workers, which have no terminal either.
    keep = bool(pytestconfig.getoption("lab_keep")) and not hasattr(pytestconfig, "workerinput")
    settings = settings_of(pytestconfig)
    opened = pytestconfig.hook.pytest_lab_open_stage(config=pytestconfig, settings=settings, keep=keep)
    # A session without cells has nobody else who would end it in order: hosts are programs that outlive this one.
    with terminate_like_interrupt(), opened as stage, ExitStack() as kept:
        if keep:
            pytestconfig.stash[KEPT] = kept
        if RUN in pytestconfig.stash:
            pytestconfig.stash[RUN].stage_opened(stage, request.session.items)
        yield stage
        if keep:
            from lab.engine.linger import linger  # noqa: PLC0415 - only for who asks for it

            linger(request.session, settings)


@pytest.fixture
def lab_prepared(request: pytest.FixtureRequest, lab_stage: Stage) -> Iterator[Attempt]:
    """What a cell needs, brought up; undone when the cell has its verdict."""
    attempt = request.node.stash[ATTEMPT]
    with attempt.bring_up(lab_stage):
        yield attempt


@pytest.fixture
def lab_verdict(lab_prepared: Attempt) -> None:
    """Put a cell's checks. Trouble of the lab and refusals end here; whether the product failed is for the body."""
    from lab.engine.items import speak_trouble  # noqa: PLC0415 - only where there are cells

    lab_prepared.judge()
    speak_trouble(lab_prepared)


@pytest.fixture
def lab_deadline() -> Deadline:
    """How long a plain test may take on the stage: ten minutes. Override it for more."""
    from lab.deadline import Deadline  # noqa: PLC0415 - only where there is a stage

    return Deadline(600)


@pytest.fixture
def lab_hosts(lab_stage: Stage, lab_deadline: Deadline) -> Callable[[str], HostFacts]:
    """``lab_hosts("4.20")`` brings up a host, by Xen version or by its name in the inventory, and says what it is."""
    from lab.engine.requests import host_request  # noqa: PLC0415 - only where there is a stage

    return lambda host: lab_stage.host(host_request(host), lab_deadline)


@pytest.fixture
def lab_guest(
    request: pytest.FixtureRequest, lab_stage: Stage, lab_deadline: Deadline
) -> Iterator[Callable[..., Guest]]:
    """``lab_guest(host="4.20", release="bookworm", userland="i386", kernel={"release": "bookworm"}, type="pv")`` starts
    a guest, which is gone after the test. The keys are those of a guest in a scenario.
    """
    from lab.engine.requests import guest_request, host_request  # noqa: PLC0415 - only where there is a stage

    guests: list[Guest] = []
    failures = request.session.testsfailed
    with ExitStack() as undo:

        def start(host: str, **guest: Any) -> Guest:  # noqa: ANN401 - checked by guest_request
            started = lab_stage.guest(host_request(host), guest_request(**guest), lab_deadline)
            guests.append(undo.enter_context(started))
            return guests[-1]

        yield start
        # Set-up and call are reported, and so counted, before anything is undone.
        if guests and request.session.testsfailed > failures and KEPT in request.config.stash:
            request.config.stash[KEPT].push(undo.pop_all())
            del request.config.stash[KEPT]


@pytest.fixture
def guest_host(request: pytest.FixtureRequest, lab_guest: Callable[..., Guest]) -> Any:  # noqa: ANN401 - see lab.staging
    """The host of testinfra, bound to the guest of ``@pytest.mark.lab_guest(...)``: keys as of ``lab_guest``."""
    marker = request.node.get_closest_marker("lab_guest")
    if marker is None or marker.args:
        from lab.errors import UsageError  # noqa: PLC0415 - only where something is wrong

        raise UsageError(
            f"{request.node.nodeid}: guest_host needs a guest",
            hint='mark the test with @pytest.mark.lab_guest(host="4.20", release="bookworm")',
        )
    return lab_guest(**marker.kwargs).testinfra


@pytest.fixture
def migrate(lab_stage: Stage, lab_deadline: Deadline) -> Callable[..., None]:
    """``migrate(guest, to="4.20", how="live")`` moves a guest; ``how`` is cold, save-restore or live."""
    from lab.engine.requests import host_request, way  # noqa: PLC0415 - only where there is a stage

    def move(guest: Guest, to: str, how: str = "live") -> None:
        lab_stage.move(guest, host_request(to, role="target"), way(how), lab_deadline)

    return move


@pytest.fixture
def ntfs_volume(lab_stage: Stage, lab_deadline: Deadline) -> Iterator[Callable[[str], Volume]]:
    """``ntfs_volume("compressed")`` is a sample volume of that recipe: a file of the test's own, and what it holds."""
    with ExitStack() as undo:
        yield lambda name: undo.enter_context(lab_stage.volume(name, lab_deadline))


def _iterations(text: str) -> int:
    """The value of ``--lab-iterations``.

    Raises:
        ArgumentTypeError: it is no number that a scenario could name.
    """
    from argparse import ArgumentTypeError  # noqa: PLC0415 - only where the option is given

    from lab.scenario.cell import MAX_ITERATIONS  # noqa: PLC0415 - likewise

    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    if not 1 <= number <= MAX_ITERATIONS:
        raise ArgumentTypeError(f"{text} is not a whole number from 1 to {MAX_ITERATIONS}")
    return number
