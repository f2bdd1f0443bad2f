"""The command line of a bare guest's QEMU."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from lab.hosts.bare.machine import BareBoot, BareWiring, Drive, cpu, hardware
from lab.hosts.embedded.qemu import HARDWARE
from lab.hosts.processes import Process

FOLDER = Path("/cache/run/abcd1234/microvm-ntfs-0370")
DRIVES = (Drive("root", FOLDER / "disk.qcow2"), Drive("shelf", FOLDER / "shelf.raw", "raw"))
WIRING = BareWiring(FOLDER, Path("/tmp/lab-s/m"), DRIVES, (22, 7079))  # noqa: S108 - never made


def test_the_hardware_of_a_bare_guest_is_stable() -> None:
    # A snapshot returns only on the very same devices; whoever changes this makes every snapshot anew.
    assert hardware("tcg", 256, ("root", "shelf")) == (
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "pc,accel=tcg", "-cpu", cpu("tcg")),
        *("-smp", "1", "-m", "256", "-no-reboot"),
        *("-device", "virtio-blk-pci,drive=root,serial=root", "-device", "virtio-blk-pci,drive=shelf,serial=shelf"),
        *("-device", "virtio-net-pci,netdev=nat,mac=52:54:00:77:00:01"),
    )


def test_the_emulated_cpu_is_the_one_that_xen_would_hand_on() -> None:
    # Without XSAVE Xen shows no AVX, and what is built on it; a kernel that sees it all the same dies of it.
    assert cpu("tcg") == f"{HARDWARE.cpu('tcg')},-avx,-avx2,-fma,-f16c,-vaes,-vpclmulqdq"
    assert "-xsave" in HARDWARE.cpu("tcg").split(",")  # else the others may stay, too
    assert cpu("kvm") == "host"


def test_the_wiring_leads_from_loopback_to_the_guests_ports_and_nowhere_else() -> None:
    words = WIRING.argv("ntfs-0370")
    assert words[:4] == ("-name", "ntfs-0370", "-pidfile", f"{FOLDER}/qemu.pid")
    assert words[words.index("-netdev") + 1] == (
        "user,id=nat,restrict=on,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:7079"
    )
    assert words[words.index("-chardev") + 1] == f"file,id=console,path={FOLDER}/console.log,append=on"
    assert words[-1] == "unix:/tmp/lab-s/m/qmp,server=on,wait=off"


def test_the_shelf_is_not_locked() -> None:
    words = WIRING.argv("ntfs-0370")
    root, shelf = (json.loads(after) for word, after in itertools.pairwise(words) if word == "-blockdev")
    assert (root["driver"], root["node-name"], root["read-only"]) == ("qcow2", "root", False)
    assert (shelf["driver"], shelf["node-name"], shelf["read-only"]) == ("raw", "shelf", False)
    assert shelf["file"]["locking"] == "off"
    assert shelf["cache"]["direct"] is False  # through the page cache, where volumes appear that are put on it later


def test_a_kernel_is_booted_by_its_names_as_they_are() -> None:
    folder = Path("/cache/a,b")
    booted = BareBoot(folder / "vmlinux", folder / "initrd", "root=/dev/vda rw")
    assert booted.argv() == (
        "-kernel",
        "/cache/a,b/vmlinux",
        "-initrd",
        "/cache/a,b/initrd",
        "-append",
        "root=/dev/vda rw",
    )


def test_clean_finds_it_by_the_folder_of_its_run() -> None:
    words = tuple(word.encode() for word in ("/usr/bin/qemu-system-x86_64", *WIRING.argv("ntfs-0370")))
    process = Process(4711, 1, 4711, 1, 0, words)
    assert process.ours
    assert process.names(FOLDER.parent)
    assert not process.names(FOLDER.parent.with_name("abcd"))
