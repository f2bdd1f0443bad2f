"""Each feature that the lab promises has its volumes, and each volume its feature."""

from __future__ import annotations

import pytest

from lab.ntfs.volumes import coverage, recipes
from lab.ntfs.volumes.coverage import ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.area}: {row.feature}")
def test_a_feature_has_recipes_and_names_none_in_vain(row: Row) -> None:
    for pattern in row.patterns:
        assert Row(row.area, row.feature, (pattern,)).names, f"no recipe {pattern}"


def test_every_recipe_is_there_for_a_feature() -> None:
    assert set(recipes) == {name for row in ROWS for name in row.names}


def test_a_feature_without_a_recipe_is_noticed() -> None:
    assert Row("x", "y", ("no-such-recipe", "nor-such-*")).names == ()


def test_there_are_enough_of_them() -> None:
    assert len(recipes) >= 60
    assert len(Row("", "", ("boot-*",)).names) >= 9


def test_features_are_told_once() -> None:
    told = [(row.area, row.feature) for row in ROWS]
    assert len(set(told)) == len(told)


def test_the_table_has_a_line_for_each() -> None:
    lines = coverage.table().splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert "| sizes | 1 MiB | `size-1m` |" in lines


def test_what_is_not_heavy_is_small() -> None:
    most = {name for name in recipes if recipes[name].size > 64 << 20 and not recipes[name].heavy}
    assert most == {"size-1t"}


def test_a_recipe_tells_its_volume_apart() -> None:
    assert len({recipe.serial for recipe in recipes.values()}) == len(recipes)
    assert all(len(recipe.name) <= 32 for recipe in recipes.values()), "mkntfs takes no longer label"
