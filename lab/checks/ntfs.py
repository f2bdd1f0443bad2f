"""What is asked of an NTFS cell: the judgement of its volume, with the evidence written beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import CacheError
from lab.ntfs.judging.reading import differences, judge
from lab.ntfs.judging.writing import Judgement, Written
from lab.ntfs.manifest import Manifest
from lab.ntfs.volumes.recipe import State
from lab.verdict import Verdict

__all__ = ["check_volume", "keep_written"]


def check_volume(  # noqa: PLR0913 - what is compared, with what, and where the evidence goes
    manifest: Manifest,
    state: State,
    observation: Mapping[str, Any],
    *,
    log: Sequence[str] = (),
    folder: Path,
    run_folder: Path,
) -> Verdict:
    """The verdict on one cell, its evidence in ``folder`` and named relative to ``run_folder``.

    ``expected.json`` is what the volume holds, ``observed.json`` the probe's document, ``differences.json`` every
    difference (an empty list where there is none).

    Raises:
        LabError: ``observation`` is not the probe's document, or the evidence cannot be written.
    """
    verdict = judge(manifest, state, observation, log=log)
    found = [difference.to_json() for difference in differences(manifest, observation)]
    files = {
        "expected.json": manifest.to_text(),
        "observed.json": _text(observation),
        "differences.json": _text(found),
    }
    _write(files, folder)
    names = tuple(str((folder / name).relative_to(run_folder)) for name in files)
    return dataclasses.replace(verdict, evidence=(*verdict.evidence, *names))


def keep_written(case: Written, judgement: Judgement, observation: Mapping[str, Any], folder: Path) -> None:
    """The evidence of a cell that wrote, in ``folder``: besides that of :func:`check_volume`, ``steps.json`` with what
    came of each step, and ``outside.json`` with what readers and checkers say, before and after.

    Raises:
        CacheError: it cannot be written.
    """
    results = [*observation.get("steps", ()), *(None for _ in case.steps)]
    steps = [{**step.to_json(), "came_of_it": result} for step, result in zip(case.steps, results, strict=False)]
    found = [{"seen_by": who, **difference.to_json()} for who, difference in judgement.differences]
    sides = {"before": case.before, "after": case.after}
    files = {
        "observed.json": _text(observation),
        "steps.json": _text(steps),
        "differences.json": _text(found),
        "outside.json": _text({side: inspection.to_json() for side, inspection in sides.items()}),
    }
    if judgement.expected is not None:
        files["expected.json"] = judgement.expected.to_text()
    _write(files, folder)


def _write(files: Mapping[str, str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="ascii")
    except OSError as broken:
        raise CacheError(
            f"{folder}: the evidence cannot be written: {broken.strerror}", hint="is there room?"
        ) from broken


def _text(document: object) -> str:
    return json.dumps(document, ensure_ascii=True, indent=1) + "\n"
