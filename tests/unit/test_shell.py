"""Commands on other machines, by an ssh that runs them on this one."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.process import CommandError
from lab.shell import SshNetwork, SshShell
from lab.testing.shell import Answer, FakeShell
from tests.unit.programs import Programs

# What it is called with: `-F CONFIG ALIAS -- LINE`, `-F CONFIG -O VERB ... ALIAS`, `-F CONFIG -M -N ALIAS`.
# It lets masters in only after as many refusals as the note `refusals` says; a master lives as long as `alive` is there
# for whoever asks.
SSH = r"""
folder=$(dirname "$2")
echo "$*" >> "$HERE/asked"
case $3 in
-O) test "$4" != check || test -e "$HERE/alive" ;;
-M) left=$(cat "$HERE/refusals" 2>/dev/null || echo 0)
    if [ "$left" -gt 0 ]; then
        echo $((left - 1)) > "$HERE/refusals"
        echo "kex_exchange_identification: Connection closed by remote host" >&2
        exit 255
    fi
    : > "$folder/$5"
    echo $$ > "$HERE/master"
    exec sleep 60 ;;
*)  shift 4
    exec sh -c "$*" ;;
esac
"""

KNOWN = "lab ssh-ed25519 AAAAC3Nza\n"


def soon() -> Deadline:
    return Deadline(20)


@pytest.fixture
def ssh(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Programs:
    programs.add("ssh", SSH)
    monkeypatch.setattr("lab.shell.pause", lambda _seconds: None)
    return programs


@pytest.fixture
def network(tmp_path: Path) -> SshNetwork:
    made = SshNetwork(tmp_path, tmp_path / "user", KNOWN)
    made.add("xen-4.17", address="127.0.0.1", port=40022)
    return made


@pytest.fixture
def shell(ssh: Programs, network: SshNetwork) -> SshShell:
    del ssh
    return SshShell(network, "xen-4.17")


@pytest.mark.parametrize(
    "words",
    [
        ("two words", "it's", '"', "$HOME", "$(id)", "`id`", "*", ";", "&", "", "a\nb", "\\", "~", "#", "é"),
        ("-n", "--", "!x"),
    ],
)
def test_words_arrive_over_there_as_they_were_given_here(shell: SshShell, words: tuple[str, ...]) -> None:
    done = shell.run("printf", "%s|", *words, deadline=soon()).check()
    assert done.stdout.decode() == "".join(f"{word}|" for word in words)
    assert done.argv == ("printf", "%s|", *words)  # as asked, not as ssh was called


def test_a_script_sees_its_arguments(shell: SshShell) -> None:
    assert shell.run("sh", "-c", 'echo "$0-$1"', "a b", "c'd", deadline=soon()).text == "a b-c'd"


def test_status_and_words_come_back(shell: SshShell) -> None:
    done = shell.run("sh", "-c", "echo no >&2; exit 7", deadline=soon())
    assert (done.status, done.stderr) == (7, b"no\n")
    with pytest.raises(CommandError, match=r"^sh: status 7: no$"):
        done.check()


def test_a_file_is_put_there_whatever_its_name(shell: SshShell, tmp_path: Path) -> None:
    path = tmp_path / "it's a $file"
    shell.put(b"\0\xff bytes\n", str(path), deadline=soon())
    assert path.read_bytes() == b"\0\xff bytes\n"


def test_a_command_that_takes_too_long_is_a_deadline(shell: SshShell) -> None:
    with pytest.raises(DeadlineError, match=r"^ssh -F .*: not done within 0\.3 s$"):
        shell.run("sleep", "60", deadline=Deadline(0.3))


@pytest.mark.parametrize(
    ("words", "reason"), [("echo 'mux: gone' >&2; exit 255", "mux: gone"), ("exit 255", "no reason given")]
)
def test_255_with_a_dead_master_is_a_lost_connection(shell: SshShell, words: str, reason: str) -> None:
    with pytest.raises(HostError, match=f"^xen-4.17: connection lost: {reason}$"):
        shell.run("sh", "-c", words, deadline=soon())


def test_255_with_a_living_master_is_the_programs_own_status(shell: SshShell, ssh: Programs) -> None:
    (ssh.folder / "alive").touch()
    assert shell.run("sh", "-c", "exit 255", deadline=soon()).status == 255


def test_a_socket_over_there_is_forwarded_by_the_master(shell: SshShell, ssh: Programs, tmp_path: Path) -> None:
    shell.forward(tmp_path / "libvirt", "/run/libvirt/libvirt-sock", deadline=soon())
    assert ssh.note("asked") == [
        f"-F {tmp_path}/config -O forward -L {tmp_path}/libvirt:/run/libvirt/libvirt-sock xen-4.17"
    ]


class Answering(SshShell):
    """A shell to a machine where somebody listens who says ``words`` to whatever is asked, after ``seconds``."""

    words, seconds = b"", 0.0

    def forward(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        del remote, deadline
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(local))
        listener.listen()

        def serve() -> None:
            with listener, listener.accept()[0] as line:
                line.makefile("rb").readline()
                threading.Event().wait(self.seconds)
                with suppress(OSError):
                    line.sendall(self.words)

        threading.Thread(target=serve, daemon=True).start()


def answering(network: SshNetwork, words: bytes, seconds: float = 0.0) -> Answering:
    made = Answering(network, "xen-4.17")
    type(made).words, type(made).seconds = words, seconds
    return made


def test_whoever_listens_over_there_is_heard_out(network: SshNetwork, ssh: Programs) -> None:
    long = b"x" * 500_000 + b"\n"
    done = answering(network, long).ask("/run/there", b"{}", deadline=soon())
    assert (done.status, done.stdout, done.argv) == (0, long, ("ask", "/run/there"))
    (asked,) = ssh.note("asked")
    assert re.fullmatch(
        rf"-F {network.folder}/config -O cancel -L {network.folder}/q\w{{6}}:/run/there xen-4\.17", asked
    )
    assert list(network.folder.glob("q*")) == []


def test_nobody_listening_is_no_answer_and_a_dead_connection_an_error(network: SshNetwork, ssh: Programs) -> None:
    shell = answering(network, b"")
    with pytest.raises(HostError, match=r"^xen-4\.17: connection lost$"):
        shell.ask("10.0.0.1:7070", b"{}", deadline=soon())
    (ssh.folder / "alive").touch()
    done = shell.ask("10.0.0.1:7070", b"{}", deadline=soon())
    assert (done.status, done.stderr) == (1, b"nobody answers at 10.0.0.1:7070")


def test_who_does_not_answer_is_a_deadline(network: SshNetwork, ssh: Programs) -> None:
    del ssh
    with pytest.raises(DeadlineError, match=r"^/run/there: not done within 0\.3 s$"):
        answering(network, b"late", 5.0).ask("/run/there", b"{}", deadline=Deadline(0.3))


def test_while_nothing_comes_somebody_looks(
    network: SshNetwork, ssh: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    del ssh
    monkeypatch.setattr("lab.shell._WATCH", 0.05)

    def look() -> None:
        raise HostError("it has ended")

    with pytest.raises(HostError, match=r"^it has ended$"):
        answering(network, b"late", 5.0).ask("/run/there", b"{}", deadline=soon(), watch=look)


def ended(pid: str) -> bool:
    return not Path("/proc", pid).exists()


def test_a_connection_is_held_and_let_go(network: SshNetwork, ssh: Programs) -> None:
    with network.connect("xen-4.17", deadline=soon()) as shell:
        assert shell.run("echo", "in", deadline=soon()).text == "in"
        [master] = ssh.note("master")
        assert not ended(master)
    assert ended(master)
    assert ssh.note("asked")[0] == f"-F {network.folder}/config -M -N xen-4.17"


def test_a_machine_that_is_not_ready_is_asked_again_and_watched_meanwhile(network: SshNetwork, ssh: Programs) -> None:
    (ssh.folder / "refusals").write_text("2")
    watched: list[str] = []
    with network.connect("xen-4.17", deadline=soon(), watch=lambda: watched.append("looked")) as shell:
        assert shell.run("true", deadline=soon())
    assert watched == ["looked", "looked"]


def test_a_machine_that_never_answers_is_an_error_with_the_last_reason(network: SshNetwork, ssh: Programs) -> None:
    (ssh.folder / "refusals").write_text("9999")
    reason = "kex_exchange_identification: Connection closed by remote host"
    now = [0.0]

    def watch() -> None:
        now[0] += 20

    with (
        pytest.raises(HostError, match=f"^xen-4.17: no ssh connection within 30 s: {reason}$"),
        network.connect("xen-4.17", deadline=Deadline(30, clock=lambda: now[0]), watch=watch),
    ):
        pass


def test_a_machine_that_says_nothing_at_all_is_told_as_that(network: SshNetwork, programs: Programs) -> None:
    programs.add("ssh", "exec sleep 60")
    with (
        pytest.raises(HostError, match=r"^xen-4\.17: no ssh connection within 0\.2 s: no answer$"),
        network.connect("xen-4.17", deadline=Deadline(0.2)),
    ):
        pass


def test_a_machine_that_has_died_is_not_asked_again(network: SshNetwork, ssh: Programs) -> None:
    (ssh.folder / "refusals").write_text("9999")

    def watch() -> None:
        raise HostError("xen-4.17: QEMU ended with status 1")

    with (
        pytest.raises(HostError, match=r"^xen-4\.17: QEMU ended with status 1$"),
        network.connect("xen-4.17", deadline=soon(), watch=watch),
    ):
        pass
    assert len(ssh.note("asked")) == 1


def test_the_socket_of_a_master_that_was_killed_is_not_taken_for_a_connection(
    network: SshNetwork, ssh: Programs
) -> None:
    (network.folder / "xen-4.17").touch()
    (ssh.folder / "refusals").write_text("1")
    with network.connect("xen-4.17", deadline=soon()):
        assert len(ssh.note("asked")) == 2


def test_the_configuration_is_as_it_was_meant(network: SshNetwork) -> None:
    network.add("web32", address="10.77.128.10", through="xen-4.17")
    folder = network.folder
    assert (folder / "xen-4.17.conf").read_text() == "Host xen-4.17\n  HostName 127.0.0.1\n  Port 40022\n"
    assert (folder / "web32.conf").read_text() == (
        "Host web32\n  HostName 10.77.128.10\n  Port 22\n  ProxyJump xen-4.17\n"
    )
    assert (folder / "known_hosts").read_text() == KNOWN
    assert (folder / "config").read_text() == (
        f"Include {folder}/*.conf\n"
        "Host *\n"
        "  User root\n"
        f"  IdentityFile {folder}/user\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n"
        "  GlobalKnownHostsFile none\n"
        "  HostKeyAlias lab\n"
        f"  ControlPath {folder}/%n\n"
        "  BatchMode yes\n"
        "  LogLevel ERROR\n"
        "  ServerAliveInterval 10\n"
        "  ServerAliveCountMax 3\n"
        "  ConnectTimeout 30\n"
        "  KexAlgorithms curve25519-sha256\n"
        "  Ciphers aes128-gcm@openssh.com,chacha20-poly1305@openssh.com\n"
        "  StreamLocalBindUnlink yes\n"
    )


@pytest.mark.skipif(not shutil.which("ssh"), reason="ssh is not installed")
def test_openssh_understands_the_configuration(network: SshNetwork) -> None:
    network.add("web32", address="10.77.128.10", through="xen-4.17")
    said = subprocess.run((*network.argv("web32"), "-G"), capture_output=True, text=True, check=True, timeout=20)
    options = dict(line.split(" ", 1) for line in said.stdout.splitlines())
    wanted = {
        "hostname": "10.77.128.10",
        "port": "22",
        "proxyjump": "xen-4.17",
        "user": "root",
        "controlpath": f"{network.folder}/web32",
        "hostkeyalias": "lab",
        "batchmode": "yes",
        "userknownhostsfile": f"{network.folder}/known_hosts",
    }
    assert {name: options[name] for name in wanted} == wanted
    assert options["stricthostkeychecking"] in {"ask", "true", "yes"}  # never an unknown host in batch mode


class TestFakeShell:
    """The fake that other tests rely on."""

    def test_it_answers_by_command_by_pattern_and_in_turn(self) -> None:
        lost = HostError("gone")
        shell = FakeShell({"uname -r": "6.12\n", "sh -c *": ["a", Answer(3, stderr="b"), lost]})
        assert shell.run("uname", "-r", deadline=soon()).text == "6.12"
        assert shell.run("sh", "-c", "x", deadline=soon()).text == "a"
        assert shell.run("sh", "-c", "y", deadline=soon(), stdin=b"in").status == 3
        for _ in range(2):
            with pytest.raises(HostError, match=r"^gone$"):
                shell.run("sh", "-c", "z", deadline=soon())
        assert shell.commands == ["uname -r", "sh -c x", "sh -c y", "sh -c z", "sh -c z"]
        assert shell.asked[2].stdin == b"in"

    def test_what_nobody_answers_for_is_not_found(self) -> None:
        done = FakeShell().run("modprobe", "loop", deadline=soon())
        assert (done.status, done.stderr) == (127, b"sh: modprobe: not found")

    def test_it_keeps_a_deadline(self) -> None:
        with pytest.raises(DeadlineError, match=re.escape("true: not done within 0 s")):
            FakeShell({"true": ""}).run("true", deadline=Deadline(0))


def test_a_program_is_talked_to_line_by_line(shell: SshShell) -> None:
    with shell.talk("sh", "-c", 'while read -r line; do echo "<$line>"; done', deadline=soon()) as talk:
        assert [talk(line, deadline=soon()) for line in ("one", "two words", "")] == ["<one>", "<two words>", "<>"]


def test_a_program_that_ends_instead_of_answering_is_told_with_its_last_words(shell: SshShell) -> None:
    with (
        shell.talk("sh", "-c", "read -r line; echo it is over >&2", deadline=soon()) as talk,
        pytest.raises(HostError, match=r"^xen-4\.17: sh ended instead of answering: it is over$"),
    ):
        talk("one", deadline=soon())


def test_a_program_that_says_nothing_is_not_waited_for_longer_than_the_deadline(shell: SshShell) -> None:
    with (
        shell.talk("sh", "-c", "sleep 60", deadline=soon()) as talk,
        pytest.raises(DeadlineError),
    ):
        talk("one", deadline=Deadline(0.2))


def test_a_fake_shell_is_talked_to_likewise() -> None:
    with FakeShell({"told one": "1\n"}).talk("sh", deadline=soon()) as talk:
        assert talk("one", deadline=soon()) == "1"
        with pytest.raises(HostError, match=r"^sh ended instead of answering"):
            talk("two", deadline=soon())


def test_a_machine_with_a_name_of_its_users_is_called_by_it(ssh: Programs, network: SshNetwork) -> None:
    del ssh
    shell = SshShell(network, "xen-4.17", called="old-rack-1")
    with pytest.raises(DeadlineError, match=r"^old-rack-1: sleep: not done within 0\.3 s$"):
        shell.run("sleep", "60", deadline=Deadline(0.3))
    with pytest.raises(HostError, match=r"^old-rack-1: connection lost: no reason given$"):
        shell.run("sh", "-c", "exit 255", deadline=soon())


def test_a_socket_of_this_machine_is_lent_and_taken_back(shell: SshShell, ssh: Programs, tmp_path: Path) -> None:
    shell.lend(tmp_path / "n0", "/run/lab/s", deadline=soon())
    shell.take_back(tmp_path / "n0", "/run/lab/s", deadline=soon())
    forward = f"-R /run/lab/s:{tmp_path}/n0 xen-4.17"
    assert ssh.note("asked") == [f"-F {tmp_path}/config -O {verb} {forward}" for verb in ("forward", "cancel")]


def test_a_machine_beyond_one_that_is_none_of_the_network(tmp_path: Path) -> None:
    network = SshNetwork(tmp_path, tmp_path / "user", KNOWN, jump="ssh -W [%h]:%p rack")
    network.add("web32", address="10.77.129.10", through="rack")
    text = (tmp_path / "web32.conf").read_text()
    assert text == "Host web32\n  HostName 10.77.129.10\n  Port 22\n  ProxyCommand ssh -W [%h]:%p rack\n"
