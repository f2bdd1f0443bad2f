"""Where the lab keeps things on this machine: the only reader of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """``cache`` holds images and snapshots, ``samples`` more NTFS volumes (or None), ``reports`` the records."""

    cache: Path
    samples: Path | None
    reports: Path
    accelerator: str
    """``auto`` (probe), ``tcg`` or ``kvm``."""
    hosts: Path | None = None
    """The file with the user's own Xen hosts."""

    @classmethod
    def from_environment(cls) -> Settings:
        """As ``LAB_CACHE``, ``LAB_SAMPLES``, ``LAB_REPORTS``, ``LAB_ACCELERATOR`` and ``LAB_HOSTS`` say; an empty one
        says nothing.
        """
        env = os.environ
        xdg = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        samples, hosts = env.get("LAB_SAMPLES"), env.get("LAB_HOSTS")
        return cls(
            cache=Path(env.get("LAB_CACHE") or xdg / "crossroads-lab").absolute(),
            samples=Path(samples).absolute() if samples else None,
            reports=Path(env.get("LAB_REPORTS") or "reports").absolute(),
            accelerator=env.get("LAB_ACCELERATOR") or "auto",
            hosts=Path(hosts).absolute() if hosts else None,
        )
