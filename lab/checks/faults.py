"""Faults that are injected for real, into a guest or its host, to show that an invariant goes red: the data of
``lab prove``. Each names its invariant; how it is done stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from lab.checks.downtime import PAUSES
from lab.checks.invariants import INVARIANTS
from lab.deadline import Deadline
from lab.errors import GuestError, HostError
from lab.guests.agent import AgentConfig, Place, agent_report, inject
from lab.guests.witness import Silent
from lab.hypervisor import Connection, Domain, InterfaceSpec, device_xml
from lab.scenario.cell import Limits
from lab.shell import AskingShell, Shell

__all__ = ["FAULTS", "FREEZERS", "Fault", "Freezer", "Paused", "Scene", "faults_of", "pause_for", "without_fault"]

_KEEPSAKE = "/var/tmp/lab-keepsake"  # noqa: S108 - inside a guest that has no other users
_LEAK = "/run/lab-fault-leak"
_PAGE = 4096


@dataclass(frozen=True)
class Scene:
    """Where a fault is injected: a guest that runs on ``domain``'s host, whose dom0 is ``host``.

    ``agent`` is where its agent lies. ``source`` is the host that it came from, where there is one. ``freeze`` and
    ``thaw`` stop and start the backend of its disk; whoever brought up the host knows how (see FREEZERS).
    """

    domain: Domain
    guest: AskingShell
    host: Shell
    agent: Place = field(default_factory=Place)
    mac: str = ""
    bridge: str = ""
    source: Connection | None = None
    freeze: Callable[[Deadline], None] | None = None
    thaw: Callable[[Deadline], None] | None = None

    @property
    def name(self) -> str:
        """The guest's name."""
        return self.domain.name

    def in_guest(self, script: str, deadline: Deadline) -> str:
        """Run a shell script in the guest."""
        return self.guest.run("sh", "-c", script, deadline=deadline).check().text

    def on_host(self, script: str, deadline: Deadline, *words: str) -> str:
        """Run a shell script on the guest's host; ``words`` are its arguments."""
        return self.host.run("sh", "-c", script, "sh", *words, deadline=deadline).check().text


Act = Callable[[Scene, Deadline], None]


@dataclass(frozen=True)
class Fault:
    """One fault. ``invariant`` is whom it must turn red, ``does`` what happens, in words.

    ``when`` is ``moving`` (between the two looks, while the guest moves or instead of the move) or ``arrived`` (after
    the move, before the second look). ``fatal``: the guest, or what watches it from within, is of no use afterwards.
    ``heal`` undoes it where it can be undone and does not pass by itself; the next fault wants a guest without this
    one. ``settle`` is how many seconds must pass before the second look can see it, and ``limits`` are those to judge
    by: a pause of 250 ms is no fault where 5 s are allowed. ``metered`` is for how many seconds the meter is to count
    while it lasts: the guest's shell goes by the same network, so the second look has to come after it.
    """

    name: str
    invariant: str
    does: str
    inject: Act
    heal: Act | None = None
    when: str = "moving"
    fatal: bool = False
    settle: float = 1.0
    limits: Limits = field(default_factory=Limits)
    metered: float = 0.0


def _agent(fault: str, **words: object) -> Act:
    def act(scene: Scene, deadline: Deadline) -> None:
        inject(scene.guest, fault, words, place=scene.agent, deadline=deadline)

    return act


def _in_guest(script: str) -> Act:
    def act(scene: Scene, deadline: Deadline) -> None:
        scene.in_guest(script, deadline)

    return act


def _on_host(script: str) -> Act:
    def act(scene: Scene, deadline: Deadline) -> None:
        scene.on_host(script, deadline, scene.name)

    return act


@dataclass(frozen=True, slots=True)
class Paused:
    """How long a guest was paused: at least, and at most, by its host's clock."""

    least: float
    most: float


# The pause lies within these two: from before the one call to behind the other, and between the two.
_PAUSE = """
now() { date +%s.%N; }
a=$(now); xl pause "$1"; b=$(now); sleep "$2"; c=$(now); xl unpause "$1"; d=$(now)
echo "$a $b $c $d"
"""


def pause_for(scene: Scene, seconds: float, deadline: Deadline) -> Paused:
    """Pause a guest by one command on its host, so that no connection from here is in the measured time.

    Raises:
        HostError: the host says something else than four times.
    """
    said = scene.on_host(_PAUSE, deadline, scene.name, f"{seconds:g}")
    try:
        begin, paused, end, resumed = (float(word) for word in said.split())
    except ValueError as broken:
        raise HostError(f"pause {scene.name}: {said[:80]!r} are not four times") from broken
    return Paused(end - paused, resumed - begin)


def _pause(scene: Scene, deadline: Deadline, *, seconds: float) -> None:
    pause_for(scene, seconds, deadline)


def _vif_down(seconds: float) -> Act:
    # Its interfaces on the host by the number that xl knows it by; in the background, since the shell may go that way.
    script = (
        'id=$(xl domid "$1") && ls -d /sys/class/net/vif$id.* >/dev/null && '
        "for vif in /sys/class/net/vif$id.*; do ip link set ${vif##*/} down; done && "
        f"(sleep {seconds:g}; for vif in /sys/class/net/vif$id.*; do ip link set ${{vif##*/}} up; done) "
        ">/dev/null 2>&1 </dev/null &"
    )
    return _on_host(script)


def _stale_page(scene: Scene, deadline: Deadline) -> None:
    """Put back the page that was written last: it is a whole round until it is written again, and would be right."""
    memory = agent_report(scene.guest, verify=False, where=scene.agent.socket, deadline=deadline).memory
    if isinstance(memory, Silent):
        raise GuestError(f"{scene.name}: its memory does not report: {memory.why}")
    hot = max(1, int(memory.filled // _PAGE * AgentConfig().hot_share))
    inject(scene.guest, "stale-page", {"page": (memory.written - 1) % hot}, place=scene.agent, deadline=deadline)


# In the guest, in the background: once the new card is there, it gets the old one's address, and says so to all.
_REJOIN = """
echo 1 > /proc/sys/net/ipv4/conf/all/arp_notify
(for try in $(seq 100); do
  [ "$(cat /sys/class/net/eth0/address)" = MAC ] && /usr/local/sbin/lab-net && exit
  sleep 0.2
done) >/dev/null 2>&1 </dev/null &
"""


def _another_mac(scene: Scene, deadline: Deadline) -> None:
    kind = "pv"  # PV and PVH have the same card
    scene.in_guest(_REJOIN.replace("MAC", _next_mac(scene.mac)), deadline)
    scene.domain.detach(device_xml(InterfaceSpec(scene.mac, scene.bridge), kind), deadline)
    scene.domain.attach(device_xml(InterfaceSpec(_next_mac(scene.mac), scene.bridge), kind), deadline)


def _next_mac(mac: str) -> str:
    head, _, last = mac.rpartition(":")
    return f"{head}:{(int(last, 16) ^ 0x80):02x}"


def _leave_on_source(scene: Scene, deadline: Deadline) -> None:
    if scene.source is None:
        raise GuestError(f"{scene.name}: it came from nowhere", hint="this fault needs a guest that has moved")
    # Defined and not started: two that run would write to the same disk.
    scene.source.define(scene.domain.xml(deadline), deadline)


def _remove_from_source(scene: Scene, deadline: Deadline) -> None:
    if scene.source is not None:
        scene.source.domain(scene.name, deadline).undefine(deadline)


def _freeze(scene: Scene, deadline: Deadline) -> None:
    if scene.freeze is None:
        raise GuestError(f"{scene.name}: nobody knows how to freeze its disk", hint="see FREEZERS")
    scene.freeze(deadline)


def _thaw(scene: Scene, deadline: Deadline) -> None:
    if scene.thaw is not None:
        scene.thaw(deadline)


_SOURCES = "/sys/devices/system/clocksource/clocksource0"
_POWEROFF = "/proc/sys/kernel/poweroff_cmd"

FAULTS: tuple[Fault, ...] = (
    Fault(
        "still-on-source",
        "whereabouts",
        "the guest is defined on the source again",
        _leave_on_source,
        _remove_from_source,
        when="arrived",
    ),
    Fault(
        "reboot",
        "same-boot",
        "reboot -f in the guest",
        _in_guest("(sleep 1; reboot -f) >/dev/null 2>&1 </dev/null &"),
        fatal=True,
        settle=10.0,  # so that it is down, and whoever waits for its answer waits for the new one's
    ),
    Fault(
        "killed-process",
        "same-process",
        "SIGKILL to the agent's sentinel",
        _agent("kill", process="sentinel"),
        fatal=True,
    ),
    Fault("flipped-page", "memory-intact", "one bit of one page flips", _agent("flip-page"), fatal=True),
    Fault("stale-page", "memory-intact", "one page holds what it held before", _stale_page, fatal=True),
    Fault(
        "changed-byte",
        "disk-at-rest",
        "one byte of the file at rest is changed on the disk",
        _in_guest(f"printf x | dd of={_KEEPSAKE} bs=1 seek=1000000 conv=notrunc 2>/dev/null; sync"),
    ),
    Fault(
        "dropped-region",
        "disk-writes-in-flight",
        "writes to one region are confirmed and never made",
        _agent("drop-region"),
        fatal=True,
        settle=8.0,
    ),
    Fault(
        "frozen-backend",
        "io-moves",
        "the disk's backend does not answer any more, while ping still does",
        _freeze,
        _thaw,
        when="arrived",
        settle=8.0,
    ),
    Fault(
        "silent-network", "network-gap", "the guest's vif is down for 6 s", _vif_down(6.0), when="arrived", settle=9.0
    ),
    Fault("reset", "tcp-survives", "the guest sends RST on the connection", _agent("reset-tcp"), when="arrived"),
    *(
        Fault(
            f"pause-{seconds:g}s",
            "guest-pause",
            f"xl pause, {seconds:g} s, xl unpause",
            partial(_pause, seconds=seconds),
            when="arrived",
            limits=Limits(guest_pause=seconds * 0.8),
        )
        for seconds in PAUSES
    ),
    Fault(
        "stepped-clock",
        "clock",
        "the guest's wall clock is set 5 s ahead",
        # A kernel that was suspended takes a step of less than 2 s for drift and undoes it (timekeeping_suspend in
        # kernel/time/timekeeping.c): a guest that moves arrives with the right time then, and rightly nothing is red.
        _agent("step-clock", seconds=5.0),
        _agent("step-clock", seconds=-5.0),
        settle=6.0,  # the surest of the meter's last five looks counts, and there is one a second
    ),
    Fault(
        "clock-set-back",
        "clock-monotonic",
        "the heartbeat reads CLOCK_MONOTONIC 1 s earlier",
        _agent("lie-monotonic", seconds=1.0),
    ),
    Fault(
        "another-clocksource",
        "clocksource",
        "the kernel is told to use another clocksource",
        _in_guest(
            f"cd {_SOURCES} && old=$(cat current_clocksource) && echo $old > /run/lab-clocksource && "
            "for new in $(cat available_clocksource); do "
            "[ $new = $old ] || { echo $new > current_clocksource; break; }; done; "
            '[ $(cat current_clocksource) != $old ] || { echo "$old is the only clocksource" >&2; exit 1; }'
        ),
        _in_guest(f"cat /run/lab-clocksource > {_SOURCES}/current_clocksource"),
    ),
    Fault("another-mac", "identity", "its network card is replaced by one with another MAC", _another_mac, fatal=True),
    Fault(
        "unloaded-module",
        "modules-kept",
        "rmmod loop",
        _in_guest("rmmod loop"),
        _in_guest("modprobe loop"),
    ),
    Fault("warning", "kernel-log", "a line as of WARN_ON in the kernel's log", _agent("warn")),
    Fault(
        "registers-dumped",
        "hypervisor-log",
        "Xen dumps the registers of its CPUs, as after a crash",
        _on_host("xl debug-keys d"),
    ),
    Fault(
        "leaked-loop",
        "no-leak",
        "a loop device is left on the host",
        _on_host(f"truncate -s 1M {_LEAK} && losetup -f {_LEAK}"),
        _on_host(f"losetup -j {_LEAK} | cut -d: -f1 | xargs -r losetup -d; rm -f {_LEAK}"),
    ),
    Fault(
        "deaf-guest",
        "still-steerable",
        "the guest's kernel runs /bin/true when it is asked to power off",
        _in_guest(f"cat {_POWEROFF} > /run/lab-poweroff; echo /bin/true > {_POWEROFF}"),
        _in_guest(f"cat /run/lab-poweroff > {_POWEROFF}"),
        when="arrived",
    ),
    Fault(
        "not-cold",
        "new-boot",
        "the guest is moved while it runs, and the move is called cold",
        lambda _scene, _deadline: None,
    ),
    Fault(
        "network-off",
        "reachable",
        "the guest's vif is down for as long as the meter counts",
        _vif_down(16.0),
        when="arrived",
        settle=10.0,
        metered=5.0,
    ),
)
"""One or more for each invariant. ``not-cold`` is done by judging a live move as a cold one."""


@dataclass(frozen=True, slots=True)
class Freezer:
    """A way to freeze the backend of a guest's disk, and what is known of it."""

    name: str
    does: str
    undo: str
    known: str


FREEZERS: tuple[Freezer, ...] = (
    Freezer(
        "throttle",
        "QMP block_set_io_throttle with id of the SCSI disk, bps_wr=1, the other five limits 0",
        "the same with all six limits 0",
        "embedded hosts only; the disk itself stands still, dom0 and its network do not; QEMU lets a first request "
        "through and makes the next wait for as many seconds as it has bytes",
    ),
    Freezer(
        "dm-suspend",
        "dmsetup create of a linear table over the disk before the guest starts; dmsetup suspend --noflush --nolockfs",
        "dmsetup resume",
        "any host, real ones too; needs dmsetup there and the guest defined on /dev/mapper/NAME",
    ),
    Freezer(
        "scsi-state",
        "echo blocked > /sys/block/sdX/device/state",
        "echo running > /sys/block/sdX/device/state",
        "kernels that let users choose only running and offline (since 5.13, and stable kernels that took it) "
        "answer EINVAL",
    ),
    Freezer(
        "guest-fsfreeze",
        "agent fault freeze-disk: ioctl FIFREEZE in the guest, FITHAW after its seconds",
        "comes by itself",
        "no backend: the guest's file system stands still instead. It shows that the check sees a frozen disk, where "
        "none of the others can be had",
    ),
)
"""Candidates in the order of preference. blkback's thread belongs to the kernel: neither SIGSTOP nor a cgroup's freezer
stops it, and ``offline`` makes errors instead of silence.
"""


def faults_of(invariant: str) -> tuple[Fault, ...]:
    """Those that must turn an invariant red."""
    return tuple(fault for fault in FAULTS if fault.invariant == invariant)


def without_fault(how: str = "") -> tuple[str, ...]:
    """Invariants (of one way to move, or of all) that no fault kills: they are printed as unproven."""
    return tuple(one.name for one in INVARIANTS if (not how or how in one.applies) and not faults_of(one.name))
