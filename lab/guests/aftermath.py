"""What a move that failed leaves behind, and how it is put away.

libvirt's libxl driver has no abort (``virDomainAbortJob`` is not there) and does not clean up after a daemon that was
killed, so somebody has to. All of this is for hosts on which nobody else's guest is on the way.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError, LabError
from lab.events import emit
from lab.hosts.host import Host
from lab.hypervisor import Connection
from lab.wait import wait_until

__all__ = ["await_daemon", "await_landing", "drop_half_made", "end_transfers", "free_from_job", "renewed"]

# libxl sends and receives memory by this helper. One that saves takes SIGTERM as the order to fail in good order (it
# puts a descriptor that cannot be written in the stream's place); one that restores just ends, and libxl removes what
# it had made of the guest. tools/libs/light/libxl_save_helper.c
_END = r"""
for comm in $(grep -slxE 'libxl-save-help.*' /proc/[0-9]*/comm); do
  pid=${comm%/comm}; pid=${pid#/proc/}; kill -TERM "$pid" && echo "$pid"
done
"""

# The domain goes by itself where libxl was told that the stream has ended; nobody does it where its daemon was killed.
_DROP = r"""
for try in $(seq 20); do id=$(xl domid "$1" 2>/dev/null) || exit 0; sleep 0.5; done
xl destroy "$id" && echo "$id"
"""

_NO_JOB = "None"
"""What ``virsh domjobinfo`` calls it; a job is Unbounded or Bounded."""


def end_transfers(host: Host, *, deadline: Deadline) -> tuple[str, ...]:
    """Tell the helpers that send or receive memory on ``host`` to end; what was done, in words.

    Raises:
        HostError: it does not answer.
    """
    helpers = host.shell.run("sh", "-c", _END, deadline=deadline).text.split()
    return tuple(f"{host.name}: libxl's helper {pid} was ended" for pid in helpers)


def await_landing(connection: Connection, *, deadline: Deadline) -> bool:
    """Wait until a call that was given up has come back; whether none is in the air any more."""

    def landed() -> bool:
        # As long as it is in the air, that is what is wrong with the connection.
        return not isinstance(connection.broken, DeadlineError)

    try:
        return wait_until(f"{connection.uri}: the call comes back", landed, deadline=deadline)
    except LabError as stuck:
        emit("call not back", uri=connection.uri, why=stuck.message)
        return False


def drop_half_made(host: Host, guest: str, *, deadline: Deadline) -> tuple[str, ...]:
    """Destroy what ``host`` has made of a guest that lives elsewhere; what was done, in words.

    The caller has seen it live elsewhere: this one would be gone with all that it holds.

    Raises:
        HostError: it does not answer, or cannot.
    """
    done = host.shell.run("timeout", "60", "sh", "-c", _DROP, "sh", guest, deadline=deadline).check()
    return tuple(f"{host.name}: domain {number}, half made of {guest}, was destroyed" for number in done.text.split())


def free_from_job(host: Host, guest: str, *, deadline: Deadline) -> tuple[str, ...]:
    """Restart libvirt's daemon if it holds a job of ``guest`` that nobody will end; what was done, in words.

    A migration that fails in its prepare phase leaves such a job on the source, as long as libvirt's libxl driver
    does not know VIR_MIGRATE_CHANGE_PROTECTION: virDomainMigrate3 then has nobody to tell. The guest runs on, and
    everything that would change it fails after 30 s with "cannot acquire state change lock".

    Raises:
        HostError: it does not come back.
    """
    virsh = ("virsh", "-q", "-c", "xen:///system", "domjobinfo", guest)
    said = host.shell.run("timeout", "30", *virsh, deadline=deadline)
    if not said or "Job type" not in said.text or _NO_JOB in said.text:
        return ()
    host.shell.run("timeout", "120", "systemctl", "restart", "libvirtd.service", deadline=deadline).check()
    await_daemon(host, deadline=deadline)
    return (f"{host.name}: libvirtd was restarted, it held a job of {guest} that nobody would end",)


def await_daemon(host: Host, *, deadline: Deadline) -> None:
    """Start libvirt's daemon if it does not run, and wait until its Xen driver answers.

    Raises:
        DeadlineError: it does not.
        HostError: the host does not.
    """
    host.shell.run("timeout", "120", "systemctl", "start", "libvirtd.service", deadline=deadline)
    wait_until(
        f"{host.name}: libvirt answers",
        lambda: host.shell.run("timeout", "30", "virsh", "-q", "-c", "xen:///system", "version", deadline=deadline),
        deadline=deadline,
        interval=0.5,
    )


def renewed(host: Host, keep: ExitStack, *, deadline: Deadline) -> Host:
    """``host`` with a connection that works: its own, or a new one that is closed with ``keep``.

    Raises:
        HostError: there is none to be had.
    """
    try:
        host.connection.domains(deadline.at_most(10))
    except LabError as broken:
        emit("connect again", host=host.name, why=broken.message)
    else:
        return host
    try:
        return replace(host, connection=keep.enter_context(host.connection.reconnect(deadline)))
    except LabError as trouble:
        raise HostError(f"{host.name}: {trouble.message}", hint=trouble.hint) from trouble
