"""What guests are made of."""

from __future__ import annotations

import itertools
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab.debian.rootfs import Rootfs
from lab.errors import UnknownNameError
from lab.guests.recipe import BOOT_MODULES, guest_rootfs
from tests.unit.guests.keys import make_keys

ALL = list(itertools.product(("debian", "perf", "probe"), ("bookworm", "trixie"), ("i386", "amd64")))


def recipe(folder: Path, system: str, release: str = "bookworm", userland: str = "i386") -> Rootfs:
    return guest_rootfs(system, release, userland, make_keys(folder))


@pytest.mark.parametrize(("system", "release", "userland"), ALL)
def test_every_guest_can_be_reached_and_looked_into(tmp_path: Path, system: str, release: str, userland: str) -> None:
    made = recipe(tmp_path, system, release, userland)
    assert (made.suite, made.arch) == (release, userland)
    # sshd to be reached, kmod for modules, iproute2 for the address, python3 for the probe and for testinfra.
    assert {"openssh-server", "kmod", "iproute2", "python3"} <= set(made.packages)
    assert "ssh-ed25519 AAAAuser lab-user\n" in made.overlay["/root/.ssh/authorized_keys"]
    assert "/usr/local/sbin/lab-net" in made.executable
    secret = {path for path, text in made.overlay.items() if "-----BEGIN" in text}
    assert secret == made.private == {"/etc/ssh/lab_host_key"}
    assert made.executable | made.private <= set(made.overlay)


@pytest.mark.parametrize(("system", "release", "userland"), ALL)
def test_what_a_guest_runs_as_a_script_is_one(tmp_path: Path, system: str, release: str, userland: str) -> None:
    made = recipe(tmp_path, system, release, userland)
    for path in sorted(made.executable):
        script = tmp_path / "script"
        script.write_text(made.overlay[path])
        assert made.overlay[path].startswith("#!/bin/sh"), path
        assert subprocess.run(("sh", "-n", str(script)), check=False, timeout=20).returncode == 0, path


def test_recipes_differ_where_they_must(tmp_path: Path) -> None:
    made = [recipe(tmp_path, *each) for each in ALL]
    assert len({(each.suite, each.arch, each.packages) for each in made}) == len(ALL)


def test_the_realistic_guest_has_systemd_and_a_unit_for_its_address(tmp_path: Path) -> None:
    made = recipe(tmp_path, "debian")
    assert "systemd-sysv" in made.packages
    unit = made.overlay["/etc/systemd/system/lab-net.service"]
    assert re.search(r"^ExecStart=/usr/local/sbin/lab-net$", unit, re.MULTILINE)
    assert "systemctl enable ssh lab-net" in made.commands


def test_the_small_guest_has_an_init_of_its_own_and_no_systemd(tmp_path: Path) -> None:
    made = recipe(tmp_path, "probe")
    assert "systemd-sysv" not in made.packages
    assert "ntfs-3g" in made.packages
    assert {"/usr/sbin/lab-init", "/usr/sbin/poweroff"} <= made.executable
    # In Debian /sbin is a link into /usr; a folder of that name in the overlay would take its place.
    assert not [path for path in made.overlay if path.startswith(("/sbin/", "/bin/", "/lib/"))]


def test_the_guest_in_which_drivers_are_timed_is_the_small_one_and_fio(tmp_path: Path) -> None:
    small, timed = recipe(tmp_path, "probe"), recipe(tmp_path, "perf")
    assert timed == replace(small, packages=(*small.packages, "fio"))
    # The ordinary one stays as it is: guests in caches depend on it.
    assert "fio" not in small.packages


def test_what_is_masked_is_not_what_is_needed(tmp_path: Path) -> None:
    [command] = [each for each in recipe(tmp_path, "debian").commands if each.startswith("systemctl mask ")]
    masked = command.split()[2:]
    assert len(set(masked)) == len(masked)
    assert not {"ssh.service", "lab-net.service", "systemd-journald.service", "dbus.service"} & set(masked)


def test_no_command_has_a_quote_that_mmdebstraps_hook_would_end_at(tmp_path: Path) -> None:
    assert not [command for each in ALL for command in recipe(tmp_path, *each).commands if "'" in command]


def test_an_unknown_system_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        recipe(tmp_path, "probes")
    assert str(caught.value) == "no guest system 'probes'; known: debian, perf, probe\n  hint: did you mean 'probe'?"


def test_an_initrd_brings_what_a_guests_disk_and_network_need() -> None:
    assert BOOT_MODULES == ("xen_blkfront", "xen_netfront", "ext4")


@pytest.mark.parametrize(
    ("release", "folder"), [("bullseye", "/sbin"), ("bookworm", "/usr/sbin"), ("forky", "/usr/sbin")]
)
def test_the_programs_that_a_kernel_calls_are_where_it_finds_them(tmp_path: Path, release: str, folder: str) -> None:
    made = recipe(tmp_path, "probe", release, "amd64")
    assert {f"{folder}/lab-init", f"{folder}/poweroff"} <= made.executable
