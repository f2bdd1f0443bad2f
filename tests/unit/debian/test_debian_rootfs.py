"""Root file systems: what their key depends on, and how mmdebstrap is called."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.rootfs import Rootfs, make_ext4
from lab.errors import ImageError, UsageError
from tests.unit.debian.mirror import MAIN, SECURITY, Mirror
from tests.unit.debian.test_debian_archive import SIMULATED, age
from tests.unit.programs import Programs

RECIPE = Rootfs(
    suite="bookworm",
    arch="i386",
    packages=("openssh-server", "kmod"),
    overlay={"/etc/hostname": "guest\n", "/usr/local/sbin/lab-net": "#!/bin/sh\n", "/etc/ssh/lab_host_key": "secret\n"},
    executable=frozenset({"/usr/local/sbin/lab-net"}),
    private=frozenset({"/etc/ssh/lab_host_key"}),
    commands=("systemctl enable ssh", "rm -f /etc/ssh/ssh_host_*"),
)

# It is called through unshare(1); the folder for the system is the argument after the suite.
UNSHARE = r"""
for word in "$@"; do printf '%s\n' "$word"; done > "$HERE/words"
while [ "$1" != bookworm ]; do shift; done
mkdir "$2"
case $(cat "$HERE/fails" 2>/dev/null) in
?*) cat "$HERE/fails" >&2; exit 25 ;;
esac
cp -a "$(sed -n 's/^--customize-hook=cp -a \(.*\)\/\. \$1\/$/\1/p' "$HERE/words")/." "$2/"
"""


def soon() -> Deadline:
    return Deadline(20)


@pytest.fixture
def key(mirror: Mirror, cache: Cache) -> Callable[[Rootfs], str]:
    mirror.simulates(SIMULATED)
    return lambda recipe: recipe.key(cache, deadline=soon())


@pytest.mark.parametrize(
    "changed",
    [
        {"suite": "trixie"},
        {"arch": "amd64"},
        {"overlay": {**RECIPE.overlay, "/etc/hostname": "other\n"}},
        {"overlay": {"/etc/hostname": "guest\n"}},
        {"executable": frozenset[str]()},
        {"private": frozenset[str]()},
        {"commands": RECIPE.commands[:1]},
        {"commands": RECIPE.commands[::-1]},
    ],
    ids=["suite", "arch", "content", "file", "executable", "private", "command", "order of commands"],
)
def test_the_key_changes_with_every_part_of_the_recipe(
    key: Callable[[Rootfs], str], changed: dict[str, object]
) -> None:
    assert key(dataclasses.replace(RECIPE, **changed)) != key(RECIPE)  # type: ignore[arg-type]  # names come from the table


def test_the_key_changes_with_a_version_and_with_a_package_more(
    key: Callable[[Rootfs], str], mirror: Mirror, cache: Cache
) -> None:
    first = key(RECIPE)
    age(cache)
    mirror.simulates(SIMULATED.replace("5.2.15", "5.2.37"))
    second = key(RECIPE)
    age(cache)
    mirror.simulates(SIMULATED + "Inst kmod (30 Debian:12 [amd64])\n")
    assert len({first, second, key(RECIPE)}) == 3


def test_the_key_is_the_same_as_long_as_nothing_changes(
    key: Callable[[Rootfs], str], mirror: Mirror, cache: Cache
) -> None:
    first = key(RECIPE)
    age(cache)
    mirror.simulates("\n".join(reversed(SIMULATED.splitlines())))  # the order in which apt installs says nothing
    reordered = dataclasses.replace(RECIPE, overlay=dict(sorted(RECIPE.overlay.items(), reverse=True)))
    assert key(reordered) == first


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def mmdebstrap(mirror: Mirror, programs: Programs, as_root: None) -> Programs:
    del mirror, as_root
    programs.add("unshare", UNSHARE)
    programs.add(
        "apt-config",
        "echo 'Acquire::http::Proxy \"http://proxy.example:3142\";'; echo 'Acquire::https::Proxy \"\";'; "
        "echo 'Acquire::Check-Valid-Until \"false\";'",
    )
    return programs


def build(cache: Cache, folder: Path) -> Path:
    work = folder / "guest.building"
    work.mkdir()
    RECIPE.build(cache, work / "root", work=work, deadline=soon())
    return work


def test_mmdebstrap_gets_the_recipe_the_mirrors_and_the_proxy(
    mmdebstrap: Programs, cache: Cache, tmp_path: Path
) -> None:
    work = build(cache, tmp_path)
    words = mmdebstrap.note("words")
    assert words[:4] == ["--mount", "--propagation", "private", "mmdebstrap"]
    assert words[-4:] == [
        "bookworm",
        f"{work}/root",
        f"deb {MAIN} bookworm main",
        f"deb {SECURITY} bookworm-security main",
    ]
    for word in (
        "--mode=root",
        "--variant=apt",
        "--architectures=i386",
        "--include=openssh-server,kmod",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        '--aptopt=Acquire::http::Proxy "http://proxy.example:3142";',
        '--aptopt=Acquire::Check-Valid-Until "false";',
        "--customize-hook=chroot $1 sh -c 'systemctl enable ssh'",
        "--customize-hook=chroot $1 sh -c 'rm -f /etc/ssh/ssh_host_*'",
    ):
        assert word in words
    assert not [word for word in words if 'Proxy ""' in word]
    # The overlay first: commands may need what it lays down.
    hooks = [word for word in words if word.startswith("--customize-hook")]
    assert hooks[0] == f"--customize-hook=cp -a {work}/overlay/. $1/"


def test_the_overlay_arrives_with_its_modes_and_goes(mmdebstrap: Programs, cache: Cache, tmp_path: Path) -> None:
    del mmdebstrap
    work = build(cache, tmp_path)
    found = {
        str(path.relative_to(work / "root")): (path.read_text(), path.stat().st_mode & 0o777)
        for path in (work / "root").rglob("*")
        if path.is_file()
    }
    assert found == {
        "etc/hostname": ("guest\n", 0o644),
        "usr/local/sbin/lab-net": ("#!/bin/sh\n", 0o755),
        "etc/ssh/lab_host_key": ("secret\n", 0o600),
    }
    assert not (work / "overlay").exists()


def test_what_mmdebstrap_said_is_kept_and_its_last_word_told(
    mmdebstrap: Programs, cache: Cache, tmp_path: Path
) -> None:
    (mmdebstrap.folder / "fails").write_text("I: installing\nE: No space left on device\nE: mmdebstrap failed to run")
    log = tmp_path / "failed-bookworm-i386.log"
    with pytest.raises(ImageError) as caught:
        build(cache, tmp_path)
    assert str(caught.value) == (
        f"mmdebstrap of bookworm i386: E: No space left on device\n  hint: all it said is in {log}"
    )
    assert log.read_text().startswith("I: installing\n")


def test_who_is_not_root_is_told_so_before_anything_is_done(
    mirror: Mirror, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    message = "building an image needs root\n  hint: run the lab as root or with sudo"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        RECIPE.build(cache, tmp_path / "root", work=tmp_path, deadline=soon())
    assert mirror.asked() == []


@pytest.mark.skipif(not shutil.which("mke2fs"), reason="mke2fs is not installed")
def test_a_folder_becomes_a_sparse_ext4_that_old_kernels_mount(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/hostname").write_text("guest\n")
    image = tmp_path / "disk.raw"
    make_ext4(tmp_path / "root", image, size_mib=32, label="guest", deadline=soon())
    assert image.stat().st_size == 32 << 20
    assert image.stat().st_blocks * 512 < 8 << 20

    def debugfs(request: str) -> str:
        argv = ("debugfs", "-R", request, str(image))
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout

    assert debugfs("cat /etc/hostname") == "guest\n"
    said = debugfs("stats -h")
    assert re.search(r"^Filesystem volume name: +guest$", said, re.MULTILINE)
    features = next(line for line in said.splitlines() if line.startswith("Filesystem features:")).split()
    assert "extent" in features
    assert not {"orphan_file", "metadata_csum_seed"} & set(features)
    assert re.search(r"User: +0 +Group: +0", debugfs("stat /"))
