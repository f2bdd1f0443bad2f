"""Keys that open nothing."""

from __future__ import annotations

from pathlib import Path

from lab.keys import Keys


def make_keys(folder: Path) -> Keys:
    """Files where keys would be."""
    for name in ("user", "host"):
        (folder / name).write_text(f"-----BEGIN {name}-----\n")
        (folder / f"{name}.pub").write_text(f"ssh-ed25519 AAAA{name} lab-{name}\n")
    return Keys(folder / "user", folder / "host")
