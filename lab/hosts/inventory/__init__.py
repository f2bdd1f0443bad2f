"""Xen hosts of the user's own: reached by ssh, used for as long as a run lasts, and left as they were found."""

from __future__ import annotations
