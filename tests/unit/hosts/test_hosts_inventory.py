"""Hosts of the user's own: how ssh is called, what a host lacks, how one is locked, and what killed runs left there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import HostError
from lab.hosts.host import Host
from lab.hosts.inventory import host as module
from lab.hosts.inventory.host import _ADDRESS, _held, leased, numbers_of, own_address
from lab.hosts.inventory.ssh import OneShot, UserSsh, connected, destination, plain_words, ssh_words
from lab.hosts.inventory.survey import Survey, lacks, mending, parse, survey
from lab.hosts.inventory.sweep import Remains, remains, remove_remains
from lab.process import last_line, run
from lab.scenario.inventory import ListedHost
from lab.shell import SshNetwork, SshShell
from lab.testing.host import FakeDisks, fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import Answer, FakeShell
from tests.unit.programs import Programs

RACK = ListedHost("old-rack-1", "10.0.0.11", 3, "root", 2222, Path("/keys/id"), Path("/keys/known hosts"))
ALIAS = ListedHost("new", "rack-2", 4)


def soon() -> Deadline:
    return Deadline(20)


def test_ssh_is_the_users_own_with_what_the_hosts_file_says() -> None:
    words = ssh_words(RACK)
    assert words[-5:] == ("-l", "root", "-p", "2222", "10.0.0.11")
    assert 'UserKnownHostsFile="/keys/known hosts"' in words
    assert "-F" not in words
    assert not any("StrictHostKeyChecking" in word for word in words)
    assert ssh_words(ALIAS)[-1] == "rack-2"
    assert not {"-l", "-p", "-i"} & set(ssh_words(ALIAS))
    assert plain_words(RACK) == (
        *("ssh", "-i", "/keys/id", "-o", "UserKnownHostsFile=/keys/known hosts", "-p", "2222", "root@10.0.0.11"),
    )
    assert plain_words(ALIAS) == ("ssh", "rack-2")


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh")
def test_ssh_itself_understands_them(tmp_path: Path) -> None:
    network = UserSsh.to(RACK, tmp_path)
    said = subprocess.run(
        (*network.argv(RACK.machine)[:-1], "-G", RACK.machine), capture_output=True, text=True, check=True
    )
    settings = dict(line.partition(" ")[::2] for line in said.stdout.splitlines())
    assert settings["hostname"] == "10.0.0.11"
    assert (settings["user"], settings["port"], settings["batchmode"]) == ("root", "2222", "yes")
    assert settings["stricthostkeychecking"] in {"ask", "true", "yes"}
    assert settings["controlpath"] == str(tmp_path / "10.0.0.11")
    assert settings["userknownhostsfile"] == "/keys/known hosts"
    assert destination(RACK, deadline=soon()) == "10.0.0.11"


def test_guests_are_reached_through_it_by_the_labs_own_configuration(tmp_path: Path) -> None:
    onward = UserSsh.to(RACK, tmp_path).onward
    network = SshNetwork(tmp_path, tmp_path / "key", "lab ssh-ed25519 AAAA\n", jump=onward)
    network.add("web32", address="10.77.131.10", through="10.0.0.11")
    config = (tmp_path / "web32.conf").read_text()
    assert f"ProxyCommand {onward}\n" in config
    assert onward.endswith("-W [%h]:%p 10.0.0.11")
    assert "ProxyJump" not in config
    said = subprocess.run(("ssh", "-F", tmp_path / "config", "-G", "web32"), capture_output=True, text=True, check=True)
    assert "hostkeyalias lab\n" in said.stdout
    assert 'UserKnownHostsFile="/keys/known hosts"' in said.stdout


SSH = """
echo "$*" >> "$HERE/asked"
echo "$WORDS" >&2
exit 255
"""


@pytest.mark.parametrize(
    ("words", "tries"),
    [("root@10.0.0.11: Permission denied (publickey).", 1), ("Host key verification failed.", 1), ("refused", 3)],
)
def test_a_host_that_lets_nobody_in_is_not_tried_for_long(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, tries: int
) -> None:
    programs.add("ssh", SSH.replace("$WORDS", words))
    monkeypatch.setattr("lab.shell.pause", lambda _seconds: None)
    with pytest.raises(HostError) as refused, connected(RACK, tmp_path, deadline=soon()):
        raise AssertionError
    assert refused.value.message == f"old-rack-1: ssh does not get there: {words}"
    assert refused.value.hint.startswith("try it yourself: ssh -i /keys/id ")
    assert len(programs.note("asked")) == tries
    with pytest.raises(HostError, match=r"^old-rack-1: ssh does not get there: "):
        OneShot(RACK).run("true", deadline=soon())


def test_addresses_of_a_stand() -> None:
    assert own_address(RACK) == "10.77.131.1/16"
    assert (numbers_of(RACK)[0], numbers_of(RACK)[-1]) == (778, 1017)


IP = r"""
case $* in
"-o -4 addr show dev xenbr0") cat "$HERE/addresses" 2>/dev/null ;;
"-o -4 route show") cat "$HERE/routes" 2>/dev/null ;;
*) echo "$*" >> "$HERE/done" ;;
esac
"""
BRIDGED = "4: xenbr0    inet 10.0.0.11/24 brd 10.0.0.255 scope global xenbr0\n"


@pytest.mark.parametrize(
    ("addresses", "routes", "done"),
    [
        (BRIDGED, "default via 10.0.0.1 dev xenbr0\n", ["addr add 10.77.131.1/16 dev xenbr0"]),
        (BRIDGED.replace("10.0.0.11", "10.77.0.11"), "10.77.0.0/16 dev xenbr0 proto kernel scope link\n", []),
    ],
)
def test_a_bridge_gets_an_address_unless_it_has_one(
    programs: Programs, tmp_path: Path, addresses: str, routes: str, done: list[str]
) -> None:
    programs.add("ip", IP)
    (programs.folder / "addresses").write_text(addresses)
    (programs.folder / "routes").write_text(routes)
    words = ("xenbr0", own_address(RACK), str(tmp_path / "note"))
    run("sh", "-c", _ADDRESS, "sh", *words, deadline=soon()).check()
    assert programs.note("done") == done
    assert (tmp_path / "note").exists() is bool(done)


def test_a_host_that_reaches_that_network_by_another_way_is_left_alone(programs: Programs, tmp_path: Path) -> None:
    programs.add("ip", IP)
    (programs.folder / "addresses").write_text(BRIDGED)
    (programs.folder / "routes").write_text("default via 10.0.0.1 dev xenbr0\n10.77.4.0/24 via 10.0.0.9 dev eno1\n")
    words = ("xenbr0", own_address(RACK), str(tmp_path / "note"))
    refused = run("sh", "-c", _ADDRESS, "sh", *words, deadline=soon())
    assert not refused
    said = "10.77.0.0/16, the lab's network for guests, is in use there: 10.77.4.0/24 via 10.0.0.9 dev eno1"
    assert last_line(refused.stderr) == said
    assert programs.note("done") == []
    assert not (tmp_path / "note").exists()


SAID = """\
user 0
program xl
program virsh
program python3
program nbd-client
program nc
program flock
program ip
program xenstore-ls
module nbd
module xen-blkback
bridge xenbr0
other xenbr0
socket /run/libvirt/libvirt-sock
xen_version 4.14.6
free_memory 12000
libvirt yes
allowtcpforwarding yes
allowstreamlocalforwarding yes
consoles
end
"""


def asked(said: str) -> Survey:
    return survey(FakeShell({"sh -c *": said}), "xenbr0", deadline=soon())


def lacking(*lines: str, instead: str = "") -> list[tuple[str, str]]:
    text = "".join(line + "\n" for line in SAID.splitlines() if line not in lines).replace("end\n", f"{instead}end\n")
    return [(lack.what, lack.seen) for lack in lacks(RACK, asked(text))]


def test_a_host_that_has_all() -> None:
    seen = asked(SAID)
    assert (seen.xen, seen.free_mib, seen.socket) == ("4.14.6", 12000, "/run/libvirt/libvirt-sock")
    assert list(lacks(RACK, seen)) == []


@pytest.mark.parametrize(
    ("lines", "instead", "found"),
    [
        (("program nbd-client",), "", ("nbd-client", "no nbd-client")),
        (("module nbd",), "", ("module nbd", "the kernel has no nbd")),
        (("bridge xenbr0",), "", ("bridge", "no bridge xenbr0; it has xenbr0")),
        (("bridge xenbr0", "other xenbr0"), "", ("bridge", "no bridge xenbr0; it has none")),
        (("xen_version 4.14.6",), "", ("Xen", "xl info says nothing")),
        (("libvirt yes",), "libvirt no error: refused\n", ("libvirt", "xen:///system does not answer: error: refused")),
        (("socket /run/libvirt/libvirt-sock",), "", ("libvirt", "no /run/libvirt/libvirt-sock")),
        (
            ("allowstreamlocalforwarding yes",),
            "allowstreamlocalforwarding no\n",
            ("forwarding", "its sshd does not forward what disks and guests' shells come through"),
        ),
        (
            ("allowtcpforwarding yes",),
            "allowtcpforwarding remote\n",
            ("forwarding", "its sshd does not forward what disks and guests' shells come through"),
        ),
        (("free_memory 12000",), "free_memory 100\n", ("memory", "100 MiB free for guests")),
        (("user 0",), "user 1000\n", ("root", "ssh logs in as another user")),
        (
            ("consoles",),
            "",
            ("consoles", "xenconsoled keeps no logs of guests' consoles: evidence lacks what a guest said last"),
        ),
    ],
)
def test_each_thing_that_a_host_may_lack(lines: tuple[str, ...], instead: str, found: tuple[str, str]) -> None:
    assert lacking(*lines, instead=instead) == [found]


def test_half_an_answer_is_none() -> None:
    with pytest.raises(HostError, match=r"^half an answer: status 0$"):
        asked(SAID.replace("end\n", ""))


def test_one_command_mends_what_a_command_can() -> None:
    text = SAID.replace("program nbd-client\n", "").replace("program python3\n", "")
    found = list(lacks(RACK, asked(text)))
    assert mending(("ssh", "root@h"), found) == (
        "ssh root@h 'apt-get update && apt-get install -y --no-install-recommends python3-minimal nbd-client'"
    )
    assert mending(("ssh", "root@h"), []) == ""


def test_the_script_runs_here_too(tmp_path: Path) -> None:
    done = subprocess.run(
        ("sh", "-c", __import__("lab.hosts.inventory.survey", fromlist=["SCRIPT"]).SCRIPT, "sh", "no-such", "sh"),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "end"
    seen = parse(done.stdout.splitlines(), "no-such")
    assert "sh" in seen.programs
    assert not seen.bridge


# A "host" that is this machine: ssh runs what it is told to run there.
LOCAL = r"""
case "$*" in *" -O check "*) exit 0 ;; esac
while [ "$1" != -- ]; do shift; done
shift
exec sh -c "$*"
"""


@pytest.fixture
def shell(programs: Programs, tmp_path: Path) -> SshShell:
    programs.add("ssh", LOCAL)
    return SshShell(UserSsh.to(RACK, tmp_path), "10.0.0.11", called="old-rack-1")


@pytest.fixture
def lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "ROOT", str(tmp_path / "lab"))
    monkeypatch.setattr(module, "_QUIET", "true")
    return tmp_path / "lab" / "lease"


def test_a_lock_is_held_by_one_says_whose_it_is_and_ends(shell: SshShell, tmp_path: Path) -> None:
    lock = tmp_path / "deep" / "lock"
    with ExitStack() as first, ExitStack() as second:
        assert _held(first, shell, str(lock), "run a", soon(), patient=False)
        assert lock.read_text() == "run a\n"
        assert not _held(second, shell, str(lock), "run b", soon(), patient=False)
        first.close()
        assert _held(second, shell, str(lock), "run b", soon(), patient=False)
        assert lock.read_text() == "run b\n"


def test_a_lock_goes_with_the_process_that_has_it(shell: SshShell, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with ExitStack() as first:
        child = os.fork()
        if child == 0:
            with ExitStack() as never:
                _held(never, shell, str(lock), "killed", soon(), patient=False)
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert _held(first, shell, str(lock), "next", Deadline(10), patient=True)


def test_a_lock_that_cannot_be_is_told(shell: SshShell) -> None:
    with pytest.raises(HostError, match=r"^old-rack-1: /proc/no/lock cannot be locked: "), ExitStack() as undo:
        _held(undo, shell, "/proc/no/lock", "x", soon(), patient=False)


def test_who_waits_for_a_host_is_told_who_has_it(shell: SshShell, tmp_path: Path, lease: Path) -> None:
    host = replace(_host(tmp_path), shell=shell)
    with leased(host, deadline=soon()):
        assert lease.read_text().startswith("run f00d of ")
        with pytest.raises(HostError, match=r"^xen-4\.20: in use by run f00d of "), leased(host, deadline=Deadline(6)):
            raise AssertionError
    with leased(host, deadline=soon()):
        pass


def _host(folder: Path) -> Host:
    return fake_host("xen-4.20", folder, FakeHypervisor())


def test_what_a_cell_has_mounted_goes_with_the_lease(
    shell: SshShell, tmp_path: Path, lease: Path, programs: Programs
) -> None:
    del lease
    programs.add("umount", 'echo "$*" >> "$HERE/umounted"')
    host = replace(_host(tmp_path), shell=shell, mounted={"k1"}, folder="/run/lab/f00d")
    assert isinstance(host.disks, FakeDisks)
    host.disks.plugged["k1"] = (Path("boot"), True)
    with leased(host, deadline=soon()):
        pass
    assert programs.note("umounted") == ["/run/lab/f00d/k1"]
    assert (host.mounted, host.disks.plugged) == (set(), {})


def test_a_mess_that_stays_on_a_host_is_told_and_the_lock_goes(
    shell: SshShell, tmp_path: Path, lease: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET", "echo web32-f00d-266")
    host = replace(_host(tmp_path), shell=shell)
    with pytest.raises(HostError, match=r"^xen-4\.20: guests stay: web32-f00d-266"), leased(host, deadline=soon()):
        pass
    monkeypatch.setattr(module, "_QUIET", "true")
    with leased(host, deadline=soon()):
        assert lease.exists()


def test_of_a_host_that_is_gone_nothing_is_asked(shell: SshShell, tmp_path: Path, lease: Path) -> None:
    del lease
    host = replace(_host(tmp_path), shell=shell, mounted={"k1"})
    assert isinstance(host.disks, FakeDisks)
    with leased(host, deadline=soon()):
        host.disks.dead = "connection lost"


def test_what_killed_runs_left_is_found_by_folder_and_by_tag() -> None:
    said = (
        "alive aaaaaaaa\ndead bbbbbbbb 2\ndead not-a-tag 1\n"
        "guest bbbbbbbb web32-bbbb-266\nguest aaaaaaaa web32-aaaa-267\nguest cccccccc web 3\nend\n"
    )
    shell = FakeShell({"sh -c *": said})
    assert remains(shell, deadline=soon()) == (
        Remains("bbbbbbbb", ("web32-bbbb-266",), 2),
        Remains("cccccccc", ("web 3",), 0),
    )
    with pytest.raises(HostError, match=r"^half an answer: "):
        remains(FakeShell({"sh -c *": "alive aaaaaaaa\n"}), deadline=soon())


def test_they_are_removed_or_it_is_told_why_not() -> None:
    left = Remains("cccccccc", ("web 3", "db"), 0)
    shell = FakeShell({"sh -c *": ["", Answer(1, stderr="guest db stays\n")]})
    remove_remains(shell, left, deadline=soon())
    assert shell.asked[0].argv[3:] == ("sh", "cccccccc", "web 3", "db")
    with pytest.raises(HostError, match=r"^run cccccccc: guest db stays$"):
        remove_remains(shell, left, deadline=soon())
