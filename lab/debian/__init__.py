"""Debian packages and what is made from them: root file systems, kernels, initial RAM disks."""

from __future__ import annotations
