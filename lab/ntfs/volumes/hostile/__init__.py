"""Hostile volumes: our own, spoiled in one structure each, with a seed, and known in what they may cost.

A good driver is loud or right: it may refuse the volume or fail on what is broken, but it never shows other bytes or
names without an error, never crashes, hangs or writes. Each mutation says what it breaks and which names may fail.
"""

from __future__ import annotations

from lab.ntfs.volumes.hostile import (
    attribute_header,
    attribute_list,
    boot,
    directory_index,
    mapping_pairs,
    mft_record,
    payload,
    system_file,
)
from lab.ntfs.volumes.hostile.base import BASES
from lab.ntfs.volumes.hostile.mutation import Good, Mutation, apply, mutations, spans
from lab.ntfs.volumes.hostile.recipe import base_recipe, hostile_recipe
from lab.ntfs.volumes.recipe import recipes

KINDS = (
    attribute_header,
    attribute_list,
    boot,
    directory_index,
    mapping_pairs,
    mft_record,
    payload,
    system_file,
)
"""The modules that declare mutations; importing them fills the registry."""

__all__ = ["BASES", "Good", "Mutation", "apply", "base_recipe", "hostile_recipe", "mutations", "spans", "table"]

for _mutation in mutations.values():
    recipes.add(hostile_recipe(_mutation))


def table() -> str:
    """The mutations as a Markdown table, for the documentation."""
    lines = ["| volume | what is wrong | where | a good driver | may fail |", "|---|---|---|---|---|"]
    for each in mutations.values():
        costs = "anything" if each.good is Good.REFUSE else ", ".join(f"`{path}`" for path in each.costs) or "nothing"
        words = (f"`hostile-{each.name}`", each.breaks, each.structure, each.good.value, costs)
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines) + "\n"
