"""``matrix.json``: the matrix for machines, and back."""

from __future__ import annotations

import json
from pathlib import Path

from lab.errors import UsageError
from lab.matrix.model import Matrix

__all__ = ["parse", "read", "render"]


def render(matrix: Matrix) -> str:
    """The document, indented, with a last newline."""
    return json.dumps(matrix.to_json(), ensure_ascii=False, indent=1) + "\n"


def parse(text: str) -> Matrix:
    """The matrix of a document; ``parse(render(matrix)) == matrix``, up to a millisecond.

    Raises:
        ValueError: it is not a ``lab.matrix/1`` document.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError(f"not a matrix: a JSON {type(document).__name__}, not an object")  # noqa: TRY004 - a bad value of a file
    return Matrix.from_json(document)


def read(path: Path) -> Matrix:
    """The matrix in a file, such as a committed baseline.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as missing:
        raise UsageError(f"{path}: cannot be read: {missing.strerror}") from missing
    except ValueError as broken:
        raise UsageError(f"{path}: {broken}") from broken
