"""Draw the README's pictures from the record of a real run.

    python docs/pictures/make.py reports/latest

writes ``matrix-terminal.svg`` and ``matrix-html.png`` beside this file. The second needs Chromium (Debian's package
``chromium``); without it only the first is drawn, and the script says so and ends with 1.
"""

# ruff: noqa: INP001 - a script to run, not a package to import
from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import LabError
from lab.process import run
from lab.report import html, terminal
from lab.run_record import read_matrix

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1280, 1000


def main(argv: list[str]) -> int:
    """Draw both; the answer is the exit code."""
    if len(argv) != 2:
        sys.stderr.write(f"usage: {argv[0]} RECORD\n")
        return 2
    try:
        matrix = read_matrix(Path(argv[1]).resolve())
        (HERE / "matrix-terminal.svg").write_text(terminal.svg(matrix, width=110), encoding="utf-8")
        return _photograph(html.render(matrix), HERE / "matrix-html.png")
    except LabError as trouble:
        sys.stderr.write(f"{trouble}\n")
        return trouble.exit_code


def _photograph(page: str, picture: Path) -> int:
    program = shutil.which("chromium")
    if program is None:
        sys.stderr.write("no chromium here, so matrix-html.png is not drawn\n")
        return 1
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder, "matrix.html")
        file.write_bytes(page.encode("utf-8", "backslashreplace"))
        run(
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--force-device-scale-factor=1.5",
            f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={picture.resolve()}",
            file.as_uri(),
            deadline=Deadline(60),
        ).check()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
