"""The downtime that cells have measured, as reports show it: read from the evidence that lies beside the record.

Evidence can be damaged, or come from a stranger; neither may break a report, or make it read other files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from lab.checks.downtime import Calibration, Downtime, Iteration, distribution
from lab.matrix.model import Matrix, MatrixCell

__all__ = ["FILE", "NOTHING", "Measured", "Unreadable", "downtimes", "parse", "spoken"]

FILE = "downtime.json"

_MOST_BYTES = 1_000_000
"""Some ten times what the longest measurement takes that a scenario may ask for."""

_MOST_SECONDS = 1e9
"""Anything longer is no time that somebody has waited."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """There is a file, and it says nothing that could be shown."""

    why: str


Measured = Downtime | Unreadable

NOTHING: Mapping[str, Measured] = MappingProxyType({})
"""No cell has measured anything, or nobody knows where its evidence lies."""


def downtimes(folder: Path, matrix: Matrix) -> Mapping[str, Measured]:
    """What cells of the run in ``folder`` have measured, by their ids; of several attempts, the last that did.

    A file that the record names and that is gone is passed over: a matrix may be read without its evidence.
    """
    found = ((cell.id, _measured(folder, cell)) for cell in matrix.cells)
    return {cell_id: measured for cell_id, measured in found if measured is not None}


def parse(text: str) -> Downtime:
    """The inverse of ``Downtime.to_json``; what follows from the iterations is computed anew.

    Raises:
        ValueError: it is something else.
    """
    try:
        document = json.loads(text)
        iterations = tuple(Iteration(*_times(one, ("guest", "network"))) for one in _list(document, "iterations"))
        return Downtime(
            _text(document["accelerator"]),
            distribution([one.guest for one in iterations]),
            distribution([one.network for one in iterations]),
            iterations,
            tuple(
                Calibration(*_times(one, ("asked", "least", "most", "guest", "network")))
                for one in _list(document, "calibrations")
            ),
            tuple(_text(reason) for reason in _list(document, "withheld")),
        )
    except KeyError as missing:
        raise ValueError(f"it lacks {missing}") from missing
    except (TypeError, RecursionError) as other:
        raise ValueError("it holds no measurement") from other


def spoken(measured: Measured) -> str:
    """One line: the figure, or why there is none."""
    return measured.headline if isinstance(measured, Downtime) else f"{FILE} cannot be read: {measured.why}"


def _measured(folder: Path, cell: MatrixCell) -> Measured | None:
    for path in reversed(cell.evidence):
        place = PurePosixPath(path)
        if place.name == FILE and ".." not in place.parts and not place.is_absolute():
            measured = _read(folder / place)
            if measured is not None:
                return measured
    return None


def _read(path: Path) -> Measured | None:
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > _MOST_BYTES:
            return Unreadable(f"it has more than {_MOST_BYTES} bytes")
        return parse(path.read_text(encoding="utf-8"))
    except OSError as broken:
        return Unreadable(broken.strerror or type(broken).__name__)
    except ValueError as broken:
        return Unreadable(str(broken))


def _list(document: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = document[key]
    if not isinstance(value, list):
        raise ValueError(f"{key} is no list")  # noqa: TRY004 - a bad value of a file
    return value


def _times(one: Mapping[str, Any], keys: Sequence[str]) -> tuple[float, ...]:
    for key in keys:
        value = one[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_SECONDS:
            raise ValueError(f"{key} is {value!r:.40}, which is no time in seconds")
    return tuple(float(one[key]) for key in keys)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is no text")  # noqa: TRY004 - a bad value of a file
    return value
