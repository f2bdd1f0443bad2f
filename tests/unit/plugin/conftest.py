from __future__ import annotations

from tests.unit.plugin.project import lab, project

__all__ = ["lab", "project"]
