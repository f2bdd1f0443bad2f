"""What embedded hosts are made of, and that no cure gets lost."""

from __future__ import annotations

import configparser
import itertools
import re
import subprocess
import uuid
from pathlib import Path

import pytest

from lab.errors import UnknownNameError
from lab.hosts.embedded.qemu import HARDWARE
from lab.hosts.embedded.recipe import EmbeddedRecipe, embedded_recipe, embedded_versions, host_address
from lab.hypervisor.document import parse
from lab.keys import Keys


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    for name in ("user", "host"):
        (tmp_path / name).write_text(f"-----BEGIN {name}-----\n")
        (tmp_path / f"{name}.pub").write_text(f"ssh-ed25519 AAAA{name} lab-{name}\n")
    return Keys(tmp_path / "user", tmp_path / "host")


@pytest.fixture
def recipes(keys: Keys) -> list[EmbeddedRecipe]:
    return [embedded_recipe(version, keys) for version in embedded_versions()]


def test_each_version_comes_from_the_release_that_ships_it(recipes: list[EmbeddedRecipe]) -> None:
    assert [(recipe.name, recipe.rootfs.suite, recipe.rootfs.arch) for recipe in recipes] == [
        ("xen-4.14", "bullseye", "amd64"),
        ("xen-4.17", "bookworm", "amd64"),
        ("xen-4.20", "trixie", "amd64"),
    ]


@pytest.mark.parametrize(
    ("version", "hint"), [("4.18", "did you mean '4.1"), ("4.2", "did you mean '4.20'?"), ("9", None)]
)
def test_an_unknown_version_lists_the_known_ones_and_the_nearest(keys: Keys, version: str, hint: str | None) -> None:
    with pytest.raises(UnknownNameError) as caught:
        embedded_recipe(version, keys)
    assert caught.value.message == f"no embedded Xen version '{version}'; known: 4.14, 4.17, 4.20"
    assert caught.value.hint.startswith(hint) if hint else caught.value.hint == ""


def test_nothing_that_must_tell_hosts_apart_is_the_same_for_two(recipes: list[EmbeddedRecipe]) -> None:
    def seen(path: str, pattern: str) -> list[str]:
        found = [re.search(pattern, recipe.rootfs.overlay[path]) for recipe in recipes]
        return [match.group(1) if match else "" for match in found]

    uuids = seen("/etc/libvirt/libvirtd.conf", r'host_uuid = "(.*)"')
    for values in (
        [recipe.address for recipe in recipes],
        [recipe.station for recipe in recipes],
        [host_address(recipe.xen) for recipe in recipes],
        seen("/etc/hostname", r"(.+)"),
        seen("/etc/machine-id", r"^([0-9a-f]{32})\n$"),
        seen("/etc/systemd/network/30-lab-shared.network", r"Address=(.*)"),
        seen("/etc/systemd/network/25-lab-moves.network", r"Address=(.*)"),
        uuids,
    ):
        assert len(set(map(str, values))) == len(recipes)
        assert all(map(str, values))
    assert [str(uuid.UUID(each)) for each in uuids] == uuids


def test_network_cards_of_two_hosts_never_share_an_address(recipes: list[EmbeddedRecipe]) -> None:
    cards = [set(re.findall(r"mac=([0-9a-f:]+)", " ".join(HARDWARE.argv("tcg", recipe.station)))) for recipe in recipes]
    # The first one leads to this machine alone, and is the same for all.
    private = {"52:54:00:77:00:01"}
    for one, other in itertools.combinations(cards, 2):
        assert one & other == private


def test_guests_move_on_a_network_of_their_own(recipes: list[EmbeddedRecipe]) -> None:
    for recipe in recipes:
        assert recipe.address == f"10.78.{recipe.xen}"
        assert f"Address={recipe.address}/16" in recipe.rootfs.overlay["/etc/systemd/network/25-lab-moves.network"]


def test_every_host_knows_every_other_by_name(recipes: list[EmbeddedRecipe]) -> None:
    for recipe in recipes:
        lines = recipe.rootfs.overlay["/etc/hosts"].splitlines()
        assert lines == [
            "127.0.0.1 localhost",
            "10.77.4.14 xen-4.14",
            "10.77.4.17 xen-4.17",
            "10.77.4.20 xen-4.20",
        ]


def test_the_cpu_map_gets_a_model_that_always_fits(recipes: list[EmbeddedRecipe]) -> None:
    # Without: "Cannot find suitable CPU model for given data", and libvirt's Xen driver does not start.
    for recipe in recipes:
        model = parse(recipe.rootfs.overlay["/usr/share/libvirt/cpu_map/x86_lab.xml"]).find("model")
        assert model is not None
        assert model.get("name") == "lab-emulated"
        decode = model.find("decode")
        assert decode is not None
        assert (decode.get("host"), decode.get("guest")) == ("on", "on")
        features = {feature.get("name") for feature in model.iterfind("feature")}
        assert "sep" not in features  # Xen clears it on AMD
        assert {"lm", "nx", "syscall", "sse2"} <= features


def test_the_model_comes_last_among_those_of_x86(recipes: list[EmbeddedRecipe], tmp_path: Path) -> None:
    index = tmp_path / "index.xml"
    index.write_text(
        "<cpus>\n  <arch name='x86'>\n    <include filename='x86_vendors.xml'/>\n"
        "    <include filename='x86_EPYC.xml'/>\n  </arch>\n  <arch name='ppc64'>\n"
        "    <include filename='ppc64_POWER9.xml'/>\n  </arch>\n</cpus>\n"
    )
    [command] = [command for command in recipes[0].rootfs.commands if "cpu_map" in command]
    here = command.replace("/usr/share/libvirt/cpu_map/index.xml", str(index))
    # As mmdebstrap is told to run it: between single quotes.
    subprocess.run(("sh", "-c", f"sh -c '{here}'"), check=True, timeout=20)
    included = {
        arch.get("name"): [include.get("filename") for include in arch.iterfind("include")]
        for arch in parse(index.read_text()).iterfind("arch")
    }
    assert included == {"x86": ["x86_vendors.xml", "x86_EPYC.xml", "x86_lab.xml"], "ppc64": ["ppc64_POWER9.xml"]}


def test_libvirt_starts_after_xens_daemons_and_stays(recipes: list[EmbeddedRecipe]) -> None:
    for recipe in recipes:
        unit = configparser.ConfigParser(strict=True)
        unit.optionxform = str  # type: ignore[assignment,method-assign]  # names in units are case-sensitive
        unit.read_string(recipe.rootfs.overlay["/etc/systemd/system/libvirtd.service.d/lab.conf"])
        assert dict(unit["Unit"]) == {"Wants": "xen.service", "After": "xen.service"}
        # LIBVIRTD_ARGS is `--timeout 120` by default.
        assert dict(unit["Service"]) == {"Environment": "LIBVIRTD_ARGS=", "EnvironmentFile": ""}
        assert any("systemctl enable ssh systemd-networkd libvirtd.service" in c for c in recipe.rootfs.commands)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/etc/default/xen", 'XENCONSOLED_ARGS="--log=guest --log-dir=/var/log/xen/console"'),
        ("/etc/default/xendomains", "XENDOMAINS_RESTORE=false"),
        ("/etc/libvirt/libxl.conf", "autoballoon = 0"),
        ("/etc/libvirt/libvirtd.conf", 'auth_unix_rw = "none"'),
        ("/etc/libvirt/libvirtd.conf", 'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"'),
        ("/etc/systemd/network/30-lab-shared.network", "ConfigureWithoutCarrier=yes"),
        ("/etc/systemd/network/20-lab-port.network", "Bridge=xenbr0"),
        ("/etc/systemd/network/20-lab-bridge.netdev", "STP=no"),
    ],
)
def test_each_setting_that_a_host_needs_is_there(recipes: list[EmbeddedRecipe], path: str, line: str) -> None:
    for recipe in recipes:
        assert line in recipe.rootfs.overlay[path].splitlines()


def test_every_unit_of_networkd_is_one(recipes: list[EmbeddedRecipe]) -> None:
    for path, text in recipes[0].rootfs.overlay.items():
        if path.startswith("/etc/systemd/"):
            unit = configparser.ConfigParser(strict=True)
            unit.read_string(text)
            assert unit.sections(), path


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ("linux-image-amd64", "the cloud flavour has no CONFIG_XEN_DOM0"),
        ("dnsmasq-base", "libvirt 7.0 does not start its Xen driver without a dnsmasq binary"),
        ("libvirt-daemon-driver-xen", "it is a package of its own"),
        ("netcat-openbsd", "libvirt over ssh, and the wait for a guest's port"),
    ],
)
def test_each_package_that_is_easily_forgotten_is_there(recipes: list[EmbeddedRecipe], package: str, why: str) -> None:
    for recipe in recipes:
        assert package in recipe.rootfs.packages, why
        assert f"xen-hypervisor-{recipe.xen}-amd64" in recipe.rootfs.packages
        assert f"xen-utils-{recipe.xen}" in recipe.rootfs.packages


def test_what_costs_a_boot_seconds_is_masked_and_what_is_needed_is_not(recipes: list[EmbeddedRecipe]) -> None:
    [command] = [command for command in recipes[0].rootfs.commands if command.startswith("systemctl mask ")]
    masked = command.split()[2:]
    assert len(set(masked)) == len(masked)
    assert {"networking.service", "e2scrub_reap.service", "serial-getty@hvc0.service"} <= set(masked)
    needed = {"ssh.service", "systemd-networkd.service", "libvirtd.service", "xen.service", "systemd-udevd.service"}
    assert not needed & set(masked)


def test_only_the_key_of_the_host_is_private(recipes: list[EmbeddedRecipe]) -> None:
    for recipe in recipes:
        secret = {path for path, text in recipe.rootfs.overlay.items() if "-----BEGIN" in text}
        assert secret == recipe.rootfs.private == {"/etc/ssh/lab_host_key"}


def test_no_command_has_a_quote_that_mmdebstraps_hook_would_end_at(recipes: list[EmbeddedRecipe]) -> None:
    assert not [command for recipe in recipes for command in recipe.rootfs.commands if "'" in command]


def test_xen_and_dom0_speak_where_the_lab_listens(recipes: list[EmbeddedRecipe]) -> None:
    for recipe in recipes:
        assert {"console=com1", "noreboot", "dom0_mem=1024M,max:1024M"} <= set(recipe.xen_args.split())
        assert {"root=/dev/vda", "rw", "console=hvc0", "net.ifnames=0"} <= set(recipe.dom0_args.split())
