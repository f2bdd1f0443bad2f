"""Hosts files: what they say, every mistake with its place, and scenarios that name hosts of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ScenarioError, UnknownNameError, UsageError
from lab.scenario.inventory import Inventory, ListedHost, load_inventory, parse_inventory
from lab.scenario.load import Known, parse

NOTHING: frozenset[str] = frozenset()


def listed(text: str) -> Inventory:
    return parse_inventory(text, path="hosts.yaml", folder=Path("/etc/lab"))


def complaints(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        listed(text)
    return str(caught.value).splitlines()


def test_a_host_needs_no_more_than_what_ssh_connects_to() -> None:
    inventory = listed("hosts:\n  old-rack-1: {ssh: root@10.0.0.11}\n  new: {ssh: rack-2}\n")
    assert inventory.host("old-rack-1") == ListedHost(
        "old-rack-1", "10.0.0.11", 1, "root", place="hosts.yaml:2:3", bridge="xenbr0", accelerator="hardware"
    )
    assert (inventory.host("new").machine, inventory.host("new").user, inventory.host("new").stand) == ("rack-2", "", 2)


def test_everything_can_be_said_and_files_lie_beside_the_hosts_file() -> None:
    text = (
        "hosts:\n  a: {ssh: root@h, port: 2222, identity: id, known_hosts: /k, bridge: br0, address: 10.1.1.1,"
        " stand: 7, accelerator: tcg}\n"
    )
    assert listed(text).host("a") == ListedHost(
        "a", "h", 7, "root", 2222, Path("/etc/lab/id"), Path("/k"), "br0", "10.1.1.1", "tcg", "hosts.yaml:2:3"
    )
    home = listed("hosts: {a: {ssh: h, identity: ~/.ssh/id}}").host("a").identity
    assert home == Path.home() / ".ssh" / "id"


def test_keys_and_known_hosts_are_not_shown() -> None:
    assert "secret" not in repr(listed("hosts: {a: {ssh: h, identity: secret, known_hosts: secret}}"))


def test_every_mistake_is_told_at_once_with_its_place() -> None:
    text = (
        "hosts:\n"
        "  a: {ssh: -oProxyCommand=x, brige: xenbr0, stand: 500}\n"
        "  b: {port: 22.5, accelerator: tgc}\n"
        "  c d: {ssh: h}\n"
    )
    assert complaints(text) == [
        (
            "hosts.yaml:2:12: hosts.a.ssh: '-oProxyCommand=x' is not a machine that ssh reaches, such as"
            " root@10.0.0.11 or an alias of your ssh configuration"
        ),
        "hosts.yaml:2:30: hosts.a: unknown key 'brige'; did you mean 'bridge'?",
        "hosts.yaml:2:52: hosts.a.stand: 500 is not a stand, a whole number from 1 to 120",
        "hosts.yaml:3:3: hosts.b: key 'ssh' is missing",
        "hosts.yaml:3:13: hosts.b.port: 22.5 is not a port, a whole number from 1 to 65535",
        "hosts.yaml:3:32: hosts.b.accelerator: 'tgc' is not one of hardware, kvm, tcg; did you mean 'tcg'?",
        "hosts.yaml:4:3: hosts.c d: 'c d' is not a name of letters, digits, . _ -",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "hosts.yaml:1:1: an empty file; a hosts file is a map that begins with `hosts:`"),
        ("- a\n", "hosts.yaml:1:1: no map; a hosts file is a map that begins with `hosts:`"),
        ("hosts: {a: {ssh: h}}\n---\nhosts: {}\n", "hosts.yaml:3:1: a second document; a hosts file has one"),
        ("hosts: {}\n", "hosts.yaml:1:1: hosts: needs at least one"),
    ],
)
def test_a_file_of_another_form(text: str, said: str) -> None:
    assert complaints(text) == [said]


def test_two_names_for_one_machine_and_two_hosts_at_one_stand() -> None:
    assert complaints("hosts:\n  a: {ssh: root@h, stand: 2}\n  b: {ssh: h}\n") == [
        "hosts.yaml:3:3: hosts.b: stands at 2, and so does 'a'; give one of them another stand",
        "hosts.yaml:3:12: hosts.b.ssh: the same machine as 'a'",
    ]
    assert set(listed("hosts:\n  a: {ssh: h, port: 1}\n  b: {ssh: h, port: 2}\n").hosts) == {"a", "b"}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"hosts\.yaml:1:1: cannot be read: No such file or directory$"):
        load_inventory(tmp_path / "hosts.yaml")


def test_a_name_that_is_not_listed_and_no_list_at_all() -> None:
    with pytest.raises(UnknownNameError) as unknown:
        listed("hosts: {old-rack-1: {ssh: h}}").host("old-rack-2")
    assert str(unknown.value) == (
        "no host in hosts.yaml 'old-rack-2'; known: old-rack-1\n  hint: did you mean 'old-rack-1'?"
    )
    with pytest.raises(UsageError, match=r"^rack: a host of the inventory, and no hosts file was named") as nowhere:
        Inventory.of(None).host("rack")
    assert nowhere.value.hint == "name one: --hosts FILE (pytest --lab-hosts FILE), or LAB_HOSTS"


BOOT = "scenario: s\nhosts:\n  a: {inventory: [rack-1, rack-9]}\nguests: {g: {release: sid}}\n"


def mistakes(text: str, hosts: frozenset[str] | None) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse(text, path="s.lab.yaml", known=Known(NOTHING, NOTHING, NOTHING, hosts))
    return str(caught.value).splitlines()


def test_a_scenario_names_hosts_that_are_listed() -> None:
    assert mistakes(BOOT, frozenset({"rack-1", "rack-2"})) == [
        "s.lab.yaml:3:27: the hosts file has no host 'rack-9'; did you mean 'rack-2'?"
    ]
    assert mistakes(BOOT, frozenset({"rack-1", "new"}))[0].endswith("did you mean 'rack-1'?")
    assert mistakes(BOOT, frozenset({"x", "y"}))[1].endswith("no host 'rack-9'; listed: x, y")
    assert len(parse(BOOT, path="s", known=Known(NOTHING, NOTHING, NOTHING, frozenset({"rack-1", "rack-9"})))) == 2


def test_without_a_hosts_file_each_is_told() -> None:
    words = "is a host of your own, and no hosts file is named: --hosts FILE, or LAB_HOSTS"
    assert mistakes(BOOT, NOTHING) == [f"s.lab.yaml:3:19: 'rack-1' {words}", f"s.lab.yaml:3:27: 'rack-9' {words}"]


def test_whoever_only_lists_cells_needs_no_hosts_file() -> None:
    assert len(parse(BOOT, path="s", known=Known(NOTHING, NOTHING, NOTHING))) == 2


def test_no_guest_moves_between_an_embedded_host_and_one_of_the_inventory() -> None:
    text = (
        'scenario: s\nhosts: {source: {inventory: rack-1}, target: {xen: "4.20"}}\nguests: {g: {release: sid}}\n'
        "migrate: {how: cold}\n"
    )
    assert mistakes(text, None) == [
        "s.lab.yaml:2:1: hosts: one is embedded and the other of the inventory; no network joins these two"
    ]
