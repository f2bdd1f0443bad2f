from __future__ import annotations

import io
from dataclasses import replace

import pytest

from lab.matrix.model import MatrixCell
from lab.report.progress import Progress
from lab.verdict import Outcome


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _cells(count: int, kind: str = "ntfs") -> list[MatrixCell]:
    return [MatrixCell(f"x::cell{n}", "s", kind, {}, Outcome.PASS, seconds=4.0 if n else 4.13) for n in range(count)]


def test_a_log_has_one_plain_line_a_verdict() -> None:
    file, cells = io.StringIO(), _cells(12)
    with Progress(file=file) as progress:
        progress.planned(cells)
        progress.started(cells[0].id)
        progress.step("mount")
        progress.verdict(cells[0])
        progress.verdict(replace(cells[1], attempts=2))
        progress.verdict(replace(cells[2], outcome=Outcome.FAIL, finding="wrong-data", expected=False))
    assert file.getvalue() == (
        "[ 1/12] pass  cell0  4.1 s  (eta 45.4 s)\n"
        "[ 2/12] pass flaky  cell1  4.0 s  (eta 40.6 s)\n"
        "[ 3/12] fail wrong-data  cell2  4.0 s  (eta 36.1 s)\n"
    )


def test_the_last_line_has_no_eta() -> None:
    file, (cell,) = io.StringIO(), _cells(1)
    with Progress(file=file) as progress:
        progress.planned([cell])
        progress.verdict(cell)
    assert file.getvalue() == "[1/1] pass  cell0  4.1 s\n"


def test_a_long_line_is_not_broken() -> None:
    file, name = io.StringIO(), "long" * 100
    with Progress(file=file) as progress:
        progress.verdict(MatrixCell(f"x::{name}\x1b[2J", "s", "ntfs", {}, Outcome.PASS))
    assert file.getvalue() == f"[1/1] pass  {name}\\x1b[2J  0.0 s\n"


def test_the_eta_is_what_like_cells_took_else_history_else_unknown() -> None:
    clock, cells, moves = (
        Clock(),
        _cells(3),
        [replace(cell, id=f"y::{cell.id}", kind="migration") for cell in _cells(2)],
    )
    progress = Progress(file=io.StringIO(), history={moves[0].id: 60.0, moves[1].id: 40.0}, clock=clock)
    progress.planned([*cells, *moves])
    assert progress.eta() is None
    progress.verdict(cells[0])
    assert progress.eta() == 2 * 4.13 + 100.0
    progress.started(moves[0].id)
    clock.now += 50
    assert progress.eta() == 2 * 4.13 + 10.0 + 40.0
    clock.now += 50
    assert progress.eta() == 2 * 4.13 + 40.0


def test_one_long_cell_among_few_says_little_and_many_among_many_much() -> None:
    """The first waits for its guest; but of hundreds of volumes some are large, and so are some of those to come."""
    progress, cells = Progress(file=io.StringIO()), [replace(cell, seconds=2.0) for cell in _cells(400)]
    progress.planned(cells)
    progress.verdict(replace(cells[0], seconds=62.0))
    progress.verdict(cells[1])
    progress.verdict(cells[2])
    few = progress.eta()
    assert few is not None
    assert 397 * 2 < few < 397 * 5
    for number, cell in enumerate(cells[3:300]):
        progress.verdict(replace(cell, seconds=62.0) if number % 10 == 0 else cell)
    many = progress.eta()
    assert many is not None
    assert 100 * 7.0 < many < 100 * 8.5


def test_cells_that_write_foretell_nothing_of_those_that_read() -> None:
    read, write = (
        [replace(cell, id=f"{cell.id}-{what}", axes={"operation": what}) for cell in _cells(3)]
        for what in ("read", "everything")
    )
    progress = Progress(file=io.StringIO())
    progress.planned([*read, *write])
    progress.verdict(read[0])
    assert progress.eta() is None
    progress.verdict(replace(write[0], seconds=40.0))
    assert progress.eta() == pytest.approx(2 * 4.13 + 80.0)


def test_a_large_volume_is_foretold_to_take_longer_and_how_long_the_small_ones_show() -> None:
    """One of forty thousand names after ten of a few each: the median of these says nothing of it."""
    progress, cells = Progress(file=io.StringIO()), _cells(4)
    progress.planned(cells)
    progress.foretold({cells[0].id: 2.0, cells[1].id: 2.0, cells[2].id: 2.0, cells[3].id: 1600.0})
    assert progress.eta() == 1606.0
    progress.verdict(replace(cells[0], seconds=4.0))
    assert progress.eta() == 2 * 4.0 + 3200.0


def test_what_comes_before_the_first_cell_is_counted_too() -> None:
    clock, file = Clock(), io.StringIO()
    progress = Progress(file=file, clock=clock)
    for number in range(1, 117):
        progress.counting("asking the readers", number, 116, f"disk{number}\x1b.img")
        clock.now += 3
    assert file.getvalue().splitlines()[:2] == [
        "asking the readers 11 of 116: disk11\\x1b.img  (eta 5 m 18 s)",
        "asking the readers 21 of 116: disk21\\x1b.img  (eta 4 m 48 s)",
    ]
    assert len(file.getvalue().splitlines()) == 11


def test_of_one_image_a_log_says_nothing_beforehand() -> None:
    file = io.StringIO()
    Progress(file=file).counting("asking the readers", 1, 1, "disk.img")
    assert file.getvalue() == ""


def test_in_a_terminal_the_count_stands_there_until_the_first_cell() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file, (cell,) = Terminal(), _cells(1)
    with Progress(file=file, live=True) as progress:
        progress.planned([cell])
        progress.counting("asking the readers", 17, 116, "disk.img")
        progress.step("ask the readers")
        before = "".join(segment.text for segment in progress._console.render(progress._render()))
        progress.started(cell.id)
        after = "".join(segment.text for segment in progress._console.render(progress._render()))
    assert "asking the readers 17 of 116: disk.img" in before
    assert "ask the readers" not in before.replace("asking", "")
    assert "17 of 116" not in after


def test_workers_share_what_is_left() -> None:
    progress, cells = Progress(file=io.StringIO(), workers=2), _cells(5)
    progress.planned(cells)
    progress.verdict(cells[1])
    assert progress.eta() == 8.0


def test_a_retry_takes_the_verdict_back() -> None:
    file, (first, second) = io.StringIO(), _cells(2)
    progress = Progress(file=file)
    progress.planned([first, second])
    progress.verdict(replace(first, outcome=Outcome.ERROR))
    progress.started(first.id)
    progress.verdict(replace(first, attempts=2))
    assert [line.split("  (")[0] for line in file.getvalue().splitlines()] == [
        "[1/2] error  cell0  4.1 s",
        "[1/2] pass flaky  cell0  4.1 s",
    ]


def test_a_terminal_keeps_two_lines_alive_and_lets_only_the_rest_scroll_by() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file, cells = Terminal(), _cells(3)
    with Progress(file=file, live=True) as progress:
        progress.planned(cells)
        progress.verdict(cells[0])
        progress.verdict(replace(cells[1], outcome=Outcome.UNSUPPORTED, finding="refused"))
        progress.started(cells[2].id)
        progress.step("resume xen-4.20")
    shown = file.getvalue()
    assert "[2/3]" in shown
    assert "[1/3]" not in shown
    assert "unsupported refused" in shown
    assert "2/3" in shown
    assert "cell2" in shown
    assert "resume xen-4.20" in shown
    assert "✔ 1" in shown.replace("\x1b[32m", "").replace("\x1b[0m", "")


def test_what_is_carried_is_told_apart_from_what_is_run() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file, (cell,) = io.StringIO(), _cells(1)
    progress = Progress(file=file)
    progress.planned([cell])
    progress.carried(56, "first", ["2 cells run again\x1b[2J"])
    progress.verdict(cell)
    assert file.getvalue() == "carried 56 from run first\n2 cells run again\\x1b[2J\n[1/1] pass  cell0  4.1 s\n"
    terminal = Terminal()
    with Progress(file=terminal, live=True) as progress:
        progress.planned(_cells(3))
        progress.carried(56, "first")
    last = terminal.getvalue().rpartition("0/3")[2]
    assert "carried 56" in last
