"""The guest of a bench: what the bench asks of it, and what it is where the guest runs on a Xen host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.guests.doubled import acquit_of_emulation
from lab.guests.guest import Guest
from lab.process import Completed
from lab.shell import SshShell
from lab.stage.evidence import keep_guest

__all__ = ["BenchGuest", "OnXen"]


class BenchGuest(Protocol):
    """A guest in which drivers are tried, whatever it runs on. Its probe listens, and nobody needs a shell for that."""

    @property
    def name(self) -> str:
        """The guest's name in messages and evidence."""
        ...

    @property
    def kernel(self) -> Kernel:
        """What it was booted with."""
        ...

    @property
    def shelf_device(self) -> str:
        """The shelf's block device as the guest has it, such as ``/dev/xvdb``."""
        ...

    @property
    def shell(self) -> SshShell:
        """Runs programs inside, each over a connection of its own; slow, and for who must."""
        ...

    def ask(self, port: int, question: bytes, *, deadline: Deadline, watch: Callable[[], None]) -> Completed:
        """Send a line to the program that listens there, and hear it out; see :meth:`lab.shell.AskingShell.ask`.

        Raises:
            HostError: it ended before it had answered, or the way to it is broken.
            DeadlineError: no answer in time.
        """
        ...

    def watch(self) -> None:
        """Nothing, as long as what the guest runs on is sound; a guest that ended by itself is no reason.

        Raises:
            HostError: it is the lab that has failed, and not the guest.
        """
        ...

    def is_active(self, deadline: Deadline) -> bool:
        """Whether it has not ended; a kernel that hangs has not.

        Raises:
            HostError, DeadlineError: that cannot be found out.
        """
        ...

    def console(self, *, deadline: Deadline) -> str:
        """What it has said on its serial console."""
        ...

    def acquit(self, deadline: Deadline) -> None:
        """Nothing, unless it was its emulated CPU that it died of.

        Raises:
            HostError: so it was, and no driver is to be blamed.
        """
        ...

    def keep(self, folder: Path, *, deadline: Deadline) -> None:
        """Write what explains its fate into ``folder``. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class OnXen:
    """A guest on a Xen host, asked through that host."""

    guest: Guest

    @property
    def name(self) -> str:
        """See :class:`BenchGuest`."""
        return self.guest.name

    @property
    def kernel(self) -> Kernel:
        """See :class:`BenchGuest`."""
        return self.guest.image.boot.kernel

    @property
    def shelf_device(self) -> str:
        """See :class:`BenchGuest`."""
        return "/dev/xvdb"

    @property
    def shell(self) -> SshShell:
        """See :class:`BenchGuest`."""
        return self.guest.shell

    def ask(self, port: int, question: bytes, *, deadline: Deadline, watch: Callable[[], None]) -> Completed:
        """See :class:`BenchGuest`."""
        where = f"{self.guest.address.ip}:{port}"
        return self.guest.host.shell.ask(where, question, deadline=deadline, watch=watch)

    def watch(self) -> None:
        """See :class:`BenchGuest`."""
        self.guest.host.disks.watch()

    def is_active(self, deadline: Deadline) -> bool:
        """See :class:`BenchGuest`."""
        return self.guest.domain.is_active(deadline)

    def console(self, *, deadline: Deadline) -> str:
        """See :class:`BenchGuest`."""
        return self.guest.console(deadline=deadline)

    def acquit(self, deadline: Deadline) -> None:
        """See :class:`BenchGuest`."""
        acquit_of_emulation(self.guest, self.guest.host, deadline)

    def keep(self, folder: Path, *, deadline: Deadline) -> None:
        """See :class:`BenchGuest`."""
        keep_guest(self.guest, folder, deadline=deadline)
