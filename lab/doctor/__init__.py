"""What this machine can do for the lab, and what would mend it: facts are gathered once, the judgement is pure."""

from __future__ import annotations

from lab.doctor.diagnosis import Diagnosis, State, cure, diagnose, well
from lab.doctor.examination import examine
from lab.doctor.hosts import Looked, diagnose_hosts, look
from lab.doctor.machine import Machine
from lab.doctor.requirement import Requirement, requirements

__all__ = [
    "Diagnosis",
    "Looked",
    "Machine",
    "Requirement",
    "State",
    "cure",
    "diagnose",
    "diagnose_hosts",
    "examine",
    "look",
    "requirements",
    "well",
]
