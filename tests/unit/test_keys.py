"""The lab's own SSH identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import MissingToolError
from lab.keys import Keys
from lab.process import run


def soon() -> Deadline:
    return Deadline(20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cache, Keys]:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    return cache, Keys.of(cache, deadline=soon())


def test_keys_are_made_once_and_are_ones_that_ssh_takes(made: tuple[Cache, Keys]) -> None:
    cache, keys = made
    before = keys.user.read_bytes()
    assert Keys.of(cache, deadline=soon()) == keys
    assert keys.user.read_bytes() == before
    for key, comment in ((keys.user, "lab-user"), (keys.host, "lab-host")):
        said = run("ssh-keygen", "-l", "-f", key, deadline=soon()).check().text
        assert said.startswith("256 SHA256:")
        assert said.endswith(f" {comment} (ED25519)")
        assert key.stat().st_mode & 0o077 == 0


def test_a_machine_gets_what_it_must_have_to_be_logged_in_to(made: tuple[Cache, Keys]) -> None:
    keys = made[1]
    files = keys.sshd_files()
    assert sorted(files) == [
        "/etc/ssh/lab_host_key",
        "/etc/ssh/lab_host_key.pub",
        "/etc/ssh/sshd_config",
        "/root/.ssh/authorized_keys",
    ]
    assert files["/etc/ssh/lab_host_key"] == keys.host.read_text()
    assert files["/root/.ssh/authorized_keys"] == Path(f"{keys.user}.pub").read_text()
    assert "HostKey /etc/ssh/lab_host_key" in files["/etc/ssh/sshd_config"].splitlines()
    assert keys.user.read_text() not in files.values()  # the user's private half stays here


def test_a_known_hosts_line_has_alias_kind_and_key_and_no_comment(made: tuple[Cache, Keys]) -> None:
    keys = made[1]
    kind, key, _comment = Path(f"{keys.host}.pub").read_text().split()
    assert keys.known_host("lab") == f"lab {kind} {key}\n"


def test_keys_that_were_not_finished_are_made_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    half = cache.folder("keys", "ed25519")
    half.mkdir(parents=True)
    (half / "user").write_text("a killed run left this")
    keys = Keys.of(cache, deadline=soon())
    assert keys.user.read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")


def test_without_ssh_keygen_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=r"^ssh-keygen: no such program\n"):
        Keys.of(Cache(tmp_path), deadline=soon())
