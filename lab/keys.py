"""The lab's own SSH identity: one key pair for the user, one for hosts, made once and never leaving this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.process import run

__all__ = ["Keys"]


@dataclass(frozen=True, slots=True)
class Keys:
    """``user`` logs in to hosts and guests; ``host`` is the identity of all of them, so that it can be checked."""

    user: Path
    host: Path

    @classmethod
    def of(cls, cache: Cache, *, deadline: Deadline) -> Keys:
        """The key pairs of this cache, made on first use."""

        def build(folder: Path) -> None:
            for name in ("user", "host"):
                command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab-{name}", "-f", folder / name)
                run(*command, deadline=deadline).check()

        with cache.alone("keys", "ed25519", deadline=deadline) as folder:
            if not (folder / "host.pub").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                build(folder)
        return cls(folder / "user", folder / "host")

    def sshd_files(self) -> dict[str, str]:
        """What a machine of the lab needs on its disk to be logged in to: path -> content."""
        return {
            "/etc/ssh/sshd_config": resources.files("lab").joinpath("sshd_config").read_text(),
            "/etc/ssh/lab_host_key": self.host.read_text(),
            "/etc/ssh/lab_host_key.pub": self.host.with_suffix(".pub").read_text(),
            "/root/.ssh/authorized_keys": self.user.with_suffix(".pub").read_text(),
        }

    def known_host(self, alias: str) -> str:
        """A known_hosts line."""
        kind, key, *_ = self.host.with_suffix(".pub").read_text().split()
        return f"{alias} {kind} {key}\n"
