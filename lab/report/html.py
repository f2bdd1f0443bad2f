"""``matrix.html``: one file, offline, no request at all.

The cells are embedded once, as compact JSON in which every text occurs once, and drawn by a little plain JS; without
JS the tables and the list of findings are there as plain HTML. The content security policy of the page allows
exactly its own style and script, by hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lab.checks.downtime import Downtime
from lab.matrix.model import Matrix, MatrixCell
from lab.matrix.pivot import tables
from lab.matrix.tally import borrowed, sentence
from lab.report import packed
from lab.report.downtime import FILE, NOTHING, Measured, spoken
from lab.report.sign import (
    FLAKY,
    SIGNS,
    broken,
    duration,
    header,
    href,
    noteworthy,
    plain,
    skips,
    stamp,
    summary,
    words,
)
from lab.report.strip import strip

__all__ = ["render"]

_LISTED = 200  # findings in the plain list; the JS view and matrix.md have them all

_FIGURES = 400_000
"""Bytes for all figures of downtimes together: of a hundred cells with thirty iterations each."""


def render(matrix: Matrix, measured: Mapping[str, Measured] = NOTHING) -> str:
    """The page. ``measured`` is what cells say of their downtime, by their ids."""
    environment = Environment(
        loader=PackageLoader("lab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (_asset(environment, name) for name in ("matrix.css", "matrix.js"))
    pivoted = tables(matrix)
    findings = noteworthy(matrix)
    figures = _figures(environment, matrix, measured)
    cells, left_out = packed.embedded(matrix, pivoted, figures)
    return environment.get_template("matrix.html").render(
        run=matrix.run,
        took=duration(matrix.run.seconds),
        stamp=stamp(matrix.run.accelerator),
        sentence=sentence(matrix),
        borrowed=plain(borrowed(matrix)),
        tables=pivoted,
        findings=findings[:_LISTED],
        skips=skips(matrix),
        unlisted=len(findings[_LISTED:]),
        left_out=left_out,
        figures=[(cell, figures[cell.id]) for cell in matrix.cells if cell.id in figures],
        unplotted=len(measured) - len(figures),
        downtime_file=FILE,
        style=style,
        script=script,
        hash=_hash,
        embedded=Markup(cells),  # noqa: S704 - JSON with <, > and & spelled as \u00XX, see packed.py
        signs=SIGNS,
        flaky=FLAKY,
        **{call.__name__: call for call in (words, header, href, plain, broken, summary)},
    )


def _figures(environment: Environment, matrix: Matrix, measured: Mapping[str, Measured]) -> dict[str, Markup]:
    """What to show of each cell's downtime, by the cells' ids in the matrix' order; without those that do not fit."""
    template = environment.get_template("downtime.html")
    figures: dict[str, Markup] = {}
    room = _FIGURES
    for cell in matrix.cells:
        if cell.id not in measured:
            continue
        one = measured[cell.id]
        found = one if isinstance(one, Downtime) else None
        figure = template.render(
            found=found,
            why="" if found else spoken(one),
            plot=_plot(cell, found) if found else "",
            stamp=stamp(found.accelerator) if found else "",
            plain=plain,
        )
        room -= len(figure.encode("utf-8", "backslashreplace"))
        if room < 0:
            break
        figures[cell.id] = Markup(figure)  # noqa: S704 - what a template of this package has escaped
    return figures


def _plot(cell: MatrixCell, found: Downtime) -> Markup:
    guest = [one.guest for one in found.iterations]
    network = [one.network for one in found.iterations]
    plot = strip(f"downtime of {cell.name}", [("guest", guest), ("network", network)])
    return Markup(plot)  # noqa: S704 - strip escapes every text


def _asset(environment: Environment, name: str) -> Markup:
    assert environment.loader is not None  # noqa: S101 - given above; jinja2 types it as optional
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704 - a file of this package


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
