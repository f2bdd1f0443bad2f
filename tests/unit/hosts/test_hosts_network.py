"""The hubs between hosts, without a QEMU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.hosts.embedded.network import PrivateNetwork, private_network
from lab.hosts.embedded.qemu import PROGRAM
from tests.unit.programs import Programs

LISTENS = r"""
echo $$ > "$HERE/pid"
for word in "$@"; do
    printf '%s\n' "$word" >> "$HERE/words"
    case $word in stream,*) : > "${word##*addr.path=}" ;; esac
done
exec sleep 60
"""


def test_every_station_has_a_port_of_every_hub(programs: Programs, tmp_path: Path) -> None:
    programs.add(PROGRAM, LISTENS)
    with private_network(tmp_path / "net", [14, 20], deadline=Deadline(10)) as network:
        assert network.folder.stat().st_mode & 0o777 == 0o700
        [pid] = programs.note("pid")
        assert Path("/proc", pid).exists()
        sockets = [network.socket(net, station) for net in ("guests", "moves") for station in (14, 20)]
        assert len(set(sockets)) == 4
        assert all(socket.exists() for socket in sockets)
    assert not Path("/proc", pid).exists()
    ports = [word for word in programs.note("words") if word.startswith("hubport")]
    assert ports == [
        "hubport,id=port-guests-14,hubid=0,netdev=guests-14",
        "hubport,id=port-guests-20,hubid=0,netdev=guests-20",
        "hubport,id=port-moves-14,hubid=1,netdev=moves-14",
        "hubport,id=port-moves-20,hubid=1,netdev=moves-20",
    ]


def test_a_qemu_that_knows_no_streams_is_told_by_its_words(programs: Programs, tmp_path: Path) -> None:
    programs.add(PROGRAM, "echo \"qemu: -netdev stream: Parameter 'type' expects a netdev backend type\" >&2; exit 1")
    words = (
        "the hosts' network: QEMU ended with status 1: "
        "qemu: -netdev stream: Parameter 'type' expects a netdev backend type"
    )
    with (
        pytest.raises(HostError, match=f"^{re.escape(words)}$"),
        private_network(tmp_path / "net", [14], deadline=Deadline(10)),
    ):
        pass


def test_a_qemu_that_does_nothing_ends_with_the_deadline(programs: Programs, tmp_path: Path) -> None:
    programs.add(PROGRAM, "exec sleep 60")
    with (
        pytest.raises(DeadlineError, match=r"^the hosts' network: not seen within 0\.2 s$"),
        private_network(tmp_path / "net", [14], deadline=Deadline(0.2)),
    ):
        pass


def test_sockets_are_named_after_net_and_station() -> None:
    assert PrivateNetwork(Path("/s/net")).socket("moves", 17) == Path("/s/net/moves-17")
