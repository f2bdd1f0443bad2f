"""Matrices: verdicts arranged by two axes. Pure: standard library only."""

from __future__ import annotations
