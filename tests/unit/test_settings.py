"""What the environment says of where things are."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.settings import Settings

NAMES = ("LAB_CACHE", "LAB_SAMPLES", "LAB_REPORTS", "LAB_ACCELERATOR", "LAB_HOSTS", "XDG_CACHE_HOME")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_without_a_word_things_are_where_users_expect_them(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del bare
    expected = Settings(tmp_path / "home/.cache/crossroads-lab", None, tmp_path / "reports", "auto")
    assert Settings.from_environment() == expected


def test_every_word_counts_and_a_relative_path_is_one_of_this_folder(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("LAB_CACHE", "c")
    bare.setenv("LAB_SAMPLES", "/srv/samples")
    bare.setenv("LAB_REPORTS", "out/reports")
    bare.setenv("LAB_ACCELERATOR", "tcg")
    bare.setenv("LAB_HOSTS", "hosts.yaml")
    assert Settings.from_environment() == Settings(
        tmp_path / "c", Path("/srv/samples"), tmp_path / "out/reports", "tcg", tmp_path / "hosts.yaml"
    )


def test_the_users_own_cache_folder_is_respected(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Settings.from_environment().cache == tmp_path / "xdg/crossroads-lab"


def test_an_empty_word_says_nothing(bare: pytest.MonkeyPatch) -> None:
    before = Settings.from_environment()
    for name in NAMES:
        bare.setenv(name, "")
    assert Settings.from_environment() == before
