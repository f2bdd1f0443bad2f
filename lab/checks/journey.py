"""Everything that was seen of one move, from within the guest, from outside it, and on both hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.checks.steerable import Steering
from lab.checks.whereabouts import Sides
from lab.guests.meter import MeterReport
from lab.guests.observation import Observation
from lab.guests.witness import AgentReport, DiskReport, HeartbeatReport, MemoryReport, Silent
from lab.hosts.traces import Traces

__all__ = ["NOT_ASKED", "Journey", "disk_of", "heartbeat_of", "memory_of"]

NOT_ASKED = Silent("it was not asked")


@dataclass(frozen=True, slots=True)
class Journey:
    """One move by ``how`` (cold, save-restore, live).

    Each pair of looks is one right before the move and one once the guest has arrived; the later reports are of the
    time since the earlier ones. ``traces`` is host -> what was on it before and after, ``home`` the host where the
    guest is now. ``changes`` are the fields of its identity that the move means to change. What is None was not
    looked at; the checks that need it say so.
    """

    how: str
    guest: str
    home: str
    before: Observation
    after: Observation
    sides: Sides
    agent_before: AgentReport | Silent = NOT_ASKED
    agent_after: AgentReport | Silent = NOT_ASKED
    meter_before: MeterReport | Silent = NOT_ASKED
    meter: MeterReport | Silent = NOT_ASKED
    traces: Mapping[str, tuple[Traces, Traces]] | None = None
    steering: Steering | None = None
    changes: frozenset[str] = field(default=frozenset())


def memory_of(report: AgentReport | Silent) -> MemoryReport | Silent:
    """Its part on memory, or why there is none."""
    return report if isinstance(report, Silent) else report.memory


def disk_of(report: AgentReport | Silent) -> DiskReport | Silent:
    """Its part on the disk, or why there is none."""
    return report if isinstance(report, Silent) else report.disk


def heartbeat_of(report: AgentReport | Silent) -> HeartbeatReport | Silent:
    """Its part on time, or why there is none."""
    return report if isinstance(report, Silent) else report.heartbeat
