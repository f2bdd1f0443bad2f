from __future__ import annotations

from tests.unit.debian.conftest import cache, mirror

__all__ = ["cache", "mirror"]
