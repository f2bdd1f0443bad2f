"""Archives of images: unpacked sparse, regular files only, and nothing leaves the folder."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections import namedtuple
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from lab import process
from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.images import archive
from lab.ntfs.images.archive import is_archive, unpack
from lab.process import Completed

MIB = 1 << 20
MINE = "unpack it yourself, then name what was in it"


def packed(folder: Path, name: str, *words: str) -> Path:
    """What GNU tar makes of all that is in ``folder``."""
    made = folder.parent / name
    subprocess.run(("tar", "--auto-compress", "--sparse", *words, "-cf", made, "-C", folder, "."), check=True)
    return made


def written(path: Path, *members: tuple[str, bytes | str]) -> Path:
    """An archive with members whose names no honest tar would write; a text is what a link leads to."""
    with tarfile.open(path, "w") as made:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                made.addfile(member)
            else:
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
    return path


def refused(path: Path, into: Path) -> ImageError:
    into.mkdir(exist_ok=True)
    with pytest.raises(ImageError) as caught:
        unpack(path, into, Deadline(60))
    return caught.value


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", ["", ".gz", ".xz", ".zst", ".bz2"])
def test_images_come_out_with_their_holes_however_they_are_packed(source: Path, into: Path, kind: str) -> None:
    program = {"": "tar", ".gz": "gzip", ".xz": "xz", ".zst": "zstd", ".bz2": "bzip2"}[kind]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    (source / "folder").mkdir()
    (source / "folder" / "small.img").write_bytes(b"small")
    with (source / "big.img").open("wb") as file:
        file.seek(1 << 39)
        file.write(b"end")
    made = packed(source, f"a:b.tar{kind}")  # a colon, as in HOST:FILE
    assert is_archive(made)
    found = unpack(made, into, Deadline(60))
    assert {member.name: member.path.stat().st_size for member in found.members} == {
        PurePosixPath("big.img"): (1 << 39) + 3,
        PurePosixPath("folder/small.img"): 5,
    }
    assert found.others == 0
    big = into / "big.img"
    assert big.stat().st_blocks * 512 < MIB
    with big.open("rb") as file:
        file.seek(1 << 39)
        assert file.read() == b"end"


def test_odd_names_come_out_as_they_are(source: Path, into: Path) -> None:
    names = ["-C", "a b", "new\nline", "back\\slash", "Ärger", "*.img", "tab\t", "x\udcff"]
    for name in names:
        (source / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    found = unpack(packed(source, "odd.tar"), into, Deadline(60))
    assert sorted(member.name.name for member in found.members) == sorted(names)
    for member in found.members:
        assert member.path.read_bytes() == member.name.name.encode("utf-8", "surrogateescape")


def test_what_is_no_file_is_not_made(source: Path, into: Path) -> None:
    (source / "disk.img").write_bytes(b"x")
    (source / "disk.img").chmod(0)
    (source / "link").symlink_to("/etc/passwd")
    (source / "hard").hardlink_to(source / "disk.img")
    found = unpack(packed(source, "links.tar", "--sort=name"), into, Deadline(60))
    assert [member.path.read_bytes() for member in found.members] == [b"x"]
    assert found.others == 2
    assert [path.name for path in into.iterdir()] == ["disk.img"]


def test_a_link_does_not_lead_a_file_out(tmp_path: Path, into: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    made = written(tmp_path / "evil.tar", ("d", str(outside)), ("d/disk.img", b"x"))
    found = unpack(made, into, Deadline(60))
    assert [member.path.read_bytes() for member in found.members] == [b"x"]
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["../disk.img", "/disk.img", "a/../../disk.img"])
def test_a_name_that_leads_out_is_refused_and_nothing_is_made(tmp_path: Path, into: Path, name: str) -> None:
    made = written(tmp_path / "evil.tar", ("good.img", b"x"), (name, b"x"))
    assert str(refused(made, into)) == f"{made}: {name} leads out of the archive\n  hint: {MINE}"
    assert list(into.iterdir()) == []


def test_an_archive_without_a_file_is_refused(source: Path, into: Path) -> None:
    made = packed(source, "empty.tar")
    assert str(refused(made, into)) == f"{made}: an archive without a single file\n  hint: {MINE}"


def test_what_is_broken_is_refused_in_the_programs_words(source: Path, into: Path) -> None:
    (source / "disk.img").write_bytes(os.urandom(50_000))
    made = packed(source, "broken.tar.gz")
    os.truncate(made, 20_000)
    assert is_archive(made)
    said = "stdin: unexpected end of file"
    assert str(refused(made, into)) == f"{made}: tar cannot unpack it: {said}\n  hint: {MINE}"
    assert list(into.iterdir()) == []


def test_a_packed_image_is_no_archive_of_one(tmp_path: Path, into: Path) -> None:
    plain = tmp_path / "disk.img"
    plain.write_bytes(b"no tar" * 5000)
    subprocess.run(("gzip", plain), check=True)
    made = tmp_path / "disk.img.gz"
    said = "This does not look like a tar archive"
    assert str(refused(made, into)) == f"{made}: tar cannot unpack it: {said}\n  hint: {MINE}"


def test_a_missing_program_is_named() -> None:
    assert archive._hint("xz: Cannot exec: No such file or directory") == "install xz"


def test_where_there_is_no_room_nothing_is_unpacked(source: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "disk.img").write_bytes(b"x" * 3 * MIB)
    made = packed(source, "large.tar.gz")
    assert made.stat().st_size < MIB
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil has it
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, 3 * 3 * MIB + (256 << 20)))
    error = refused(made, into)
    assert error.message.startswith(f"{made}: 31")
    assert error.message.endswith(f" bytes when unpacked, which takes 3 times as much here, and {265 * MIB} are free")
    assert error.hint == "free some space in the cache folder, or name another one with LAB_CACHE"
    assert list(into.iterdir()) == []


def test_a_full_disk_is_told_as_one(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = written(tmp_path / "one.tar", ("disk.img", b"x"))
    full = Completed(("tar",), 2, b"", b"tar: disk.img: Wrote only 512 of 10240 bytes: No space left on device\n")

    def run(*words: str, **more: Any) -> Completed:
        return full if "--extract" in words else process.run(*words, **more)

    monkeypatch.setattr(archive, "run", run)
    assert refused(made, into).hint == "free some space in the cache folder, or name another one with LAB_CACHE"


def test_neither_a_disk_nor_a_text_is_an_archive(tmp_path: Path) -> None:
    disk = bytearray(4096)
    disk[257:262], disk[510:512] = b"ustar", b"\x55\xaa"
    for name, content in (("disk", bytes(disk)), ("text", b"x" * 600), ("short", b"")):
        (tmp_path / name).write_bytes(content)
        assert not is_archive(tmp_path / name)
    assert not is_archive(tmp_path / "gone")
