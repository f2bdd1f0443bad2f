"""A strip plot: every value a dot on one line, as SVG that asks nobody for anything. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from xml.sax.saxutils import escape, quoteattr

from lab.report.sign import plain

__all__ = ["strip"]

_WIDTH, _LEFT, _ROW, _AXIS = 360, 84, 26, 22
_TICKS = 4


def strip(title: str, rows: Sequence[tuple[str, Sequence[float]]], *, unit: str = "s") -> str:
    """An ``<svg>``, a line a row: a dot for each value, a bar at the median. The title and a description in words are
    there for who cannot see it. Values that are no finite number are left out.
    """
    shown = [(plain(name), sorted(value for value in values if math.isfinite(value))) for name, values in rows]
    most = _round_up(max((values[-1] for _, values in shown if values), default=1.0))
    height = _ROW * len(shown) + _AXIS
    head = (
        f'<svg class="strip" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" fill="currentColor" role="img" aria-label={quoteattr(plain(title))}>'
    )
    parts = [
        head,
        f"<title>{escape(plain(title))}</title>",
        f"<desc>{escape('; '.join(_words(name, values, unit) for name, values in shown))}</desc>",
    ]
    for number, (name, values) in enumerate(shown):
        middle = _ROW * number + _ROW // 2
        parts.append(f'<text x="0" y="{middle + 4}" font-size="11">{escape(name)}</text>')
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{middle}" y2="{middle}" stroke="currentColor" '
            'stroke-opacity="0.2"/>'
        )
        dots = [f'<circle cx="{_x(value, most):.1f}" cy="{middle}" r="3.5"/>' for value in values]
        parts += ['<g fill-opacity="0.45">', *dots, "</g>"]
        if values:
            at = f"{_x(median(values), most):.1f}"
            parts.append(
                f'<line x1="{at}" x2="{at}" y1="{middle - 9}" y2="{middle + 9}" stroke="currentColor" '
                'stroke-width="2"/>'
            )
    parts += [
        f'<text x="{_x(value, most):.1f}" y="{height - 6}" font-size="10" text-anchor="middle">'
        f"{value:g} {escape(unit)}</text>"
        for value in (most * tick / _TICKS for tick in range(_TICKS + 1))
    ]
    return "".join((*parts, "</svg>"))


def _x(value: float, most: float) -> float:
    return _LEFT + (_WIDTH - 24 - _LEFT) * max(0.0, value) / most


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 8 times a power of ten: a quarter of each is a number that people can read."""
    if value < 1e-6:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if value <= step * power * (1 + 1e-9))


def _words(name: str, values: Sequence[float], unit: str) -> str:
    if not values:
        return f"{name}: nothing"
    count = f"{len(values)} value{'s' if len(values) > 1 else ''}"
    return f"{name}: {count}, {values[0]:.2f} to {values[-1]:.2f} {unit}, median {median(values):.2f} {unit}"
