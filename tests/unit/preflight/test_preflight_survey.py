"""What hosts and guests say is read; what they do not say, or say wrongly, is left open and never an accident."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import GuestError, HostError
from lab.hypervisor import DomainState, GuestNotFoundError
from lab.preflight import guest as guests
from lab.preflight.cpu import features
from lab.preflight.guest import Disk, ask_guest, parse_inside, read_domain
from lab.preflight.survey import SCRIPT, HostSurvey, Place, Tenant, ask_host, parse_host, version_of
from lab.testing.shell import Answer, FakeShell
from tests.unit.preflight.hosts import INSIDE, SOON, hypervisor, side, told, xml_of
from tests.unit.preflight.questions import CAPS, DISK, HW_CAPS, KERNEL, WEB
from tests.unit.preflight.questions import INSIDE as WITHIN

PATHS = (DISK, KERNEL)


def asked(said: str) -> HostSurvey:
    return ask_host("old", FakeShell({"sh -c *": said}), hypervisor().connect(deadline=SOON), PATHS, deadline=SOON)


def test_everything_a_host_says_is_read_in_one_command() -> None:
    world = hypervisor("web", "db")
    shell = FakeShell({"sh -c *": told()})
    found = ask_host("old", shell, world.connect(deadline=SOON), (*PATHS, DISK), deadline=SOON)
    assert [one.argv for one in shell.asked] == [("sh", "-c", SCRIPT, "sh", DISK, KERNEL)]
    assert (found.xen, found.version, found.libvirt, found.kernel) == ("4.14.6", (4, 14), "7.0.0", "5.10.0-46-amd64")
    assert found.xen_caps == CAPS
    assert found.virt_caps == frozenset({"pv", "hvm", "hap", "shadow"})
    assert found.features == features(HW_CAPS)
    assert (found.free_mib, found.dom0_mib, found.dom0_fixed, found.max_vcpus) == (700, 1024, True, 2)
    assert found.bridges == frozenset({"xenbr0"})
    assert found.abis == "xen-x86_64 xenpvh-x86_64"
    assert found.tenant("web") == Tenant("web", WEB.uuid, active=True)
    assert found.tenant("nobody") is None
    assert len(found.tenants) == 2
    assert found.places == {
        DISK: Place("block", 1 << 30, "0QEMU_web"),
        KERNEL: Place("file", 40_000_000, "", "ext2/ext3", 64),
    }


def test_a_host_without_xl_leaves_it_open() -> None:
    found = side("old", hypervisor(), told(xl="", places=""))
    survey = ask_host("old", found.shell, found.connection, PATHS, deadline=SOON)
    assert survey.version == (4, 14)  # libvirt's word for it
    assert survey.xen_caps == frozenset()
    for unknown in (survey.virt_caps, survey.features, survey.free_mib, survey.dom0_fixed, survey.max_vcpus):
        assert unknown is None
    assert survey.places == {DISK: Place(), KERNEL: Place()}


def test_half_an_answer_is_trouble() -> None:
    cut = Answer(255, told().removesuffix("end\n"), "Connection closed by remote host\n")
    with pytest.raises(HostError) as caught:
        ask_host("old", FakeShell({"sh -c *": cut}), hypervisor().connect(deadline=SOON), PATHS, deadline=SOON)
    assert str(caught.value) == (
        "old: half an answer to what it is: Connection closed by remote host\n  hint: can you run a command on old?"
    )


def test_dom0_that_makes_room_is_known_as_such() -> None:
    fixed = "xl xen_commandline        : placeholder\n"
    assert asked(told(xl=fixed)).dom0_fixed is False


@given(st.text(), st.lists(st.text(min_size=1), max_size=3))
def test_whatever_a_host_prints_is_read_without_an_accident(text: str, paths: list[str]) -> None:
    found = parse_host(text, paths)
    assert set(found.places) == set(paths)


@given(st.lists(st.sampled_from([*told().splitlines(), "place 9 block 1", "place x", "magic 0", "xl", ""])))
def test_lines_in_any_order_are_no_accident(lines: list[str]) -> None:
    found = parse_host("\n".join(lines), PATHS)
    assert found.whole == ("end" in lines)


def test_the_script_tells_what_is_at_a_path(tmp_path: Path) -> None:
    elf, plain, folder = tmp_path / "an elf", tmp_path / "plain'\"$(x)", tmp_path
    elf.write_bytes(b"\x7fELF\x01 and more")
    plain.write_bytes(b"x" * 513)
    paths = (str(elf), str(plain), str(tmp_path / "nothing"), str(folder))
    done = subprocess.run(("sh", "-c", SCRIPT, "sh", *paths), capture_output=True, text=True, check=True, timeout=30)
    assert not done.stderr
    found = parse_host(done.stdout, paths)
    assert found.whole
    assert found.kernel == os.uname().release
    assert found.bridges is not None
    kinds = {path: (place.kind, place.bytes, place.bits) for path, place in found.places.items()}
    assert kinds == {
        str(elf): ("file", 14, 32),
        str(plain): ("file", 513, None),
        str(tmp_path / "nothing"): ("absent", None, None),
        str(folder): ("other", None, None),
    }
    assert found.places[str(elf)].filesystem


def test_the_script_within_runs_in_any_shell(tmp_path: Path) -> None:
    done = subprocess.run(
        ("sh", "-c", guests.SCRIPT, "sh", "../../.."),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=tmp_path,
    )
    found = parse_inside(done.stdout)
    assert found is not None
    assert (found.release, found.machine) == (os.uname().release, os.uname().machine)
    assert found.bits in {32, 64}


def test_a_guest_is_read_from_its_definition_and_from_within() -> None:
    shell = FakeShell({"sh -c *": INSIDE + "has ext4.ko.xz\nhas dm-mod.ko\n"})
    world = hypervisor("web")
    found = ask_guest(world.connect(deadline=SOON), "web", shell, kernel="6.12", deadline=SOON)
    assert shell.asked[0].argv[-1] == "6.12"
    assert found.inside is not None
    assert found.inside.has == {"ext4", "dm_mod"}
    assert (found.inside.release, found.inside.flags) == (WITHIN.release, WITHIN.flags)
    assert (found.name, found.uuid, found.type, found.arch) == ("web", WEB.uuid, "pv", "x86_64")
    assert (found.memory_kib, found.vcpus, found.active, found.shadow) == (131072, 1, True, False)
    assert found.disks == (Disk("xvda", DISK, "block"),)
    assert (found.bridges, found.networks, found.boots) == (("xenbr0",), (), (("kernel", KERNEL),))
    assert found.paths == (DISK, KERNEL)


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        (None, "there is no way in"),
        (FakeShell({"sh -c *": Answer(1, "release 6.1\n")}), "its shell gave half an answer (status 1)"),
        (FakeShell({"sh -c *": GuestError("web: it hangs")}), "web: it hangs"),
    ],
)
def test_a_guest_that_does_not_answer_is_known_from_outside(shell: FakeShell | None, said: str) -> None:
    found = ask_guest(hypervisor("web").connect(deadline=SOON), "web", shell, deadline=SOON)
    assert (found.inside, found.silent, found.name) == (None, said, "web")


def test_a_guest_that_is_not_there_is_an_error() -> None:
    with pytest.raises(GuestNotFoundError):
        ask_guest(hypervisor("web").connect(deadline=SOON), "wbe", None, deadline=SOON)


def test_other_peoples_definitions() -> None:
    found = read_domain(
        """<domain type='xen'><name>shop</name><uuid>44D44A71-FA05-417E-A4AD-626CE5999B26</uuid>
        <memory unit='GiB'>2</memory><vcpu>4</vcpu><bootloader>/usr/lib/xen-4.14/bin/pygrub</bootloader>
        <os><type arch='i686' machine='xenfv'>hvm</type><loader type='rom'>hvmloader</loader></os>
        <features><hap state='off'/></features><devices><emulator>/usr/bin/qemu-system-i386</emulator>
        <disk type='file' device='cdrom'><target dev='hdc'/><readonly/></disk>
        <disk type='network' device='disk'><source protocol='rbd' name='pool/image'/><target dev='xvda'/></disk>
        <disk type='file' device='disk'><source file='/srv/a b.raw'/><target dev='xvdb'/><readonly/></disk>
        <interface type='network'><source network='default'/></interface>
        <interface type='ethernet'/></devices></domain>""",
        state=DomainState.SHUTOFF,
    )
    assert (found.type, found.memory_kib, found.vcpus, found.shadow, found.active) == ("hvm", 2 << 20, 4, True, False)
    assert found.disks == (Disk("xvda", "pool/image", "network"), Disk("xvdb", "/srv/a b.raw", "file", readonly=True))
    assert found.networks == ("network default", "ethernet")
    assert found.boots == (
        ("boot loader", "/usr/lib/xen-4.14/bin/pygrub"),
        ("emulator", "/usr/bin/qemu-system-i386"),
    )
    assert found.paths == ("/srv/a b.raw", "/usr/lib/xen-4.14/bin/pygrub", "/usr/bin/qemu-system-i386")
    assert "emulator" not in dict(read_domain(xml_of()).boots)


@given(st.text())
def test_whatever_a_guest_prints_is_read_without_an_accident(text: str) -> None:
    found = parse_inside(text)
    assert (found is None) == ("end" not in {line.partition(" ")[0] for line in text.splitlines()})


@pytest.mark.parametrize(
    ("word", "bit", "name"),
    [
        # By the vendors' manuals: CPUID 1.edx, 1.ecx, 80000001.edx, 80000001.ecx, 0xd.1.eax, 7.0.ebx, 7.0.ecx.
        (0, 26, "sse2"),
        (1, 13, "cx16"),
        (1, 28, "avx"),
        (2, 27, "rdtscp"),
        (2, 29, "lm"),
        (3, 0, "lahf_lm"),
        (4, 1, "xsavec"),
        (5, 5, "avx2"),
        (6, 3, "pku"),
        (1, 5, ""),  # vmx, which no guest is shown
        (7, 8, ""),  # an invariant TSC, likewise
    ],
)
def test_features_have_the_bits_of_cpuid(word: int, bit: int, name: str) -> None:
    words = [f"{1 << bit if at == word else 0:08x}" for at in range(8)]
    assert features(":".join(words)) == frozenset({name} - {""})


@given(st.text())
def test_words_that_are_no_capabilities_say_nothing(text: str) -> None:
    assert features(f"{text}:") is None


def test_versions() -> None:
    assert version_of("4.20.5-pre") == (4, 20)
    assert version_of("4") == version_of("") == version_of("xen") == ()
