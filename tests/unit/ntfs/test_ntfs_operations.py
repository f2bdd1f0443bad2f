"""What an operation does to which volume: targets of every kind that is there, never more than there is room for."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.deadline import Deadline
from lab.engine.names import known_names
from lab.errors import ImageError, UnknownNameError
from lab.ntfs import probe
from lab.ntfs.manifest import Entry, Kind, Manifest, digest
from lab.ntfs.operations import Layout, Model, Stored, Terrain, operations, table, terrain_of, to_text
from lab.ntfs.operations.everything import ORDER
from lab.ntfs.operations.lznt1 import unpack
from lab.ntfs.operations.model import _DO
from lab.ntfs.operations.plan import MOST_BYTES, MOST_STEPS, Plan
from lab.ntfs.operations.step import UNSUPPORTED, Result, Step
from lab.ntfs.operations.stored_reading import read_stored
from lab.ntfs.readers import verify
from lab.ntfs.volumes import Volume, recipes

SHA, BLOCKS = digest((bytes(100),), 100)


def file(path: str, size: int = 100, **more: object) -> Entry:
    return Entry(path, Kind.FILE, size, SHA, BLOCKS, streams=(), names=1, **more)  # type: ignore[arg-type] # of many types


def plan(entries: Mapping[Entry, str], *, free: int = 1 << 30, cluster: int = 4096, each: int = 2) -> Plan:
    layouts = {entry.path: Layout(40 + at, kind) for at, (entry, kind) in enumerate(entries.items())}
    return Plan(Manifest(tuple(entries)), Terrain(cluster, 1024, free, layouts), each=each)


def test_of_each_kind_the_smallest_and_the_largest_are_taken_and_none_twice() -> None:
    files = {file(f"{size}", size): "resident" for size in (1, 2, 3, 4)} | {file("packed", 9): "compressed"}
    made = plan(files)
    assert [(target.path, target.kind) for target in made.files()] == [
        ("1", "resident"),
        ("4", "resident"),
        ("packed", "compressed"),
    ]
    assert [target.path for target in made.files(count=1)] == ["2"]
    assert [target.path for target in made.files()] == ["3"]
    assert made.files() == []


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (file("a", 100, attributes=1), "resident"),
        (file("a", 100 << 20), "non-resident"),
        (file("hiberfil.sys"), "non-resident"),
        (file("a"), "encrypted"),
        (file("a"), ""),
        (file("a.", short_name="A"), ""),
        (Entry("a", Kind.FILE, 100), "resident"),
        (Entry("a", Kind.SYMLINK, target="b"), "resident"),
        (file("$Extend"), "resident"),
    ],
    ids=[
        "read-only",
        "large",
        "hibernation",
        "encrypted",
        "reparse",
        "reparse with more",
        "unknown bytes",
        "link",
        "system",
    ],
)
def test_what_is_no_target(entry: Entry, kind: str) -> None:
    assert plan({entry: kind}).files() == []


def test_what_nobody_is_sure_of_is_no_target() -> None:
    layouts = {"a/b": Layout(40, "resident"), "c": Layout(41, "resident")}
    manifest = Manifest((file("a/b"), file("c")), unsure=frozenset({"a"}), fragile=frozenset({"c"}))
    assert Plan(manifest, Terrain(4096, 1024, 1 << 30, layouts)).files() == []


def test_a_directory_with_something_doubtful_in_it_is_not_moved() -> None:
    paths = ("a", "a/broken", "b", "b/whole")
    entries = tuple(file(path) if "/" in path else Entry(path, Kind.DIRECTORY) for path in paths)
    layouts = {path: Layout(40 + at, "resident" if "/" in path else "small") for at, path in enumerate(paths)}
    made = Plan(Manifest(entries, fragile=frozenset({"a/broken"})), Terrain(4096, 1024, 1 << 30, layouts))
    spare = made.spare_directory()
    assert spare is not None
    assert spare.path == "b"
    assert made.files() == []
    assert made.spare_directory() is None


def test_what_a_file_has_besides_bytes_makes_it_a_target_too() -> None:
    files = {
        file("a"): "resident",
        file("b"): "resident",
        file("m" * 250): "resident",
        file("n\u6f22"): "resident",
        file("o\U0001f600"): "resident",
        file("p."): "resident",
        file("q", short_name="Q~1"): "resident",
        file("z"): "resident",
    }
    kinds = [target.kind for target in plan(files).files()]
    assert kinds == ["resident", "resident", "long-name", "cjk", "emoji", "odd-name", "aliased"]


def test_one_file_of_two_names_is_a_target_of_its_own_kind() -> None:
    layouts = {"a": Layout(40, "resident"), "b": Layout(40, "resident"), "c": Layout(41, "resident")}
    made = Plan(Manifest((file("a"), file("b"), file("c"))), Terrain(4096, 1024, 1 << 30, layouts))
    assert [target.path for target in made.files()] == ["c"]
    assert [(target.path, target.kind) for target in made.linked()] == [("a", "linked")]


def test_no_more_is_written_than_there_is_room_for() -> None:
    made = plan({}, free=30 * 4096)
    assert not made.do("create", "a", "create/new", length=11 * 4096)
    assert made.do("create", "b", "create/new", length=9 * 4096 + 1)
    # What fits an MFT record takes no cluster.
    assert made.do("create", "c", "create/new", length=300)
    assert not made.do("create", "d", "create/new", length=400)
    assert [step.path for step in made.steps] == ["b", "c"]


def test_there_is_an_end_to_steps() -> None:
    made = plan({})
    assert sum(made.do("mkdir", f"{at}", "tree/wide") for at in range(MOST_STEPS + 5)) == MOST_STEPS


def test_a_new_directory_does_not_get_the_name_of_an_old_one() -> None:
    made = plan({Entry("lab create", Kind.DIRECTORY): "small"})
    assert (made.fresh("create"), made.fresh("create")) == ("lab create+", "lab create++")


VOLUMES = ("clean", "compressed", "sparse", "streams", "dirty")


@pytest.mark.parametrize("name", VOLUMES)
def test_every_operation_can_be_done_to_the_model(built: Mapping[str, Volume], name: str) -> None:
    volume = built[name]
    terrain = terrain_of(volume.path, Deadline(30))
    source = Stored(volume.path, terrain)
    for operation in operations.values():
        steps = operation.steps(volume.manifest, terrain, source)
        assert steps == operation.steps(volume.manifest, terrain, source)
        assert json.loads(to_text(steps)) == [step.to_json() for step in steps]
        assert len(to_text(steps)) < 100_000
        written = sum(int(step.more.get("length", 0)) for step in steps if step.do in {"create", "write", "append"})
        assert written <= MOST_BYTES
        model = Model(volume.manifest, source)
        for step in steps:
            model.do(step)
            assert step.part.split("/")[0] in {operation.name, "rename", *operations}
        assert operation.write == bool(steps) or operation.name == "short-name"


def test_everything_has_all_operations(built: Mapping[str, Volume]) -> None:
    assert {one.__name__.strip("_").replace("_", "-") for one in ORDER} == set(operations) - {"everything", "read"}
    volume = built["clean"]
    terrain = terrain_of(volume.path, Deadline(30))
    steps = operations["everything"].steps(volume.manifest, terrain, Stored(volume.path, terrain))
    done = {step.part.split("/")[0] for step in steps}
    assert done == set(operations) - {"everything", "read", "short-name"}
    # Targets are distinct: no existing file has two operations done to it.
    by_target: dict[str, set[str]] = {}
    for step in steps:
        entry = volume.manifest.by_path.get(step.path)
        if entry is not None and entry.kind is Kind.FILE:
            by_target.setdefault(step.path, set()).add(step.part.split("/")[0])
    assert {path: parts for path, parts in by_target.items() if len(parts) > 1} == {}


def test_the_kinds_of_content_are_all_written_to(built: Mapping[str, Volume]) -> None:
    seen: set[str] = set()
    for name in ("clean", "compressed", "sparse", "fragmented", "attribute-list", "valid-length", "hard-links"):
        volume = built[name]
        terrain = terrain_of(volume.path, Deadline(30))
        steps = operations["append"].steps(volume.manifest, terrain, Stored(volume.path, terrain))
        seen |= {step.part.removeprefix("append/") for step in steps}
    assert seen >= {
        "resident",
        "non-resident",
        "fragmented",
        "attribute-list",
        "sparse",
        "compressed",
        "valid-length",
        "linked",
        "new",
    }


def test_the_probe_and_the_model_know_the_same_steps() -> None:
    assert set(_DO) == set(probe.DO)


def test_scenarios_may_name_them() -> None:
    assert known_names().operations == set(operations)
    with pytest.raises(UnknownNameError) as caught:
        _ = operations["apend"]
    assert str(caught.value).startswith("no operation 'apend'")


# --- the lab's own eyes ------------------------------------------------------------------------------------------


OWN = (
    *VOLUMES,
    "fragmented",
    "attribute-list",
    "valid-length",
    "hard-links",
    "compressed-cluster-512",
    "unicode-names",
    "wof-lzx",
)


@pytest.mark.parametrize("name", OWN)
def test_the_labs_own_eyes_see_what_the_recipe_says(built: Mapping[str, Volume], name: str) -> None:
    volume = built[name]
    seen = verify("structures", volume.manifest, read_stored(volume.path, Deadline(60)))
    assert (seen.wrong, seen.excused) == ((), ())


def test_what_no_structure_tells_nobody_is_sure_of(built: Mapping[str, Volume], tmp_path: Path) -> None:
    recipe = recipes["damaged-torn-record"]
    seen = read_stored(built[recipe.name].path, Deadline(60))
    assert verify("structures", recipe.manifest(), seen).wrong == ()
    zeros = tmp_path / "zeros"
    zeros.write_bytes(bytes(4096))
    with pytest.raises(ImageError):
        read_stored(zeros, Deadline(10))


def test_lznt1_as_the_specification_has_it() -> None:
    """The example of [MS-XCA] 3.3."""
    packed = (
        "38b08846232000204720410010a24701a045204400084501507900c045200524"
        "138805b4024a44ef0358028c091601484500be009e000401189000"
    )
    text = (
        b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A "
        b"F# F# G A A G F# E D D E F# E D D\0"
    )
    assert unpack(bytes.fromhex(packed), len(text)) == text


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ("03b0010500", "LZNT1: 1 bytes back from byte 0 of a chunk"),
        ("01b00105", "LZNT1: a chunk ends inside an element"),
    ],
)
def test_lznt1_that_is_broken_is_loud(packed: str, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        unpack(bytes.fromhex(packed), 10)
    assert str(caught.value) == message


@given(st.binary(max_size=9000))
@settings(max_examples=30, deadline=None)
def test_lznt1_chunks_that_are_stored(raw: bytes) -> None:
    chunks = [raw[at : at + 4096] for at in range(0, len(raw), 4096)]
    packed = b"".join((0x3000 | len(chunk) - 1).to_bytes(2, "little") + chunk for chunk in chunks)
    assert unpack(packed, len(raw)) == raw


def test_lznt1_repeats() -> None:
    # A literal, then 4095 - 1 bytes from one byte back: displacement 12 bits wide becomes narrower as the chunk grows.
    packed = bytes.fromhex("04b0") + bytes([0b10]) + b"a" + (0x0FFC).to_bytes(2, "little") + bytes([0])
    assert unpack(packed, 4096)[:4095] == b"a" * 4095


@pytest.mark.parametrize(
    ("do", "number", "lack"),
    [
        ("unlink", errno.EOPNOTSUPP, True),
        ("unlink", errno.EIO, False),
        # The one says that an attribute is too long, the other says nothing of the kind: nobody asked how long it is.
        ("setxattr", errno.ERANGE, True),
        ("unlink", errno.ERANGE, False),
        ("rename", errno.ERANGE, False),
        ("rename", errno.ENAMETOOLONG, True),
    ],
)
def test_whether_a_refusal_is_a_lack_depends_on_what_was_refused(do: str, number: int, lack: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    step = Step(do, "star*", "delete/resident", {"to": "other"} if do == "rename" else {})
    assert Result(number, "refused").is_lack(step) is lack


def test_errors_that_mean_a_lack_are_known() -> None:
    assert {errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY, errno.EPERM} <= UNSUPPORTED
    assert not {errno.EIO, errno.EINVAL, errno.ENOSPC, errno.EROFS, errno.ENOENT} & UNSUPPORTED


def test_the_documentation_has_every_operation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "operations.md").read_text(encoding="utf-8")
    assert "\n<!-- generated: operations -->\n" in page
    for one in operations.values():
        assert f"| `{one.name}` | {'rw' if one.write else 'ro'} | {one.description} |\n" in table()
