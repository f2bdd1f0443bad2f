"""What a user may name: files and devices are only ever read, and whatever else it is gets a sentence."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import ImageError, LabError, UsageError
from lab.ntfs.images.busy import Machine
from lab.ntfs.images.image import open_image
from lab.ntfs.images.source import look, reading
from lab.ntfs.volumes import Volume, mounted
from tests.unit.ntfs.disks import laid, mbr

MIB = 1 << 20
HINT = "\n  hint: name images of NTFS volumes or of whole disks"


def refused(path: Path) -> LabError:
    with pytest.raises(LabError) as caught:
        look(path)
    return caught.value


def test_what_cannot_be_an_image_is_the_users_mistake(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("gone\n")
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
    said = {
        "": "a folder, not an image",
        "pipe": "a pipe, not an image",
        "socket": "a socket, not an image",
        "nix": "no such file",
        "dangling": "a symbolic link to gone\\n, which is not there",
        "loop": "Too many levels of symbolic links",
        "file/x": "Not a directory",
        "x" * 300: "File name too long",
    }
    for name, what in said.items():
        error = refused(tmp_path / name)
        assert (type(error), str(error)) == (UsageError, f"{tmp_path / name}: {what}{HINT}")
    for device in ("/dev/null", "/dev/zero"):
        assert str(refused(Path(device))) == f"{device}: a character device, not an image{HINT}"


def test_an_empty_file_was_not_copied_whole(tmp_path: Path) -> None:
    (tmp_path / "empty.img").touch()
    error = refused(tmp_path / "empty.img")
    assert (type(error), str(error)) == (
        ImageError,
        f"{tmp_path}/empty.img: empty: 0 bytes\n  hint: was it copied whole?",
    )


def test_names_that_act_are_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\nerror: \udcff\u202e"
    assert refused(path).message == f"{tmp_path}/a\\x1b[31m\\nerror: \\udcff\\u202e: no such file"


def test_a_symbolic_link_is_what_it_leads_to(tmp_path: Path) -> None:
    laid(tmp_path / "disk.img", MIB, {})
    (tmp_path / "link").symlink_to("disk.img")
    os.link(tmp_path / "disk.img", tmp_path / "hard")
    found = [look(tmp_path / name) for name in ("disk.img", "link", "hard")]
    assert [(one.size, one.identity) for one in found] == [(MIB, found[0].identity)] * 3
    assert not found[0].is_device


@pytest.mark.parametrize("step", ["stat", "open"])
def test_what_may_not_be_read_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = laid(tmp_path / "disk.img", MIB, {})

    def deny(*_words: object, **_more: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    where: object = Path if step == "stat" else os
    monkeypatch.setattr(where, step, deny)
    error = refused(path)
    assert isinstance(error, ImageError)
    assert str(error) == (
        f"{path}: cannot be opened: Permission denied\n"
        "  hint: run it as root, or let your user read it; it is never written"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_another_user_may_not_be_read(tmp_path: Path) -> None:
    path = laid(tmp_path / "disk.img", MIB, {})
    path.chmod(0)
    assert refused(path).message == f"{path}: cannot be opened: Permission denied"


def test_a_device_without_a_driver_or_a_medium_is_not_plugged_in(tmp_path: Path) -> None:
    node = tmp_path / "sdz"
    try:
        os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(240, 7))
    except OSError as refusal:
        pytest.skip(f"no device nodes can be made here: {refusal.strerror}")
    error = refused(node)
    if "Permission denied" in error.message:
        pytest.skip("device nodes have no effect here")
    assert str(error).startswith(f"{node}: cannot be opened: No such device")
    assert error.hint == "is it still plugged in?"


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EIO, "is it still plugged in? A disk that fails is best copied with ddrescue first; then name the copy"),
        (errno.ENODEV, "is it still plugged in?"),
    ],
)
def test_a_device_that_vanishes_while_it_is_copied_is_told_with_the_place(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    (found,) = open_image(built["clean"].path, tmp_path, Deadline(30)).volumes

    class Vanishing(io.FileIO):
        def readinto(self, buffer: Any, /) -> int | None:
            if self.tell() >= MIB:
                raise OSError(number, os.strerror(number))
            return super().readinto(buffer)

    monkeypatch.setattr(io, "FileIO", Vanishing)
    with pytest.raises(ImageError) as caught:
        found.copy(tmp_path, Deadline(30))
    at = int(caught.value.message.rpartition("byte ")[2].partition(":")[0])
    assert at >= MIB
    assert str(caught.value) == (f"{found.origin}: cannot be read at byte {at}: {os.strerror(number)}\n  hint: {hint}")


Loop = Callable[..., Path]


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Attach a file to a loop device for as long as the test takes."""
    if not shutil.which("losetup"):
        pytest.skip("losetup is not installed")
    with ExitStack() as undo:

        def attach(path: Path, *options: str) -> Path:
            words = ("losetup", "--find", "--show", *options, str(path))
            said = subprocess.run(words, capture_output=True, check=False)
            if said.returncode:
                pytest.skip(f"no loop device can be had here: {said.stderr.decode().strip()}")
            device = Path(said.stdout.decode().strip())
            undo.callback(subprocess.run, ("losetup", "--detach", device), check=False, capture_output=True)
            return device

        yield attach


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def whole_disk(built: Mapping[str, Volume], path: Path) -> Path:
    volume = built["streams"].path.read_bytes()
    return laid(path, 0, {0: mbr((7, 2048, len(volume) // 512)), 2048 * 512: volume})


def test_a_block_device_is_read_as_the_file_behind_it(built: Mapping[str, Volume], tmp_path: Path, loop: Loop) -> None:
    image = whole_disk(built, tmp_path / "disk.img")
    device = loop(image)
    before = digest(image), image.stat().st_mtime_ns
    source = look(device)
    assert (source.size, source.sector, source.is_device) == (image.stat().st_size, 512, True)
    (found,) = open_image(device, tmp_path, Deadline(30)).volumes
    assert (found.name, found.raw) == (f"{device.name}:p1", device)
    assert found.copy(tmp_path, Deadline(30)).read_bytes() == built["streams"].path.read_bytes()
    assert (digest(image), image.stat().st_mtime_ns) == before


def test_a_device_of_large_sectors_counts_in_them(built: Mapping[str, Volume], tmp_path: Path, loop: Loop) -> None:
    volume = built["streams"].path.read_bytes()
    table = mbr((7, 256, len(volume) // 4096), (7, 9000, 1))
    image = laid(tmp_path / "disk.img", 40 * MIB, {0: table, 256 * 4096: volume})
    device = loop(image, "--sector-size", "4096")
    assert look(device).sector == 4096
    assert [one.offset for one in open_image(device, tmp_path, Deadline(30)).volumes] == [MIB]
    # The image of such a disk does not say so, but where its volume begins does.
    assert [one.offset for one in open_image(image, tmp_path, Deadline(30)).volumes] == [MIB]


def test_a_read_only_device_is_as_good(built: Mapping[str, Volume], tmp_path: Path, loop: Loop) -> None:
    device = loop(built["streams"].path, "--read-only")
    assert [one.offset for one in open_image(device, tmp_path, Deadline(30)).volumes] == [0]


@pytest.mark.parametrize("options", [("rw",), ("ro",)])
@pytest.mark.parametrize("named", ["device", "file"])
def test_a_mounted_device_is_refused_while_it_is_written_to(
    built: Mapping[str, Volume], tmp_path: Path, loop: Loop, options: tuple[str, ...], named: str
) -> None:
    image = tmp_path / "volume.img"
    shutil.copyfile(built["streams"].path, image)
    device, at = loop(image), tmp_path / "mnt"
    at.mkdir()
    with mounted(device, at, options=options, deadline=Deadline(30)):
        path = device if named == "device" else image
        found = open_image(path, tmp_path, Deadline(30))
    if options == ("ro",):
        assert (len(found.volumes), found.troubles) == (1, ())
        return
    assert found.volumes == ()
    assert [trouble.error.args[0] for trouble in found.troubles] == [
        f"{path}: mounted for writing at {at}: what is in it changes while it is copied"
    ]


def test_a_partition_that_is_mounted_is_found_on_its_disk(tmp_path: Path) -> None:
    """A tree as sysfs has it: sdb with two partitions, the second one under device mapper."""
    system = tmp_path / "sys"
    for name, words in {
        "sdb": {"dev": "8:16"},
        "sdb/sdb1": {"dev": "8:17", "start": "2048", "partition": "1"},
        "sdb/sdb2": {"dev": "8:18", "start": "9000", "partition": "2"},
        "sdb/sdb2/holders/dm-0": {"dev": "253:0"},
        "loop0": {"dev": "7:0"},
        "loop0/loop": {"backing_file": str(tmp_path / "disk.img"), "offset": "4096"},
    }.items():
        folder = system / "block" / name
        folder.mkdir(parents=True)
        for key, word in words.items():
            (folder / key).write_text(f"{word}\n")
    (system / "dev/block").mkdir(parents=True)
    disk = laid(tmp_path / "disk.img", MIB, {})
    table = tmp_path / "mountinfo"
    machine = Machine(table, system)
    show = machine._showing
    sdb = system / "block/sdb"
    assert list(show(sdb, 0)) == ["8:16"]
    assert list(show(sdb, 2048 * 512)) == ["8:17"]
    assert list(show(sdb, 9000 * 512)) == ["8:18", "253:0"]
    table.write_text("42 27 7:0 / /mnt rw - ntfs3 /dev/loop0 rw,uid=0\n")
    assert machine.mounted_for_writing(disk, 4096) == "/mnt"
    assert machine.mounted_for_writing(disk, 0) == ""
    assert machine.mounted_for_writing(tmp_path / "nix", 0) == ""
    assert Machine(tmp_path / "nix", system).mounted_for_writing(disk, 4096) == ""


def test_nothing_is_ever_opened_but_for_reading(built: Mapping[str, Volume], tmp_path: Path) -> None:
    """By Python's own account of what this process opens; a hook cannot be taken off again, so it runs in another."""
    program = """
import os, sys
from pathlib import Path
from typing import Any
from lab.deadline import Deadline
from lab.ntfs.images.image import open_image
seen = []
sys.addaudithook(lambda event, words: seen.append(words) if event == "open" and str(words[0]) == sys.argv[1] else None)
PATH, WORK = Path(sys.argv[1]), Path(sys.argv[2])
made = [volume.copy(WORK, Deadline(30)) for volume in open_image(PATH, WORK, Deadline(30)).volumes]
assert made and seen, (made, seen)
assert {words[2] & os.O_ACCMODE for words in seen} == {os.O_RDONLY}, seen
assert not any(words[2] & (os.O_CREAT | os.O_TRUNC | os.O_APPEND) for words in seen), seen
"""
    image = tmp_path / "disk.img"
    shutil.copyfile(built["streams"].path, image)
    before = digest(image), image.stat().st_mtime_ns, image.stat().st_ctime_ns
    done = subprocess.run((sys.executable, "-c", program, image, tmp_path), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (digest(image), image.stat().st_mtime_ns, image.stat().st_ctime_ns) == before


@pytest.mark.parametrize("form", ["raw", "qcow2", "vmdk"])
def test_the_kernel_saw_no_opening_but_for_reading(built: Mapping[str, Volume], tmp_path: Path, form: str) -> None:
    """Of any process: qemu-img, too."""
    if not (shutil.which("strace") and shutil.which("qemu-img")):
        pytest.skip("strace or qemu-img is not installed")
    image = tmp_path / "disk.img"
    subprocess.run(("qemu-img", "convert", "-O", form, built["streams"].path, image), check=True)
    program = """
import sys
from pathlib import Path
from typing import Any
from lab.deadline import Deadline
from lab.ntfs.images.image import open_image
work = Path(sys.argv[2])
[volume.copy(work, Deadline(60)) for volume in open_image(Path(sys.argv[1]), work, Deadline(60)).volumes]
"""
    words = (
        "strace",
        "-f",
        "-q",
        "-e",
        "trace=open,openat,openat2,creat,truncate,rename,unlink",
        "-o",
        tmp_path / "log",
    )
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        (*words, sys.executable, "-c", program, image, tmp_path / "work"), capture_output=True, check=False
    )
    if b"ptrace" in done.stderr or b"attach" in done.stderr:
        pytest.skip("no process may be traced here")
    assert done.returncode == 0, done.stderr
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if f'"{image}"' in line]
    assert lines
    assert [line for line in lines if "O_RDONLY" not in line or "O_CREAT" in line or "O_TRUNC" in line] == []


def test_a_file_is_closed_whatever_happens_to_it(tmp_path: Path) -> None:
    path = laid(tmp_path / "disk.img", MIB, {})
    with reading(path) as file:
        number = file.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
