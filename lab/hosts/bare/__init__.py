"""Bare guests: QEMU runs a guest's own kernel, with no Xen and no host between them."""

from __future__ import annotations
