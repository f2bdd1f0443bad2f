"""``lab host``: what lives is told from what died; shells, consoles, and runs that are asked to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lab import cli
from lab.cache import Cache
from lab.commands import host as host_verbs
from lab.deadline import Deadline
from lab.hosts.living import living
from lab.hosts.run_folder import leftovers
from lab.wait import wait_until
from tests.unit.fake_runs import FakeRun, fake_run

_NOW = 1_700_000_000.0
_TAGS = "aaaa0000, bbbb0000"
_AT_WORK = "aaaa0000 (lab run aaaa0000), bbbb0000 (lab run bbbb0000)"
_NESTED = "xen-4.14, xen-4.17, xen-4.20"
LAB = (sys.executable, "-c", "import sys; from lab.cli import main; sys.exit(main())")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The cache that the command will find, and a folder of its own for temporary files."""
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that says how it was called, a word a line, and ends with 7."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, for verbs that become another program."""
    return subprocess.run((*LAB, *words), capture_output=True, text=True, check=False, timeout=60)


def begin_at(run: FakeRun, name: str) -> None:
    os.utime(run.path / name / "qemu.pid", (_NOW, _NOW))


def test_ls_names_what_lives_and_what_can(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    facts = cache.root / "snapshot/abc/facts.json"
    facts.parent.mkdir(parents=True)
    facts.write_text(json.dumps({"name": "xen-4.20"}))
    with fake_run(cache) as run, fake_run(cache, "dead0000", alive=False) as dead:
        run.host("xen-4.17")
        died = run.host("xen-4.14")
        died.kill()
        died.wait()
        dead.host("xen-4.20")
        begin_at(run, "xen-4.17")
        assert cli.main(["host", "ls", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said == {
            "schema": "lab.hosts/1",
            "hosts": [
                {
                    "name": "xen-4.17",
                    "run": "abcd1234",
                    "since": "2023-11-14T22:13:20Z",
                    "ssh": ["ssh", "-F", f"{run.sockets}/xen-4.17/config", "xen-4.17"],
                    "console": f"{run.path}/xen-4.17/console.log",
                }
            ],
            "versions": [
                {"xen": "4.14", "name": "xen-4.14", "snapshot": False},
                {"xen": "4.17", "name": "xen-4.17", "snapshot": False},
                {"xen": "4.20", "name": "xen-4.20", "snapshot": True},
            ],
        }
        assert cli.main(["host", "ls"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"HOST +RUN +SINCE +SSH", lines[0])
        assert re.fullmatch(
            rf"xen-4\.17  abcd1234  2023-11-1\d \S+  ssh -F {run.sockets}/xen-4\.17/config .*", lines[1]
        )
        assert lines[2:] == [
            "",
            "CAN BE UP  SNAPSHOT",
            "xen-4.14   not in the cache: minutes, once",
            "xen-4.17   not in the cache: minutes, once",
            "xen-4.20   in the cache: up in seconds",
        ]


@pytest.mark.usefixtures("ssh")
def test_shell_becomes_ssh_with_the_config_of_the_run(cache: Cache) -> None:
    with fake_run(cache) as run:
        run.host("xen-4.20")
        config = f"{run.sockets}/xen-4.20/config"
        plain = lab("host", "shell", "4.20")
        assert (plain.returncode, plain.stdout.splitlines()) == (7, ["-F", config, "xen-4.20"])
        line = lab("host", "shell", "xen-4.20", "--", "xl info | head")
        assert line.stdout.splitlines() == ["-F", config, "xen-4.20", "--", "xl info | head"]
        words = lab("host", "shell", "xen-4.20", "--", "cat", "a b")
        assert words.stdout.splitlines() == ["-F", config, "xen-4.20", "--", "cat 'a b'"]


def test_a_machine_without_ssh_is_told_how_to_get_it(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_run(cache) as run:
        run.host("xen-4.20")
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("PATH", "/nowhere")
            assert cli.main(["host", "shell", "xen-4.20"]) == 3
    hint = "run `lab doctor`; it names the package and the command"
    assert capsys.readouterr().err == f"error: ssh: no such program\n  hint: {hint}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shell", "xen-4.2"), "no live host 'xen-4.2'; known: xen-4.17, xen-4.20\n  hint: did you mean 'xen-4.20'?"),
        (("console", "web"), "no live host 'web'; known: xen-4.17, xen-4.20"),
        (("shell", "4.20"), "host 'xen-4.20' lives in 2 runs: aaaa0000, bbbb0000\n  hint: say --run aaaa0000"),
        (("shell", "4.17", "--run", "b"), "no live host 'xen-4.17'; known: xen-4.20\n  hint: did you mean 'xen-4.20'?"),
        (
            ("down",),
            f"no run waits to be ended; at work: {_AT_WORK}\n  hint: name a run to interrupt it",
        ),
        (
            ("down", "xen-4.17"),
            f"no live run 'xen-4.17'; known: {_TAGS}\n  hint: xen-4.17 belongs to run aaaa0000, and goes with it",
        ),
        (("down", "aaaa0001"), "no live run 'aaaa0001'; known: aaaa0000, bbbb0000\n  hint: did you mean 'aaaa0000'?"),
        (
            ("up", "4.21"),
            f"no host that can be brought up 'xen-4.21'; known: {_NESTED}\n  hint: did you mean 'xen-4.20'?",
        ),
    ],
)
def test_names_that_mean_nothing_or_too_much_end_with_2(
    cache: Cache, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    with fake_run(cache, "aaaa0000") as one, fake_run(cache, "bbbb0000") as two:
        one.host("xen-4.17")
        one.host("xen-4.20")
        two.host("xen-4.20")
        assert cli.main(["host", *words]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_where_nothing_lives_that_is_said(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    assert cache.entries() == ()
    assert cli.main(["host", "shell", "xen-4.20"]) == 2
    assert capsys.readouterr().err == "error: no live host 'xen-4.20'; known: none\n  hint: no host lives now\n"
    assert cli.main(["host", "down"]) == 0
    assert capsys.readouterr().out == "no host is up\n"


def test_console_prints_the_log_and_follows_it_until_its_host_ends(
    cache: Cache, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with fake_run(cache) as run:
        qemu = run.host("xen-4.20")
        log = run.path / "xen-4.20/console.log"
        log.write_bytes(b"(XEN) \x1b[1mhello\xff\n")
        assert cli.main(["host", "console", "xen-4.20"]) == 0
        assert capfdbinary.readouterr().out == b"(XEN) \x1b[1mhello\xff\n"
        argv = (*LAB, "host", "console", "xen-4.20", "-f")
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            follower.stdout.readline()
            with log.open("ab") as more:
                more.write(b"more\n")
            assert follower.stdout.readline() == b"more\n"
            qemu.kill()
            qemu.wait()
            assert follower.wait(20) == 0


def test_who_has_seen_enough_of_a_console_may_leave(cache: Cache) -> None:
    with fake_run(cache) as run:
        run.host("xen-4.20")
        (run.path / "xen-4.20/console.log").write_bytes(b"x" * (1 << 20))
        argv = (*LAB, "host", "console", "xen-4.20")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as console:
            assert console.stdout is not None
            assert console.stderr is not None
            assert console.stdout.read(1) == b"x"
            console.stdout.close()
            assert console.stderr.read() == b""
            assert console.wait(20) == 0


def test_a_console_without_a_log_is_trouble(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_run(cache) as run:
        run.host("xen-4.20")
        log = run.path / "xen-4.20/console.log"
        log.unlink()
        assert cli.main(["host", "console", "xen-4.20"]) == 3
        assert capsys.readouterr().err == f"error: {log}: there is no log of the console\n"


_UP = """
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
import lab.stage
from lab.cache import Cache
from lab.errors import HostError
from lab.hosts.run_folder import run_folder
from lab.matrix.model import HostFacts

class Disks:
    def watch(self):
        if Path(sys.argv[1]).exists():
            raise HostError("xen-4.20: QEMU ended with status 1; its console: dead")

@contextmanager
def open_stage(settings):
    hosts = []
    def host(request, deadline):
        hosts.append(SimpleNamespace(disks=Disks()))
        return HostFacts(request.name, "embedded", f"{request.xen}.4", "11.3.0", "6.12", "")
    with run_folder(Cache(settings.cache)) as folder:
        try:
            yield SimpleNamespace(host=host, folder=folder, accelerator="tcg", pool=SimpleNamespace(up=lambda: hosts))
        finally:
            print("undone", flush=True)

lab.stage.open_stage = open_stage
from lab.cli import main
sys.exit(main(["host", "up", "4.17", "xen-4.20"]))
"""


@pytest.fixture
def upper(cache: Cache, tmp_path: Path) -> subprocess.Popen[str]:
    """``lab host up`` with a stage that has no machines, ready."""
    process = subprocess.Popen(
        (sys.executable, "-c", _UP, tmp_path / "die"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def waits() -> bool:
        assert process.poll() is None, process.communicate()
        return any(run.waits for run in living(cache))

    wait_until("lab host up", waits, deadline=Deadline(30), interval=0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_stays_until_it_is_told_and_undoes_all(
    upper: subprocess.Popen[str], cache: Cache, number: signal.Signals
) -> None:
    (run,) = living(cache)
    upper.send_signal(number)
    said, trouble = upper.communicate(timeout=20)
    assert upper.returncode == 0
    assert said.splitlines() == [
        "xen-4.17 is up: Xen 4.17.4, libvirt 11.3.0, dom0 6.12, tcg",
        "  lab host shell xen-4.17",
        "  lab host console xen-4.17 --follow",
        "xen-4.20 is up: Xen 4.20.4, libvirt 11.3.0, dom0 6.12, tcg",
        "  lab host shell xen-4.20",
        "  lab host console xen-4.20 --follow",
        f"Ctrl-C takes it all down, or from elsewhere: lab host down {run.tag}",
        "undone",
    ]
    assert trouble == "taking down\n"
    assert (living(cache), leftovers(cache)) == ((), ())


def test_up_ends_when_a_host_dies_and_says_why(upper: subprocess.Popen[str], tmp_path: Path) -> None:
    (tmp_path / "die").touch()
    said, trouble = upper.communicate(timeout=20)
    assert upper.returncode == 3
    assert trouble == "error: xen-4.20: QEMU ended with status 1; its console: dead\n"
    assert said.endswith("undone\n")


def test_down_ends_the_run_that_waits(
    upper: subprocess.Popen[str], cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    (waiting,) = living(cache)
    with upper, fake_run(cache, "busy0000"):
        # Nobody has waited for it yet: what is left of a process that has ended counts as gone.
        assert cli.main(["host", "down"]) == 0
        assert upper.wait(5) == 0
    said = capsys.readouterr()
    assert said.out == f"run {waiting.tag} is down\n"
    assert re.fullmatch(rf"run {waiting.tag} \(.+\) is asked to end\n", said.err)


def test_down_reaches_one_that_hears_no_ctrl_c(
    cache: Cache, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # What a script starts with & ignores SIGINT from its first moment.
    words = ("sh", "-c", '"$@" & wait', "sh", sys.executable, "-c", _UP, tmp_path / "die")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        wait_until("lab host up", lambda: any(run.waits for run in living(cache)), deadline=Deadline(30))
        assert cli.main(["host", "down"]) == 0
    assert (living(cache), leftovers(cache)) == ((), ())
    assert "is down\n" in capsys.readouterr().out


def test_down_does_not_signal_a_stranger(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_run(cache) as run:
        owner = json.loads((run.path / "owner.json").read_text())
        (run.path / "owner.json").write_text(json.dumps(owner | {"started": 1}))
        assert cli.main(["host", "down", "abcd"]) == 3
    assert capsys.readouterr().err == (
        "error: run abcd1234 (lab run abcd1234): its process is not to be found\n  hint: `lab clean`, once it is dead\n"
    )


def test_down_says_when_a_run_does_not_obey(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host_verbs, "_DOWN_SECONDS", 0.2)
    with fake_run(cache) as run:
        deaf = (
            "python3",
            "-c",
            "import signal, time; signal.signal(2, lambda *_: None); print(1, flush=True); time.sleep(60)",
        )
        with subprocess.Popen(deaf, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            owner = json.loads((run.path / "owner.json").read_text())
            started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
            (run.path / "owner.json").write_text(json.dumps(owner | {"pid": process.pid, "started": started}))
            assert cli.main(["host", "down", run.tag]) == 3
            process.kill()
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"error: run abcd1234 (lab run abcd1234) (process {process.pid}) has not ended within 0.2 s",
        f"  hint: kill -9 {process.pid}, then `lab clean`",
    ]


def test_every_verb_below_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("ls", "up", "down", "shell", "console"):
        assert cli.main(["host", verb, "--help"]) == 0
        assert f"lab host {verb}" in capsys.readouterr().out.partition("Example")[2]
