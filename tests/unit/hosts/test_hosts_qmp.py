"""QEMU's control socket: greeting, answers, refusals, and what becomes of a call when QEMU does not answer."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX
from socket import socket as stdlib_socket

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.hosts.embedded.qmp import NotListeningError, Qmp
from lab.testing.qmp import DIE, HANG, FakeQmp, Refused


def soon() -> Deadline:
    return Deadline(10)


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "qmp"


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_a_command_is_answered_with_what_it_returns(socket: Path) -> None:
    status = {"status": "running", "singlestep": False, "running": True}
    with (
        FakeQmp(socket, {"query-status": status, "human-monitor-command": "VLAN -1"}) as qemu,
        Qmp(socket, "xen-4.17").connect(soon()) as qmp,
    ):
        assert qmp.execute("query-status", deadline=soon()) == status
        assert qmp.execute("human-monitor-command", {"command-line": "info usernet"}, deadline=soon()) == "VLAN -1"
        assert qmp.execute("cont", deadline=soon()) == {}
    assert qemu.executed[1:] == [("human-monitor-command", {"command-line": "info usernet"}), ("cont", {})]


def test_a_refusal_is_an_error_in_qemus_words_and_the_session_goes_on(socket: Path) -> None:
    words = "Node 'node-web32' is in use"
    with FakeQmp(socket, {"blockdev-del": Refused(words)}), Qmp(socket, "xen-4.17").connect(soon()) as qmp:
        with pytest.raises(HostError, match=f"^{re.escape(f'xen-4.17: QMP blockdev-del: {words}')}$"):
            qmp.execute("blockdev-del", {"node-name": "node-web32"}, deadline=soon())
        assert qmp.execute("query-status", deadline=soon()) == {}


def test_a_qemu_that_dies_in_the_middle_of_a_call_ends_it_at_once(socket: Path) -> None:
    start = time.monotonic()
    with FakeQmp(socket, {"migrate": DIE}), Qmp(socket, "xen-4.17").connect(soon()) as qmp:
        with pytest.raises(HostError, match=r"^xen-4\.17: QMP migrate: .+"):
            qmp.execute("migrate", {"uri": "exec:true"}, deadline=soon())
        with pytest.raises(HostError, match=r"^xen-4\.17: QMP query-status: .+"):
            qmp.execute("query-status", deadline=soon())
    assert time.monotonic() - start < 5


def test_a_qemu_that_does_not_answer_ends_with_the_deadline(socket: Path) -> None:
    with FakeQmp(socket, {"stop": HANG}), Qmp(socket, "xen-4.17").connect(soon()) as qmp:
        with pytest.raises(DeadlineError, match=r"^xen-4\.17: QMP stop: no answer within 0\.2 s$"):
            qmp.execute("stop", deadline=Deadline(0.2))
        assert qmp.execute("query-status", deadline=soon()) == {}


def test_nobody_listens(socket: Path) -> None:
    with pytest.raises(HostError, match=r"^xen-4\.17: QMP connect: .+"):
        Qmp(socket, "xen-4.17").connect(soon())


def test_a_socket_without_a_listener_is_an_error_of_its_own(socket: Path) -> None:
    with stdlib_socket(AF_UNIX) as bound:
        bound.bind(str(socket))
        with pytest.raises(NotListeningError, match=r"^xen-4\.17: QMP connect: .*refused"):
            Qmp(socket, "xen-4.17").connect(soon())


def test_somebody_listens_and_says_nothing(socket: Path) -> None:
    with (
        FakeQmp(socket, greets=False),
        pytest.raises(DeadlineError, match=r"^xen-4\.17: QMP connect: no answer within 0\.2 s$"),
    ):
        Qmp(socket, "xen-4.17").connect(Deadline(0.2))


def test_a_session_that_was_closed_says_so(socket: Path) -> None:
    with FakeQmp(socket):
        qmp = Qmp(socket, "xen-4.17").connect(soon())
        qmp.close()
        qmp.close()
        with pytest.raises(HostError, match=r"^xen-4\.17: QMP cont: the session is closed$"):
            qmp.execute("cont", deadline=soon())


def test_several_threads_may_take_turns(socket: Path) -> None:
    with FakeQmp(socket) as qemu, Qmp(socket, "xen-4.17").connect(soon()) as qmp:
        for _ in range(3):
            other = threading.Thread(target=lambda: qmp.execute("query-status", deadline=soon()))
            other.start()
            other.join(10)
    assert qemu.commands() == ["query-status"] * 3
