"""One matrix, many renderers: terminal, Markdown, JSON, HTML, and the live progress of a run."""

from __future__ import annotations
