"""Rounds: whose turn it is, what is asked once only, and when there is a fresh guest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.engine.perf_question import Field, PerfQuestion, perf_question
from lab.engine.perf_trial import KernelTrial
from lab.errors import HostError, UnknownNameError, UsageError
from lab.ntfs.drivers import drivers
from lab.ntfs.perf import MEASURES, Figure, Taken
from lab.ntfs.perf.measure import chosen
from lab.scenario.stages import Stage
from lab.verdict import Outcome
from tests.unit.perf.benches import Document, Edit, FakeStage

ALWAYS = range(1000)


@dataclass
class Ear:
    """Hears what becomes of it."""

    folder: Path
    laps: list[tuple[str, int, str, str]] = field(default_factory=list)
    samples: list[tuple[int, str, str, str]] = field(default_factory=list)

    @contextmanager
    def lap(self, kernel: str, number: int, driver: str) -> Iterator[Callable[[Outcome, str], None]]:
        yield lambda outcome, reason: self.laps.append((kernel, number, driver, f"{outcome.value} {reason}".strip()))

    def sample(self, _kernel: str, number: int, driver: str, measure: str, found: Taken) -> None:
        self.samples.append((number, driver, measure, found.outcome.value))

    def evidence(self, kernel: str, driver: str, measure: str) -> Path:
        folder = self.folder / f"{kernel}-{driver}-{measure}"
        folder.mkdir(exist_ok=True)
        return folder


def field_of(*names: str, absent: tuple[str, ...] = ()) -> Field:
    return Field("trixie", tuple(drivers[name] for name in names), tuple(drivers[name] for name in absent))


def trial(stage: FakeStage, on: Field, folder: Path, *measured: str, rounds: int = 3) -> tuple[KernelTrial, Ear]:
    ear = Ear(folder)
    made = KernelTrial(PerfQuestion((on,), chosen(measured), rounds), on, stage, ear)
    made.run()
    return made, ear


def figures(made: KernelTrial) -> dict[tuple[str, str], Figure]:
    return {(each.driver, each.measure): each for each in made.result().figures}


def wrong(found: Document) -> Document:
    return {**found, "root": ["other"]}


def hangs(found: Document) -> Document:
    return {**found, "ended": "deadline"}


def lost(_found: Document) -> HostError:
    return HostError("xen-4.20: connection lost")


def test_drivers_take_turns_and_each_round_begins_with_the_next_one(tmp_path: Path) -> None:
    stage = FakeStage()
    made, ear = trial(stage, field_of("ntfs3", "ntfs-3g", "lowntfs-3g"), tmp_path, "mount", "metadata")
    assert [lap[2] for lap in ear.laps] == [
        *("ntfs3", "ntfs-3g", "lowntfs-3g"),
        *("ntfs-3g", "lowntfs-3g", "ntfs3"),
        *("lowntfs-3g", "ntfs3", "ntfs-3g"),
    ]
    assert [lap[3] for lap in ear.laps] == ["pass"] * 9
    assert made.result().order[1] == ("ntfs-3g", "lowntfs-3g", "ntfs3")
    assert stage.log == [
        "open trixie: ntfs3 ntfs-3g lowntfs-3g on perf",
        *(f"{name} mount" for name in ("ntfs3", "ntfs-3g", "lowntfs-3g")),
        *(f"{lap[2]} {name}" for lap in ear.laps for name in ("mount", "metadata")),
        "close",
    ]


def test_all_of_it_is_measured_in_one_guest_and_the_reference_is_written_once(tmp_path: Path) -> None:
    stage = FakeStage()
    made, ear = trial(stage, field_of("ntfs3", "ntfs-3g"), tmp_path)
    assert stage.log[:2] == [
        "open trixie: ntfs3 ntfs-3g on perf size-1t directory-10000",
        "reference write-sequential write-small",
    ]
    assert sum(line.startswith("reference") for line in stage.log) == 1
    found = made.result()
    assert (found.version, found.package, found.fio, found.guests) == ("6.12.0", "6.12.0-1", "fio-3.39", 1)
    assert len(found.figures) == 2 * len(MEASURES)
    assert all(figure.counts and len(figure.samples) == 3 for figure in found.figures)
    assert len(ear.samples) == 3 * 2 * len(MEASURES)
    assert [(each.name, each.version, each.options) for each in found.entrants] == [
        ("ntfs3", "6.12.0", ("ro", "rw")),
        ("ntfs-3g", "6.12.0", ("ro", "rw")),
    ]


def test_the_warm_up_counts_for_nothing(tmp_path: Path) -> None:
    stage = FakeStage(speeds={"ntfs3": (9.0, 0.1, 0.2, 0.3)})
    made, _ = trial(stage, field_of("ntfs3"), tmp_path, "mount")
    assert figures(made)["ntfs3", "mount"].samples == (100.0, 200.0, 300.0)


def test_a_read_only_driver_has_no_write_measures_and_says_why(tmp_path: Path) -> None:
    def read_only(found: Document) -> Document:
        return {**found, "mount": {**found["mount"], "read_only": True}}

    writing = [("ntfs-classic", each.name, ALWAYS, read_only) for each in MEASURES if each.writes]
    stage = FakeStage(edits=list(writing))
    made, ear = trial(stage, field_of("ntfs-classic", "ntfs-3g"), tmp_path)
    found = figures(made)
    for each in MEASURES:
        mine = found["ntfs-classic", each.name]
        if each.writes:
            why = "read-only: the driver mounts it read-only, so it cannot be written to"
            assert (mine.outcome, mine.reason) == (Outcome.UNSUPPORTED, why)
        else:
            assert mine.counts
        assert found["ntfs-3g", each.name].counts
    # It is asked once, not in every round, and not on a fresh guest.
    assert stage.log.count("ntfs-classic metadata") == 1
    assert stage.log.count("ntfs-3g metadata") == 3
    assert made.result().guests == 1
    assert {lap[3] for lap in ear.laps} == {"pass"}


def test_a_measure_that_fails_takes_no_other_with_it_and_is_seen_twice(tmp_path: Path) -> None:
    stage = FakeStage(edits=[("ntfs3", "metadata", ALWAYS, wrong)])
    made, ear = trial(stage, field_of("ntfs3", "ntfs-3g"), tmp_path)
    found = figures(made)
    mine = found["ntfs3", "metadata"]
    assert (mine.outcome, mine.finding, mine.samples) == (Outcome.FAIL, "wrong-data", ())
    assert mine.reason == (
        "wrong-data: the root shows 'other' instead of 'lab-perf', 'large.bin', 'small' "
        "(seen twice, the second time on a fresh guest)"
    )
    assert all(figure.counts for key, figure in found.items() if key != ("ntfs3", "metadata"))
    assert stage.log.count("ntfs3 metadata") == 2
    assert made.result().guests == 2
    assert ear.laps[0][3].startswith("fail metadata: wrong-data: the root shows ")
    assert {lap[3] for lap in ear.laps[1:]} == {"pass"}
    assert sorted(path.name for path in (tmp_path / "trixie-ntfs3-metadata").iterdir()) == ["console.log", "probe.json"]


def test_what_a_fresh_guest_does_not_show_again_blames_nobody(tmp_path: Path) -> None:
    stage = FakeStage(edits=[("ntfs3", "walk", range(1), wrong)])
    made, _ = trial(stage, field_of("ntfs3"), tmp_path, "walk", "metadata")
    found = figures(made)["ntfs3", "walk"]
    assert found.outcome is Outcome.ERROR
    assert (
        found.reason
        == "not reproduced on a fresh guest: wrong-data: the root shows 'other' instead of 'beside.txt', 'many'"
    )


@pytest.mark.parametrize("edit", [hangs, lost])
def test_a_guest_that_is_lost_is_replaced_and_the_others_go_on(tmp_path: Path, edit: Edit) -> None:
    stage = FakeStage(edits=[("ntfs3", "walk", range(1), edit)])
    made, _ = trial(stage, field_of("ntfs3", "ntfs-3g"), tmp_path, "walk", "metadata")
    found = figures(made)
    assert found["ntfs-3g", "walk"].counts
    assert found["ntfs3", "metadata"].counts
    assert made.result().guests == 2
    assert stage.log.count("close") == 2
    # Trouble of the lab may pass; a hang that does not come again is not believed, and no figure either.
    expected = Outcome.PASS if edit is lost else Outcome.ERROR
    assert found["ntfs3", "walk"].outcome is expected


def test_a_driver_that_hangs_twice_is_blamed(tmp_path: Path) -> None:
    stage = FakeStage(edits=[("ntfs3", "walk", ALWAYS, hangs)])
    made, _ = trial(stage, field_of("ntfs3", "ntfs-3g"), tmp_path, "walk", "metadata")
    found = figures(made)["ntfs3", "walk"]
    assert (found.outcome, found.finding) == (Outcome.FAIL, "hang")
    assert figures(made)["ntfs-3g", "walk"].counts
    # A guest for the others after it: nothing more is measured where a driver hangs.
    assert made.result().guests == 3


def test_a_driver_that_takes_the_guest_down_in_its_warm_up_does_so_once(tmp_path: Path) -> None:
    stage = FakeStage(edits=[("ntfs3", "mount", ALWAYS, hangs)])
    made, _ = trial(stage, field_of("ntfs3", "ntfs-3g"), tmp_path, "mount", "metadata")
    found = figures(made)
    assert (found["ntfs3", "mount"].outcome, found["ntfs3", "mount"].finding) == (Outcome.FAIL, "hang")
    assert found["ntfs-3g", "mount"].counts
    assert found["ntfs3", "metadata"].counts


def test_a_driver_that_cannot_be_compiled_is_an_error_and_the_others_go_on(tmp_path: Path) -> None:
    stage = FakeStage(missing={"ntfs3-lzx": "ntfs3: it cannot be compiled"})
    made, _ = trial(stage, field_of("ntfs3-lzx", "ntfs3"), tmp_path, "mount")
    found = figures(made)
    assert (found["ntfs3-lzx", "mount"].outcome, found["ntfs3-lzx", "mount"].reason) == (
        Outcome.ERROR,
        "ntfs3: it cannot be compiled",
    )
    assert found["ntfs3", "mount"].counts
    assert made.result().guests == 1


def test_a_driver_that_the_kernel_has_not_is_shown_with_the_reason(tmp_path: Path) -> None:
    made, _ = trial(FakeStage(), field_of("ntfs-3g", absent=("ntfs",)), tmp_path, "mount")
    found = figures(made)["ntfs", "mount"]
    assert found.outcome is Outcome.UNSUPPORTED
    assert found.reason == "no-driver: the kernel of trixie has no ntfs, and it is not compiled for it"


def test_without_a_guest_the_trouble_is_told_and_nothing_is_blank(tmp_path: Path) -> None:
    stage = FakeStage(troubles=[HostError("no guest today")])
    made, ear = trial(stage, field_of("ntfs3"), tmp_path, "mount", "walk")
    assert (str(made.trouble), ear.laps, stage.log) == ("no guest today", [], [])
    assert {(each.outcome, each.reason) for each in figures(made).values()} == {(Outcome.ERROR, "no guest today")}


def test_with_nobody_to_take_a_turn_no_guest_is_brought_up(tmp_path: Path) -> None:
    stage = FakeStage()
    made, _ = trial(stage, field_of(absent=("ntfs",)), tmp_path, "mount")
    assert stage.log == []
    assert [each.outcome for each in made.result().figures] == [Outcome.UNSUPPORTED]


def names(asked: PerfQuestion) -> dict[str, tuple[list[str], list[str]]]:
    return {
        each.kernel: ([one.name for one in each.entrants], [one.name for one in each.absent]) for each in asked.fields
    }


def test_by_default_every_driver_of_the_usual_kernels_is_asked() -> None:
    assert names(perf_question()) == {
        "trixie": (["lowntfs-3g", "ntfs-3g", "ntfs3", "ntfs3-lzx"], []),
        "forky": (["lowntfs-3g", "ntfs", "ntfs-3g", "ntfs3-lzx"], []),
    }


def test_drivers_that_are_named_bring_their_kernels() -> None:
    assert names(perf_question(names=("ntfs3", "ntfs-classic"))) == {
        "trixie": (["ntfs3"], ["ntfs-classic"]),
        "bookworm": (["ntfs-classic"], ["ntfs3"]),
    }


def test_kernels_that_are_named_have_what_they_have() -> None:
    asked = perf_question(names=("ntfs3", "ntfs-3g"), kernels=("forky", "forky"), measured=("walk", "mount"), rounds=2)
    assert names(asked) == {"forky": (["ntfs-3g"], ["ntfs3"])}
    assert [each.name for each in asked.measures] == ["mount", "walk"]
    assert (asked.rounds, asked.stage, asked.host) == (2, Stage.XEN, "4.20")
    assert perf_question(stage=Stage.MICROVM).host == ""


@pytest.mark.parametrize(
    ("error", "words", "message"),
    [
        (UnknownNameError, {"names": ("ntfs4",)}, "no driver 'ntfs4'; "),
        (UnknownNameError, {"kernels": ("trixi",)}, "no kernel 'trixi'; "),
        (UnknownNameError, {"measured": ("walkk",)}, "no measure 'walkk'; "),
        (UnknownNameError, {"host": "4.2"}, "no embedded Xen version '4.2'; "),
        (UsageError, {"rounds": 0}, "--rounds 0: not between 1 and 100"),
    ],
)
def test_what_cannot_be_meant_is_told(error: type[Exception], words: dict[str, object], message: str) -> None:
    with pytest.raises(error) as caught:
        perf_question(**words)  # type: ignore[arg-type] # each of its own type
    assert str(caught.value).startswith(message)
