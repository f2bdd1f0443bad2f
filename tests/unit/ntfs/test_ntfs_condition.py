"""The state of a volume that somebody left, by its structures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.ntfs.condition import state_of
from lab.ntfs.ondisk.mft import LOG_FILE, Mft
from lab.ntfs.volumes import Volume, recipes
from tests.unit.ntfs.disks import edited

STATES = (
    "clean",
    "dirty",
    "hibernated",
    "hibernated-upper",
    "resumed",
    "unclean-log",
    "unclean-log-2",
    "clean-log",
)


@pytest.mark.parametrize("name", STATES)
def test_a_volume_is_in_the_state_that_its_recipe_says(built: Mapping[str, Volume], name: str) -> None:
    assert state_of(built[name].path) is recipes[name].state


def test_what_a_driver_left_is_clean(built: Mapping[str, Volume]) -> None:
    assert state_of(built["streams"].path).value == "clean"


@pytest.mark.parametrize("size", [4096, 8192])
def test_a_broken_log_says_nothing(built: Mapping[str, Volume], tmp_path: Path, size: int) -> None:
    copy = tmp_path / "volume.img"
    shutil.copyfile(built["unclean-log"].path, copy)
    with Mft.open(copy) as mft:
        at = mft.first_run(LOG_FILE)[0] * mft.boot.cluster
    # Without the first page the second one counts; without both, nobody was there.
    edited(copy, {at: bytes(size)})
    assert state_of(copy).value == ("unclean-log" if size == 4096 else "clean")


def test_what_is_no_volume_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 9000)
    assert state_of(tmp_path / "x").value == "damaged"
