"""Embedded hosts: real Xen, a real Debian dom0 and its libvirt, nested in QEMU on this machine."""

from __future__ import annotations
