"""Foreign volumes (LAB_SAMPLES): nothing a reader does with them may hang the lab or reach it as a surprise."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.image import open_image, state_of
from lab.ntfs.readers import truth_of

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
    (volume,) = open_image(unpacked(name, tmp_path), tmp_path, Deadline(60))
    truth = truth_of(volume.raw, Deadline(60))
    assert truth.manifest.entries
    assert state_of(volume.raw).value in {"clean", "dirty"}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_foreign_volume_gives_a_truth_or_an_image_error(name: str, tmp_path: Path) -> None:
    path = unpacked(name, tmp_path)
    surprises = []
    try:
        for volume in open_image(path, tmp_path, Deadline(60)):
            truth_of(volume.raw, Deadline(60))
    except ImageError as refused:
        surprises = [line for line in refused.message.splitlines() if not line.startswith(str(path))]
    assert surprises == []
