"""The names that scenario files may use, gathered from the registries that hold them."""

from __future__ import annotations

from functools import cache

from lab.ntfs.drivers import drivers
from lab.ntfs.operations import operations
from lab.ntfs.volumes import recipes
from lab.scenario.load import Known

__all__ = ["known_names"]


@cache
def known_names() -> Known:
    """All drivers, volumes and operations."""
    return Known(drivers=frozenset(drivers), volumes=frozenset(recipes), operations=frozenset(operations))
