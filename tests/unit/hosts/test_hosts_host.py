"""A host that is up: what it says of itself, and what it mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.hosts.facts import host_facts
from lab.hosts.host import Host
from lab.matrix.model import HostFacts
from lab.process import CommandError
from lab.testing.host import FakeDisks, FakeNetwork, fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import Answer, FakeShell

XL_INFO = """\
host                   : xen-4.17
release                : 6.1.0-41-amd64
version                : #1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)
virt_caps              : pv hvm hap shadow
xen_version            : 4.17.6-pre
xen_caps               : xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64
xen_commandline        : placeholder console=com1
"""

VIRSH = """\
Compiled against library: libvirt 9.0.0
Using library: libvirt 9.0.0
Using API: libxenlight 9.0.0
Running hypervisor: libxenlight 4.17.0
Running against daemon: 9.0.0
"""


def soon() -> Deadline:
    return Deadline(10)


def test_a_host_tells_its_versions_and_abilities() -> None:
    shell = FakeShell({"xl info": XL_INFO, "virsh *version --daemon": VIRSH})
    assert host_facts(shell, "xen-4.17", "embedded", soon()) == HostFacts(
        name="xen-4.17",
        kind="embedded",
        xen="4.17.6-pre",
        libvirt="9.0.0",
        kernel="6.1.0-41-amd64",
        capabilities="xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64; pv hvm hap shadow",
    )


def test_what_a_host_does_not_say_stays_empty() -> None:
    shell = FakeShell({"xl info": "host : x\n", "virsh *": ""})
    assert host_facts(shell, "x", "inventory", soon()) == HostFacts("x", "inventory", "", "", "", "; ")


def test_a_host_without_its_toolstack_is_an_error() -> None:
    shell = FakeShell({"xl info": Answer(1, stderr="libxl: error: cannot open libxc handle\n")})
    with pytest.raises(CommandError, match=r"^xl: status 1: libxl: error: cannot open libxc handle$"):
        host_facts(shell, "xen-4.17", "embedded", soon())


@pytest.fixture
def shell() -> FakeShell:
    return FakeShell({"mkdir *": "", "mount *": ""})


@pytest.fixture
def host(tmp_path: Path, shell: FakeShell) -> Host:
    return fake_host("xen-4.17", tmp_path, FakeHypervisor(), script=shell)


def test_an_image_is_mounted_once_and_read_only(host: Host, shell: FakeShell) -> None:
    for _ in range(2):
        assert host.mount(Path("/cache/boot/disk.raw"), "k1", deadline=soon()) == "/run/lab/k1"
    assert shell.commands == [
        "mkdir -p /run/lab/k1",
        "mount -o ro,noload /dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_k1 /run/lab/k1",
    ]
    assert isinstance(host.disks, FakeDisks)
    assert host.disks.plugged == {"k1": (Path("/cache/boot/disk.raw"), True)}


def test_two_images_have_two_folders(host: Host) -> None:
    assert host.mount(Path("/a"), "k1", deadline=soon()) != host.mount(Path("/b"), "k2", deadline=soon())


def test_a_mount_that_fails_is_not_taken_for_one(tmp_path: Path) -> None:
    refused = Answer(32, stderr="mount: wrong fs type\n")
    host = fake_host("xen-4.17", tmp_path, FakeHypervisor(), script=FakeShell({"mkdir *": "", "mount *": refused}))
    with pytest.raises(CommandError, match=r"^mount: status 32: mount: wrong fs type$"):
        host.mount(Path("/a"), "k1", deadline=soon())
    assert host.mounted == set()


def test_a_host_is_known_by_the_name_in_its_facts(host: Host) -> None:
    assert host.name == host.facts.name == "xen-4.17"


class TestFakes:
    """What other tests rely on."""

    def test_disks_keep_count_and_refuse(self) -> None:
        disks = FakeDisks(broken=frozenset({"bad"}))
        assert disks.plug(Path("/a"), "s", read_only=False, sector=512, deadline=soon()).endswith("_s")
        disks.unplug("s", deadline=soon())
        with pytest.raises(HostError, match=r"^no disk s$"):
            disks.unplug("s", deadline=soon())
        with pytest.raises(HostError, match=r"^disk bad: refused$"):
            disks.plug(Path("/a"), "bad", read_only=False, sector=512, deadline=soon())
        with pytest.raises(DeadlineError):
            disks.plug(Path("/a"), "s", read_only=False, sector=512, deadline=Deadline(0))
        disks.dead = "QEMU ended"
        with pytest.raises(HostError, match=r"^QEMU ended$"):
            disks.watch()

    def test_the_network_knows_who_is_connected(self, host: Host) -> None:
        network = host.network
        assert isinstance(network, FakeNetwork)
        network.add("web32", address="10.77.128.10", through="xen-4.17")
        assert network.places == {"web32": "10.77.128.10:22 through xen-4.17"}
        with network.connect("web32", deadline=soon()):
            assert network.open == ["web32"]
        assert network.open == []
