"""Guests by the tags in their metadata: how what a run left behind is found, also after ``kill -9``."""

from __future__ import annotations

from lab.deadline import Deadline
from lab.hypervisor.domain_xml import identity
from lab.hypervisor.errors import GuestNotFoundError
from lab.hypervisor.model import Connection, Domain

__all__ = ["tagged"]


def tagged(connection: Connection, tag: str, deadline: Deadline, *, value: str | None = None) -> tuple[Domain, ...]:
    """The domains that carry ``tag``, with ``value`` if one is given. A domain that goes away meanwhile is left out.

    Raises:
        HostError, DeadlineError: the host cannot be asked.
    """
    found = []
    for name in connection.domains(deadline):
        try:
            domain = connection.domain(name, deadline)
            tags = dict(identity(domain.xml(deadline)).tags)
        except GuestNotFoundError:
            continue
        if tag in tags and value in {None, tags[tag]}:
            found.append(domain)
    return tuple(found)
