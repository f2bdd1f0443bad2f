"""The module tree of one kernel: which modules it has, what each needs, and in which order they load."""

from __future__ import annotations

import itertools
import lzma
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from lab.deadline import Deadline
from lab.errors import LabError, nearest
from lab.process import run

__all__ = ["ModuleNotFoundInTreeError", "ModuleTree", "module_name"]


class ModuleNotFoundInTreeError(LabError, LookupError):
    """A kernel has no module of that name, neither built in nor loadable."""


def module_name(name: str) -> str:
    """The kernel's own spelling: ``dm-mod`` and ``dm_mod.ko.xz`` are both ``dm_mod``.

    The kernel turns dashes into underscores (include/linux/module.h, KBUILD_MODNAME).
    """
    return PurePosixPath(name).name.partition(".ko")[0].replace("-", "_")


@dataclass(frozen=True)
class ModuleTree:
    """The folder lib/modules/RELEASE after depmod(8) has run over it."""

    path: Path

    @cached_property
    def _needs(self) -> dict[str, tuple[str, ...]]:
        # modules.dep(5): "PATH: PATH PATH ...", needed modules in the order opposite to loading.
        lines = (self.path / "modules.dep").read_text().splitlines()
        pairs = (line.partition(":") for line in lines)
        return {module: tuple(needs.split()) for module, _, needs in pairs}

    @cached_property
    def _files(self) -> dict[str, str]:
        return {module_name(module): module for module in self._needs}

    @cached_property
    def _soft(self) -> dict[str, tuple[str, ...]]:
        # modules.softdep: "softdep NAME pre: ALIAS ... post: ...". ext4 finds its checksum only through one of these.
        found: dict[str, tuple[str, ...]] = {}
        for words in map(str.split, self._lines("modules.softdep")):
            if words[:1] == ["softdep"] and "pre:" in words:
                after = itertools.takewhile(lambda word: word != "post:", words[words.index("pre:") + 1 :])
                found[module_name(words[1])] = tuple(after)
        return found

    @cached_property
    def _aliases(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for words in map(str.split, self._lines("modules.alias")):
            if words[:1] == ["alias"] and "*" not in words[1]:
                found.setdefault(words[1], []).append(module_name(words[2]))
        return found

    def _lines(self, name: str) -> list[str]:
        path = self.path / name
        return path.read_text().splitlines() if path.exists() else []

    def _soft_needs(self, name: str) -> list[str]:
        # Of several that answer to an alias, the portable one runs on whatever CPU model the machine gets.
        answers = (self._aliases.get(alias, [alias]) for alias in self._soft.get(name, ()))
        chosen = [next((a for a in names if a.endswith("_generic")), names[0]) for names in answers]
        return [need for need in map(module_name, chosen) if need in self._files]

    @cached_property
    def builtin(self) -> frozenset[str]:
        """Names of what is part of the kernel image itself."""
        lines = (self.path / "modules.builtin").read_text().splitlines()
        return frozenset(map(module_name, lines))

    @property
    def loadable(self) -> frozenset[str]:
        """Names of the modules that are files."""
        return frozenset(self._files)

    def closure(self, names: Iterable[str]) -> tuple[Path, ...]:
        """The files to load for ``names``, in loading order; what is built in needs none.

        Raises:
            ModuleNotFoundInTreeError: a name is neither a file nor built in.
        """
        ordered: dict[str, None] = {}
        for name in map(module_name, names):
            if name in self._files:
                file = self._files[name]
                hard = [*reversed(self._needs[file]), file]
                soft = [self._files[need] for each in hard for need in self._soft_needs(module_name(each))]
                for each in soft:
                    ordered.update(dict.fromkeys([*reversed(self._needs[each]), each]))
                ordered.update(dict.fromkeys(hard))
            elif name not in self.builtin:
                close = nearest(name, self.loadable | self.builtin)
                raise ModuleNotFoundInTreeError(
                    f"kernel {self.path.name} has no module {name!r}", hint=f"did you mean {close!r}?" if close else ""
                )
        return tuple(self.path / file for file in ordered)


def module_bytes(file: Path, *, deadline: Deadline) -> bytes:
    """A module's ELF object, unpacked where the package ships it packed (.ko.xz from Debian 13 on)."""
    match file.suffix:
        case ".xz":
            return lzma.decompress(file.read_bytes())
        case ".zst":
            return run("zstd", "-dc", file, deadline=deadline).check().stdout
        case _:
            return file.read_bytes()
