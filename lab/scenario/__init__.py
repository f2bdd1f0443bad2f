"""Scenario files: YAML -> validated model -> cells. Pure: no host, no guest, no clock."""

from __future__ import annotations
