"""Guests: how they are made, started, reached and moved."""

from __future__ import annotations
