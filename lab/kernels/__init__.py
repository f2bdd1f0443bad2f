"""Kernels and their modules in guests: what is loaded, and how modules come there where no package manager helps."""

from __future__ import annotations
