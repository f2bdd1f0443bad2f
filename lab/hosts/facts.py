"""What a Xen host says of itself, whether the lab nested it or the user listed it."""

from __future__ import annotations

import re

from lab.deadline import Deadline
from lab.matrix.model import HostFacts
from lab.shell import Shell

__all__ = ["host_facts"]


def host_facts(shell: Shell, name: str, kind: str, deadline: Deadline) -> HostFacts:
    """What a host says of itself: xl info, uname and its libvirt."""
    info = shell.run("xl", "info", deadline=deadline).check().text
    fields = dict(re.findall(r"^(\S+)\s*: (.*?)\s*$", info, re.MULTILINE))
    version = shell.run("virsh", "-q", "-c", "xen:///system", "version", "--daemon", deadline=deadline).check().text
    daemon = re.search(r"Running against daemon: (\S+)", version)
    return HostFacts(
        name=name,
        kind=kind,
        xen=fields.get("xen_version", ""),
        libvirt=daemon.group(1) if daemon else "",
        kernel=fields.get("release", ""),
        capabilities=f"{fields.get('xen_caps', '').strip()}; {fields.get('virt_caps', '').strip()}",
    )
