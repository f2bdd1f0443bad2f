from __future__ import annotations

from tests.unit.programs import programs

__all__ = ["programs"]
