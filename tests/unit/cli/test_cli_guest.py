"""``lab guest``: guests are found on the host where they are now; what has ended is not shown, what hangs is."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lab import cli
from lab.cache import Cache
from tests.unit.fake_runs import FakeRun, fake_run

_THEN, _LATER = 1_700_000_000.0, 1_700_000_060.0
LAB = (sys.executable, "-c", "import sys; from lab.cli import main; sys.exit(main())")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The cache that the command will find."""
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


def connected(run: FakeRun, host: str, name: str) -> socket.socket:
    """What an ssh master does for the guest."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(run.sockets / host / name))
    listening.listen()
    return listening


def guests(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str, str, bool]]:
    assert cli.main(["guest", "ls", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "lab.guests/1"
    return [(one["name"], one["host"], one["since"], one["answers"]) for one in document["guests"]]


def test_ls_shows_where_guests_are_now(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_run(cache, short=True) as run:
        run.host("xen-4.14")
        run.host("xen-4.20")
        run.guest("moved", "xen-4.20", at=_LATER)
        run.guest("moved", "xen-4.14", at=_THEN)
        run.guest("hangs", "xen-4.20", at=_THEN)
        run.guest("ended", "xen-4.20", at=_THEN)
        (run.path / "ended.raw").unlink()
        with connected(run, "xen-4.20", "moved"):
            assert guests(capsys) == [
                ("hangs", "xen-4.20", "2023-11-14T22:13:20Z", False),
                ("moved", "xen-4.20", "2023-11-14T22:14:20Z", True),
            ]
        # A master that was killed leaves its socket, and nobody behind it.
        assert [answers for *_, answers in guests(capsys)] == [False, False]
        assert cli.main(["guest", "ls"]) == 0
        head, *rows = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"GUEST +HOST +RUN +THERE SINCE +ANSWERS +SSH", head)
        assert re.fullmatch(
            rf"hangs  xen-4\.20  abcd1234  2023-11-1\d \S+  no       ssh -F {run.sockets}/xen-4\.20/config hangs",
            rows[0],
        )


def test_where_no_guest_is_that_is_said(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["guest", "ls"]) == 0
    assert capsys.readouterr().out == "no guest is up\n"
    with fake_run(cache) as run:
        run.host("xen-4.20")  # a host is no guest
        assert cli.main(["guest", "shell", "xen-4.20"]) == 2
    said = "error: no live guest 'xen-4.20'; known: none\n  hint: no guest lives now\n"
    assert capsys.readouterr().err == said


def test_guests_of_a_host_that_died_are_gone(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_run(cache) as run:
        qemu = run.host("xen-4.20")
        run.guest("web", "xen-4.20", at=_THEN)
        assert len(guests(capsys)) == 1
        qemu.kill()
        qemu.wait()
        assert guests(capsys) == []


def test_a_bare_guest_has_no_host_and_keeps_its_own_console(
    cache: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = tmp_path / "bin/ssh"
    client.parent.mkdir()
    client.write_text('#!/bin/sh\necho "$*"\n')
    client.chmod(0o755)
    with fake_run(cache) as run:
        run.host("xen-4.20")
        qemu = run.bare("ntfs-0370")
        assert [(name, host, answers) for name, host, _, answers in guests(capsys)] == [("ntfs-0370", "", False)]
        assert cli.main(["guest", "ls"]) == 0
        assert re.search(r"^ntfs-0370  none +abcd1234 ", capsys.readouterr().out, re.MULTILINE)
        assert cli.main(["host", "ls", "--json"]) == 0
        assert [host["name"] for host in json.loads(capsys.readouterr().out)["hosts"]] == ["xen-4.20"]
        assert cli.main(["guest", "console", "ntfs-0370"]) == 0
        assert capsys.readouterr().out == "lab guest: ready\n"
        done = subprocess.run(
            (*LAB, "guest", "shell", "ntfs-0370", "--", "lsmod"),
            env={**os.environ, "PATH": f"{client.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"-F {run.sockets}/microvm-ntfs-0370/config ntfs-0370 -- lsmod\n"
        qemu.kill()
        qemu.wait()
        assert guests(capsys) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shell", "wbe"), "no live guest 'wbe'; known: web\n  hint: did you mean 'web'?"),
        (("console", "web"), "guest 'web' lives in 2 runs: aaaa0000, bbbb0000\n  hint: say --run aaaa0000"),
    ],
)
def test_names_that_mean_nothing_or_too_much_end_with_2(
    cache: Cache, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    with fake_run(cache, "aaaa0000") as one, fake_run(cache, "bbbb0000") as two:
        for run in (one, two):
            run.host("xen-4.20")
            run.guest("web", "xen-4.20", at=_THEN)
        assert cli.main(["guest", *words]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


def test_shell_and_console_become_ssh(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tmp_path / "bin/ssh"
    client.parent.mkdir()
    client.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    with fake_run(cache) as run:
        run.host("xen-4.20")
        run.guest("web", "xen-4.20", at=_THEN)
        config = f"{run.sockets}/xen-4.20/config"
        for words, called in {
            ("shell", "web"): ["-F", config, "web"],
            ("shell", "web", "--", "uname", "-r"): ["-F", config, "web", "--", "uname -r"],
            # Its host keeps the log, and tells it also when the guest itself is silent.
            ("console", "web"): ["-F", config, "xen-4.20", "--", "tail -n +1 /var/log/xen/console/guest-web.log"],
            ("console", "web", "--follow"): [
                *("-F", config, "xen-4.20", "--", "tail -n +1 -f /var/log/xen/console/guest-web.log")
            ],
        }.items():
            done = subprocess.run((*LAB, "guest", *words), capture_output=True, text=True, check=False, timeout=60)
            assert (done.returncode, done.stdout.splitlines()) == (7, called), done.stderr


def test_every_verb_below_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("ls", "shell", "console"):
        assert cli.main(["guest", verb, "--help"]) == 0
        assert f"lab guest {verb}" in capsys.readouterr().out.partition("Example")[2]
