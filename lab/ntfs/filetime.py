"""NTFS time: 100 ns steps since 1601-01-01 UTC, kept as a plain int so that nothing is rounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["UNIX_EPOCH", "from_nanoseconds", "show"]

UNIX_EPOCH = 116_444_736_000_000_000
"""1970-01-01 as a FILETIME (Linux: ``NTFS_TIME_OFFSET`` in fs/ntfs/time.h)."""


def from_nanoseconds(nanoseconds: int) -> int:
    """The FILETIME of a Unix time in nanoseconds; what is finer than 100 ns is cut off, as every driver does."""
    return nanoseconds // 100 + UNIX_EPOCH


def show(filetime: int) -> str:
    """For people: ISO 8601 with all seven digits. Python's datetime stops at microseconds and at the year 9999."""
    seconds, ticks = divmod(filetime, 10_000_000)
    try:
        moment = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return str(filetime)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ticks:07d}Z"
