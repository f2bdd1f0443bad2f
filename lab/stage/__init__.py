"""The stage: real hosts and guests brought up for cells, and taken down again whatever happens."""

from __future__ import annotations

from lab.stage.xen import open_stage

__all__ = ["open_stage"]
