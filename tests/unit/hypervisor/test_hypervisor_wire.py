"""libvirt's own client against daemons that are silent or die: real sockets, libvirt's RPC, nothing injected."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.hypervisor import binding, connect

# From src/rpc/virnetprotocol.x and src/remote/remote_protocol.x of libvirt: 28 bytes of header, all big-endian.
#   length | program | version | procedure | type (0 call, 1 reply, 2 message) | serial | status
_HEADER = struct.Struct(">7I")
_REMOTE, _KEEPALIVE = 0x20008086, 0x6B656570
_OPEN, _CLOSE, _SUPPORTS_FEATURE, _AUTH_LIST = 1, 2, 60, 66
_ANSWERS = {
    _AUTH_LIST: struct.pack(">2I", 1, 0),  # one way to authenticate: none
    _SUPPORTS_FEATURE: struct.pack(">I", 1),  # every feature, keepalive among them
    _OPEN: b"",
    _CLOSE: b"",
}


class Daemon:
    """A libvirt daemon that lets clients connect and then does ``on_call`` at the first real call."""

    def __init__(self, path: Path, on_call: Callable[[socket.socket], None], *, deaf: bool = False) -> None:
        self.uri = f"xen+unix:///system?socket={path}"
        self.pings = 0
        self.listening = threading.Event()
        self.left = threading.Event()
        if not deaf:
            self.listening.set()
        self._on_call = on_call
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self.listening.set()
        for end in (self._listener, *self._clients):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                self._clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.listening.wait()
        with suppress(OSError):
            while header := client.recv(28):
                length, program, version, procedure, _type, serial, _status = _HEADER.unpack(header)
                if length > 28:
                    client.recv(length - 28)
                if program == _KEEPALIVE:
                    self.pings += 1  # and never a pong
                elif procedure in _ANSWERS:
                    answer = _ANSWERS[procedure]
                    client.sendall(_HEADER.pack(28 + len(answer), program, version, procedure, 1, serial, 0) + answer)
                else:
                    self._on_call(client)
        self.left.set()


def be_silent(_client: socket.socket) -> None:
    """The call is read and never answered."""


def die(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_RDWR)


Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    daemons: list[Daemon] = []

    def start_one(on_call: Callable[[socket.socket], None], *, deaf: bool = False) -> Daemon:
        daemons.append(Daemon(tmp_path / "sock", on_call, deaf=deaf))
        return daemons[-1]

    yield start_one
    for daemon in daemons:
        daemon.stop()


def test_a_daemon_that_accepts_and_says_nothing(start: Start) -> None:
    daemon = start(be_silent, deaf=True)
    with pytest.raises(DeadlineError) as caught:
        connect(daemon.uri, deadline=Deadline(0.2))
    assert str(caught.value) == f"{daemon.uri}: connect: not done within 0.2 s"
    daemon.listening.set()  # it wakes up: the connection that nobody wants any more is closed
    assert daemon.left.wait(10)


def test_a_call_that_is_never_answered(start: Start) -> None:
    daemon = start(be_silent)
    with connect(daemon.uri, deadline=Deadline(20)) as connection:
        with pytest.raises(DeadlineError) as caught:
            connection.domains(Deadline(0.2))
        assert str(caught.value) == f"{daemon.uri}: list domains: not done within 0.2 s"
        begun = time.monotonic()
        with pytest.raises(HostError) as later:
            connection.domain("web32", Deadline(20))
        assert str(later.value) == (
            f"{daemon.uri}: guest web32: look up: not tried, the connection is broken: {caught.value}"
        )
        assert time.monotonic() - begun < 5


def test_a_daemon_that_dies_in_a_call(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    daemon = start(die)
    with connect(daemon.uri, deadline=Deadline(20)) as connection:
        with pytest.raises(HostError) as caught:
            connection.domains(Deadline(20))
        assert str(caught.value) == f"{daemon.uri}: list domains: End of file while reading data: Input/output error"
        assert connection.broken is caught.value
    assert capfd.readouterr().err == ""


def test_a_silent_peer_is_noticed_by_keepalive_long_before_the_deadline(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "_KEEPALIVE", (1, 1))
    daemon = start(be_silent)
    with connect(daemon.uri, deadline=Deadline(20)) as connection:
        with pytest.raises(HostError) as caught:
            connection.domains(Deadline(60))
        assert not isinstance(caught.value, DeadlineError)
        assert daemon.pings >= 1
        assert str(caught.value).startswith(f"{daemon.uri}: list domains: ")
        assert "keepalive" in str(caught.value)
        assert connection.broken is caught.value
