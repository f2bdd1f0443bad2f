"""``perf.md``: figures of drivers where Markdown is read, with measures down and drivers across."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lab.ntfs.perf import Figure, KernelResult, Measure, PerfResult
from lab.report.perf_text import few, head, number, perf_sentence, place
from lab.report.sign import SIGNS, plain
from lab.verdict import Outcome

__all__ = ["render"]


def render(result: PerfResult) -> str:
    """The whole page."""
    title, command, *facts = head(result)
    parts = [f"# NTFS drivers, timed: {_escaped(title.removeprefix('run '))}"]
    parts.append("\n".join((f"- `{plain(command)}`", *(f"- {_escaped(fact)}" for fact in facts))))
    parts.append(f"**{_escaped(result.stamp.caveat)}**")
    parts.append(_legend(result))
    parts += ["\n".join(_kernel(kernel, result)) for kernel in result.kernels]
    parts.append(f"**{_escaped(perf_sentence(result))}**")
    return "\n\n".join(parts) + "\n"


def _legend(result: PerfResult) -> str:
    words = "Each square: rank, median (least to most), and how many times as good the best median is."
    ties = " A rank with = is shared: ranges overlap, so there is no clear order." if result.ranked else ""
    return " ".join((f"{words}{ties}", *few(result)))


def _kernel(kernel: KernelResult, result: PerfResult) -> Iterator[str]:
    guests = "one guest" if kernel.guests == 1 else f"{kernel.guests} guests"
    facts = ", ".join(part for part in (kernel.package, kernel.fio, guests) if part)
    yield f"## {_escaped(kernel.release)}: kernel {_escaped(kernel.version or 'unknown')} ({_escaped(facts)})"
    yield ""
    for entrant in kernel.entrants:
        options = ", ".join(f"`{each}`" for each in entrant.options)
        version = _escaped(entrant.version or "not tried")
        yield f"- **{_escaped(entrant.name)}**: {version}" + (f"; {entrant.type}, {options}" if entrant.type else "")
    yield ""
    yield "| " + " | ".join(("measure", *(_escaped(entrant.name) for entrant in kernel.entrants))) + " |"
    yield "|---" * (len(kernel.entrants) + 1) + "|"
    for measure in result.measures:
        squares = (_square(kernel, measure, figure) for figure in kernel.of(measure))
        yield "| " + " | ".join((f"**{measure.name}**, {measure.unit} ({measure.better} is better)", *squares)) + " |"
    notes = [figure for figure in kernel.figures if not figure.counts]
    if notes:
        yield ""
        yield from (_note(figure) for figure in notes)


def _square(kernel: KernelResult, measure: Measure, figure: Figure) -> str:
    standing = kernel.standings(measure).get(figure.driver)
    if standing is None:
        return f"{SIGNS[figure.outcome].glyph} {figure.outcome.value}"
    rank = "" if standing.rank is None else f"**{place(standing)}** "
    return f"{rank}{number(figure.median)} ({number(figure.low)} to {number(figure.high)}), \u00d7{standing.ratio:.2f}"


def _note(figure: Figure) -> str:
    sign = SIGNS[figure.outcome]
    grave = "**" if figure.outcome in {Outcome.FAIL, Outcome.ERROR} else ""
    head = f"{sign.glyph} {grave}{figure.outcome.value}{grave}"
    return f"- {head} {_escaped(figure.driver)}, {figure.measure}: {_escaped(figure.reason)}"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line. HTML in it stays text too."""
    safe = plain(text.replace("\n", " ")).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", safe)
