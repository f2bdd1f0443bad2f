"""The networks that the embedded hosts of one stage share: hubs inside a QEMU without a machine, on Unix sockets.

Two of them: the guests' network behind every host's bridge, and one for migrations alone, so that neither a guest's
traffic nor a bridge comes between.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import HostError
from lab.process import last_line, spawn
from lab.wait import wait_until

__all__ = ["NETS", "PrivateNetwork", "private_network"]

NETS = ("guests", "moves")
"""Names of the networks, in the order of a host's network cards after the first."""


@dataclass(frozen=True, slots=True)
class PrivateNetwork:
    """Sockets in ``folder``, one a network and station. Hosts come and go; a socket serves one at a time."""

    folder: Path

    def socket(self, net: str, station: int) -> Path:
        """Where the host with that number plugs in."""
        return self.folder / f"{net}-{station}"


@contextmanager
def private_network(folder: Path, stations: Iterable[int], *, deadline: Deadline) -> Iterator[PrivateNetwork]:
    """Hubs with a port for each of ``stations``; ``folder`` is made here, and only its owner may enter.

    Unlike QEMU's multicast sockets a hub does not send a host its own packets back, which made bridges look for their
    guests on the wire (seen as shells that stalled for a minute). Unlike VDE's switch it needs no further package.

    Raises:
        HostError: QEMU does not start.
    """
    folder.mkdir(mode=0o700)
    network = PrivateNetwork(folder)
    sockets = [(hub, network.socket(net, station)) for hub, net in enumerate(NETS) for station in stations]
    argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none"]
    for hub, socket in sockets:
        argv += ["-netdev", f"stream,id={socket.name},server=on,addr.type=unix,addr.path={socket}"]
        argv += ["-netdev", f"hubport,id=port-{socket.name},hubid={hub},netdev={socket.name}"]
    log = folder / "hub.log"
    with log.open("wb") as words:
        process = spawn(*argv, stdin=subprocess.DEVNULL, stdout=words.fileno(), stderr=words.fileno())
    try:

        def ready() -> bool:
            if process.poll() is not None:
                said = last_line(log.read_bytes())
                raise HostError(f"the hosts' network: QEMU ended with status {process.returncode}: {said}")
            return all(socket.exists() for _, socket in sockets)

        wait_until("the hosts' network", ready, deadline=deadline, interval=0.02)
        yield network
    finally:
        process.kill()
        process.wait()
