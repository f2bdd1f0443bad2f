"""Images in other formats: the same bytes come out of each, and what is not whole is refused by name."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.deadline import Deadline
from lab.errors import ImageError, UsageError
from lab.ntfs.images.container import raw_of, sniff
from lab.ntfs.images.image import Disk, open_image
from lab.ntfs.images.lineage import refuse_what_is_not_whole
from lab.ntfs.images.source import look
from lab.ntfs.volumes import Volume
from tests.unit.ntfs.disks import edited, gpt, laid, mbr

KIB = 1 << 10
MIB = 1 << 20
MERGE = "merge it with its parents first, into one image, and name that"

FORMATS = [
    ("qcow2", ""),
    ("qcow2", "compat=0.10"),
    ("qcow2", "extended_l2=on"),
    ("qcow", ""),
    ("qed", ""),
    ("parallels", ""),
    ("vpc", "subformat=dynamic"),
    ("vpc", "subformat=fixed"),
    ("vpc", "subformat=fixed,force_size=on"),
    ("vhdx", "subformat=dynamic"),
    ("vhdx", "subformat=fixed"),
    ("vdi", ""),
    ("vdi", "static=on"),
    ("vmdk", "subformat=monolithicSparse"),
    ("vmdk", "subformat=monolithicFlat"),
    ("vmdk", "subformat=twoGbMaxExtentSparse"),
    ("vmdk", "subformat=twoGbMaxExtentFlat"),
    ("vmdk", "subformat=streamOptimized"),
]


def qemu(*words: object) -> None:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    done = subprocess.run(("qemu-img", *map(str, words)), check=False, capture_output=True)
    if b"nknown file format" in done.stderr:
        pytest.skip("this qemu-img was built without that format")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def disk(built: Mapping[str, Volume], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole disk with an extended partition, in which the second of two logical ones is NTFS."""
    volume = built["streams"].path.read_bytes()
    count = len(volume) // 512
    pieces = {
        0: mbr((0x83, 64, 64), (5, 256, 50_000)),
        256 * 512: mbr((0x82, 16, 64), (5, 128, 40_000)),
        384 * 512: mbr((7, 64, count)),
        448 * 512: volume,
    }
    return laid(tmp_path_factory.mktemp("disk") / "disk.img", 24 * MIB, pieces)


def opened(path: Path, work: Path) -> Disk:
    return open_image(path, work, Deadline(60))


def refused(path: Path, work: Path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        opened(path, work)
    return caught.value


@pytest.mark.parametrize(("form", "options"), FORMATS)
def test_the_same_volume_comes_out_of_every_format(
    built: Mapping[str, Volume], disk: Path, tmp_path: Path, form: str, options: str
) -> None:
    image = tmp_path / f"a, disk.{form}"
    qemu("convert", "-O", form, *(("-o", options) if options else ()), disk, image)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "work").mkdir()
    (found,) = opened(image, tmp_path / "work").volumes
    assert (found.name, found.origin, found.partition, found.offset) == (f"a, disk.{form}:p6", image, 6, 448 * 512)
    assert found.copy(tmp_path / "work", Deadline(30)).read_bytes() == built["streams"].path.read_bytes()
    assert {path: path.read_bytes() for path in before} == before
    fixed = options.startswith("subformat=fixed") and form == "vpc"
    assert found.raw == (image if fixed else tmp_path / "work" / "whole.raw")


def test_a_relative_name_with_a_colon_is_a_file(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu("convert", "-O", "qcow2", disk, tmp_path / "nbd:x.qcow2")
    monkeypatch.chdir(tmp_path)
    assert len(opened(Path("nbd:x.qcow2"), tmp_path).volumes) == 1


def test_a_terabyte_that_is_hardly_there_takes_no_time(built: Mapping[str, Volume], tmp_path: Path) -> None:
    volume = built["streams"].path.read_bytes()
    sectors = (1 << 40) // 4096
    pieces = {**gpt(sectors, [(1 << 27, (1 << 27) + len(volume) // 4096 - 1)], 4096), 1 << 39: volume}
    raw, image = laid(tmp_path / "big.img", 1 << 40, pieces), tmp_path / "big.qcow2"
    qemu("convert", "-O", "qcow2", raw, image)
    (found,) = open_image(image, tmp_path, Deadline(60)).volumes
    assert (found.offset, found.raw.stat().st_blocks * 512 < 32 * MIB) == (1 << 39, True)


def test_a_broken_image_is_refused_with_what_qemu_says_of_it(tmp_path: Path) -> None:
    image = tmp_path / "x.qcow2"
    image.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(200))
    error = refused(image, tmp_path)
    before = f"{image}: qemu-img cannot convert it from qcow2: "
    assert (error.message[: len(before)], error.hint) == (before, "is it whole?")
    assert not {"qemu-img", str(image)} & set(error.message.removeprefix(before).split())


def test_a_vhd_of_differences_is_refused_with_its_parent(tmp_path: Path) -> None:
    image = tmp_path / "child.vhd"
    qemu("create", "-f", "vpc", image, "8M")
    header = struct.unpack_from(">Q", image.read_bytes(), 16)[0]
    end = image.stat().st_size - 512
    name = "bäse.vhd".encode("utf-16-be")
    edited(image, {60: b"\0\0\0\4", end + 60: b"\0\0\0\4", header + 64: name})
    error = refused(image, tmp_path)
    assert str(error) == f"{image}: this VHD holds only what differs from its parent 'bäse.vhd'\n  hint: {MERGE}"


def vhdx_of_differences(path: Path, keys: Mapping[str, str]) -> Path:
    """What qemu-img made, with the flag set and a locator added: in the metadata region, as [MS-VHDX] 2.6 says."""
    raw = path.read_bytes()
    guid = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
    at = raw.index(guid, 0x30000)
    region = struct.unpack_from("<Q", raw, at + 16)[0]
    count = struct.unpack_from("<H", raw, region + 10)[0]
    items = [struct.unpack_from("<16sIII", raw, region + 32 + 32 * index) for index in range(count)]
    wanted = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
    parameters = next(offset for kind, offset, _, _ in items if kind == wanted)
    words = [text.encode("utf-16-le") for pair in keys.items() for text in pair]
    offsets = [20 + 12 * len(keys) + sum(map(len, words[:index])) for index in range(len(words))]
    entries = [
        struct.pack("<IIHH", offsets[n], offsets[n + 1], len(words[n]), len(words[n + 1]))
        for n in range(0, len(words), 2)
    ]
    locator = bytes(16) + struct.pack("<HH", 0, len(keys)) + b"".join(entries) + b"".join(words)
    kind = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
    return edited(
        path,
        {
            region + 10: struct.pack("<H", count + 1),
            region + 32 + 32 * count: kind + struct.pack("<III", 0x18000, len(locator), 6),
            region + 0x18000: locator,
            region + parameters + 4: b"\2",
        },
    )


@pytest.mark.parametrize(
    ("keys", "parent"),
    [
        ({"parent_linkage": "{x}", "absolute_win32_path": "C:\\base.vhdx"}, "its parent 'C:\\base.vhdx'"),
        ({"relative_path": ".\\base.vhdx", "volume_path": "y"}, "its parent '.\\base.vhdx'"),
        ({"parent_linkage": "{x}"}, "a parent that it does not name"),
    ],
)
def test_a_vhdx_of_differences_is_refused_with_its_parent(tmp_path: Path, keys: Mapping[str, str], parent: str) -> None:
    image = tmp_path / "child.vhdx"
    qemu("create", "-f", "vhdx", image, "8M")
    vhdx_of_differences(image, keys)
    assert refused(image, tmp_path).message == f"{image}: this VHDX holds only what differs from {parent}"


def test_a_vdi_of_differences_is_refused_with_its_parent(tmp_path: Path) -> None:
    image, parent = tmp_path / "child.vdi", UUID("01234567-89ab-cdef-0123-456789abcdef")
    qemu("create", "-f", "vdi", image, "8M")
    edited(image, {0x4C: b"\4\0\0\0", 0x1A8: parent.bytes_le})
    assert refused(image, tmp_path).message == f"{image}: this VDI holds only what differs from its parent '{parent}'"


@pytest.mark.parametrize("form", ["qcow2", "vmdk"])
def test_the_parents_of_an_overlay_are_followed_as_long_as_they_are_there(
    built: Mapping[str, Volume], disk: Path, tmp_path: Path, form: str
) -> None:
    base, middle, top = (tmp_path / f"{name}.{form}" for name in ("base", "middle", "top"))
    qemu("convert", "-O", form, disk, base)
    qemu("create", "-f", form, "-b", base.name, "-F", form, middle)
    qemu("create", "-f", form, "-b", middle.name, "-F", form, top)
    (found,) = opened(top, tmp_path).volumes
    assert found.copy(tmp_path, Deadline(30)).read_bytes() == built["streams"].path.read_bytes()
    base.unlink()
    # QEMU writes into an image of VMware where its parent is, and into one of its own what it was told.
    error = refused(top, tmp_path)
    assert error.message.startswith(f"{middle}: its parent '")
    assert str(error).endswith(f"{base.name}' is not there\n  hint: put its parents where it looks for them")


def qcow2_on(path: Path, parent: bytes) -> Path:
    qemu("create", "-f", "qcow2", path, "8M")
    return edited(path, {8: struct.pack(">QI", 0x1000, len(parent)), 0x1000: parent})


@pytest.mark.parametrize("parent", ["nbd://example.org/x", 'json:{"driver": "nbd"}', "fd:3"])
def test_a_parent_that_is_no_file_is_never_fetched(tmp_path: Path, parent: str) -> None:
    image = qcow2_on(tmp_path / "a.qcow2", parent.encode())
    assert refused(image, tmp_path).message == f"{image}: its parent is '{parent}', which is not a file of this machine"


def test_a_parent_may_be_hostile_in_other_ways(tmp_path: Path) -> None:
    image = qcow2_on(tmp_path / "a.qcow2", b"a.qcow2")
    assert refused(image, tmp_path).message == f"{image}: its parent 'a.qcow2' comes back to itself"
    image = qcow2_on(tmp_path / "b.qcow2", b"\x1b[31m\n\xff")
    assert refused(image, tmp_path).message == f"{image}: its parent '\\x1b[31m\\n\\udcff' is not there"


def test_an_encrypted_qcow2_is_named_as_such(tmp_path: Path) -> None:
    image = tmp_path / "a.qcow2"
    qemu("create", "-f", "qcow2", image, "8M")
    edited(image, {32: b"\0\0\0\2"})
    assert str(refused(image, tmp_path)) == (
        f"{image}: encrypted by QEMU (LUKS)\n  hint: decrypt it first, with `qemu-img convert`"
    )


def test_a_part_of_a_split_vmdk_is_not_taken_for_the_whole(disk: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.vmdk"
    qemu("convert", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", disk, image)
    part = tmp_path / "disk-s001.vmdk"
    assert str(refused(part, tmp_path)) == (
        f"{part}: one part of a split VMDK\n  hint: name the small .vmdk beside it, the text that lists the parts"
    )
    part.unlink()
    assert str(refused(image, tmp_path)) == (
        f"{image}: its part 'disk-s001.vmdk' is not there\n  hint: put its parts where it looks for them"
    )


def test_a_vhdx_that_was_not_closed_is_told_with_what_to_do(tmp_path: Path) -> None:
    image = tmp_path / "open.vhdx"
    qemu("create", "-f", "vhdx", image, "8M")
    raw = bytearray(image.read_bytes())
    for at in (0x10000, 0x20000):  # both headers: a log with that identity is to be replayed
        raw[at + 48 : at + 64] = b"\1" * 16
    image.write_bytes(raw)
    error = refused(image, tmp_path)  # whether QEMU finds fault with the log or with the checksum, it names the image
    assert error.message.startswith(f"{image}: qemu-img cannot convert it from vhdx: ")


def test_an_image_that_a_qemu_writes_to_is_not_taken(disk: Path, tmp_path: Path) -> None:
    """The lock that QEMU takes, taken by a process of the test's own."""
    image = tmp_path / "vm.img"
    shutil.copyfile(disk, image)
    held = os.open(image, os.O_RDWR)
    pid = os.fork()
    if pid == 0:
        fcntl.fcntl(held, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0))
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(UsageError) as caught:
        opened(image, tmp_path)
    assert str(caught.value) == f"{image}: a QEMU has it open for writing\n  hint: shut it down, or name a copy"
    os.close(held)
    assert len(opened(image, tmp_path).volumes) == 1


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_qemu_takes_that_lock(disk: Path, tmp_path: Path, form: str) -> None:
    if not shutil.which("qemu-io"):
        pytest.skip("qemu-io is not installed")
    image = tmp_path / f"vm.{form}"
    qemu("convert", "-O", form, disk, image)
    for words, taken in ((("-r",), True), ((), False)):
        with subprocess.Popen(
            ("qemu-io", *words, "-f", form, image), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        ) as user:
            assert user.stdin is not None
            assert user.stdout is not None
            user.stdin.write(b"read 0 512\n")
            user.stdout.read(len("qemu-io> "))  # it says so only once the image is open
            if taken:
                assert len(opened(image, tmp_path).volumes) == 1
            else:
                with pytest.raises(UsageError, match="a QEMU has it open for writing"):
                    opened(image, tmp_path)
            user.stdin.close()
            user.stdout.read()


@given(st.binary(max_size=2048))
@settings(deadline=None)
def test_any_bytes_have_a_format(raw: bytes) -> None:
    assert sniff(BytesIO(raw)) in {"raw", "qcow", "qcow2", "qed", "parallels", "vpc", "vhdx", "vmdk", "vdi"}


_STARTS = {
    "qcow2": b"QFI\xfb",
    "vpc": b"conectix",
    "vhdx": b"vhdxfile",
    "vmdk": b"KDMV",
    "vdi": bytes(0x40) + b"\x7f\x10\xda\xbe",
}


@given(st.sampled_from(sorted(_STARTS)), st.binary(max_size=2048))
@settings(deadline=None)
def test_any_bytes_behind_a_signature_are_whole_or_refused(form: str, rest: bytes) -> None:
    with suppress(ImageError):
        refuse_what_is_not_whole(Path("/nowhere/x"), form, BytesIO(_STARTS[form] + rest))


@given(st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_container_with_a_few_wrong_bytes_is_converted_or_refused(
    disk: Path, tmp_path: Path, data: st.DataObject
) -> None:
    form = data.draw(st.sampled_from(["qcow2", "vpc", "vhdx", "vmdk", "vdi"]))
    whole = tmp_path / f"whole.{form}"
    if not whole.exists():
        qemu("convert", "-O", form, disk, whole)
    image = tmp_path / f"wrong.{form}"
    shutil.copyfile(whole, image)
    places = st.one_of(st.integers(8, 600), st.integers(0x30000, 0x30080), st.integers(0x200000, 0x200100))
    for at, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        if at < whole.stat().st_size:
            edited(image, {at: bytes([byte])})
    with suppress(ImageError, UsageError):
        open_image(image, tmp_path, Deadline(60))


def test_without_qemu_img_a_raw_image_is_taken_all_the_same(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu("convert", "-O", "qcow2", disk, tmp_path / "a.qcow2")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert raw_of(look(disk), tmp_path, Deadline(60)).path == disk
    with pytest.raises(FileNotFoundError, match="qemu-img: no such program"):
        opened(tmp_path / "a.qcow2", tmp_path)
