"""Figures of drivers as text: a block a measure, the best first, and what there is to know before believing any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab.ntfs.perf import Figure, KernelResult, Measure, PerfResult, Standing
from lab.report.sign import SIGNS, duration, plain, printable

__all__ = ["few", "head", "number", "perf_sentence", "place", "render", "spoken"]

_TIE = "="
_TOO_FEW = "Fewer than 3 rounds: ratios, and no ranks."
_SOME_TOO_FEW = "Where there is a ratio and no rank, a driver has fewer than 3 samples."


def render(result: PerfResult, *, encoding: str = "utf-8") -> str:
    """All of it."""
    lines = [*head(result)]
    for kernel in result.kernels:
        lines += _kernel(kernel, result)
    lines += ["", result.stamp.caveat, *few(result), perf_sentence(result)]
    for sign in SIGNS.values():
        if printable(sign.glyph, encoding) != sign.glyph:
            lines = [line.replace(sign.glyph, sign.ascii) for line in lines]
    return "".join(f"{printable(plain(line), encoding)}\n" for line in lines)


def head(result: PerfResult) -> Iterator[str]:
    """What was run, and on what."""
    stamp, sizes = result.stamp, result.stamp.sizes
    yield f"run {stamp.run}  {stamp.started}, took {duration(stamp.seconds)}"
    yield stamp.command
    below = f"Xen {stamp.host}" if stamp.host else "no Xen"
    ran = stamp.accelerator or "no guest ran"
    rounds = "1 round" if stamp.rounds == 1 else f"{stamp.rounds} rounds"
    yield f"{ran}, stage {stamp.stage} ({below}), {rounds}, {stamp.revision}"
    before, after = stamp.load
    yield f"this machine: {stamp.cpus} CPUs, load {before:.1f} before and {after:.1f} at the end (1 of it is the guest)"
    yield (
        f"large file {sizes.large >> 20} MiB, {sizes.small} small files of {sizes.each} bytes, "
        f"{sizes.names} names in the metadata loop"
    )


def few(result: PerfResult) -> tuple[str, ...]:
    """Why there are no ranks, or not everywhere: a run may have been broken off."""
    if not result.ranked:
        return (_TOO_FEW,)
    every = (kernel.standings(measure).values() for kernel in result.kernels for measure in result.measures)
    return (_SOME_TOO_FEW,) if any(one.rank is None for standings in every for one in standings) else ()


def perf_sentence(result: PerfResult) -> str:
    """How many figures there are, and what became of the others."""
    figures = result.figures
    counts = [figure for figure in figures if figure.counts]
    parts = [f"{len(counts)} of {len(figures)} figures"]
    others = [figure.outcome for figure in figures if not figure.counts]
    parts += [f"{others.count(outcome)} {outcome.value}" for outcome in dict.fromkeys(others)]
    return ", ".join(parts)


def spoken(figure: Figure, measure: Measure) -> str:
    """A figure with its unit and range; empty where there is none."""
    if not figure.counts:
        return ""
    return f"{number(figure.median)} {measure.unit} ({number(figure.low)} to {number(figure.high)})"


def number(value: float) -> str:
    """Three digits; more than that nobody can tell.

    >>> number(1234.5), number(12.345), number(0.012345)
    ('1230', '12.3', '0.0123')
    """
    if not value:
        return "0"
    text = f"{value:.3g}"
    return f"{float(text):.0f}" if "e+" in text else text


def place(standing: Standing) -> str:
    """A rank, with a mark if it is shared; a dash where there is none."""
    if standing.rank is None:
        return "-"
    return f"{standing.rank}{_TIE if standing.tied else ''}"


def _kernel(kernel: KernelResult, result: PerfResult) -> Iterator[str]:
    guests = "one guest" if kernel.guests == 1 else f"{kernel.guests} guests"
    facts = ", ".join(part for part in (kernel.package, kernel.fio, guests) if part)
    yield ""
    yield f"== {kernel.release}: kernel {kernel.version or 'unknown'} ({facts})"
    for entrant in kernel.entrants:
        yield f"   {entrant.name}: {entrant.version or 'not tried'}" + (f", as {entrant.type}" if entrant.type else "")
    tied = False
    for measure in result.measures:
        standings = kernel.standings(measure)
        tied = tied or any(standing.tied for standing in standings.values())
        yield ""
        yield f"{measure.name}: {measure.does}; {measure.unit}, {measure.better} is better"
        yield from _table([_row(figure, standings) for figure in _ordered(kernel, measure)])
    if tied:
        yield ""
        yield f"{_TIE} no clear order: the ranges of these drivers overlap"


def _ordered(kernel: KernelResult, measure: Measure) -> list[Figure]:
    """The best first, by median; who has no figure last."""
    standings = kernel.standings(measure)

    def key(figure: Figure) -> tuple[bool, float]:
        standing = standings.get(figure.driver)
        return (standing is None, standing.ratio if standing else 0.0)

    return sorted(kernel.of(measure), key=key)


def _row(figure: Figure, standings: Mapping[str, Standing]) -> tuple[str, ...]:
    standing = standings.get(figure.driver)
    if standing is None:
        sign = SIGNS[figure.outcome]
        return "-", figure.driver, f"{sign.glyph} {figure.outcome.value}: {figure.reason}"
    spread = f"{number(figure.low)} to {number(figure.high)}"
    return place(standing), figure.driver, number(figure.median), spread, f"x{standing.ratio:.2f}"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns as wide as they must be; what has no figure has a sentence instead."""
    full = [row for row in rows if len(row) == 5]
    width = max((len(row[1]) for row in rows), default=0)
    widths = [max((len(row[at]) for row in full), default=0) for at in range(2, 5)]
    for row in rows:
        start = f"  {row[0]:<3} {row[1]:<{width}}"
        if len(row) < 5:
            yield f"{start}  {row[2]}"
            continue
        yield f"{start}  {row[2]:>{widths[0]}}  {row[3]:>{widths[1]}}  {row[4]:>{widths[2]}}"
