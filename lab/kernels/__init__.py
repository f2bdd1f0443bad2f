"""Kernels and their modules in guests: what is loaded, and how modules get there when no package manager brings them."""

from __future__ import annotations
