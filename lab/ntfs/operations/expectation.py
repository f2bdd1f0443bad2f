"""What a volume must hold after the steps that a driver says it has done. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.errors import LabError
from lab.ntfs.manifest import Manifest
from lab.ntfs.operations.model import Model
from lab.ntfs.operations.node import Node
from lab.ntfs.operations.source import Source
from lab.ntfs.operations.step import Result, Step

__all__ = ["Expectation", "Refusal", "expect"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A step that was not done. ``follows``: only because one before it was refused."""

    step: Step
    result: Result
    follows: bool

    def __str__(self) -> str:
        return f"{self.step}: {self.result}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """``touched`` are the paths that a step has changed, with what is known of them; ``parts`` says by which part, and
    has the paths too that a step took away. ``lies`` are steps said to be done that cannot have been, with the reason.
    """

    before: Manifest = field(repr=False)
    manifest: Manifest
    touched: Mapping[str, Node]
    parts: Mapping[str, str]
    refusals: tuple[Refusal, ...] = ()
    lies: tuple[tuple[Step, str], ...] = ()
    done: tuple[Step, ...] = field(default=(), repr=False)

    def part_of(self, path: str) -> str:
        """The part that changed ``path``, or made, moved or took away a directory that it is in; empty if none did."""
        if path in self.parts:
            return self.parts[path]
        while path := path.rpartition("/")[0]:
            stayed = path in self.before.by_path and path in self.manifest.by_path
            if path in self.parts and not stayed:
                return self.parts[path]
        return ""


def expect(
    before: Manifest, source: Source, steps: Sequence[Step], results: Sequence[Result], *, streams: bool
) -> Expectation:
    """Do the steps to a model of the volume, as far as the driver says that it has done them.

    Raises:
        LabError: the content of an existing file is not what the manifest says.
    """
    model = Model(before, source, streams=streams)
    parts: dict[str, str] = {}
    refusals: list[Refusal] = []
    lies: list[tuple[Step, str]] = []
    done: list[Step] = []
    refused: set[str] = set()
    for step, result in zip(steps, results, strict=False):  # fewer results, where it never came to the others
        if not result.done:
            refusals.append(Refusal(step, result, _concerns(step, refused)))
            refused.update(step.paths[:1] if step.do == "link" else step.paths)
            model.fail(step, halfway=not result.is_lack(step))
            continue
        try:
            value = model.do(step)
        except OSError as impossible:
            if isinstance(impossible, LabError):
                raise
            lies.append((step, str(impossible.strerror)))
            continue
        if value is not None and value != result.value:
            lies.append((step, f"{value} expected, {result.value} said"))
        if excess := _trimmed_in_use(step, result):
            lies.append((step, excess))
        done.append(step)
        parts.update(dict.fromkeys((path for path in step.paths if path), step.part))
    touched = {path: node for path, node in model.nodes() if node.part}
    parts.update((path, node.part) for path, node in touched.items())
    return Expectation(before, model.manifest(), touched, parts, tuple(refusals), tuple(lies), tuple(done))


def _trimmed_in_use(step: Step, result: Result) -> str:
    """What a trim says of itself that cannot be: more than the unused clusters must not be told to the disk."""
    if step.do != "trim" or not isinstance(result.value, Mapping):
        return ""
    trimmed, free = result.value["trimmed"], result.value["free"]
    return f"{trimmed} bytes were trimmed, {trimmed - free} more than were free" if trimmed > free else ""


def _concerns(step: Step, refused: Iterable[str]) -> bool:
    """Whether it needs what was refused: at its path or above, or for a directory to go, all that was in it."""
    return any(
        path == other or path.startswith(other + "/") or (step.do == "rmdir" and other.startswith(path + "/"))
        for path in step.paths
        for other in refused
    )
