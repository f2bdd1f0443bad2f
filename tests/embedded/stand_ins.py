"""Embedded hosts that stand in for hosts of a user's: up, on one network, with nbd-client, and known by a hosts file.

Run as a program they stay until its input ends: ``python -m tests.embedded.stand_ins FOLDER 4.14 4.20``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.archive import Archive
from lab.hosts.embedded.recipe import embedded_recipe
from lab.hosts.host import Host
from lab.keys import Keys
from lab.scenario.cell import HostRequest
from lab.settings import Settings
from lab.stage import open_stage

SECONDS = 3000.0
"""The machine may have other things to do."""


@contextmanager
def stand_ins(folder: Path, versions: Sequence[str]) -> Iterator[Path]:
    """The hosts file: hosts are called ``own-VERSION``."""
    settings, deadline = Settings.from_environment(), Deadline(SECONDS)
    cache = Cache(settings.cache)
    keys = Keys.of(cache, deadline=deadline)
    with open_stage(settings) as stage:
        entries, known = [], []
        for version in versions:
            host = stage.pool.host(HostRequest("own", version), deadline)
            install(cache, host, embedded_recipe(version, keys).rootfs.suite, folder / version, deadline)
            port = _port(host)
            known.append(keys.known_host(f"[127.0.0.1]:{port}"))
            way = f"ssh: root@127.0.0.1, port: {port}, identity: {keys.user}, known_hosts: known_hosts"
            entries.append(f"  own-{version}: {{{way}, address: {host.address}, accelerator: {host.accelerator}}}\n")
        (folder / "known_hosts").write_text("".join(known))
        file = folder / "hosts.yaml"
        file.write_text("hosts:\n" + "".join(entries))
        yield file


def install(cache: Cache, host: Host, suite: str, folder: Path, deadline: Deadline) -> None:
    """Give an embedded host nbd-client, which its image lacks: a user's host gets it by apt-get."""
    folder.mkdir()
    archive = Archive(cache, suite)
    packages = archive.family("nbd-client", "libnl-", deadline=deadline)
    for file in archive.download(packages, folder, deadline=deadline):
        host.shell.put(file.read_bytes(), f"/tmp/{file.name}", deadline=deadline)  # noqa: S108 - of a machine of ours
        host.shell.run("dpkg-deb", "-x", f"/tmp/{file.name}", "/", deadline=deadline).check()  # noqa: S108 - likewise
    host.shell.run("ldconfig", deadline=deadline).check()


def _port(host: Host) -> int:
    """Where ssh to it is forwarded from."""
    found = re.search(r"Port (\d+)", (host.network.folder / f"{host.name}.conf").read_text())
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    with stand_ins(Path(sys.argv[1]), sys.argv[2:]) as listed:
        sys.stdout.write(f"{listed}\n")
        sys.stdout.flush()
        sys.stdin.read()
