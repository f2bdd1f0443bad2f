"""What is asked of an NTFS cell: the judgement of its volume, with the evidence written beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import CacheError
from lab.ntfs.judge import differences, judge
from lab.ntfs.manifest import Manifest
from lab.ntfs.volumes.recipe import State
from lab.verdict import Verdict

__all__ = ["check_volume"]


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="ascii")
    except OSError as broken:
        raise CacheError(
            f"{folder}: the evidence cannot be written: {broken.strerror}", hint="is there room?"
        ) from broken
    names = tuple(str((folder / name).relative_to(run_folder)) for name in files)
    return dataclasses.replace(verdict, evidence=(*verdict.evidence, *names))


def _text(document: object) -> str:
    return json.dumps(document, ensure_ascii=True, indent=1) + "\n"
