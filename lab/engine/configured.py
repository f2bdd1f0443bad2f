"""The settings of a session: the environment's, with what the command line says instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.matrix.merge import weakest_accelerator
from lab.scenario.cell import Cell, HostRequest, MigrationRequest, NtfsRequest
from lab.scenario.inventory import Inventory
from lab.settings import Settings
from lab.staging import Stage

__all__ = ["accelerator_of", "settings_of"]


def settings_of(config: pytest.Config) -> Settings:
    """The environment's settings with what the command line says instead."""
    settings = Settings.from_environment()
    reports, hosts = config.getoption("lab_reports"), config.getoption("lab_hosts")
    settings = replace(settings, reports=Path(reports).absolute()) if reports else settings
    return replace(settings, hosts=Path(hosts).absolute()) if hosts else settings


def accelerator_of(cells: Iterable[Cell], stage: Stage, inventory: Inventory) -> str:
    """What runs the hosts of ``cells``: what limits most what the run can prove. A stage without a host of its own is
    not asked, since it would have to find out.
    """
    requests = {request for cell in cells for request in _hosts_of(cell)}
    listed = [inventory.hosts[request.inventory] for request in requests if request and request.inventory]
    own = len(listed) < len(requests) or not requests
    return weakest_accelerator([*(host.accelerator for host in listed), *([stage.accelerator] if own else [])])


def _hosts_of(cell: Cell) -> tuple[HostRequest | None, ...]:
    """The hosts that it asks for; None for what has none."""
    match cell.request:
        case MigrationRequest(source=source, target=target):
            return (source, target)
        case NtfsRequest() as request if request.stage != "xen":
            return (None,)
        case request:
            return (request.host,)
