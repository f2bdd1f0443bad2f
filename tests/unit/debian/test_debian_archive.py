"""Suites as this machine's apt reaches them: which sources, which versions, and what of trouble is seen."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.archive import (
    FRESH_SECONDS,
    WITHOUT_SECURITY_SECONDS,
    Archive,
    Package,
    PackageError,
    suite_sources,
)
from lab.process import CommandError, run
from tests.unit.debian.mirror import MAIN, SECURITY, Mirror, heard

SIMULATED = """\
NOTE: This is only a simulation!
Inst libc6 (2.36-9+deb12u10 Debian:12.9/stable [amd64])
Inst bash [5.1-2] (5.2.15-2+b7 Debian:12.9/stable [amd64]) []
Conf libc6 (2.36-9+deb12u10 Debian:12.9/stable [amd64])
"""


def soon() -> Deadline:
    return Deadline(20)


@pytest.mark.parametrize(
    ("suite", "sources"),
    [
        ("bullseye", (f"deb {MAIN} bullseye main", f"deb {SECURITY} bullseye-security main")),
        ("bookworm", (f"deb {MAIN} bookworm main", f"deb {SECURITY} bookworm-security main")),
        ("trixie", (f"deb {MAIN} trixie main", f"deb {SECURITY} trixie-security main")),
        ("forky", (f"deb {MAIN} forky main",)),
        ("sid", (f"deb {MAIN} sid main",)),
        # What experimental has is built against sid.
        ("experimental", (f"deb {MAIN} experimental main", f"deb {MAIN} sid main")),
    ],
)
def test_other_suites_come_from_the_mirrors_of_this_machine(
    mirror: Mirror, suite: str, sources: tuple[str, ...]
) -> None:
    assert suite_sources(suite, deadline=soon()) == sources
    assert mirror.asked() == ["apt-get indextargets --format $(REPO_URI) $(LABEL) Created-By: Packages"]


def test_a_machine_without_security_updates_gives_none(mirror: Mirror) -> None:
    mirror.targets(f"{MAIN} Debian\n")
    assert suite_sources("bookworm", deadline=soon()) == (f"deb {MAIN} bookworm main",)


@pytest.mark.parametrize("targets", ["", "http://other.example/ Ubuntu\n"])
def test_a_machine_without_a_debian_mirror_is_told_what_to_do(mirror: Mirror, targets: str) -> None:
    mirror.targets(targets)
    with pytest.raises(PackageError) as caught:
        suite_sources("bookworm", deadline=soon())
    assert str(caught.value) == (
        "this machine's apt knows no Debian mirror\n  hint: add one to its sources and run `apt-get update` once"
    )


def test_versions_are_what_an_empty_system_would_get(mirror: Mirror, cache: Cache) -> None:
    mirror.simulates(SIMULATED)
    found = Archive(cache, "bookworm").closure(("bash", "libc6"), deadline=soon())
    assert found == (Package("bash", "5.2.15-2+b7"), Package("libc6", "2.36-9+deb12u10"))
    assert mirror.asked("apt-get install") == ["apt-get install --simulate --no-install-recommends bash libc6"]


def test_versions_are_asked_for_once_and_again_after_a_day(mirror: Mirror, cache: Cache) -> None:
    mirror.simulates(SIMULATED)
    archive = Archive(cache, "bookworm")
    first = archive.closure(("bash",), deadline=soon())
    asked = mirror.asked()
    mirror.simulates(SIMULATED.replace("5.2.15", "5.2.37"))
    assert archive.closure(("bash",), deadline=soon()) == first
    assert mirror.asked() == asked

    age(cache)
    again = archive.closure(("bash",), deadline=soon())
    assert again[0] == Package("bash", "5.2.37-2+b7")
    assert len(mirror.asked("apt-get update")) == 2


def age(cache: Cache, seconds: float = FRESH_SECONDS + 1) -> None:
    """Let everything that was remembered be older, by default older than it may."""
    for path in (cache.root / "apt").rglob("*"):
        if path.is_file():
            stat = path.stat()
            os.utime(path, (stat.st_atime, stat.st_mtime - seconds))


def test_another_question_is_another_answer_of_the_same_index(mirror: Mirror, cache: Cache) -> None:
    mirror.simulates(SIMULATED)
    archive = Archive(cache, "bookworm")
    archive.closure(("bash",), deadline=soon())
    archive.closure(("libc6",), deadline=soon())
    assert len(mirror.asked("apt-get update")) == 1
    assert len(mirror.asked("apt-get install")) == 2


def test_each_suite_and_architecture_has_a_state_of_its_own(mirror: Mirror, cache: Cache) -> None:
    mirror.simulates(SIMULATED)
    for suite, arch in (("bookworm", "amd64"), ("bookworm", "i386"), ("trixie", "amd64")):
        Archive(cache, suite, arch).closure(("bash",), deadline=soon())
    assert len(mirror.asked("apt-get update")) == 3
    assert sorted(path.name for path in (cache.root / "apt").iterdir() if path.is_dir()) == [
        "bookworm-amd64",
        "bookworm-i386",
        "trixie-amd64",
    ]


def test_a_package_that_the_suite_has_not_is_named(mirror: Mirror, cache: Cache) -> None:
    del mirror
    message = "bookworm (i386): E: Unable to locate package no-such"
    with pytest.raises(PackageError, match=f"^{re.escape(message)}$"):
        Archive(cache, "bookworm", "i386").closure(("no-such",), deadline=soon())


def test_what_failed_is_not_remembered(mirror: Mirror, cache: Cache) -> None:
    archive = Archive(cache, "bookworm")
    with pytest.raises(PackageError):
        archive.closure(("bash",), deadline=soon())
    mirror.simulates(SIMULATED)
    assert archive.closure(("bash",), deadline=soon())


FETCH = (
    "W: Some index files failed to download.\n"
    f"E: Failed to fetch {SECURITY}dists/bookworm-security/InRelease  Hash Sum mismatch\n"
    "E: Some index files failed to download. They have been ignored, or old ones used instead.\n"
)


def test_a_security_archive_in_the_middle_of_its_update_is_left_out_and_that_is_seen(
    mirror: Mirror, cache: Cache
) -> None:
    mirror.breaks("bookworm-security", FETCH)
    archive = Archive(cache, "bookworm")
    with heard("mirror trouble") as told:
        assert archive.sources(deadline=soon()) == (f"deb {MAIN} bookworm main",)
    [event] = told
    assert event.fields == {
        "suite": "bookworm",
        "arch": "amd64",
        "why": "Hash Sum mismatch",
        "going_on_with": f"deb {MAIN} bookworm main",
    }


def test_without_the_security_archive_nothing_is_trusted_for_longer_than_an_hour(mirror: Mirror, cache: Cache) -> None:
    mirror.breaks("bookworm-security", FETCH)
    mirror.simulates(SIMULATED)
    archive = Archive(cache, "bookworm")
    first = archive.closure(("bash",), deadline=soon())
    age(cache, WITHOUT_SECURITY_SECONDS - 60)
    assert archive.closure(("bash",), deadline=soon()) == first
    assert len(mirror.asked("apt-get update")) == 2  # with it, which failed, and without

    mirror.breaks("nothing", "")
    mirror.simulates(SIMULATED.replace("5.2.15", "5.2.37"))
    age(cache, 61)
    assert archive.closure(("bash",), deadline=soon())[0] == Package("bash", "5.2.37-2+b7")
    assert archive.sources(deadline=soon())[1] == f"deb {SECURITY} bookworm-security main"
    asked = mirror.asked()
    age(cache, FRESH_SECONDS - 60)
    archive.closure(("bash",), deadline=soon())
    assert mirror.asked() == asked


def test_an_answer_is_as_old_as_the_lists_that_it_comes_from(mirror: Mirror, cache: Cache) -> None:
    mirror.simulates(SIMULATED)
    archive = Archive(cache, "bookworm")
    archive.sources(deadline=soon())
    age(cache, FRESH_SECONDS - 60)
    archive.closure(("bash",), deadline=soon())
    age(cache, 61)
    archive.closure(("bash",), deadline=soon())
    assert len(mirror.asked("apt-get update")) == len(mirror.asked("apt-get install")) == 2


def test_experimental_is_nothing_without_sid(mirror: Mirror, cache: Cache) -> None:
    mirror.breaks(" experimental main", FETCH)
    with heard("mirror trouble") as told, pytest.raises(CommandError):
        Archive(cache, "experimental").sources(deadline=soon())
    assert told == []
    assert len(mirror.asked("apt-get update")) == 1


def test_without_trouble_nothing_is_left_out_and_nothing_said(mirror: Mirror, cache: Cache) -> None:
    del mirror
    with heard("mirror trouble") as told:
        assert Archive(cache, "bookworm").sources(deadline=soon()) == (
            f"deb {MAIN} bookworm main",
            f"deb {SECURITY} bookworm-security main",
        )
    assert told == []


@pytest.mark.parametrize("suite", ["bookworm", "forky"])
def test_a_suite_that_does_not_come_at_all_is_an_error_and_is_asked_for_again(
    mirror: Mirror, cache: Cache, suite: str
) -> None:
    mirror.breaks(MAIN, "E: The repository does not have a Release file.\n")
    archive = Archive(cache, suite)
    with pytest.raises(CommandError) as caught:
        archive.sources(deadline=soon())
    assert str(caught.value) == (
        "apt-get: status 100: E: The repository does not have a Release file.\n"
        f"  hint: is {suite} on this machine's Debian mirror? `apt-get update` must work first"
    )
    mirror.breaks("nothing", "")
    assert archive.sources(deadline=soon())


def test_a_family_is_followed_down_by_its_prefix(mirror: Mirror, cache: Cache) -> None:
    mirror.has(
        {
            "linux-image-cloud-amd64": "7.2.4-1 | linux-image-7.2.4-cloud-amd64 (= 7.2.4-1)",
            "linux-image-7.2.4-cloud-amd64": "7.2.4-1 | kmod, linux-base (>= 4.12~), linux-binary-7.2.4 (= 7.2.4-1), "
            "linux-modules-7.2.4 (= 7.2.4-1), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool",
            "linux-binary-7.2.4": "7.2.4-1",
            "linux-modules-7.2.4": "7.2.4-1 | linux-binary-7.2.4",
            "linux-base": "4.15",
            "linux-initramfs-tool": "",  # virtual: apt shows nothing for it
            "kmod": "34-1",
        }
    )
    found = Archive(cache, "experimental").family("linux-image-cloud-amd64", "linux-", deadline=soon())
    assert found == (
        Package("linux-base", "4.15"),
        Package("linux-binary-7.2.4", "7.2.4-1"),
        Package("linux-image-7.2.4-cloud-amd64", "7.2.4-1"),
        Package("linux-image-cloud-amd64", "7.2.4-1"),
        Package("linux-modules-7.2.4", "7.2.4-1"),
    )
    asked = mirror.asked("apt-cache")
    assert len(asked) == len(set(asked)) == 6  # each once, and nothing outside of the family
    assert asked[0] == "apt-cache show --no-all-versions linux-image-cloud-amd64"


def test_packages_are_fetched_in_the_very_versions(mirror: Mirror, cache: Cache, tmp_path: Path) -> None:
    for name in ("kmod", "bash"):
        mirror.ships(name, name.encode())
    into = tmp_path / "debs"
    into.mkdir()
    fetched = Archive(cache, "bookworm").download(
        (Package("kmod", "34-1"), Package("bash", "5.2")), into, deadline=soon()
    )
    assert [path.name for path in fetched] == ["bash_5.2_all.deb", "kmod_34-1_all.deb"]
    assert mirror.asked("apt-get download") == ["apt-get download kmod=34-1 bash=5.2"]


def test_a_version_that_the_mirror_no_longer_has_is_told_with_what_helps(
    mirror: Mirror, cache: Cache, tmp_path: Path
) -> None:
    del mirror
    with pytest.raises(CommandError) as caught:
        Archive(cache, "bookworm").download((Package("kmod", "34-1"),), tmp_path, deadline=soon())
    assert str(caught.value) == (
        "apt-get: status 100: E: Version '34-1' for 'kmod' was not found\n"
        "  hint: the mirror may have moved on since the versions were resolved: `lab clean --all` resolves anew"
    )


@pytest.mark.skipif(not shutil.which("apt-config"), reason="apt is not installed")
def test_apt_itself_understands_that_its_state_is_ours_alone(mirror: Mirror, cache: Cache) -> None:
    del mirror
    archive = Archive(cache, "trixie", "i386")
    archive.sources(deadline=soon())
    folder = cache.root / "apt" / "trixie-i386"
    dump = run("apt-config", "dump", env={"APT_CONFIG": str(folder / "apt.conf")}, deadline=soon()).check().text
    settings = dict(line.rstrip(";").split(" ", 1) for line in dump.splitlines() if " " in line)
    assert settings["APT::Architecture"] == '"i386"'
    for name in ("Dir::State", "Dir::State::lists", "Dir::State::status", "Dir::Cache", "Dir::Etc::sourcelist"):
        assert settings[name].strip('"').startswith(str(folder)), name
    for name in ("Dir::Etc::sourceparts", "Dir::Etc::preferencesparts"):
        assert list(Path(settings[name].strip('"')).iterdir()) == []


def published(repository: Path, suite: str, version: str, *, more: str = "") -> str:
    """A suite with the package ``kernel`` in that version; the apt source for it."""
    folder = repository / "dists" / suite
    index = folder / "main" / "binary-amd64" / "Packages"
    index.parent.mkdir(parents=True)
    raw = (
        f"Package: kernel\nVersion: {version}\nArchitecture: amd64\nMaintainer: nobody\nFilename: k\nSize: 1\n".encode()
    )
    index.write_bytes(raw)
    told = f"{hashlib.sha256(raw).hexdigest()} {len(raw)} main/binary-amd64/Packages"
    release = f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n{more}SHA256:\n {told}\n"
    (folder / "Release").write_text(release)
    return f"deb [trusted=yes] file:{repository} {suite} main"


@pytest.mark.skipif(not shutil.which("apt-cache"), reason="apt is not installed")
@pytest.mark.parametrize(("suite", "version"), [("experimental", "7.3~rc7-1"), ("sid", "7.2.13-1")])
def test_apt_itself_takes_of_experimental_what_that_has_and_sid_too(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suite: str, version: str
) -> None:
    sources = [published(tmp_path / "mirror", "sid", "7.2.13-1")]
    if suite == "experimental":
        release = "NotAutomatic: yes\n"  # as Debian's own says, by which apt would leave it alone
        sources.append(published(tmp_path / "mirror", "experimental", "7.3~rc7-1", more=release))
    monkeypatch.setattr("lab.debian.archive.suite_sources", lambda *_words, **_more: tuple(sources))
    found = Archive(cache, suite).family("kernel", "linux-", deadline=Deadline(60))
    assert found == (Package("kernel", version),)
