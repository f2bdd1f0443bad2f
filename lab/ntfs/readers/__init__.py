"""Readers outside the contest: what two or more trusted ones agree on is the truth about a foreign volume."""

from __future__ import annotations

from lab.ntfs.readers.agreement import Disagreement, agreement
from lab.ntfs.readers.consult import Truth, truth_of
from lab.ntfs.readers.reader import Reader, Readings, read_all, readers
from lab.ntfs.readers.trust import Trait, distrust, traits

__all__ = [
    "Disagreement",
    "Reader",
    "Readings",
    "Trait",
    "Truth",
    "agreement",
    "distrust",
    "read_all",
    "readers",
    "traits",
    "truth_of",
]
