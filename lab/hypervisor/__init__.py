"""Hypervisors through libvirt: connections, domains, migrations, capabilities.

Everything else in the lab knows only the Protocols of :mod:`lab.hypervisor.model`, behind which the fake of
:mod:`lab.testing.hypervisor` stands as well. Every call takes a deadline and keeps it, whatever libvirt does.
"""

from __future__ import annotations

from lab.hypervisor.capabilities import Capabilities, GuestAbi, capabilities
from lab.hypervisor.connection import connect
from lab.hypervisor.document import validate
from lab.hypervisor.domain import wait_for_state
from lab.hypervisor.domain_spec import DiskSpec, DomainSpec, InterfaceSpec
from lab.hypervisor.domain_xml import DiskIdentity, DomainIdentity, device_xml, domain_xml, identity
from lab.hypervisor.errors import (
    DomainXmlError,
    GuestNotFoundError,
    GuestRefusedError,
    HostRefusedError,
    NotSupportedError,
)
from lab.hypervisor.migration import (
    Migrated,
    MigrationDeadlineError,
    MigrationError,
    MigrationRefusedError,
    Sighting,
    Whereabouts,
    migrate,
    whereabouts,
)
from lab.hypervisor.model import Connection, Domain, DomainSize, DomainState, HypervisorFacts, MigrationPlan
from lab.hypervisor.tagged import tagged

__all__ = [
    "Capabilities",
    "Connection",
    "DiskIdentity",
    "DiskSpec",
    "Domain",
    "DomainIdentity",
    "DomainSize",
    "DomainSpec",
    "DomainState",
    "DomainXmlError",
    "GuestAbi",
    "GuestNotFoundError",
    "GuestRefusedError",
    "HostRefusedError",
    "HypervisorFacts",
    "InterfaceSpec",
    "Migrated",
    "MigrationDeadlineError",
    "MigrationError",
    "MigrationPlan",
    "MigrationRefusedError",
    "NotSupportedError",
    "Sighting",
    "Whereabouts",
    "capabilities",
    "connect",
    "device_xml",
    "domain_xml",
    "identity",
    "migrate",
    "tagged",
    "validate",
    "wait_for_state",
    "whereabouts",
]
