"""``lab ntfs compare``: what it makes of images, how it ends, and what it keeps. No machine, no reader, real images."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import cli
from lab.errors import HostError
from lab.matrix.model import Matrix
from lab.ntfs import foreign
from lab.ntfs.manifest import Entry, Kind, Manifest
from lab.ntfs.readers import Disagreement, NoTruthError, Readings, Truth
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State
from lab.report.document import read
from lab.run_record import read_matrix
from lab.settings import Settings
from lab.testing.stage import Act, FakeStage
from lab.verdict import Check, Finding, Outcome, Verdict

CORRECT = Act(
    Verdict(Outcome.PASS, "", (Check.equal("names", 1, 1),), Finding.CORRECT), facts={"driver_version": "6.12"}
)
WRONG = Act(
    Verdict(
        Outcome.FAIL,
        "wrong-data: 'a': bytes (seen twice, the second time on a fresh guest)",
        (Check("bytes", Outcome.FAIL, "x", "y"), Check("times", Outcome.PASS)),
        Finding.WRONG_DATA,
    )
)
POORER = Act(
    Verdict(
        Outcome.UNSUPPORTED,
        "degraded: streams: the driver does not show them",
        (Check("streams", Outcome.UNSUPPORTED, "shown", "the driver does not show them"),),
        Finding.DEGRADED,
    )
)
REFUSED = Act(Verdict(Outcome.UNSUPPORTED, "refused (ro, clean volume): Invalid argument", (), Finding.REFUSED))

SECTORS = 100


def volume(path: Path, *, lie: int = 0) -> Path:
    """A volume as far as it takes to be taken for one: a boot sector. ``lie`` is how many sectors it says it has."""
    boot = bytearray(512)
    boot[3:11] = b"NTFS    "
    struct.pack_into("<HB", boot, 0x0B, 512, 1)
    struct.pack_into("<QQQ", boot, 0x28, lie or SECTORS, 4, 8)
    boot[0x40], boot[0x44] = 0xF6, 0xF6
    path.write_bytes(bytes(boot) + bytes(path.name, "utf-8").ljust(SECTORS * 512, b"."))
    return path


@dataclass
class Desk:
    """A folder to work in; ``lab`` calls the command there, and the stage does what ``script`` says."""

    folder: Path
    script: Mapping[str, Act | Sequence[Act]] = field(default_factory=dict)
    truth: Callable[[], Truth] = lambda: Truth(Manifest((Entry("a", Kind.FILE, size=1, sha256="0"),)), (), Readings())
    specimens: list[Specimen] = field(default_factory=list)
    stage: FakeStage = field(default_factory=FakeStage)

    def lab(self, *words: object) -> int:
        """The exit code of ``lab ntfs compare``."""
        return cli.main(["ntfs", "compare", *map(str, words), "--reports", str(self.folder / "reports")])

    def open_stage(self, _settings: Settings, *, specimens: Sequence[Specimen]) -> AbstractContextManager[FakeStage]:
        self.specimens = list(specimens)
        self.stage = FakeStage(self.script)
        return self.stage.open()

    @property
    def run(self) -> Path:
        return (self.folder / "reports" / "latest").resolve()

    @property
    def matrix(self) -> Matrix:
        return read_matrix(self.run)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    from lab.commands import ntfs

    made = Desk(tmp_path, {"*": CORRECT})
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ntfs, "open_stage", made.open_stage)
    monkeypatch.setattr(foreign, "truth_of", lambda *_words, **_more: made.truth())
    return made


Captured = pytest.CaptureFixture[str]


def test_every_driver_reads_every_volume_and_a_sentence_says_what_came_of_it(desk: Desk, capsys: Captured) -> None:
    desk.script = {"ntfs3-*": POORER, "ntfs-3g-*": REFUSED, "*": CORRECT}
    image = volume(desk.folder / "disk.img")
    before = (hashlib.sha256(image.read_bytes()).hexdigest(), image.stat().st_mtime_ns)
    assert desk.lab(image) == 0
    said = capsys.readouterr()
    cells = desk.matrix.cells
    assert [(cell.axes["driver"], cell.axes["kernel"]) for cell in cells] == [
        ("ntfs", "forky"),
        ("ntfs3", "trixie"),
        ("lowntfs-3g", "trixie"),
        ("ntfs-3g", "trixie"),
    ]
    assert all(set(cell.axes) >= {"kernel", "driver", "volume", "operation"} for cell in cells)
    assert (cells[0].kind, cells[0].axes["volume"], cells[0].axes["driver_version"]) == ("ntfs", "disk.img", "6.12")
    sentence = (
        "disk.img (damaged): ntfs (forky) reads it right; "
        "ntfs3 (trixie) shows less than there is (streams: the driver does not show them); "
        "lowntfs-3g (trixie) reads it right; ntfs-3g (trixie) refuses it (Invalid argument). "
        "Safe to read with: ntfs (forky), lowntfs-3g (trixie), ntfs3 (trixie) (right, but not all of it)."
    )
    assert said.out.splitlines()[-4:] == [sentence, "", f"record: {desk.run}", f"report: {desk.run}/matrix.html"]
    assert "4 cells: 2 pass, 2 unsupported" in said.out
    assert [line.partition("  (")[0].rpartition("  ")[0] for line in said.err.splitlines()] == [
        "[1/4] pass  ntfs-forky-disk.img-read",
        "[2/4] unsupported degraded  ntfs3-trixie-disk.img-read",
        "[3/4] pass  lowntfs-3g-trixie-disk.img-read",
        "[4/4] unsupported refused  ntfs-3g-trixie-disk.img-read",
    ]
    assert (hashlib.sha256(image.read_bytes()).hexdigest(), image.stat().st_mtime_ns) == before


def test_the_record_is_that_of_a_run(desk: Desk) -> None:
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3") == 0
    assert {path.name for path in desk.run.iterdir()} == {
        "run.jsonl",
        "matrix.json",
        "matrix.md",
        "matrix.html",
        "evidence",
    }
    assert read(desk.run / "matrix.json") == desk.matrix
    (cell,) = desk.matrix.cells
    assert (desk.matrix.run.accelerator, [host.name for host in desk.matrix.run.hosts]) == ("tcg", ["xen-4.20"])
    assert cell.id == "ntfs-compare::ntfs3-trixie-disk.img-read"
    assert all((desk.run / path).is_file() for path in cell.evidence)
    readers = json.loads((desk.run / cell.evidence[-1]).read_text())
    assert (readers["schema"], readers["volume"]) == ("lab.ntfs.testimony/1", "disk.img")
    events = [json.loads(line) for line in (desk.run / "run.jsonl").read_text().splitlines()]
    assert [event["volume"] for event in events if event["event"] in {"volume", "advice"}] == ["disk.img", "disk.img"]
    # What was copied to work with is gone, the stage is closed.
    assert list((desk.folder / "cache" / "run").iterdir()) == []
    assert desk.stage.log[-1] == "close"


def test_a_driver_that_misreads_ends_with_1(desk: Desk, capsys: Captured) -> None:
    desk.script = {"ntfs3-*": WRONG}
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3") == 1
    said = capsys.readouterr().out
    assert "ntfs3 (trixie) shows it wrongly (bytes). Safe to read with: none of them." in said
    assert "seen twice, the second time on a fresh guest" in said


def test_kernels_widen_it_to_the_product_and_drivers_narrow_it(desk: Desk) -> None:
    words = ("--drivers", "ntfs3,ntfs-3g", "--kernels", "trixie,forky", "--host", "4.17")
    assert desk.lab(volume(desk.folder / "disk.img"), *words) == 0
    ways = [(cell.axes["driver"], cell.axes["kernel"], cell.axes["host"]) for cell in desk.matrix.cells]
    assert ways == [(driver, kernel, "4.17") for driver in ("ntfs3", "ntfs-3g") for kernel in ("trixie", "forky")]
    assert [host.xen for host in desk.matrix.run.hosts] == ["4.17"]


def test_a_truncated_image_ends_with_3_and_takes_nothing_with_it(desk: Desk, capsys: Captured) -> None:
    short, whole = volume(desk.folder / "short.img", lie=SECTORS * 2), volume(desk.folder / "whole.img")
    assert desk.lab(short, whole, "--drivers", "ntfs3") == 3
    first, second = desk.matrix.cells
    there = (SECTORS + 1) * 512
    message = f"{short}: truncated: the volume has {SECTORS * 2 * 512} bytes by its boot sector, {there} are there"
    assert (first.outcome, first.reason) == (Outcome.ERROR, f"{message}; hint: copy it again, whole")
    assert (second.axes["volume"], second.outcome) == ("whole.img", Outcome.PASS)
    said = capsys.readouterr().err
    assert said.endswith(f"error: {message}\n  hint: copy it again, whole\n")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"x" * 5000, "no NTFS volume in 5000 bytes (raw), neither at its start nor in a partition"),
        (b"QFI\xfb" + b"\0" * 100, "qemu-img cannot convert it from qcow2: "),
    ],
)
def test_an_image_that_cannot_be_used_ends_with_3_and_its_cause(
    desk: Desk, capsys: Captured, content: bytes, message: str
) -> None:
    image = desk.folder / "disk.img"
    image.write_bytes(content)
    assert desk.lab(image, "--drivers", "ntfs3") == 3
    assert f"error: {image}: {message}" in capsys.readouterr().err
    assert [cell.outcome for cell in desk.matrix.cells] == [Outcome.ERROR]
    assert desk.specimens == []


def test_an_image_that_is_not_there_ends_with_2_and_the_others_are_tried(desk: Desk, capsys: Captured) -> None:
    missing, there = desk.folder / "nix.img", volume(desk.folder / "disk.img")
    hint = "  hint: name images of NTFS volumes or of whole disks\n"
    assert desk.lab(missing, desk.folder, there, "--drivers", "ntfs3") == 2
    assert capsys.readouterr().err.endswith(
        f"error: {missing}: no such file\n{hint}error: {desk.folder}: a folder, not an image\n{hint}"
    )
    assert [cell.outcome for cell in desk.matrix.cells] == [Outcome.PASS]


def test_without_any_image_there_is_no_record(desk: Desk, capsys: Captured) -> None:
    assert desk.lab("nix.img") == 2
    assert capsys.readouterr() == (
        "",
        "error: nix.img: no such file\n  hint: name images of NTFS volumes or of whole disks\n",
    )
    assert not (desk.folder / "reports").exists()


KERNELS = "bookworm, bullseye, experimental, forky, sid, trixie"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--drivers", "ntfs4"),
            "error: no driver 'ntfs4'; known: lowntfs-3g, ntfs, ntfs-3g, ntfs3\n  hint: did you mean 'ntfs'?\n",
        ),
        (
            ("--kernels", "trixi"),
            f"error: no kernel 'trixi'; known: {KERNELS}\n  hint: did you mean 'trixie'?\n",
        ),
        (
            ("--host", "4.2"),
            "error: no embedded Xen version '4.2'; known: 4.14, 4.17, 4.20\n  hint: did you mean '4.20'?\n",
        ),
    ],
)
def test_a_name_that_nothing_has_ends_with_2(
    desk: Desk, capsys: Captured, words: tuple[str, ...], message: str
) -> None:
    assert desk.lab(volume(desk.folder / "disk.img"), *words) == 2
    assert capsys.readouterr().err == message


def test_where_readers_part_is_shown_and_not_judged(desk: Desk, capsys: Captured) -> None:
    quarrels = tuple(Disagreement(path, "size", {"libfsntfs": "1", "ntfs-3g": "2"}) for path in ("a\x1b[31m", "b"))
    desk.truth = lambda: Truth(Manifest(()), quarrels, Readings())
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3") == 0
    said = capsys.readouterr().out
    assert "Not judged: 'a\\x1b[31m': readers disagree on size: libfsntfs: 1, ntfs-3g: 2, and 1 more." in said
    readers = json.loads((desk.run / desk.matrix.cells[0].evidence[-1]).read_text())
    assert len(readers["not_judged"]) == 2


@pytest.mark.parametrize(
    ("silent", "code", "said_of_it"),
    [
        (frozenset[str](), 0, ""),
        (frozenset({"ntfs-3g"}), 3, "error: it: read by 0 of 3 readers, 2 must agree: libfsntfs: no\n  hint: ask\n"),
    ],
)
def test_a_volume_that_nobody_can_read_is_shown_to_the_drivers(
    desk: Desk, capsys: Captured, silent: frozenset[str], code: int, said_of_it: str
) -> None:
    def unread() -> Truth:
        readings = Readings({}, {"libfsntfs": "no", "ntfs-3g": "no"}, silent)
        raise NoTruthError("it: read by 0 of 3 readers, 2 must agree: libfsntfs: no", readings, hint="ask")

    desk.truth = unread
    unknown = Verdict(Outcome.UNSUPPORTED, "no-truth: nobody knows what the volume holds; it shows 3 names")
    desk.script = {"ntfs3-*": Act(unknown), "ntfs-3g-*": Act(Verdict(Outcome.PASS, "refused", (), Finding.REFUSED))}
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3,ntfs-3g") == code
    said = capsys.readouterr()
    assert (
        "disk.img (damaged): ntfs3 (trixie) mounts it, and nobody can say whether what it shows is right; "
        "ntfs-3g (trixie) refuses it, and rightly so. Safe to read with: none of them. "
        "Not judged: its whole content: it: read by 0 of 3 readers, 2 must agree: libfsntfs: no."
    ) in said.out
    assert "".join(line for line in said.err.splitlines(keepends=True) if not line.startswith("[")) == said_of_it


def test_a_bad_boot_sector_keeps_no_driver_from_being_tried(desk: Desk, capsys: Captured) -> None:
    image = volume(desk.folder / "disk.img")
    with image.open("r+b") as file:
        file.seek(0x0D)
        file.write(b"\x03")
    fault = f"{image}+0xd: bytes per cluster is 1536, not a power of two from 512 to 2097152"

    def unread() -> Truth:
        raise NoTruthError("it: read by 0 of 3 readers, 2 must agree: a: no", Readings({}, {"a": "no", "b": "no"}))

    desk.truth = unread
    desk.script = {"*": Act(Verdict(Outcome.PASS, "refused (ro, damaged volume): no", (), Finding.REFUSED))}
    assert desk.lab(image, "--drivers", "ntfs3,ntfs-3g") == 0
    assert [(cell.outcome, cell.finding) for cell in desk.matrix.cells] == [(Outcome.PASS, "refused")] * 2
    assert f"Not judged: its whole content: {fault}; " in capsys.readouterr().out
    assert [(one.state, one.sector) for one in desk.specimens] == [(State.DAMAGED, 512)]


def test_trouble_of_the_lab_ends_with_3_and_is_tried_twice(desk: Desk, capsys: Captured) -> None:
    gone = Act(prepare=HostError("xen-4.20: QEMU ended with status 1"))
    desk.script = {"ntfs3-*": gone, "ntfs-3g-*": [gone, CORRECT]}
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3,ntfs-3g") == 3
    first, second = desk.matrix.cells
    assert (first.outcome, first.attempts, first.reason) == (Outcome.ERROR, 2, "xen-4.20: QEMU ended with status 1")
    assert (second.outcome, second.attempts) == (Outcome.PASS, 2)
    assert "ntfs3 (trixie) was not judged (xen-4.20: QEMU ended with status 1)" in capsys.readouterr().out


def test_without_a_stage_every_cell_says_so_and_it_ends_with_3(
    desk: Desk, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.commands import ntfs

    def fail(_settings: Settings, *, specimens: Sequence[Specimen]) -> AbstractContextManager[FakeStage]:
        raise HostError(f"no room for {len(specimens)} volume")

    monkeypatch.setattr(ntfs, "open_stage", fail)
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3") == 3
    assert capsys.readouterr().err == "error: no room for 1 volume\n"
    assert [cell.reason for cell in desk.matrix.cells] == ["no verdict: the run ended before this cell"]


def test_ctrl_c_keeps_what_there_is(desk: Desk, capsys: Captured) -> None:
    desk.script = {"ntfs-3g-*": Act(judge=KeyboardInterrupt())}
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3,ntfs-3g,ntfs") == 3
    assert [cell.outcome for cell in desk.matrix.cells] == [Outcome.PASS, Outcome.ERROR, Outcome.ERROR]
    assert [cell.reason for cell in desk.matrix.cells[1:]] == [
        "interrupted",
        "no verdict: the run ended before this cell",
    ]
    assert capsys.readouterr().err.splitlines()[-1] == (f"interrupted; 3 cells: 1 pass, 2 error; record at {desk.run}")
    assert (desk.run / "matrix.html").is_file()
    assert desk.stage.log[-1] == "close"


def test_json_is_the_matrix_and_nothing_else(desk: Desk, capsys: Captured) -> None:
    one, two = desk.folder / "a", desk.folder / "b"
    for folder in (one, two):
        folder.mkdir()
        volume(folder / "disk.img")
    assert desk.lab(one / "disk.img", two / "disk.img", one / "disk.img", "--drivers", "ntfs3", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "lab.matrix/1"
    assert [cell["axes"]["volume"] for cell in document["cells"]] == ["a/disk.img", "b/disk.img"]
    assert document["run"]["command"].startswith("lab ntfs compare ")
    assert [specimen.name for specimen in desk.specimens] == ["a/disk.img", "b/disk.img"]


def test_help_has_an_example(capsys: Captured) -> None:
    assert cli.main(["ntfs", "compare", "--help"]) == 0
    assert "lab ntfs compare disk.img" in capsys.readouterr().out
