"""``lab ntfs compare``: what it makes of images, how it ends, and what it keeps. No machine, no reader, real images."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab import cli
from lab.engine import comparing
from lab.errors import HostError
from lab.matrix.model import Matrix
from lab.ntfs import foreign
from lab.ntfs.checker import Checker
from lab.ntfs.drivers import drivers
from lab.ntfs.images.busy import Machine
from lab.ntfs.images.image import NtfsVolume
from lab.ntfs.manifest import Entry, Kind, Manifest
from lab.ntfs.readers import Disagreement, NoTruthError, Readings, Truth
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State
from lab.report.document import read
from lab.run_record import RunRecord, read_matrix
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
    checker: Checker | None = None
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
    monkeypatch.setattr(comparing, "ntfsck_if_any", lambda *_words: nullcontext(made.checker))
    return made


Captured = pytest.CaptureFixture[str]


def test_what_a_checker_finds_is_told_and_makes_the_volume_a_damaged_one(desk: Desk, capsys: Captured) -> None:
    desk.checker = Checker("ntfsck", lambda: ("true",), lambda _: ("Corrupted MFT record 65", "more"))
    desk.lab(volume(desk.folder / "disk.img"))
    (specimen,) = desk.specimens
    assert specimen.state is State.DAMAGED
    assert "Not whole: ntfsck: Corrupted MFT record 65 (and 1 more)." in capsys.readouterr().out


def test_every_driver_reads_every_volume_and_a_sentence_says_what_came_of_it(desk: Desk, capsys: Captured) -> None:
    desk.script = {"ntfs3-trixie-*": POORER, "ntfs-3g-*": REFUSED, "*": CORRECT}
    image = volume(desk.folder / "disk.img")
    before = (hashlib.sha256(image.read_bytes()).hexdigest(), image.stat().st_mtime_ns)
    assert desk.lab(image) == 0
    said = capsys.readouterr()
    cells = desk.matrix.cells
    assert [(cell.axes["driver"], cell.axes["kernel"]) for cell in cells] == [
        ("ntfs", "forky"),
        ("ntfs-classic", "bookworm"),
        ("ntfs3", "trixie"),
        ("ntfs3-lzx", "trixie"),
        ("lowntfs-3g", "trixie"),
        ("ntfs-3g", "trixie"),
    ]
    assert all(set(cell.axes) >= {"kernel", "driver", "volume", "operation"} for cell in cells)
    assert (cells[0].kind, cells[0].axes["volume"], cells[0].axes["driver_version"]) == ("ntfs", "disk.img", "6.12")
    whole = "ntfs (forky){0}ntfs-classic (bookworm){0}ntfs3-lzx (trixie){0}lowntfs-3g (trixie)"
    assert said.out.splitlines()[-13:] == [
        "disk.img (damaged):",
        "  ntfs (forky) reads it right.",
        "  ntfs-classic (bookworm) reads it right.",
        "  ntfs3 (trixie) loses the alternate streams, and reads the rest right.",
        "  ntfs3-lzx (trixie) reads it right.",
        "  lowntfs-3g (trixie) reads it right.",
        '  ntfs-3g (trixie) refuses it: the volume is damaged. It says: "Invalid argument".',
        f"  Safe to read with: {whole.format(', ')}, ntfs3 (trixie) (right, but not all of it).",
        f"  Recommended: to read it, {whole.format(' or ')}.",
        "  Not judged: what drivers write (--write tries it, on a copy).",
        "",
        f"record: {desk.run}",
        f"report: {desk.run}/matrix.html",
    ]
    assert "6 cells: 4 pass, 2 unsupported" in said.out
    assert [line.partition("  (")[0].rpartition("  ")[0] for line in said.err.splitlines()] == [
        "[1/6] pass  ntfs-forky-disk.img-read",
        "[2/6] pass  ntfs-classic-bookworm-disk.img-read",
        "[3/6] unsupported degraded  ntfs3-trixie-disk.img-read",
        # Whoever has a guest of its own comes after those that share one.
        "[4/6] pass  lowntfs-3g-trixie-disk.img-read",
        "[5/6] unsupported refused  ntfs-3g-trixie-disk.img-read",
        "[6/6] pass  ntfs3-lzx-trixie-disk.img-read",
    ]
    assert (hashlib.sha256(image.read_bytes()).hexdigest(), image.stat().st_mtime_ns) == before


def test_bare_guests_need_no_host(desk: Desk) -> None:
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3,ntfs", "--stage", "microvm") == 0
    matrix = desk.matrix
    assert [(cell.name, cell.axes["host"], cell.axes["stage"]) for cell in matrix.cells] == [
        ("ntfs3-trixie-disk.img-read", "microvm", "microvm"),
        ("ntfs-forky-disk.img-read", "microvm", "microvm"),
    ]
    assert (matrix.run.hosts, matrix.run.accelerator) == ((), "tcg")


def test_the_record_is_that_of_a_run(desk: Desk) -> None:
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3") == 0
    assert {path.name for path in desk.run.iterdir()} == {
        "run.jsonl",
        "matrix.json",
        "matrix.md",
        "matrix.html",
        "advice.json",
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
    assert (
        "  ntfs3 (trixie) shows wrong bytes, and no error (bytes: y).\n"
        "  Safe to read with: none of them.\n"
        "  Recommended: mount it with none of these drivers. Copy what can be read off it first; then let Windows run "
        "chkdsk on a copy.\n"
    ) in said
    assert "seen twice, the second time on a fresh guest" in said


def test_kernels_widen_it_to_the_product_and_drivers_narrow_it(desk: Desk) -> None:
    words = ("--drivers", "ntfs3,ntfs-3g", "--kernels", "trixie,forky", "--host", "4.17")
    assert desk.lab(volume(desk.folder / "disk.img"), *words) == 0
    ways = [(cell.axes["driver"], cell.axes["kernel"], cell.axes["host"]) for cell in desk.matrix.cells]
    assert ways == [(driver, kernel, "4.17") for driver in ("ntfs3", "ntfs-3g") for kernel in ("trixie", "forky")]
    assert [host.xen for host in desk.matrix.run.hosts] == ["4.17"]


def test_a_truncated_image_is_tried_as_a_damaged_one_and_said_to_be_cut_off_everywhere(
    desk: Desk, capsys: Captured
) -> None:
    short, whole = volume(desk.folder / "short.img", lie=SECTORS * 2), volume(desk.folder / "whole.img")
    refused = Verdict(Outcome.PASS, "refused (ro, damaged volume): Invalid argument", (), Finding.REFUSED)
    desk.script = {"ntfs3-trixie-short.img-*": Act(refused), "*": CORRECT}
    assert desk.lab(short, whole, "--drivers", "ntfs3") == 0
    assert [(cell.axes["volume"], cell.outcome) for cell in desk.matrix.cells] == [
        ("short.img", Outcome.PASS),
        ("whole.img", Outcome.PASS),
    ]
    assert (desk.specimens[0].name, desk.specimens[0].state) == ("short.img", State.DAMAGED)
    there = (SECTORS + 1) * 512
    fault = f"{short}: truncated: the volume has {SECTORS * 2 * 512} bytes by its boot sector, {there} are there"
    fault = f"{fault}; copy it again, whole, if you can"
    said = capsys.readouterr()
    assert f"note: {fault}\n" in said.err
    assert (
        f"short.img (damaged):\n  Not whole: {fault}.\n"
        '  ntfs3 (trixie) refuses it, and rightly so: the volume is damaged. It says: "Invalid argument".\n'
    ) in said.out
    readers = json.loads((desk.run / desk.matrix.cells[0].evidence[-1]).read_text())
    assert (readers["truncated"], readers["boot_sector"], readers["state"]) == (fault, "whole", "damaged")
    assert [one["fault"] for one in json.loads((desk.run / "advice.json").read_text())["volumes"]] == [fault, ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"x" * 5000, "no NTFS volume in 5000 bytes (raw), neither at its start nor in a partition"),
        (bytes(3) + b"-FVE-FS-" + bytes(600), "this is BitLocker, not NTFS\n  hint: unlock it first ("),
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
    missing, there, empty = desk.folder / "nix.img", volume(desk.folder / "disk.img"), desk.folder / "empty"
    empty.mkdir()
    assert desk.lab(missing, empty, there, "--drivers", "ntfs3") == 2
    assert capsys.readouterr().err.endswith(
        f"error: {empty}: a folder without an image\n  hint: name images, or a folder of them\n"
        f"error: {missing}: no such file\n  hint: name images of NTFS volumes or of whole disks\n"
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
            f"error: no driver 'ntfs4'; known: {', '.join(drivers)}\n  hint: did you mean 'ntfs'?\n",
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


def packed(folder: Path, name: str, *members: Path) -> Path:
    """A tar archive of these files, which are no more beside it."""
    made = folder / name
    words = ("tar", "--auto-compress", "--sparse", "-cf", made, "-C", folder)
    subprocess.run((*words, *(member.relative_to(folder) for member in members)), check=True)
    for member in members:
        member.unlink()
    return made


def collection(folder: Path) -> Path:
    """As a folder of samples looks: one image an archive, some of them called alike, and what describes them."""
    for name in ("one", "two", "three"):
        (folder / name).mkdir(parents=True)
    packed(folder / "one", "ntfs.img.tar.gz", volume(folder / "one" / "ntfs.img"))
    packed(folder / "two", "ntfs.img.tar", volume(folder / "two" / "ntfs.img"))
    packed(folder / "two", "disks.tar", volume(folder / "two" / "a.img"), volume(folder / "two" / "b.img"))
    volume(folder / "three" / "c.img")
    (folder / "MANIFEST.tsv").write_text("file\tid\n")
    (folder / "three" / "make.sh").write_text("#!/bin/sh\n")
    return folder


NAMES = [
    "one/ntfs.img",
    "c.img",
    "a.img",
    "b.img",
    "two/ntfs.img",
]


def test_a_folder_is_all_the_images_below_it_and_those_in_its_archives(desk: Desk, capsys: Captured) -> None:
    folder = collection(desk.folder / "samples")
    assert desk.lab(folder, "--drivers", "ntfs3") == 0
    assert [cell.axes["volume"] for cell in desk.matrix.cells] == NAMES
    assert [cell.outcome for cell in desk.matrix.cells] == [Outcome.PASS] * 5
    assert f"note: {folder}: passed over, for they do not look like images: MANIFEST.tsv, three/make.sh\n" in (
        capsys.readouterr().err
    )
    origins = [
        json.loads(next((desk.run / path).read_text() for path in cell.evidence if path.endswith("readers.json")))
        for cell in desk.matrix.cells
    ]
    assert [Path(one["origin"]).relative_to(folder).as_posix() for one in origins] == [
        "one/ntfs.img.tar.gz",
        "three/c.img",
        "two/disks.tar/a.img",
        "two/disks.tar/b.img",
        "two/ntfs.img.tar",
    ]
    # What was unpacked has gone as soon as it was copied, and all of it at the end.
    assert list((desk.folder / "cache" / "run").iterdir()) == []


def test_samples_are_those_that_the_environment_names(
    desk: Desk, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB_SAMPLES", raising=False)
    assert desk.lab("--samples") == 2
    assert capsys.readouterr().err == (
        "error: LAB_SAMPLES is not set\n  hint: let it name the folder of your sample volumes\n"
    )
    assert desk.lab() == 2
    assert capsys.readouterr().err == (
        "error: no image is named\n  hint: name images or folders of them, or take your own with --samples\n"
    )
    monkeypatch.setenv("LAB_SAMPLES", str(desk.folder / "nowhere"))
    assert desk.lab("--samples") == 2
    assert f"error: {desk.folder}/nowhere: no such file\n" in capsys.readouterr().err
    monkeypatch.setenv("LAB_SAMPLES", str(collection(desk.folder / "samples")))
    assert desk.lab("--samples", volume(desk.folder / "own.img"), "--drivers", "ntfs3") == 0
    assert [cell.axes["volume"] for cell in desk.matrix.cells] == ["own.img", *NAMES]


def test_an_archive_that_cannot_be_unpacked_has_its_row_and_takes_no_other_with_it(
    desk: Desk, capsys: Captured
) -> None:
    folder = collection(desk.folder / "samples")
    broken = folder / "one" / "ntfs.img.tar.gz"
    os.truncate(broken, 50)
    assert desk.lab(folder, "--drivers", "ntfs3") == 3
    cells = {cell.axes["volume"]: cell for cell in desk.matrix.cells}
    assert {name: cell.outcome for name, cell in cells.items() if cell.outcome is not Outcome.PASS} == {
        "ntfs.img.tar.gz": Outcome.ERROR
    }
    assert len(cells) == 5
    message = f"{broken}: tar cannot unpack it: stdin: unexpected end of file"
    assert cells["ntfs.img.tar.gz"].reason == f"{message}; hint: unpack it yourself, then name what was in it"
    assert f"error: {message}\n" in capsys.readouterr().err


def test_what_is_in_an_archive_is_called_as_the_user_knows_it_also_in_errors(desk: Desk, capsys: Captured) -> None:
    noise, cut = desk.folder / "noise.img", volume(desk.folder / "cut.img", lie=SECTORS * 2)
    noise.write_bytes(b"x" * 5000)
    made = packed(desk.folder, "both.tar", noise, cut)
    assert desk.lab(made, "--drivers", "ntfs3") == 3
    said = capsys.readouterr().err
    assert f"error: {made}/noise.img: no NTFS volume in 5000 bytes (raw), neither at its start nor in" in said
    assert f"note: {made}/cut.img: truncated: " in said
    assert str(desk.folder / "cache") not in said


@pytest.mark.parametrize("where", ["lab.engine.entry.open_image", "lab.engine.comparing.admit"])
def test_what_nobody_has_foreseen_in_one_image_takes_no_other_with_it(
    desk: Desk, capsys: Captured, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    module, _, name = where.rpartition(".")
    real = getattr(importlib.import_module(module), name)

    def trips(subject: Path | NtfsVolume, *words: object, **more: object) -> object:
        place = subject.origin if isinstance(subject, NtfsVolume) else subject
        if place.name == "bad.img":
            raise ZeroDivisionError("division by zero")
        return real(subject, *words, **more)

    monkeypatch.setattr(where, trips)
    bad, good = volume(desk.folder / "bad.img"), volume(desk.folder / "good.img")
    assert desk.lab(bad, good, "--drivers", "ntfs3") == 3
    assert [(cell.axes["volume"], cell.outcome) for cell in desk.matrix.cells] == [
        ("bad.img", Outcome.ERROR),
        ("good.img", Outcome.PASS),
    ]
    assert (
        f"error: {bad}: the lab itself failed on it: ZeroDivisionError: division by zero\n"
        "  hint: this is a bug of the lab; the others are tried all the same\n"
    ) in capsys.readouterr().err


def test_nor_does_what_nobody_has_foreseen_in_an_archive(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def trips(*_words: object) -> None:
        raise ZeroDivisionError("division by zero")

    made, good = packed(desk.folder, "bad.tar", volume(desk.folder / "bad.img")), volume(desk.folder / "good.img")
    monkeypatch.setattr("lab.engine.files.unpack", trips)
    assert desk.lab(made, good, "--drivers", "ntfs3") == 3
    assert [(cell.axes["volume"], cell.outcome) for cell in desk.matrix.cells] == [
        ("bad.tar", Outcome.ERROR),
        ("good.img", Outcome.PASS),
    ]


def test_those_that_want_the_same_guest_come_one_after_the_other(desk: Desk) -> None:
    """A driver that is compiled for its kernel has a guest of its own: of two volumes, not two of them each."""
    images = [volume(desk.folder / name) for name in ("a.img", "b.img")]
    assert desk.lab(*images, "--drivers", "ntfs3,ntfs3-lzx,ntfs-3g", "--write") == 0
    tried = [line.split()[1].split("-trixie-")[0] for line in desk.stage.log if line.startswith("prepare")]
    assert tried == [*["ntfs3", "ntfs-3g"] * 4, *["ntfs3-lzx"] * 4]


def test_where_readers_part_is_shown_and_not_judged(desk: Desk, capsys: Captured) -> None:
    quarrels = tuple(Disagreement(path, "size", {"libfsntfs": "1", "ntfs-3g": "2"}) for path in ("a\x1b[31m", "b"))
    desk.truth = lambda: Truth(Manifest(()), quarrels, Readings())
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3") == 0
    said = capsys.readouterr().out
    assert (
        "  Not judged: what drivers write (--write tries it, on a copy); 'a\\x1b[31m': readers disagree on size: "
        "libfsntfs: 1, ntfs-3g: 2; 'b': readers disagree on size: libfsntfs: 1, ntfs-3g: 2.\n"
    ) in said
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
        "disk.img (damaged):\n"
        "  ntfs3 (trixie) mounts it, and nobody can say whether what it shows is right.\n"
        "  ntfs-3g (trixie) refuses it, and rightly so: the volume is damaged.\n"
        "  Safe to read with: none of them.\n"
        "  Recommended: mount it with none of these drivers. Copy what can be read off it first; then let Windows run "
        "chkdsk on a copy.\n"
        "  Not judged: what drivers write (--write tries it, on a copy); its whole content: it: read by 0 of 3 "
        "readers, 2 must agree: libfsntfs: no.\n"
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
    assert f"; its whole content: {fault}; " in capsys.readouterr().out
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


def test_write_also_writes_to_every_volume_on_a_copy_and_says_who_may(desk: Desk, capsys: Captured) -> None:
    harm = Verdict(
        Outcome.FAIL,
        "damaged: checker:ntfsck: 1 new",
        (Check("step:append/plain", Outcome.PASS), Check("checker:ntfsck", Outcome.FAIL, "nothing new", "1 new")),
        Finding.DAMAGED,
    )
    desk.script = {"ntfs3-trixie-*-everything": Act(harm), "*": CORRECT}
    image = volume(desk.folder / "disk.img")
    before = image.read_bytes(), image.stat().st_mtime_ns
    assert desk.lab(image, "--drivers", "ntfs3,ntfs-3g", "--write") == 1
    assert [(cell.axes["operation"], cell.axes["driver"]) for cell in desk.matrix.cells] == [
        ("read", "ntfs3"),
        ("read", "ntfs-3g"),
        ("everything", "ntfs3"),
        ("everything", "ntfs-3g"),
    ]
    assert desk.matrix.cells[2].id == "ntfs-compare::ntfs3-trixie-disk.img-everything"
    said = capsys.readouterr().out
    assert (
        "\ndisk.img (damaged):\n"
        "  ntfs3 (trixie) reads it right. It damages it (checker:ntfsck: 1 new).\n"
        "  ntfs-3g (trixie) reads it right. It writes to it right.\n"
        "  Safe to read with: ntfs3 (trixie), ntfs-3g (trixie).\n"
        "  Safe to write with: ntfs-3g (trixie).\n"
        "  Recommended: to read it, ntfs3 (trixie) or ntfs-3g (trixie). To write to it, ntfs-3g (trixie). Copy what "
        "can be read off it first; then let Windows run chkdsk on a copy.\n\n"
    ) in said
    assert (image.read_bytes(), image.stat().st_mtime_ns) == before
    (advice,) = json.loads((desk.run / "advice.json").read_text())["volumes"]
    assert (advice["safe_to_write"], advice["not_judged"]) == (["ntfs-3g (trixie)"], [])


@pytest.mark.parametrize(
    ("finding", "outcome", "code"),
    [
        (Finding.WRONG_DATA, Outcome.FAIL, 1),
        (Finding.DAMAGED, Outcome.FAIL, 1),
        (Finding.CRASH, Outcome.FAIL, 1),
        (Finding.HANG, Outcome.FAIL, 1),
        (Finding.DEGRADED, Outcome.FAIL, 1),
        (Finding.DEGRADED, Outcome.UNSUPPORTED, 0),
        (Finding.REFUSED, Outcome.UNSUPPORTED, 0),
    ],
)
def test_a_driver_that_is_wrong_only_when_it_writes_ends_with_1(
    desk: Desk, finding: Finding, outcome: Outcome, code: int
) -> None:
    """Also where another image could not be used, which alone would be 3, or was not there, which would be 2."""
    verdict = Verdict(outcome, f"{finding.value}: x", (Check("checker:ntfsck", outcome, "x", "y"),), finding)
    desk.script = {"*-everything": Act(verdict), "*": CORRECT}
    image, noise = volume(desk.folder / "disk.img"), desk.folder / "noise.img"
    noise.write_bytes(b"x" * 5000)
    assert desk.lab(image, "--drivers", "ntfs3", "--write") == code
    assert desk.lab(noise, desk.folder / "gone.img", image, "--drivers", "ntfs3", "--write") == (code or 3)


def test_operations_name_what_is_written(desk: Desk, capsys: Captured) -> None:
    image = volume(desk.folder / "disk.img")
    assert desk.lab(image, "--drivers", "ntfs3", "--operations", "append, rename,append,read") == 0
    assert [cell.axes["operation"] for cell in desk.matrix.cells] == ["read", "append", "rename"]
    assert desk.lab(image, "--operations", "apend") == 2
    assert capsys.readouterr().err.endswith("\n  hint: did you mean 'append'?\n")


def test_nothing_is_written_to_what_nobody_can_read(desk: Desk, capsys: Captured) -> None:
    def unread() -> Truth:
        raise NoTruthError("it: read by 0 of 3 readers", Readings({}, {"libfsntfs": "no", "ntfs-3g": "no"}))

    desk.truth = unread
    desk.script = {"*": Act(Verdict(Outcome.UNSUPPORTED, "no-truth: nobody knows what the volume holds"))}
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3", "--write") == 0
    assert [cell.reason for cell in desk.matrix.cells] == [
        "no-truth: nobody knows what the volume holds",
        "no-truth: nobody knows what the volume held before",
    ]
    assert not any("everything" in line for line in desk.stage.log)
    assert (
        "  ntfs3 (trixie) mounts it, and nobody can say whether what it shows is right. It was not let write to it, "
        "for nobody can say what it holds.\n"
        "  Safe to read with: none of them.\n"
        "  Safe to write with: none of them.\n"
        "  Recommended: nothing, for no driver could be judged.\n"
    ) in capsys.readouterr().out


def test_what_is_no_image_at_all_ends_with_2_each_with_its_sentence(desk: Desk, capsys: Captured) -> None:
    os.mkfifo(desk.folder / "pipe")
    (desk.folder / "dangling").symlink_to("gone")
    there = volume(desk.folder / "disk.img")
    assert desk.lab(desk.folder / "pipe", desk.folder / "dangling", "/dev/zero", there, "--drivers", "ntfs3") == 2
    hint = "  hint: name images of NTFS volumes or of whole disks"
    assert capsys.readouterr().err.splitlines()[-6:] == [
        f"error: {desk.folder}/pipe: a pipe, not an image",
        hint,
        f"error: {desk.folder}/dangling: a symbolic link to gone, which is not there",
        hint,
        "error: /dev/zero: a character device, not an image",
        hint,
    ]
    assert [cell.outcome for cell in desk.matrix.cells] == [Outcome.PASS]


@pytest.mark.parametrize("name", ["a\nerror: all is lost\x1b[2J.img", os.fsdecode(b"\xff\xfe.img"), "x" * 250])
def test_no_name_acts_on_the_terminal_or_breaks_the_record(desk: Desk, capsys: Captured, name: str) -> None:
    volume(desk.folder / "plain.img").rename(desk.folder / name)
    for words in ((), ("--json",)):
        assert desk.lab(desk.folder / name, desk.folder / f"{name[:50]}-nix", "--drivers", "ntfs3", *words) == 2
        said = capsys.readouterr()
        assert not any(char in said.out + said.err for char in "\x1b\udcff")
        assert [line for line in said.err.splitlines() if line.startswith("error: all")] == []
        assert len([line for line in said.err.splitlines() if line.startswith("error: ")]) == 1
    assert read(desk.run / "matrix.json") == desk.matrix
    assert desk.matrix.cells[0].axes["volume"].isprintable()
    assert {path.name for path in desk.run.iterdir()} >= {"matrix.md", "matrix.html", "advice.json"}


def test_one_image_by_several_names_is_tried_once(
    desk: Desk, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = volume(desk.folder / "disk.img")
    (desk.folder / "link").symlink_to("disk.img")
    os.link(image, desk.folder / "hard")
    monkeypatch.chdir(desk.folder)
    assert desk.lab(image, "disk.img", "./disk.img", "link", "hard", "--drivers", "ntfs3") == 0
    assert [cell.axes["volume"] for cell in desk.matrix.cells] == ["disk.img"]
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [f"note: {name}: {image} by another name; tried once" for name in ("disk.img", "link", "hard")]


def test_a_file_that_is_called_as_a_partition_is_has_a_row_of_its_own(desk: Desk) -> None:
    table = bytearray(512)
    struct.pack_into("<BII", table, 0x1C2, 7, 0, 0)
    struct.pack_into("<II", table, 0x1C6, 8, SECTORS + 1)
    table[510:] = b"\x55\xaa"
    alone = volume(desk.folder / "disk.img:p1")
    (desk.folder / "disk.img").write_bytes(bytes(table).ljust(8 * 512, b"\0") + alone.read_bytes())
    assert desk.lab(alone, desk.folder / "disk.img", "--drivers", "ntfs3") == 0
    assert [cell.axes["volume"] for cell in desk.matrix.cells] == ["disk.img:p1", "disk.img:p1#2"]


def test_a_disk_in_parts_is_told_part_by_part(desk: Desk, capsys: Captured) -> None:
    """One partition is NTFS, one is locked, one is cut off, one is none of our business."""
    table = bytearray(512)
    for index, first in enumerate((8, 200, 400, 600)):
        struct.pack_into("<BII", table, 0x1BE + 16 * index + 4, 7, 0, 0)
        struct.pack_into("<II", table, 0x1BE + 16 * index + 8, first, 101 if index < 3 else 9999)
    table[510:] = b"\x55\xaa"
    disk = bytearray(620 * 512)
    disk[:512] = table
    disk[8 * 512 : 109 * 512] = volume(desk.folder / "x").read_bytes()
    disk[200 * 512 + 3 : 200 * 512 + 11] = b"-FVE-FS-"
    disk[400 * 512 + 3 : 400 * 512 + 11] = b"EXFAT   "
    image = desk.folder / "disk.img"
    image.write_bytes(disk)
    assert desk.lab(image, "--drivers", "ntfs3") == 3
    assert [(cell.axes["volume"], cell.outcome) for cell in desk.matrix.cells] == [
        ("disk.img:p1", Outcome.PASS),
        ("disk.img:p2", Outcome.ERROR),
    ]
    assert [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")] == [
        f"note: {image}: no NTFS: p3 is exFAT",
        f"error: {image}:p2: this is BitLocker, not NTFS",
        "  hint: unlock it first (`cryptsetup open --type bitlk DEVICE NAME`), then name /dev/mapper/NAME",
        f"error: {image}:p4: truncated: it ends at byte {10599 * 512}, and the disk has {620 * 512}",
        "  hint: copy it again, whole",
    ]


def test_a_mounted_volume_is_refused_unless_that_is_meant(
    desk: Desk, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "mounted_for_writing", lambda *_words: "/mnt/windows")
    image = volume(desk.folder / "disk.img")
    assert desk.lab(image, "--drivers", "ntfs3") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"error: {image}: mounted for writing at /mnt/windows: what is in it changes while it is copied\n"
        "  hint: unmount it, or mount it read-only; --allow-mounted takes it as it is, half-written or not\n"
    )
    assert not (desk.folder / "reports").exists()
    assert desk.lab(image, "--drivers", "ntfs3", "--allow-mounted") == 0
    assert (
        "  Not judged: what drivers write (--write tries it, on a copy); what changed while it was copied, for it was "
        "mounted for writing at /mnt/windows.\n"
    ) in capsys.readouterr().out


def test_advice_for_machines_stands_in_a_file_of_its_own_and_in_the_record(desk: Desk, capsys: Captured) -> None:
    """matrix.json takes no key that its schema does not name."""
    desk.script = {"ntfs3-*": POORER}
    assert desk.lab(volume(desk.folder / "disk.img"), "--drivers", "ntfs3", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"schema", "run", "cells"}
    document = json.loads((desk.run / "advice.json").read_text())
    (advice,) = document["volumes"]
    assert document["schema"] == "lab.advice/1"
    assert {key: advice[key] for key in advice if key != "text"} == {
        "volume": "disk.img",
        "state": "damaged",
        "fault": "",
        "drivers": [
            {
                "driver": "ntfs3",
                "kernel": "trixie",
                "read": {
                    "safe": True,
                    "whole": False,
                    "sentence": "loses the alternate streams, and reads the rest right.",
                },
            }
        ],
        "safe_to_read": ["ntfs3 (trixie)"],
        "safe_to_write": None,
        "recommendation": "Recommended: to read it, ntfs3 (trixie), if you can do without what is not shown.",
        "not_judged": ["what drivers write (--write tries it, on a copy)"],
    }
    lines = [json.loads(line) for line in (desk.run / "run.jsonl").read_text().splitlines()]
    (event,) = [line for line in lines if line["event"] == "advice"]
    assert {key: event[key] for key in event if key not in {"at", "event"}} == advice


def broken_off(desk: Desk, *images: Path) -> None:
    """A comparison of which ntfs3 has its verdict on each image, and ntfs-3g has none."""
    desk.script = {"ntfs-3g-*": Act(prepare=HostError("the host is gone")), "*": POORER}
    assert desk.lab(*images, "--drivers", "ntfs3,ntfs-3g") == 3


def test_one_that_was_broken_off_goes_on_with_what_has_no_verdict(desk: Desk, capsys: Captured) -> None:
    images = [volume(desk.folder / name) for name in ("one.img", "two.img")]
    broken_off(desk, *images)
    first = desk.run
    capsys.readouterr()
    desk.script = {"*": CORRECT}
    assert desk.lab(*images, "--drivers", "ntfs3,ntfs-3g", "--continue", "latest") == 0
    said = capsys.readouterr()
    assert f"carried 2 from run {first.name}\n" in said.err
    assert "[2/2] pass  ntfs-3g-trixie-two.img-read" in said.err
    cells = {cell.name: cell for cell in desk.matrix.cells}
    assert {name: (cell.finding, cell.axes.get("from")) for name, cell in cells.items()} == {
        "ntfs3-trixie-one.img-read": ("degraded", first.name),
        "ntfs3-trixie-two.img-read": ("degraded", first.name),
        "ntfs-3g-trixie-one.img-read": ("correct", None),
        "ntfs-3g-trixie-two.img-read": ("correct", None),
    }
    assert all((desk.run / path).is_file() for cell in cells.values() for path in cell.evidence)
    assert said.out.count("ntfs3 (trixie) loses the alternate streams") == 2


def test_where_all_verdicts_stand_nobody_is_asked_again(
    desk: Desk, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = volume(desk.folder / "disk.img", lie=SECTORS * 2)
    desk.script = {"*": POORER}
    assert desk.lab(image, "--drivers", "ntfs3") == 0
    advised = (desk.run / "advice.json").read_bytes()
    told = capsys.readouterr().out.partition("disk.img (damaged):")[2].partition("record:")[0]
    desk.specimens = []
    monkeypatch.setattr(foreign, "truth_of", lambda *_words, **_more: pytest.fail("the readers are asked again"))
    assert desk.lab(image, "--drivers", "ntfs3", "--continue", "latest") == 0
    assert desk.specimens == []
    assert (desk.run / "advice.json").read_bytes() == advised
    assert capsys.readouterr().out.partition("disk.img (damaged):")[2].partition("record:")[0] == told
    assert "loses the alternate streams" in told
    # And once more: what is carried can be carried on.
    first = desk.matrix.cells[0].axes["from"]
    assert desk.lab(image, "--drivers", "ntfs3", "--continue", "latest") == 0
    assert desk.matrix.cells[0].axes["from"] == first


def test_a_volume_that_has_changed_and_one_that_is_not_named_carry_nothing(desk: Desk, capsys: Captured) -> None:
    images = [volume(desk.folder / name) for name in ("one.img", "two.img", "three.img")]
    broken_off(desk, *images)
    first = desk.run.name
    raw = bytearray(images[0].read_bytes())
    raw[-1] ^= 1
    images[0].write_bytes(raw)
    desk.script = {"*": CORRECT}
    assert desk.lab(*images[:2], "--drivers", "ntfs3,ntfs-3g", "--continue", first) == 0
    said = capsys.readouterr().err
    assert f"carried 1 from run {first}\n" in said
    assert f"1 cell (ntfs3-trixie-one.img-read) tried again: not what it was in run {first}\n" in said
    assert "1 cell (ntfs3-trixie-three.img-read) left out: not asked for now\n" in said
    assert [(cell.name, cell.finding) for cell in desk.matrix.cells if cell.axes["driver"] == "ntfs3"] == [
        ("ntfs3-trixie-one.img-read", "correct"),
        ("ntfs3-trixie-two.img-read", "degraded"),
    ]


def test_what_was_only_read_can_be_written_to_later(desk: Desk) -> None:
    image = volume(desk.folder / "disk.img")
    assert desk.lab(image, "--drivers", "ntfs3") == 0
    assert desk.lab(image, "--drivers", "ntfs3", "--operations", "create", "--continue", "latest") == 0
    assert [(cell.axes["operation"], "from" in cell.axes) for cell in desk.matrix.cells] == [
        ("read", True),
        ("create", False),
    ]


def test_only_a_comparison_can_be_continued(desk: Desk, capsys: Captured) -> None:
    image = volume(desk.folder / "disk.img")
    assert desk.lab(image, "--drivers", "ntfs3", "--continue", "latest") == 2
    assert "reports: no run is recorded there\n" in capsys.readouterr().err
    record = RunRecord.create(desk.folder / "reports", command="lab run", revision="1")
    record.finish(1.0)
    record.close()
    assert desk.lab(image, "--drivers", "ntfs3", "--continue", "latest") == 2
    assert capsys.readouterr().err == (
        f"error: run {record.folder.name}: it is none of `lab ntfs compare`\n"
        "  hint: `lab run` and pytest continue their own\n"
    )


def test_one_that_is_broken_off_again_while_readers_are_asked_keeps_what_it_was_given(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [volume(desk.folder / f"{name}.img") for name in ("one", "two", "three", "four")]
    broken_off(desk, *images)
    before = [path.read_text() for path in sorted((desk.run / "evidence").rglob("readers.json"))]
    first = desk.run

    def interrupted(*_words: object, **_more: object) -> Truth:
        raise KeyboardInterrupt

    monkeypatch.setattr(foreign, "truth_of", interrupted)
    assert desk.lab(*images, "--drivers", "ntfs3,ntfs-3g", "--continue", "latest") == 3
    stand = [cell.axes["driver"] for cell in desk.matrix.cells if cell.outcome is Outcome.UNSUPPORTED]
    assert stand == ["ntfs3"] * 4
    # The other run's evidence is not written to, though it is linked.
    assert [path.read_text() for path in sorted((first / "evidence").rglob("readers.json"))] == before


def test_a_volume_that_lost_only_zeros_is_another_one(desk: Desk, capsys: Captured) -> None:
    image = volume(desk.folder / "disk.img", lie=6000)
    os.truncate(image, 6001 * 512)
    assert desk.lab(image, "--drivers", "ntfs3") == 0
    os.truncate(image, 2 << 20)
    capsys.readouterr()
    assert desk.lab(image, "--drivers", "ntfs3", "--continue", "latest") == 0
    assert "1 cell (ntfs3-trixie-disk.img-read) tried again: not what it was in run " in capsys.readouterr().err
