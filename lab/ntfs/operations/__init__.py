"""Operations: what a cell does to a volume, and what the volume must hold afterwards.

An operation chooses its targets by what a volume has and says which steps to do to them; the probe does them through a
driver; the model, which knows no driver, does them too. Where the two part, the driver is asked why.
"""

from __future__ import annotations

from lab.ntfs.operations import content, everything, metadata, names
from lab.ntfs.operations.layout import Layout, Terrain, terrain_of
from lab.ntfs.operations.model import Model
from lab.ntfs.operations.operation import Operation, operations, table
from lab.ntfs.operations.source import Source
from lab.ntfs.operations.step import Result, Step, to_text
from lab.ntfs.operations.stored import Stored

CATALOGUE = (content, everything, metadata, names)
"""The modules that declare operations; importing them fills the registry."""

__all__ = [
    "Layout",
    "Model",
    "Operation",
    "Result",
    "Source",
    "Step",
    "Stored",
    "Terrain",
    "operations",
    "table",
    "terrain_of",
    "to_text",
]
