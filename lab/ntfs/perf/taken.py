"""A measure as it was taken once: the figure, or why there is none. A wrong answer has no figure, however fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.errors import LabError
from lab.ntfs.judging.kernel_log import crash_in, hang_in
from lab.ntfs.manifest import block_size
from lab.ntfs.naming import shown
from lab.ntfs.perf.measure import Measure
from lab.ntfs.perf.truth import Content, Truth
from lab.verdict import FINDING_OUTCOMES, Finding, Outcome

__all__ = ["SCHEMA", "Taken", "taken"]

SCHEMA = "lab.ntfs.perf.probe/1"

_HUNG = "deadline"
_DIED = "died"


@dataclass(frozen=True, slots=True)
class Taken:
    """One sample. ``value`` is None where ``outcome`` is not a pass; then ``reason`` says why."""

    outcome: Outcome
    value: float | None = None
    reason: str = ""
    finding: Finding | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the driver was: ``driver_version``, ``type``, ``options``."""

    @property
    def fatal(self) -> bool:
        """Whether the guest in which it was taken must not be used any more."""
        return self.finding in {Finding.CRASH, Finding.HANG}

    @classmethod
    def of(cls, finding: Finding | None, words: str, facts: Mapping[str, str]) -> Taken:
        """Something other than a figure; without a finding it is an error that the driver gave."""
        if finding is None:
            return cls(Outcome.FAIL, None, f"failed: {words}", None, facts)
        return cls(FINDING_OUTCOMES[finding], None, f"{finding.value}: {words}", finding, facts)


def taken(measure: Measure, document: Mapping[str, Any], truth: Truth) -> Taken:
    """What the probe's document comes to.

    Raises:
        LabError: it is not the probe's document.
    """
    if document.get("schema") != SCHEMA:
        raise LabError(f"the probe's document has schema {document.get('schema')!r}, not {SCHEMA!r}")
    try:
        facts = _facts(document)
        if document["ended"] == "trouble":
            return Taken(Outcome.ERROR, None, f"the probe: {document.get('trouble', 'no word')}", None, facts)
        if other := _other_module(document):
            return Taken(Outcome.ERROR, None, other, None, facts)
        for finding, words in _findings(measure, document, truth):
            return Taken.of(finding, words, facts)
        return _figure(measure, document, facts)
    except (KeyError, TypeError, ValueError) as broken:
        raise LabError(f"the probe's document is broken: {type(broken).__name__}: {broken}") from broken


def _other_module(document: Mapping[str, Any]) -> str:
    """Whether it was another driver's module that was timed: several in one guest register one type of file system."""
    module = document.get("module", {})
    if "built" in module:
        wanted, seen = module["built"]["srcversion"], module.get("srcversion", "none")
        return "" if wanted == seen else f"module-in-force: srcversion {seen}, and not {wanted}"
    return "module-in-force: out of tree, and not the kernel's own" if "O" in module.get("taint", "") else ""


def _figure(measure: Measure, document: Mapping[str, Any], facts: Mapping[str, str]) -> Taken:
    found = document["taken"] if measure.per else document["mount"]
    seconds, amount = float(found["seconds"]), float(found.get("amount", 0))
    if seconds <= 0 or (measure.per and amount <= 0):
        return Taken(Outcome.ERROR, None, f"too short to be timed: {amount:g} in {seconds:g} s", None, facts)
    return Taken(Outcome.PASS, measure.value(amount, seconds), "", Finding.CORRECT, facts)


def _findings(measure: Measure, document: Mapping[str, Any], truth: Truth) -> Iterator[tuple[Finding | None, str]]:
    """Whatever speaks against a figure, the gravest first."""
    yield from _end(document)
    mount = document["mount"]
    if not mount["ok"]:
        yield Finding.REFUSED, (mount.get("text") or mount.get("cause", "no word")) + _said(document)
    elif measure.writes and mount["read_only"]:
        yield Finding.READ_ONLY, "the driver mounts it read-only, so it cannot be written to"
    if failed := document.get("failed"):
        yield None, failed + _said(document)
    if measure.per:
        yield from _answers(document["taken"], truth)
    if measure.writes:
        yield from _written(document, truth)
    if tuple(document["root"]) != truth.root:
        yield Finding.WRONG_DATA, f"the root shows {_named(document['root'])} instead of {_named(truth.root)}"
    for error in document["errors"]:
        if error["operation"] not in {"modprobe", "insmod"}:
            yield None, f"{error['operation']}: {error['text']}"


def _said(document: Mapping[str, Any]) -> str:
    """What the driver had to say about it in the kernel's log, besides what the probe itself causes there."""
    line = next((line for line in reversed(document["kernel_log"]) if "drop_caches" not in line), "")
    return f"; the kernel's log: {line}" if line else ""


def _end(document: Mapping[str, Any]) -> Iterator[tuple[Finding, str]]:
    log = document["kernel_log"]
    last = " ".join(str(word) for word in document.get("last_step", ())) or "nothing that it told of"
    if crash := crash_in(log):
        yield Finding.CRASH, crash
    if document["ended"] == _DIED:
        yield Finding.CRASH, f"it ended during: {last}"
    if document["ended"] == _HUNG:
        yield Finding.HANG, hang_in(log) or f"no answer during: {last}"


def _answers(found: Mapping[str, Any], truth: Truth) -> Iterator[tuple[Finding, str]]:
    """What was read or done, against what there is to read or do."""
    if truth.amount is not None and found["amount"] != truth.amount:
        yield Finding.WRONG_DATA, f"{found['amount']} done, {truth.amount} asked for"
    if truth.walked is not None:
        number, digest = truth.walked
        seen = found["seen"]
        if (seen["names"], seen["digest"]) != truth.walked:
            yield Finding.WRONG_DATA, f"{seen['names']} names seen, {number} are there" + _alike(seen, number, digest)
    if truth.read is not None:
        for words in _differences(truth.read, found["seen"]["files"]):
            yield Finding.WRONG_DATA, words


def _alike(seen: Mapping[str, Any], number: int, digest: str) -> str:
    return "; they differ in name, kind or size" if seen["names"] == number and seen["digest"] != digest else ""


def _written(document: Mapping[str, Any], truth: Truth) -> Iterator[tuple[Finding, str]]:
    again = document["remount"]
    if not again["ok"]:
        yield Finding.DAMAGED, f"it cannot be mounted again: {again.get('text') or again.get('cause', 'no word')}"
        return
    assert truth.written is not None  # noqa: S101 - a measure that writes has it
    for words in _differences(truth.written, document["written"]["files"]):
        yield Finding.WRONG_DATA, f"read back after another mount: {words}"


def _differences(wanted: Mapping[str, Content], found: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            yield f"{shown(name)} is not there"
        elif name not in wanted:
            yield f"{shown(name)} is there, and nobody made it"
        elif difference := _difference(wanted[name], *found[name]):
            yield f"{shown(name)}: {difference}"


def _difference(wanted: Content, size: int | None, blocks: Any) -> str:  # noqa: ANN401 - checksums, or the words of an error
    if size is None:
        return str(blocks)
    if size != wanted[0]:
        return f"{size} bytes, and not {wanted[0]}"
    step = block_size(size)
    first = next((at for at, (a, b) in enumerate(zip(wanted[1], blocks, strict=False)) if a != b), None)
    if first is not None:
        return f"other bytes from byte {first * step} on"
    return "" if len(wanted[1]) == len(blocks) else f"ends at byte {len(blocks) * step}"


def _named(names: Any) -> str:  # noqa: ANN401 - off the probe's document
    return ", ".join(shown(name) for name in names) or "nothing"


def _facts(document: Mapping[str, Any]) -> dict[str, str]:
    module, mount = document.get("module", {}), document.get("mount", {})
    version = document.get("program", {}).get("version") or document["kernel"]
    if "built" in module:
        version = f"{module['built']['srcversion']} ({module['built']['source']})"
    facts = {"driver_version": version, "type": mount.get("type", ""), "options": document.get("options_asked", "")}
    return {name: value for name, value in facts.items() if value}
