"""QEMU's command line, and a machine from its start to its end, without a QEMU."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.hosts.embedded.cr2 import hap_fails
from lab.hosts.embedded.network import NETS, PrivateNetwork
from lab.hosts.embedded.qemu import (
    HARDWARE,
    PROGRAM,
    Boot,
    Machine,
    Plug,
    Wiring,
    make_overlay,
    qemu_version,
    save_memory,
    start_machine,
)
from lab.process import CommandError
from lab.testing.qmp import DIE, FakeQmp, Refused
from tests.unit.programs import Programs

REMOVED = {
    "-smap": "dom0 dies at once: d0v0 Unhandled: vec 14, #PF[0001]",
    "-smep": "dom0 dies at once: d0v0 Unhandled: vec 14, #PF[0001]",
    "-cx16": "guests with 6.12 die at random, right after cmpxchg16b: TCG mishandles its flags",
    "-xsave": "a 7.2 guest as PVH panics in fpstate_reset: XSAVE leaves are not consistent as Xen hands them on",
    "-pku": "a 7.2 guest as PVH panics in fpstate_reset: its state is part of XSAVE's",
    "-erms": "kernels copy memory by `rep movsb`, a byte at a time under TCG",
    "-fsrm": "kernels copy memory by `rep movsb`, a byte at a time under TCG",
}
"""What is taken out of the emulated CPU, and the crash or crawl that comes back with it."""


def soon() -> Deadline:
    return Deadline(10)


def wiring(folder: Path, network: tuple[PrivateNetwork, int] | None = None) -> Wiring:
    return Wiring(folder, folder, folder / "disk.qcow2", network)


def boot(folder: Path, args: str = "root=/dev/vda rw") -> Boot:
    return Boot(folder / "xen", "console=com1", folder / "vmlinux", args, folder / "initrd")


def test_the_hardware_of_a_host_is_stable() -> None:
    # A snapshot returns only on the very same devices; whoever changes this makes every snapshot anew, in minutes.
    assert HARDWARE.argv("tcg", 17) == (
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "pc,accel=tcg", "-cpu", "max,-smap,-smep,-cx16,-xsave,-pku,-erms,-fsrm"),
        *("-smp", "1", "-m", "2560"),
        *("-device", "virtio-blk-pci,id=root,drive=root"),
        *("-device", "virtio-scsi-pci,id=scsi"),
        *("-device", "virtio-net-pci,netdev=nat,mac=52:54:00:77:00:01"),
        *("-device", "virtio-net-pci,netdev=guests,mac=52:54:00:77:01:11"),
        *("-device", "virtio-net-pci,netdev=moves,mac=52:54:00:77:02:11"),
        *("-device", "virtio-rng-pci"),
    )


def test_each_flag_of_the_emulated_cpu_has_its_reason() -> None:
    model, *removed = HARDWARE.cpu("tcg").split(",")
    assert model == "max"
    assert removed == list(REMOVED)  # one more or less needs a reason here


def test_a_real_cpu_is_handed_on_as_it_is() -> None:
    assert HARDWARE.cpu("kvm") == "host"
    tcg, kvm = HARDWARE.argv("tcg", 17), HARDWARE.argv("kvm", 17)
    assert [(one, other) for one, other in zip(tcg, kvm, strict=True) if one != other] == [
        ("pc,accel=tcg", "pc,accel=kvm"),
        (HARDWARE.cpu("tcg"), "host"),
        ("1", "2"),
    ]


def test_hosts_differ_in_nothing_but_their_network_cards() -> None:
    one, other = HARDWARE.argv("tcg", 14), HARDWARE.argv("tcg", 20)
    differing = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    assert len(differing) == len(NETS)
    assert all(mine.replace(":0e", ":14") == theirs for mine, theirs in differing)


def test_xen_is_booted_with_dom0_as_its_modules_and_commas_doubled() -> None:
    folder = Path("/cache/a,b")
    booted = Boot(folder / "xen", "dom0_mem=1024M,max:1024M", folder / "vmlinux", "console=hvc0,x", folder / "initrd")
    assert booted.argv() == (
        *("-kernel", "/cache/a,b/xen"),
        *("-append", "dom0_mem=1024M,max:1024M"),
        *("-initrd", "/cache/a,,b/vmlinux console=hvc0,,x,/cache/a,,b/initrd"),
    )


def test_a_host_alone_is_wired_to_nobody() -> None:
    folder = Path("/run/x")
    assert Wiring(folder, Path("/tmp/lab-s"), folder / "disk.qcow2", None).argv("xen-4.17") == (  # noqa: S108 - never made
        *("-name", "xen-4.17", "-pidfile", "/run/x/qemu.pid"),
        *("-drive", "if=none,id=root,file=/run/x/disk.qcow2,format=qcow2,cache=unsafe,discard=unmap"),
        *("-netdev", "user,id=nat,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
        *("-netdev", "hubport,id=guests,hubid=0"),
        *("-netdev", "hubport,id=moves,hubid=1"),
        *("-chardev", "file,id=console,path=/run/x/console.log,append=on", "-serial", "chardev:console"),
        *("-qmp", "unix:/tmp/lab-s/qmp,server=on,wait=off"),
    )


def test_hosts_together_are_wired_to_their_own_ports_of_the_same_hubs(tmp_path: Path) -> None:
    network = PrivateNetwork(Path("/s/net"))
    words = wiring(tmp_path, (network, 17)).argv("xen-4.17")
    assert [word for word in words if word.startswith("stream")] == [
        "stream,id=guests,server=off,addr.type=unix,addr.path=/s/net/guests-17",
        "stream,id=moves,server=off,addr.type=unix,addr.path=/s/net/moves-17",
    ]
    assert not [word for word in words if word.startswith("hubport")]


def test_a_comma_in_a_path_does_not_end_an_option() -> None:
    folder, sockets = Path("/cache/a,b"), Path("/tmp/c,d")  # noqa: S108 - never made
    words = Wiring(folder, sockets, folder / "disk.qcow2", (PrivateNetwork(Path("/s,t")), 17)).argv("xen-4.17")
    assert [word for word in words if "," in word] == [
        "/cache/a,b/qemu.pid",  # no option: this goes to open(2) as it is
        "if=none,id=root,file=/cache/a,,b/disk.qcow2,format=qcow2,cache=unsafe,discard=unmap",
        "user,id=nat,restrict=on,hostfwd=tcp:127.0.0.1:0-:22",
        "stream,id=guests,server=off,addr.type=unix,addr.path=/s,,t/guests-17",
        "stream,id=moves,server=off,addr.type=unix,addr.path=/s,,t/moves-17",
        "file,id=console,path=/cache/a,,b/console.log,append=on",
        "unix:/tmp/c,,d/qmp,server=on,wait=off",
    ]


UNTIL_GO = 'until [ -e "$HERE/go" ]; do sleep 0.02; done'
"""What a program does until the test says :func:`go`."""


def go(programs: Programs) -> None:
    (programs.folder / "go").touch()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


USERNET = """\
Hub 0 (nat):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  15       127.0.0.1 42763       10.0.2.15    22     0     0
"""


@contextlib.contextmanager
def started(
    programs: Programs, folder: Path, qemu: FakeQmp, *, incoming: Path | None = None, script: str = "exec sleep 60"
) -> Iterator[Machine]:
    """A machine whose program is ``script`` and whose socket is ``qemu``'s."""
    programs.add(PROGRAM, f'for word in "$@"; do printf "%s\\n" "$word"; done > "$HERE/words"\n{script}\n')
    with (
        qemu,
        start_machine(
            "xen-4.17", wiring(folder), ("-m", "1"), boot(folder), incoming=incoming, deadline=soon()
        ) as machine,
    ):
        yield machine


def test_a_machine_runs_as_long_as_it_is_wanted(programs: Programs, tmp_path: Path) -> None:
    with started(programs, tmp_path, FakeQmp(tmp_path / "qmp")) as machine:
        machine.watch()
        assert machine.process.poll() is None
    assert machine.process.poll() is not None
    assert programs.note("words") == ["-m", "1", *wiring(tmp_path).argv("xen-4.17"), *boot(tmp_path).argv()]
    assert (tmp_path / "qemu.log").read_text().startswith("qemu-system-x86_64 -m 1 -name xen-4.17 ")


def test_no_thread_of_a_machine_takes_a_core_by_waking_up(programs: Programs, tmp_path: Path) -> None:
    # A device's thread that does can make QEMU deliver an interrupt twice: lab.guests.doubled.
    with started(programs, tmp_path, FakeQmp(tmp_path / "qmp")) as machine:
        assert os.sched_getscheduler(machine.process.pid) == os.SCHED_BATCH


def test_a_machine_goes_also_when_its_user_fails(programs: Programs, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"^mine$"),
        started(programs, tmp_path, FakeQmp(tmp_path / "qmp")) as machine,
    ):
        raise AssertionError("mine")
    assert machine.process.poll() is not None


def test_a_qemu_that_will_not_start_is_told_by_its_last_words(programs: Programs, tmp_path: Path) -> None:
    programs.add(PROGRAM, "echo 'qemu: -cpu foo: unable to find CPU model' >&2; exit 1")
    words = "xen-4.17: QEMU ended with status 1: qemu: -cpu foo: unable to find CPU model"
    with (
        pytest.raises(HostError, match=f"^{re.escape(words)}$"),
        start_machine("xen-4.17", wiring(tmp_path), (), boot(tmp_path), incoming=None, deadline=soon()),
    ):
        pass


def test_a_qemu_without_its_socket_ends_with_the_deadline(programs: Programs, tmp_path: Path) -> None:
    programs.add(PROGRAM, "exec sleep 60")
    with (
        pytest.raises(DeadlineError, match=r"^xen-4\.17: QEMU's control socket: not seen within 0\.3 s$"),
        start_machine("xen-4.17", wiring(tmp_path), (), boot(tmp_path), incoming=None, deadline=Deadline(0.3)),
    ):
        pass


def test_a_socket_on_which_nobody_listens_yet_is_waited_for(programs: Programs, tmp_path: Path) -> None:
    programs.add(PROGRAM, "exec sleep 60")
    qemu = FakeQmp(tmp_path / "late")
    with contextlib.ExitStack() as stack, socket.socket(socket.AF_UNIX) as early:
        early.bind(str(tmp_path / "qmp"))

        def listen() -> None:
            stack.enter_context(qemu)
            (tmp_path / "late").replace(tmp_path / "qmp")  # at no time is there none

        timer = threading.Timer(0.3, listen)
        timer.start()
        with start_machine("xen-4.17", wiring(tmp_path), (), boot(tmp_path), incoming=None, deadline=soon()) as machine:
            timer.join()
            machine.watch()


def test_a_snapshot_comes_back_and_is_set_going(programs: Programs, tmp_path: Path) -> None:
    statuses = [{"status": status} for status in ("inmigrate", "inmigrate", "paused", "running")]
    qemu = FakeQmp(tmp_path / "qmp", {"query-status": statuses})
    with started(programs, tmp_path, qemu, incoming=Path("/c/it's/memory.zst")):
        pass
    assert qemu.commands() == ["query-status", "query-status", "query-status", "cont", "query-status"]
    assert programs.note("words")[-2:] == ["-incoming", "exec:zstd -dc < '/c/it'\"'\"'s/memory.zst'"]


def test_a_snapshot_that_does_not_fit_is_told_by_qemus_last_words(programs: Programs, tmp_path: Path) -> None:
    qemu = FakeQmp(tmp_path / "qmp", {"query-status": {"status": "inmigrate"}})
    script = f'{UNTIL_GO}; echo "qemu: load of migration failed: Invalid argument" >&2; exit 1'

    def fail() -> None:
        wait_for(lambda: "query-status" in qemu.commands())
        go(programs)

    failing = threading.Thread(target=fail)
    failing.start()
    words = "xen-4.17: QEMU ended while it read the snapshot: qemu: load of migration failed: Invalid argument"
    with (
        pytest.raises(HostError, match=f"^{re.escape(words)}$"),
        started(programs, tmp_path, qemu, incoming=Path("/c/memory.zst"), script=script),
    ):
        pass
    failing.join(10)


def test_a_machine_that_dies_is_noticed_with_its_last_words(programs: Programs, tmp_path: Path) -> None:
    with started(programs, tmp_path, FakeQmp(tmp_path / "qmp"), script=f"{UNTIL_GO}; exit 3") as machine:
        go(programs)
        machine.process.wait(10)
        machine.wiring.console.write_text("(XEN) one\n(XEN) two\n(XEN) Panic on CPU 0:\n(XEN) \\o/\n")
        words = r"xen-4.17: QEMU ended with status 3; its console: (XEN) two | (XEN) Panic on CPU 0: | (XEN) \o/"
        with pytest.raises(HostError, match=f"^{re.escape(words)}$"):
            machine.watch()


def test_the_port_is_the_one_that_the_kernel_chose(programs: Programs, tmp_path: Path) -> None:
    qemu = FakeQmp(tmp_path / "qmp", {"human-monitor-command": [USERNET, "Hub 0 (nat):\n"]})
    with started(programs, tmp_path, qemu) as machine:
        assert machine.ssh_port(soon()) == 42763
        with pytest.raises(HostError, match=r"^xen-4\.17: QEMU does not forward a port: Hub 0 \(nat\):$"):
            machine.ssh_port(soon())
    assert qemu.executed[0] == ("human-monitor-command", {"command-line": "info usernet"})


def test_a_machine_tells_its_version(programs: Programs, tmp_path: Path) -> None:
    qemu = FakeQmp(
        tmp_path / "qmp", {"query-version": {"qemu": {"major": 10, "minor": 0, "micro": 13}, "package": "D"}}
    )
    with started(programs, tmp_path, qemu) as machine:
        assert machine.version(soon()) == (10, 0)


@pytest.mark.parametrize(
    ("xen", "qemu", "accelerator", "fails"),
    [
        ("4.14", (10, 0), "tcg", True),
        ("4.17", (9, 1), "tcg", True),
        ("4.20", (10, 0), "tcg", False),
        ("4.17", (9, 0), "tcg", False),
        ("4.14", (7, 2), "tcg", False),
        ("4.14", (10, 0), "kvm", False),
    ],
)
def test_which_pairs_of_xen_and_qemu_lose_page_faults(
    xen: str,
    qemu: tuple[int, int],
    accelerator: str,
    fails: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert hap_fails(xen, qemu, accelerator) is fails


def test_a_disk_is_plugged_so_that_two_hosts_may_hold_it(programs: Programs, tmp_path: Path) -> None:
    qemu = FakeQmp(tmp_path / "qmp")
    with started(programs, tmp_path, qemu) as machine:
        machine.plug(Plug(Path("/run/web32.raw"), "web32-xvda", 7, read_only=True, sector=4096), deadline=soon())
    cache = {"direct": False, "no-flush": True}
    assert qemu.executed == [
        (
            "blockdev-add",
            {
                "driver": "raw",
                "node-name": "node-web32-xvda",
                "read-only": True,
                "cache": cache,
                "discard": "unmap",
                "file": {
                    "driver": "file",
                    "filename": "/run/web32.raw",
                    "locking": "off",
                    "discard": "unmap",
                    "cache": cache,
                },
            },
        ),
        (
            "device_add",
            {
                "driver": "scsi-hd",
                "id": "disk-web32-xvda",
                "bus": "scsi.0",
                "channel": 0,
                "scsi-id": 7,
                "lun": 0,
                "drive": "node-web32-xvda",
                "serial": "web32-xvda",
                "share-rw": True,
                "logical_block_size": 4096,
                "physical_block_size": 4096,
            },
        ),
    ]


def test_a_disk_is_unplugged_as_soon_as_the_host_lets_go_of_it(programs: Programs, tmp_path: Path) -> None:
    busy = Refused("Node 'node-web32-xvda' is in use")
    qemu = FakeQmp(tmp_path / "qmp", {"blockdev-del": [busy, busy, {}]})
    with started(programs, tmp_path, qemu) as machine:
        machine.unplug("web32-xvda", deadline=soon())
    assert qemu.commands() == ["device_del", "blockdev-del", "blockdev-del", "blockdev-del"]


def test_a_disk_that_is_not_there_cannot_be_unplugged(programs: Programs, tmp_path: Path) -> None:
    missing = Refused("Device 'disk-x' not found", "DeviceNotFound")
    with (
        started(programs, tmp_path, FakeQmp(tmp_path / "qmp", {"device_del": missing})) as machine,
        pytest.raises(HostError, match=r"^xen-4\.17: QMP device_del: Device 'disk-x' not found$"),
    ):
        machine.unplug("x", deadline=soon())


def test_a_disk_is_held_back_and_let_go(programs: Programs, tmp_path: Path) -> None:
    qemu = FakeQmp(tmp_path / "qmp")
    with started(programs, tmp_path, qemu) as machine:
        machine.throttle("web32-xvda", 1, deadline=soon())
        machine.throttle("web32-xvda", 0, deadline=soon())
    none = {"bps": 0, "bps_rd": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
    assert qemu.executed == [
        ("block_set_io_throttle", {"id": "disk-web32-xvda", "bps_wr": limit, **none}) for limit in (1, 0)
    ]


def test_memory_is_written_from_a_stopped_machine_which_then_ends(programs: Programs, tmp_path: Path) -> None:
    states = [{"status": "setup"}, {"status": "active"}, {"status": "completed"}]
    qemu = FakeQmp(tmp_path / "qmp", {"query-migrate": states})
    with started(programs, tmp_path, qemu) as machine:
        ending = threading.Thread(target=_end_when, args=(qemu, machine))
        ending.start()
        save_memory(machine, Path("/c/a b/memory.zst"), deadline=soon())
        ending.join(10)
    assert qemu.commands()[:3] == ["stop", "migrate-set-parameters", "migrate"]
    assert qemu.commands()[-1] == "quit"
    assert dict(qemu.executed)["migrate"] == {"uri": "exec:zstd -q -1 -T0 > '/c/a b/memory.zst'"}


def _end_when(qemu: FakeQmp, machine: Machine) -> None:
    """End the machine when it was told to."""
    wait_for(lambda: "quit" in qemu.commands())
    machine.process.kill()


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (
            {"status": "failed", "error-desc": "Unable to write to command: Broken pipe"},
            "Unable to write to command: Broken pipe",
        ),
        ({"status": "failed"}, "no reason given"),
    ],
)
def test_memory_that_cannot_be_written_is_an_error(
    programs: Programs, tmp_path: Path, state: dict[str, str], why: str
) -> None:
    with (
        started(programs, tmp_path, FakeQmp(tmp_path / "qmp", {"query-migrate": state})) as machine,
        pytest.raises(HostError, match=f"^{re.escape(f'xen-4.17: snapshot: {why}')}$"),
    ):
        save_memory(machine, tmp_path / "memory.zst", deadline=soon())


def test_a_qemu_that_is_killed_while_it_writes_is_an_error(programs: Programs, tmp_path: Path) -> None:
    with (
        started(programs, tmp_path, FakeQmp(tmp_path / "qmp", {"query-migrate": DIE})) as machine,
        pytest.raises(HostError, match=r"^xen-4\.17: QMP query-migrate: .+"),
    ):
        save_memory(machine, tmp_path / "memory.zst", deadline=soon())


def test_an_overlay_is_made_over_an_image_that_is_never_written(programs: Programs, tmp_path: Path) -> None:
    programs.add("qemu-img", 'echo "$*" > "$HERE/words"')
    make_overlay(tmp_path / "disk.raw", "raw", tmp_path / "disk.qcow2", deadline=soon())
    assert programs.note("words") == [f"create -q -f qcow2 -b {tmp_path}/disk.raw -F raw {tmp_path}/disk.qcow2"]
    programs.add("qemu-img", "echo 'qemu-img: Could not open disk.raw' >&2; exit 1")
    with pytest.raises(CommandError, match=r"^qemu-img: status 1: qemu-img: Could not open disk\.raw$"):
        make_overlay(tmp_path / "disk.raw", "raw", tmp_path / "disk.qcow2", deadline=soon())


def test_the_version_of_qemu_is_its_first_line(programs: Programs) -> None:
    programs.add(PROGRAM, "echo 'QEMU emulator version 7.2.19'; echo 'Copyright (c)'")
    assert qemu_version(soon()) == "QEMU emulator version 7.2.19"
