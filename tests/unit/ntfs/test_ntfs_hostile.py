"""Hostile volumes: each spoils what it says and nothing else, and no reader of the lab goes mad over one."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.condition import state_of
from lab.ntfs.judging.reading import judge
from lab.ntfs.manifest import Entry, Kind, Manifest, digest
from lab.ntfs.ondisk import attributes, extended_attribute, runs
from lab.ntfs.ondisk.attribute import EA, find
from lab.ntfs.ondisk.index import children, lookup
from lab.ntfs.ondisk.mft import ROOT, Mft
from lab.ntfs.readers import readers, verify
from lab.ntfs.volumes import State, Volume, build, recipes
from lab.ntfs.volumes.hostile import (
    BASES,
    KINDS,
    Good,
    Mutation,
    apply,
    base_recipe,
    hostile_recipe,
    mutations,
    spans,
    table,
)
from lab.ntfs.volumes.hostile.change import field, one
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.place import boot_sector, record
from lab.verdict import Finding, Outcome, Verdict

SECONDS = 8.0
"""For one reader and one volume of a few dozen files, which takes it a tenth of one."""

READERS = ("libfsntfs", "ntfs-3g", "sleuthkit")

_LOG, _EAS = "who only reads does not look at the log", "no reader here shows extended attributes"

UNNOTICED = {
    "bitmap-short": "who only reads needs no free clusters",
    "ea-loop": _EAS,
    "ea-name-long": _EAS,
    "ea-outside": _EAS,
    "ea-packed-size": _EAS,
    "ea-value-long": _EAS,
    "list-overlap": "the parts themselves say where they begin, too",
    "log-area-outside": _LOG,
    "log-client-loop": _LOG,
    "log-noise": _LOG,
    "log-page-zero": _LOG,
    "lznt1-signature": "it is unpacked as if it were one",
    "mft-bitmap-zero": "each record says itself whether it is in use",
    "secure-header-long": "the index of the descriptors says how long each is, too",
}
"""Mutations over which no reader here says anything else than before, and why."""


class Bases(Mapping[str, Path]):
    """The sound volumes, each built when it is first asked for."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._held: dict[str, Path] = {}

    def __getitem__(self, name: str) -> Path:
        if name not in self._held:
            self._held[name] = build(base_recipe(name), self._into, Deadline(60)).path
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(BASES)

    def __len__(self) -> int:
        return len(BASES)


@pytest.fixture(scope="module")
def bases(built: Mapping[str, Volume], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Path]]:
    """Skipped, as ``built`` is, where volumes cannot be built."""
    assert built
    folder = tmp_path_factory.mktemp("hostile")
    yield Bases(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def spoiled(bases: Mapping[str, Path]) -> Callable[..., Path]:
    """A copy of a mutation's base, spoiled; the next one takes its place."""

    def make(mutation: Mutation, seed: int = 0) -> Path:
        base = bases[mutation.base]
        path = base.with_name("spoiled.img")
        subprocess.run(("cp", "--sparse=always", base, path), check=True)
        apply(mutation, path, seed)
        return path

    return make


def differing(one_: bytes, other: bytes) -> Iterator[int]:
    """The offsets of the bytes that differ."""
    assert len(one_) == len(other)
    step = 1 << 14
    for at in range(0, len(one_), step):
        if one_[at : at + step] != other[at : at + step]:
            yield from (n for n in range(at, min(at + step, len(one_))) if one_[n] != other[n])


@pytest.mark.parametrize("name", mutations)
def test_it_spoils_what_it_says_and_nothing_else(
    bases: Mapping[str, Path], spoiled: Callable[..., Path], name: str
) -> None:
    mutation = mutations[name]
    claimed = tuple(spans(mutation, bases[mutation.base]))
    before = bases[mutation.base].read_bytes()
    first = spoiled(mutation).read_bytes()
    assert spoiled(mutation).read_bytes() == first, "the same seed gives the same bytes"
    for raw in (first, spoiled(mutation, 1).read_bytes(), spoiled(mutation, 2).read_bytes()):
        changed = list(differing(before, raw))
        assert changed
        assert [at for at in changed if not any(start <= at < start + size for start, size in claimed)] == []


def test_chance_is_the_same_for_ever() -> None:
    dice = Dice("x/0")
    assert (dice.bytes(4).hex(), dice.between(3, 9), dice.pick("abcdef")) == ("b3a77f30", 6, "a")
    assert {Dice(f"{seed}").between(1, 3) for seed in range(40)} == {1, 2, 3}


def test_some_mutations_depend_on_their_seed(spoiled: Callable[..., Path]) -> None:
    for name in ("runs-across-end", "index-unsorted", "upcase-noise", "list-to-free", "boot-cluster-huge"):
        assert len({spoiled(mutations[name], seed).read_bytes() for seed in range(8)}) > 1, name


def test_a_mutation_that_spoils_something_else_is_found_out(
    bases: Mapping[str, Path], spoiled: Callable[..., Path]
) -> None:
    """The injected fault: the change is that of another structure than the one that is claimed."""
    claims = mutations["boot-sector-zero"]
    does = dataclasses.replace(claims, edits=mutations["record-free"].edits)
    (claimed,) = spans(claims, bases["plain"])
    changed = list(differing(bases["plain"].read_bytes(), spoiled(does).read_bytes()))
    assert changed
    assert not any(claimed[0] <= at < sum(claimed) for at in changed)


def test_a_structure_keeps_its_length(spoiled: Callable[..., Path]) -> None:
    def longer(raw: bytearray, *_: object) -> None:
        raw += b"x"

    broken = Mutation("broken", "", "", Good.ERROR, one(boot_sector(), longer))
    with pytest.raises(ValueError, match=r"^broken: the boot sector has 513 bytes, not 512$"):
        spoiled(broken)


def test_a_structure_that_is_not_there_says_so(spoiled: Callable[..., Path]) -> None:
    broken = Mutation("broken", "", "", Good.ERROR, one(record("nobody"), field(0, "I", 0)))
    with pytest.raises(ImageError, match=r"^hostile: no name 'nobody' on the way to 'nobody'$"):
        spoiled(broken)


@pytest.fixture(scope="module")
def reading() -> Iterator[Callable[[str, Path], dict[str, Any]]]:
    """A reader on a volume, in a process of its own and with a limit of time."""
    for name in READERS:
        if why := readers[name].missing():
            pytest.skip(why)
    program = subprocess.Popen(
        (sys.executable, Path(__file__).with_name("reading.py")), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdin is not None
    assert program.stdout is not None

    def run(reader: str, volume: Path) -> dict[str, Any]:
        assert program.stdin is not None
        assert program.stdout is not None
        request = {"reader": reader, "volume": str(volume), "seconds": SECONDS}
        program.stdin.write(json.dumps(request).encode() + b"\n")
        program.stdin.flush()
        answer: dict[str, Any] = json.loads(program.stdout.readline())
        return answer

    yield run
    program.stdin.close()
    program.wait(SECONDS)
    program.stdout.close()


VOLATILE = ("seconds", "device", "device_before", "device_after", "last_step", "kernel_log", "mount")


def essence(reader: str, answer: Mapping[str, Any]) -> Any:
    """What the answer says of the volume: that it was refused, or what was seen."""
    if "said" not in answer:
        return "refused"
    said = dict(answer["said"])
    if reader != "ntfs-3g":
        return said
    return "refused" if not said["mount"]["ok"] else {key: said[key] for key in said if key not in VOLATILE}


@pytest.fixture(scope="module")
def before(
    bases: Mapping[str, Path], reading: Callable[[str, Path], dict[str, Any]]
) -> Callable[[str, str], dict[str, Any]]:
    """What a reader says of a sound base."""
    held: dict[tuple[str, str], dict[str, Any]] = {}

    def run(reader: str, base: str) -> dict[str, Any]:
        if (reader, base) not in held:
            held[reader, base] = reading(reader, bases[base])
        return held[reader, base]

    return run


@pytest.mark.parametrize("base", BASES)
def test_a_base_is_sound(before: Callable[[str, str], dict[str, Any]], base: str) -> None:
    manifest = base_recipe(base).manifest()
    for reader in ("libfsntfs", "sleuthkit"):
        assert verify(reader, manifest, Manifest.from_json(before(reader, base)["said"])).wrong == ()
    verdict = judge(manifest, State.CLEAN, before("ntfs-3g", base)["said"])
    assert (verdict.finding, verdict.reason) == (Finding.CORRECT, "")


@pytest.mark.parametrize("name", mutations)
def test_no_reader_goes_mad_and_some_reader_notices(
    spoiled: Callable[..., Path],
    reading: Callable[[str, Path], dict[str, Any]],
    before: Callable[[str, str], dict[str, Any]],
    name: str,
) -> None:
    mutation = mutations[name]
    volume = spoiled(mutation)
    manifest = hostile_recipe(mutation).manifest()
    noticed = set()
    for reader in READERS:
        answer = reading(reader, volume)
        assert not answer.get("late"), f"{reader} hangs"
        assert not answer.get("signal"), f"{reader} crashes"
        if essence(reader, answer) != essence(reader, before(reader, mutation.base)):
            noticed.add(reader)
        if reader == "ntfs-3g":
            assert_no_harm(judge(manifest, State.DAMAGED, answer["said"]))
        elif "said" in answer:
            wrong = verify(reader, manifest, Manifest.from_json(answer["said"])).wrong
            assert [one_ for one_ in wrong if not manifest.is_fragile(one_.path)] == []
    assert bool(noticed) is (name not in UNNOTICED), noticed


def assert_no_harm(verdict: Verdict) -> None:
    """ntfs-3g is under test itself: it may show wrong data, and then only where something is damaged."""
    assert verdict.outcome is not Outcome.ERROR, verdict.reason
    assert verdict.finding not in {Finding.CRASH, Finding.HANG, Finding.DAMAGED}, verdict.reason


@pytest.mark.parametrize("reader", READERS)
def test_the_readers_come_back_by_themselves(spoiled: Callable[..., Path], reader: str) -> None:
    """As the lab runs them, each on a directory that has no end and on a volume that is none."""
    if why := readers[reader].missing():
        pytest.skip(why)
    manifest = hostile_recipe(mutations["index-own-child"]).manifest()
    seen = readers[reader].read(spoiled(mutations["index-own-child"]), Deadline(2 * SECONDS))
    assert all(manifest.is_fragile(one_.path) for one_ in verify(reader, manifest, seen).wrong)
    nothing = spoiled(mutations["boot-sector-zero"])
    with pytest.raises(ImageError, match=rf"^{nothing}: {reader}: "):
        readers[reader].read(nothing, Deadline(2 * SECONDS))


@pytest.mark.parametrize("name", mutations)
def test_the_labs_own_library_reads_it_or_says_that_it_cannot(spoiled: Callable[..., Path], name: str) -> None:
    """In this process, so that it has to come back."""
    volume = spoiled(mutations[name])
    assert state_of(volume) in {State.CLEAN, State.UNCLEAN_LOG, State.DAMAGED}
    with suppress(ImageError), Mft.open(volume) as mft:
        for _, found in mft.used():
            with suppress(ImageError):
                for each in attributes(found, place=""):
                    assert isinstance(
                        each.value if each.resident else tuple(runs(each.runlist, place="")), bytes | tuple
                    )
    with suppress(ImageError), Mft.open(volume) as mft:
        pending, known = [ROOT], set()
        while pending:
            if (number := pending.pop()) not in known:
                known.add(number)
                with suppress(ImageError):
                    pending += [slot.record for slot in children(mft, number, place="")]


def test_an_entry_that_is_shorter_than_its_key_is_told_from_others(spoiled: Callable[..., Path]) -> None:
    complaint = r"^x\+0x\w+: key of 188 bytes in an index entry of 24$"
    with (
        Mft.open(spoiled(mutations["index-entry-short"])) as mft,
        pytest.raises(ImageError, match=complaint),
    ):
        list(children(mft, lookup(mft, "broken", place="x"), place="x"))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("ea-loop", r"\+0x20: extended attribute of 0 bytes does not fit$"),
        ("ea-outside", r"\+0x20: extended attribute of \d+ bytes does not fit$"),
        ("ea-name-long", r"\+0x20: extended attribute of 32 bytes does not fit$"),
        ("ea-value-long", r"\+0x20: extended attribute of 32 bytes does not fit$"),
    ],
)
def test_the_labs_own_decoder_notices_what_no_reader_shows(
    spoiled: Callable[..., Path], name: str, complaint: str
) -> None:
    with Mft.open(spoiled(mutations[name])) as mft:
        found = find(mft.read(lookup(mft, "attributes.txt", place="")), EA, place="")
        with pytest.raises(ImageError, match=rf"^\$EA{complaint}"):
            list(extended_attribute.decode(found.value, place="$EA"))


@pytest.mark.parametrize(
    ("name", "outcome", "finding", "reason"),
    [
        (
            "boot-sector-zero",
            Outcome.PASS,
            Finding.REFUSED,
            r"refused \(ro, damaged volume\): Unexpected bytes per sector",
        ),
        (
            "runs-behind",
            Outcome.PASS,
            Finding.DEGRADED,
            r"degraded: read-errors: 'victim.bin': read: Input/output error$",
        ),
        (
            "index-entry-zero",
            Outcome.PASS,
            Finding.DEGRADED,
            r"degraded: read-errors: 'broken': list: Input/output error$",
        ),
        ("runs-twice", Outcome.PASS, Finding.CORRECT, "$"),
        ("mft-bitmap-zero", Outcome.PASS, Finding.CORRECT, "$"),
        (
            "clusters-as-resident",
            Outcome.FAIL,
            Finding.WRONG_DATA,
            r"wrong-data: 'victim.bin': size from byte 0: expected 81920, observed 0$",
        ),
        (
            "index-no-blocks",
            Outcome.FAIL,
            Finding.WRONG_DATA,
            r"wrong-data: 'broken/00, .*': missing: .* \(and 29 more\)$",
        ),
    ],
)
def test_the_judge_tells_loud_from_silent(  # noqa: PLR0913, PLR0917 - two fixtures and four expectations
    spoiled: Callable[..., Path],
    reading: Callable[[str, Path], dict[str, Any]],
    name: str,
    outcome: Outcome,
    finding: Finding,
    reason: str,
) -> None:
    said = reading("ntfs-3g", spoiled(mutations[name]))["said"]
    verdict = judge(hostile_recipe(mutations[name]).manifest(), State.DAMAGED, said)
    assert (verdict.outcome, verdict.finding) == (outcome, finding)
    assert re.match(reason, verdict.reason), verdict.reason


SHA, BLOCKS = digest((b"hello",), 5)
TRUTH = Manifest(
    tuple(Entry(path, Kind.FILE, 5, SHA, BLOCKS, streams=()) for path in ("a.txt", "b.txt")),
    fragile=frozenset({"a.txt"}),
)
MOUNTED = {"ok": True, "type": "ntfs3", "options": "ro", "super_options": "ro", "source": "x"}
EIO = {"errno": errno.EIO, "text": "Input/output error"}


def seen(*entries: Mapping[str, Any], errors: tuple[Mapping[str, Any], ...] = (), **changed: Any) -> dict[str, Any]:
    base = {
        "schema": "lab.ntfs.probe/1",
        "operation": "mount-and-read",
        "driver": "ntfs3",
        "kind": "kernel",
        "type_asked": "ntfs3",
        "options_asked": "ro",
        "streams_as": "none",
        "kernel": "6.12.1",
        "ended": "complete",
        "mount": MOUNTED,
        "entries": [{"kind": "file", **entry} for entry in entries],
        "errors": list(errors),
    }
    return {**base, **changed}


A, B = ({"path": path, "size": 5, "sha256": SHA, "blocks": list(BLOCKS)} for path in ("a.txt", "b.txt"))
WRONG = {"size": 5, "sha256": "0" * 64, "blocks": [1]}


@pytest.mark.parametrize(
    ("document", "outcome", "finding", "reason"),
    [
        (seen(A, B), Outcome.PASS, Finding.CORRECT, ""),
        (
            seen({"path": "a.txt", "size": 9}, B, errors=({"path": "a.txt", "operation": "read", **EIO},)),
            Outcome.PASS,
            Finding.DEGRADED,
            "degraded: read-errors: 'a.txt': read: Input/output error",
        ),
        (
            seen(A, {"path": "b.txt", "size": 5}, errors=({"path": "b.txt", "operation": "read", **EIO},)),
            Outcome.UNSUPPORTED,
            Finding.DEGRADED,
            "degraded: read-errors: 'b.txt': read: Input/output error",
        ),
        (
            seen({"path": "a.txt", **WRONG}, B),
            Outcome.FAIL,
            Finding.WRONG_DATA,
            f"wrong-data: 'a.txt': bytes from byte 0: expected {SHA}, observed {'0' * 64}",
        ),
        (
            seen({"path": "a.txt", **WRONG}, B, errors=({"path": "a.txt", "operation": "xattr user.x", **EIO},)),
            Outcome.FAIL,
            Finding.WRONG_DATA,
            f"wrong-data: 'a.txt': bytes from byte 0: expected {SHA}, observed {'0' * 64}",
        ),
        (
            seen(B),
            Outcome.FAIL,
            Finding.WRONG_DATA,
            "wrong-data: 'a.txt': missing: expected file of 5 bytes, observed nothing",
        ),
        (
            seen(A, {"path": "b.txt", "size": 9}, errors=({"path": "b.txt", "operation": "read", **EIO},)),
            Outcome.FAIL,
            Finding.WRONG_DATA,
            "wrong-data: 'b.txt': size: expected 5, observed 9",
        ),
        (
            seen(A, B, errors=({"path": "/mnt", "operation": "unmount", **EIO},)),
            Outcome.UNSUPPORTED,
            Finding.DEGRADED,
            "degraded: read-errors: '/mnt': unmount: Input/output error",
        ),
        (
            seen(driver="ntfs-3g", kind="fuse", daemon_status=-11),
            Outcome.FAIL,
            Finding.CRASH,
            "crash: ntfs-3g was ended by signal 11",
        ),
        (
            seen(driver="ntfs-3g", kind="fuse", mount={"ok": False, "cause": "refused", "text": "", "status": -6}),
            Outcome.FAIL,
            Finding.CRASH,
            "crash: ntfs-3g was ended by signal 6",
        ),
        (
            seen(driver="ntfs-3g", kind="fuse", mount={"ok": False, "cause": "refused", "text": "no", "status": 13}),
            Outcome.PASS,
            Finding.REFUSED,
            "refused (ro, damaged volume): no",
        ),
        (
            seen(A, {"path": "b.txt", **WRONG}, device_before="0", device_after="1"),
            Outcome.FAIL,
            Finding.DAMAGED,
            f"damaged: volume-unchanged: 1; bytes: 'b.txt': bytes from byte 0: expected {SHA}, observed {'0' * 64}",
        ),
        (
            seen(A, B, device_before="0", device_after="1"),
            Outcome.FAIL,
            Finding.DAMAGED,
            "damaged: volume-unchanged: 1",
        ),
    ],
)
def test_loud_or_right(document: Mapping[str, Any], outcome: Outcome, finding: Finding, reason: str) -> None:
    verdict = judge(TRUTH, State.DAMAGED, document)
    assert (verdict.outcome, verdict.finding, verdict.reason) == (outcome, finding, reason)


def test_all_of_a_volume_may_fail_and_yet_not_be_unmounted() -> None:
    everything = dataclasses.replace(TRUTH, fragile=frozenset({""}))
    failed = ({"path": "/mnt", "operation": "unmount", **EIO}, {"path": "b.txt", "operation": "xattr x", **EIO})
    verdict = judge(everything, State.DAMAGED, seen(A, B, errors=failed))
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    assert verdict.reason == "degraded: read-errors: '/mnt': unmount: Input/output error"


def test_what_is_fragile_outlives_a_document() -> None:
    assert Manifest.from_json(TRUTH.to_json()) == TRUTH
    assert TRUTH.is_fragile("a.txt/below")
    assert not TRUTH.is_fragile("b.txt")
    assert "fragile" not in dataclasses.replace(TRUTH, fragile=frozenset()).to_json()


def test_there_are_enough_of_every_kind() -> None:
    assert len(mutations) >= 100
    assert len(KINDS) == 8
    assert {mutation.good for mutation in mutations.values()} == set(Good)
    assert set(UNNOTICED) < set(mutations)


@pytest.mark.parametrize("name", mutations)
def test_a_mutation_is_a_recipe_that_nobody_gets_unasked(name: str) -> None:
    mutation, recipe = mutations[name], recipes[f"hostile-{name}"]
    assert recipe == recipes[recipe.name]
    assert (recipe.hostile, recipe.state) == (True, State.DAMAGED)
    assert recipe.description == f"{mutation.breaks}; a good driver: {mutation.good.value}"
    manifest = recipe.manifest()
    assert manifest.unsure == frozenset()
    assert {entry.path for entry in manifest.entries} == {
        entry.path for entry in base_recipe(mutation.base).manifest().entries
    }
    assert set(mutation.costs) <= set(manifest.by_path)
    assert bool(mutation.costs) is (mutation.good is Good.ERROR)
    assert manifest.is_fragile("bystander.bin") is (mutation.good is Good.REFUSE)
    assert mutation.breaks
    assert "(fs/ntfs3/" in mutation.structure, "with its source"


def test_only_hostile_recipes_are_hostile() -> None:
    assert {name for name in recipes if recipes[name].hostile} == {f"hostile-{name}" for name in mutations}


def test_what_a_mutation_lawfully_shows_is_in_its_manifest() -> None:
    twice = hostile_recipe(mutations["runs-twice"]).manifest().by_path["victim.bin"]
    sound = base_recipe("plain").manifest().by_path["victim.bin"]
    assert (twice.size, twice.times) == (sound.size, sound.times)
    assert twice.blocks is not None
    assert sound.blocks is not None
    assert twice.blocks == sound.blocks[:10] * 2
    assert hostile_recipe(mutations["ea-loop"]).manifest().by_path["attributes.txt"].eas is None
    assert base_recipe("eas").manifest().by_path["attributes.txt"].eas


def test_a_seed_makes_another_recipe() -> None:
    again = hostile_recipe(mutations["runs-across-end"], 7)
    assert again.name == "hostile-runs-across-end-7"
    assert again.serial != recipes["hostile-runs-across-end"].serial


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("name", ["runs-behind", "boot-sector-zero", "list-to-free"])
def test_a_recipe_builds_what_its_mutation_spoils(tmp_path: Path, name: str) -> None:
    recipe = recipes[f"hostile-{name}"]
    volume = build(recipe, tmp_path, Deadline(60))
    again = build(recipe, tmp_path / "again", Deadline(60))
    assert volume.path.read_bytes() == again.path.read_bytes()
    sound = build(dataclasses.replace(recipe, edits=()), tmp_path / "sound", Deadline(60))
    claimed = tuple(spans(mutations[name], sound.path))
    changed = list(differing(sound.path.read_bytes(), volume.path.read_bytes()))
    assert changed
    assert all(any(start <= at < start + size for start, size in claimed) for at in changed)


def test_the_table_has_a_line_for_each() -> None:
    lines = table().splitlines()
    assert len(lines) == 2 + len(mutations)
    assert (
        "| `hostile-boot-sector-zero` | sectors of no bytes | bytes_per_sector in struct NTFS_BOOT (fs/ntfs3/ntfs.h), "
        "read by ntfs_init_from_boot (fs/ntfs3/super.c) | refuse mount | anything |"
    ) in lines
    assert all(line.count(" | ") == 4 for line in lines[2:])


def test_one_name_stands_for_one_mutation() -> None:
    with pytest.raises(ValueError, match=r"^mutation 'runs-behind' is registered twice; held by Mutation\("):
        mutations.add(mutations["runs-behind"])
