"""Hosts: machines that run Xen, nested by the lab itself or listed by the user."""

from __future__ import annotations
