"""``matrix.html``: one file, offline, no request at all.

The cells are embedded once, as compact JSON in which every text occurs once, and drawn by a little plain JS; without
JS the tables and the list of findings are there as plain HTML. The content security policy of the page allows
exactly its own style and script, by hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lab.matrix.model import Matrix
from lab.matrix.pivot import tables
from lab.matrix.tally import sentence
from lab.report import packed
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

__all__ = ["render"]

_LISTED = 200  # findings in the plain list; the JS view and matrix.md have them all


def render(matrix: Matrix) -> str:
    """The page."""
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
    cells, left_out = packed.embedded(matrix, pivoted)
    return environment.get_template("matrix.html").render(
        run=matrix.run,
        took=duration(matrix.run.seconds),
        stamp=stamp(matrix.run.accelerator),
        sentence=sentence(matrix),
        tables=pivoted,
        findings=findings[:_LISTED],
        skips=skips(matrix),
        unlisted=len(findings[_LISTED:]),
        left_out=left_out,
        style=style,
        script=script,
        hash=_hash,
        embedded=Markup(cells),  # noqa: S704 - JSON with <, > and & spelled as \u00XX, see packed.py
        signs=SIGNS,
        flaky=FLAKY,
        **{call.__name__: call for call in (words, header, href, plain, broken, summary)},
    )


def _asset(environment: Environment, name: str) -> Markup:
    assert environment.loader is not None  # noqa: S101 - given above; jinja2 types it as optional
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704 - a file of this package


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
