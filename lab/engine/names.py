"""The names that scenario files may use, gathered from the registries that hold them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from lab.ntfs.drivers import drivers
from lab.ntfs.operations import operations
from lab.ntfs.volumes import recipes
from lab.scenario.inventory import Inventory
from lab.scenario.load import Known

__all__ = ["known_names", "known_with_hosts"]


@cache
def known_names() -> Known:
    """All drivers, volumes and operations."""
    return Known(drivers=frozenset(drivers), volumes=frozenset(recipes), operations=frozenset(operations))


@cache
def known_with_hosts(path: Path | None) -> Known:
    """Likewise, and the hosts of that file; none without one.

    Raises:
        ScenarioError: it cannot be read or holds mistakes.
    """
    return replace(known_names(), hosts=frozenset(Inventory.of(path).hosts))
