"""Crossroads: a lab that starts Xen guests, moves them between Xen hosts and compares NTFS drivers.

The two doors are :mod:`lab.cli` (the command ``lab``) and :mod:`lab.plugin` (the pytest plugin).
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
