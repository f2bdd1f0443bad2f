"""Debian root file systems, built by mmdebstrap and laid onto ext4 by mke2fs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.archive import Archive
from lab.errors import ImageError, UsageError
from lab.events import step
from lab.process import last_line, run

__all__ = ["Rootfs", "make_ext4"]

# Nobody reads manuals in the lab, and 150 MB less is 5 s less for every image.
_NOT_WANTED = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
)


_BUILD_MIB = 2500
"""The largest system as a folder, its packages beside it, and then its disk image."""


@dataclass(frozen=True, slots=True)
class Rootfs:
    """A Debian system by recipe. ``overlay`` maps absolute paths in it to their content.

    ``commands`` run in it as root at the end, each by ``sh -c``. ``executable`` names overlay files with mode 0755,
    ``private`` those with mode 0600.
    """

    suite: str
    arch: str
    packages: tuple[str, ...]
    overlay: Mapping[str, str] = field(default_factory=dict)
    executable: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()
    commands: tuple[str, ...] = ()

    def key(self, cache: Cache, *, deadline: Deadline) -> str:
        """Changes when the recipe changes, or any version of any package it would install."""
        versions = Archive(cache, self.suite, self.arch).closure(self.packages, deadline=deadline)
        modes = [sorted(self.executable), sorted(self.private)]
        return fingerprint("rootfs 1", self.suite, self.arch, dict(self.overlay), modes, self.commands, versions)

    def build(self, cache: Cache, root: Path, *, work: Path, deadline: Deadline) -> None:
        """Install the system into the new folder ``root``; ``work`` is for the overlay on its way there.

        Raises:
            UsageError: not root, which mmdebstrap and the ownership of files need here.
            ImageError: mmdebstrap failed; its last line is in the message.
        """
        if os.geteuid() != 0:
            raise UsageError("building an image needs root", hint="run the lab as root or with sudo")
        cache.require(_BUILD_MIB, f"building a {self.suite} system")
        overlay = work / "overlay"
        self._lay_out(overlay)
        sources = Archive(cache, self.suite, self.arch).sources(deadline=deadline)
        argv: list[str | Path] = [
            # In root mode it mounts /proc and more for its chroot; a namespace of its own keeps ours out of its way.
            *("unshare", "--mount", "--propagation", "private"),
            "mmdebstrap",
            "--mode=root",
            "--variant=apt",
            # The file that the hook below lays down first is a conffile of a package; without this dpkg would ask.
            "--dpkgopt=force-confold",
            f"--architectures={self.arch}",
            f"--include={','.join(self.packages)}",
            # update-initramfs would run for half a minute for a file that the lab does not use.
            (
                "--essential-hook=mkdir -p $1/etc/initramfs-tools; "
                "echo update_initramfs=no > $1/etc/initramfs-tools/update-initramfs.conf"
            ),
            *(f"--dpkgopt=path-exclude={path}" for path in _NOT_WANTED),
            *_apt_options(deadline),
            f"--customize-hook=cp -a {overlay}/. $1/",
            *(f"--customize-hook=chroot $1 sh -c '{command}'" for command in self.commands),
            self.suite,
            root,
            *sources,
        ]
        with step("mmdebstrap", suite=self.suite, arch=self.arch):
            done = run(*argv, deadline=deadline, env={"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"})
        if not done:
            log = work.parent / f"failed-{self.suite}-{self.arch}.log"
            log.write_bytes(done.stdout + done.stderr)
            why = last_line(done.stderr.replace(b"E: mmdebstrap failed to run", b"")) or "it said nothing"
            raise ImageError(f"mmdebstrap of {self.suite} {self.arch}: {why}", hint=f"all it said is in {log}")
        shutil.rmtree(overlay)

    def _lay_out(self, overlay: Path) -> None:
        for name, content in self.overlay.items():
            path = overlay / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if name in self.executable else 0o600 if name in self.private else 0o644)


def make_ext4(root: Path, image: Path, *, size_mib: int, label: str, deadline: Deadline) -> None:
    """Lay the folder ``root`` onto a new sparse ext4 ``image``."""
    options = "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"
    argv: Iterable[str | Path] = [
        "-q",
        "-F",
        "-t",
        "ext4",
        "-L",
        label,
        "-m",
        "0",
        "-E",
        options,
        "-d",
        root,
        image,
        f"{size_mib}M",
    ]
    # bullseye's kernel and tools do not know features that a newer mke2fs turns on by itself (orphan_file).
    run("mke2fs", "-O", "^metadata_csum_seed,^orphan_file", *argv, deadline=deadline).check()


def _apt_options(deadline: Deadline) -> list[str]:
    # mmdebstrap starts from an empty apt configuration; only how to reach the mirror is handed on, and whether the
    # machine's owner takes one that has not been updated for a while (Archive follows that as well).
    asked = ("Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until")
    dump = run("apt-config", "dump", "--format", '%F "%v";%n', *asked, deadline=deadline).text
    wanted = ("::Proxy", "Acquire::Check-Valid-Until ")
    lines = (line for line in dump.splitlines() if any(part in line for part in wanted))
    return [f"--aptopt={line}" for line in lines if not line.endswith('"";')]
