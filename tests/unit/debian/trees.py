"""Module trees as depmod(8) leaves them, from a few lines of what needs what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

RELEASE = "6.12.57-lab-amd64"


def file_of(name: str) -> str:
    """Where a module lies in its tree."""
    return f"kernel/lib/{name}.ko"


def all_needs(needs: Mapping[str, Iterable[str]], name: str) -> list[str]:
    """What a module needs, also by way of others, in an order in which it could be loaded."""
    ordered: list[str] = []
    for need in needs.get(name, ()):
        ordered += [each for each in (*all_needs(needs, need), need) if each not in ordered]
    return ordered


def make_tree(
    folder: Path,
    needs: Mapping[str, Iterable[str]],
    *,
    soft: Iterable[str] = (),
    aliases: Iterable[str] = (),
    builtin: Iterable[str] = (),
) -> Path:
    """lib/modules/RELEASE in ``folder``: ``needs`` maps each module to the modules it calls.

    ``soft`` and ``aliases`` are lines of modules.softdep and modules.alias; ``builtin`` are names.
    """
    tree = folder / "lib" / "modules" / RELEASE
    lines = []
    for name in needs:
        path = tree / file_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"the module {name}".encode())
        # modules.dep(5): all it needs, directly or not; what is loaded first comes last.
        lines.append(f"{file_of(name)}:" + "".join(f" {file_of(need)}" for need in reversed(all_needs(needs, name))))
    tree.mkdir(parents=True, exist_ok=True)
    (tree / "modules.dep").write_text("\n".join(lines) + "\n")
    (tree / "modules.softdep").write_text("# Soft dependencies extracted from modules themselves.\n" + "\n".join(soft))
    (tree / "modules.alias").write_text("# Aliases extracted from modules themselves.\n" + "\n".join(aliases))
    (tree / "modules.builtin").write_text("".join(f"{file_of(name)}\n" for name in builtin))
    return tree
