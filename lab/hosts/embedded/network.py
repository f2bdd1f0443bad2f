"""The network that the embedded hosts of one stage share: a VDE switch, reachable through a Unix socket only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import HostError
from lab.process import last_line, spawn
from lab.wait import wait_until

__all__ = ["private_network"]


@contextmanager
def private_network(folder: Path, *, deadline: Deadline) -> Iterator[Path]:
    """A switch whose folder is ``folder`` (made here). Hosts may come and go, in any order and number.

    Raises:
        HostError: the switch does not start.
    """
    argv = ("vde_switch", "-sock", str(folder), "-mode", "600")
    # Its standard input is its console; at the end of input it would end, so it gets a pipe that stays open.
    switch = spawn(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:

        def ready() -> bool:
            if switch.poll() is not None:
                said = last_line(switch.stdout.read() if switch.stdout else b"")
                raise HostError(f"vde_switch ended with status {switch.returncode}: {said}")
            return (folder / "ctl").exists()

        wait_until("vde_switch: its control socket", ready, deadline=deadline, interval=0.02)
        yield folder
    finally:
        switch.kill()
        switch.communicate()
