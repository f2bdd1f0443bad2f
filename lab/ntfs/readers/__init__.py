"""Readers outside the contest: what two or more trusted ones agree on is the truth about a foreign volume."""

from __future__ import annotations

from lab.ntfs.readers.agreement import Disagreement, agreement
from lab.ntfs.readers.consult import NoTruthError, Truth, truth_of
from lab.ntfs.readers.reader import Reader, Readings, read_all, readers
from lab.ntfs.readers.trust import Trait, distrust, traits
from lab.ntfs.readers.verify import Verification, verify

__all__ = [
    "Disagreement",
    "NoTruthError",
    "Reader",
    "Readings",
    "Trait",
    "Truth",
    "Verification",
    "agreement",
    "distrust",
    "read_all",
    "readers",
    "traits",
    "truth_of",
    "verify",
]
