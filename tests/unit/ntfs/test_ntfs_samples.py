"""Foreign volumes (LAB_SAMPLES): nothing a reader does with them may hang the lab or reach it as a surprise."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.engine.entry import open_entries
from lab.errors import ImageError
from lab.ntfs.condition import state_of
from lab.ntfs.foreign import admit
from lab.ntfs.images.image import open_image
from lab.ntfs.readers import truth_of
from lab.ntfs.volumes import State

READABLE = ("colinfinck/testfs1.img", "dfvfs/ntfs.raw.img", "rusty-backup/test_ntfs.img", "dissect/ntfs.img")
BROKEN = (
    "dissect/boot_2m.img",
    "nplus-corrupted/created_manually.bs_sector_per_cluster.img",
    "nplus-corrupted/created_manually.mft_file_bad_fixup_value_count.img",
    "nplus-corrupted/created_manually.mft_file_missing_data_attr.img",
    "syzkaller/ntfs3_0.img",
)


def unpacked(name: str, into: Path) -> Path:
    samples = os.environ.get("LAB_SAMPLES")
    if not samples:
        pytest.skip("LAB_SAMPLES names no folder of sample volumes")
    packed = Path(samples) / f"{name}.tar.zst"
    if not packed.exists() or not shutil.which("zstd"):
        pytest.skip(f"{packed} is not there, or zstd is not installed")
    subprocess.run(("tar", "-xSf", packed, "-C", into), check=True)
    return next(path for path in into.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", READABLE)
def test_readers_agree_on_a_sound_foreign_volume(name: str, tmp_path: Path) -> None:
    (volume,) = open_image(unpacked(name, tmp_path), tmp_path, Deadline(60)).volumes
    truth = truth_of(volume.raw, Deadline(60))
    assert truth.manifest.entries
    assert state_of(volume.raw).value in {"clean", "dirty", "unclean-log"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_foreign_volume_gives_a_truth_or_an_image_error(name: str, tmp_path: Path) -> None:
    path = unpacked(name, tmp_path)
    surprises = []
    try:
        for volume in open_image(path, tmp_path, Deadline(60)).volumes:
            truth_of(volume.raw, Deadline(60))
    except ImageError as refused:
        surprises = [line for line in refused.message.splitlines() if not line.startswith(str(path))]
    assert surprises == []


def test_every_sample_is_admitted_or_sent_back_with_a_sentence(tmp_path: Path) -> None:
    """The smallest ones; all of them take half an hour and more. None of them is written to."""
    samples = os.environ.get("LAB_SAMPLES")
    if not samples:
        pytest.skip("LAB_SAMPLES names no folder of sample volumes")
    if not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    for number, packed in enumerate(sorted(Path(samples).rglob("*.tar.zst"), key=lambda one: one.stat().st_size)[:8]):
        folder = tmp_path / str(number)
        (folder / "work").mkdir(parents=True)
        subprocess.run(("tar", "-xSf", packed, "-C", folder), check=True)
        path = next(path for path in folder.rglob("*") if path.is_file())
        before = path.stat()
        found = open_entries([path], folder / "work")
        for entry in found.entries:
            if entry.volume is None:
                assert str(entry.trouble).startswith(str(path))
                continue
            foreign = admit(entry.volume, entry.name, folder, Deadline(300))
            assert len(foreign.testimony["readers"]) >= 2 or foreign.specimen.doubts
        assert found.entries
        after = path.stat()
        assert (after.st_mtime_ns, after.st_ctime_ns, after.st_size) == (
            before.st_mtime_ns,
            before.st_ctime_ns,
            before.st_size,
        )


SMALL = ("dissect/boot_2m", "dissect/ntfs", "util-linux/ntfs", "syzkaller/ntfs_8", "rusty-backup/test_ntfs")


def test_samples_are_opened_in_their_archives_and_admitted_each_with_a_name_of_its_own(tmp_path: Path) -> None:
    """As `lab ntfs compare --samples` has it, but for five of them."""
    samples = os.environ.get("LAB_SAMPLES")
    if not samples:
        pytest.skip("LAB_SAMPLES names no folder of sample volumes")
    packed = [Path(samples) / f"{name}.img.tar.zst" for name in SMALL]
    if not all(one.exists() for one in packed) or not shutil.which("zstd"):
        pytest.skip("not all of these samples are there, or zstd is not installed")
    before = [(one.stat().st_mtime_ns, one.stat().st_size) for one in packed]
    found = open_entries(packed, tmp_path)
    assert found.troubles == []
    assert [entry.name for entry in found.entries] == [
        "boot_2m.img",
        "dissect/ntfs.img",
        "util-linux/ntfs.img",
        "ntfs_8.img",
        "test_ntfs.img",
    ]
    for number, (entry, archive) in enumerate(zip(found.entries, packed, strict=True)):
        assert entry.volume is not None
        (tmp_path / f"copy-{number}").mkdir()
        foreign = admit(entry.volume, entry.name, tmp_path / f"copy-{number}", Deadline(300))
        assert foreign.testimony["origin"] == str(archive)
        assert foreign.trouble is None
        cut = entry.name == "boot_2m.img"
        assert (bool(foreign.fault), foreign.specimen.state is State.DAMAGED) == (cut, cut)
        assert foreign.specimen.manifest.is_unsure("") is cut
    assert [(one.stat().st_mtime_ns, one.stat().st_size) for one in packed] == before
