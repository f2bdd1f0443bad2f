"""A host of the user's, taken into use for as long as a run lasts, and left as it was found.

What the lab puts there lies in one folder, by which it is found when the run was killed
(:mod:`lab.hosts.inventory.sweep`)::

    /run/lab/lease            locked by whoever has the host for itself; says whose it is
    /run/lab/TAG/alive        locked as long as the run lives, by a process that ends with the connection
    /run/lab/TAG/address      what was added to which bridge
    /run/lab/TAG/disks/       SERIAL -> /dev/nbdN
    /run/lab/TAG/sockets/     where disks come through ssh
    /run/lab/TAG/KEY/         a boot disk, mounted read-only
"""

from __future__ import annotations

import platform
import select
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from lab.deadline import Deadline
from lab.errors import HostError, LabError
from lab.events import emit, step
from lab.hosts.facts import host_facts
from lab.hosts.host import Host
from lab.hosts.inventory.nbd import Exports, NbdShelf
from lab.hosts.inventory.ssh import UserSsh, connected, destination
from lab.hosts.inventory.survey import lacks, survey
from lab.hosts.run_folder import Place
from lab.hypervisor import connect
from lab.keys import Keys
from lab.process import last_line, spawn
from lab.scenario.inventory import ListedHost
from lab.shell import SshNetwork, SshShell

__all__ = ["ROOT", "inventory_host", "leased", "numbers_of", "own_address"]

ROOT = "/run/lab"

_TAKEN = 75
"""With what flock is told to end where somebody else has the lock."""

_UNDO_SECONDS = 120.0
"""For each part. A host that is gone is known to be after half a minute; one that is slow must not keep anything."""

# The bridge may have an address there already, of the user's own or of another run's: it stays theirs. Where anything
# else of that network is reached by another way, an address on the bridge would take the packets meant for it.
_ADDRESS = r"""
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
bridge=$1 address=$2 note=$3
ip -o -4 addr show dev "$bridge" | grep -qE ' inet 10\.77\.' && exit 0
taken=$(ip -o -4 route show | grep -E '^10\.77\.' | head -n 1)
[ -z "$taken" ] || { echo "10.77.0.0/16, the lab's network for guests, is in use there: $taken" >&2; exit 1; }
echo "$bridge $address" > "$note"
ip addr add "$address" dev "$bridge"
"""

_NO_ADDRESS = r"""
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
[ -f "$1" ] && read -r bridge address < "$1" && ip addr del "$address" dev "$bridge"; rm -f "$1"
"""

# What a cell left that ended before its time, or whose host was too slow to take it away in time: guests of this run,
# and the meter, which must be gone before the next one's starts. Prints the guests that stay.
_QUIET = r"""
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
virsh -q -c xen:///system list --all --name | while read -r name; do
  case $name in ''|Domain-0) continue ;; esac
  virsh -q -c xen:///system dumpxml "$name" 2>/dev/null |
    grep -q "<lab:tag name=['\"]run['\"] value=['\"]$1['\"]" || continue
  virsh -q -c xen:///system destroy "$name" >/dev/null 2>&1
  virsh -q -c xen:///system undefine "$name" >/dev/null 2>&1
  virsh -q -c xen:///system dominfo "$name" >/dev/null 2>&1 && echo "$name"
done
# One grep: two programs for each process of a host would be hundreds. The brackets keep it from finding itself.
grep -lsaE '[/]run/lab-netmeter[.]py' /proc/[0-9]*/cmdline | cut -d/ -f3 | xargs -r kill -9 2>/dev/null
meter=/run/lab-net && rm -rf "${meter}meter" "${meter}meter.py"
"""


def own_address(host: ListedHost) -> str:
    """The host's own address on the guests' network: the first of its stand."""
    return f"10.77.{128 + host.stand}.1/16"


def numbers_of(host: ListedHost) -> range:
    """The numbers of guests that are started there (:class:`lab.guests.guest.Address`); no other host's."""
    return range(host.stand * 256 + 10, host.stand * 256 + 250)


@contextmanager
def inventory_host(
    listed: ListedHost, place: Place, keys: Keys, exports: Exports, *, deadline: Deadline
) -> Iterator[Host]:
    """The host, connected, and with an address that guests are reached from; all of it is undone at the end.

    Its clock is never set, and nothing is installed.

    Raises:
        HostError: it cannot be reached, or lacks what the lab needs; the message says what.
    """
    with ExitStack() as undo:
        with step("reach a host", host=listed.name):
            shell = undo.enter_context(connected(listed, place.sockets, deadline=deadline))
            socket = _usable(listed, shell, deadline)
            home = f"{ROOT}/{place.tag}"
            undo.enter_context(_kept(shell, f"{home}/alive", place.tag, deadline))
            undo.callback(_there, shell, f"remove {home}", "rm", "-rf", "--one-file-system", home)
            shell.run("mkdir", "-p", f"{home}/disks", f"{home}/sockets", deadline=deadline).check()
            note = f"{home}/address"
            undo.callback(_there, shell, f"address of {listed.bridge}", "sh", "-c", _NO_ADDRESS, "sh", note)
            words = (listed.bridge, own_address(listed), note)
            done = shell.run("sh", "-c", _ADDRESS, "sh", *words, deadline=deadline)
            if not done:
                raise HostError(f"{listed.name}: bridge {listed.bridge}: {last_line(done.stderr) or 'no reason given'}")
            facts = host_facts(shell, listed.name, "inventory", deadline)
            shell.forward(place.sockets / "libvirt", socket, deadline=deadline)
            uri = f"xen+unix:///system?socket={place.sockets / 'libvirt'}"
            connection = undo.enter_context(connect(uri, deadline=deadline, patient=True))
        network = shell.network
        assert isinstance(network, UserSsh)  # noqa: S101 - connected() made it
        shelf = NbdShelf(shell, exports, home)
        undo.callback(shelf.clear)
        host = Host(
            facts=facts,
            address=listed.address or destination(listed, deadline=deadline),
            bridge=listed.bridge,
            shell=shell,
            network=SshNetwork(place.sockets, keys.user, keys.known_host("lab"), jump=network.onward),
            connection=connection,
            disks=shelf,
            accelerator=listed.accelerator,
            tag=place.tag,
            folder=home,
        )
        yield host


def _usable(listed: ListedHost, shell: SshShell, deadline: Deadline) -> str:
    """The path of its libvirt's socket, if nothing is missing."""
    seen = survey(shell, listed.bridge, deadline=deadline)
    missing = [lack for lack in lacks(listed, seen) if lack.needed]
    if missing:
        words = "; ".join(lack.seen for lack in missing)
        raise HostError(f"{listed.name}: {words}", hint="lab doctor --hosts FILE names what mends it")
    return seen.socket


@contextmanager
def leased(host: Host, *, deadline: Deadline) -> Iterator[None]:
    """Have the host for oneself, against every other run of whatever machine; what is left there of the time is
    cleared away at the end.

    Raises:
        HostError: the host is gone.
        DeadlineError: somebody has it for too long; who it is is in the message.
    """
    lease, me = f"{ROOT}/lease", f"run {host.tag} of {platform.node()}"
    with ExitStack() as undo:
        if not _held(undo, host.shell, lease, me, Deadline(min(20.0, deadline.check(lease))), patient=False):
            holder = host.shell.run("cat", lease, deadline=deadline).text or "somebody"
            with step("wait for a host", host=host.name, holder=holder):
                if not _held(undo, host.shell, lease, me, deadline, patient=True):
                    hint = "let it end; what a killed run left is removed by: lab clean --hosts FILE"
                    raise HostError(f"{host.name}: in use by {holder}", hint=hint)
        undo.callback(_cleared, host)
        yield


def _cleared(host: Host) -> None:
    """Leave the host as it was found. Of one that is gone there is nothing to be said.

    Raises:
        HostError: something stays on a host that is there.
    """
    try:
        host.disks.watch()
    except HostError:
        return
    troubles = [trouble for trouble in (_try(_end_guests, host), _try(_let_go, host)) if trouble]
    if troubles:
        raise HostError(f"{host.name}: {'; '.join(troubles)}", hint="lab clean --hosts FILE, once the run has ended")


def _end_guests(host: Host) -> None:
    said = host.shell.run("sh", "-c", _QUIET, "sh", host.tag, deadline=Deadline(_UNDO_SECONDS)).text
    if said:
        raise HostError(f"guests stay: {', '.join(said.splitlines())}")


def _let_go(host: Host) -> None:
    host.clear(deadline=Deadline(_UNDO_SECONDS))
    if isinstance(host.disks, NbdShelf):
        host.disks.clear()


def _try(action: Callable[[Host], None], host: Host) -> str:
    """What went wrong; nothing if all went well."""
    try:
        action(host)
    except LabError as trouble:
        return trouble.message
    return ""


@contextmanager
def _kept(shell: SshShell, path: str, tag: str, deadline: Deadline) -> Iterator[None]:
    with ExitStack() as undo:
        if not _held(undo, shell, path, tag, deadline, patient=False):
            raise HostError(f"{shell.name}: {path} is locked by somebody else")
        yield


def _held(  # noqa: PLR0913 - whose lock, where, and for how long it is tried
    undo: ExitStack, shell: SshShell, path: str, me: str, deadline: Deadline, *, patient: bool
) -> bool:
    """Lock a file on the host until ``undo`` is closed, or until this process or its connection ends; ``me`` is written
    into it. False if somebody else has it (``patient``: still).
    """
    seconds = max(1, int(deadline.check(path)) - 5)
    wait = ("-w", str(seconds)) if patient else ("-n",)
    script = 'mkdir -p "${1%/*}" && exec flock -E 75 $3 "$1" sh -c \'echo "$1" > "$0"; echo held; exec cat\' "$1" "$2"'
    command = shlex.join(("sh", "-c", script, "sh", path, me, " ".join(wait)))
    process = spawn(
        *shell.network.argv(shell.alias),
        "--",
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    life = ExitStack()
    life.callback(_ended, process)
    with life:
        assert process.stdout is not None  # noqa: S101 - asked for
        assert process.stderr is not None  # noqa: S101 - likewise
        ready, _, _ = select.select([process.stdout], [], [], deadline.check(path))
        line = process.stdout.readline() if ready else b""
        if line.strip() != b"held":
            status = process.poll() if not ready else process.wait(10)
            if status not in {None, _TAKEN}:
                raise HostError(f"{shell.name}: {path} cannot be locked: {last_line(process.stderr.read())}")
            return False
        undo.push(life.pop_all())
    return True


def _ended(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _there(shell: SshShell, what: str, *argv: str) -> None:
    """Part of an undoing: what the host does not do is told, and keeps nothing else; a dead host is not waited for."""
    try:
        if shell.network.alive(shell.alias, deadline=Deadline(5)):
            shell.run(*argv, deadline=Deadline(_UNDO_SECONDS)).check()
    except LabError as trouble:
        emit("undo failed", what=f"{what} on {shell.name}", why=trouble.message)
