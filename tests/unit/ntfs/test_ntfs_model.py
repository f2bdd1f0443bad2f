"""The model of a file system against a real one: the probe's own steps in a folder of this machine."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lab.errors import LabError
from lab.ntfs import probe
from lab.ntfs.manifest import Entry, Kind, Manifest, digest
from lab.ntfs.operations import Model, Result, Step
from lab.ntfs.operations.bytes import Bytes
from lab.ntfs.operations.expectation import expect
from lab.ntfs.operations.model import content_of
from lab.ntfs.operations.source import NOTHING, Held
from lab.ntfs.operations.step import HOLE, KEEP_SIZE
from lab.ntfs.volumes.content import Extent

PAGE = 1 << 16

NAMES = st.sampled_from(["a", "b", "dir", "dir/a", "dir/b", "dir/sub", "dir/sub/a", "\u6f22"])
SIZES = st.sampled_from([0, 1, 700, 4096, 5000, PAGE, PAGE + 1, 3 * PAGE + 17])


def steps() -> st.SearchStrategy[Step]:
    """One of any that a plain folder can have done to it; links, fifos and times apart, whose effects differ there."""

    def step(do: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
        return st.builds(lambda path, words: Step(do, path, "part", words), NAMES, st.fixed_dictionaries(more))

    content = {"seed": st.sampled_from("xy"), "length": SIZES, "form": st.sampled_from(["noise", "text"])}
    modes = st.sampled_from([0, KEEP_SIZE, HOLE | KEEP_SIZE])
    some = st.sampled_from([1, 5000, PAGE + 1])
    return st.one_of(
        step("mkdir"),
        step("create", **content),
        step("create", **content, piece=st.sampled_from([777, 4096])),
        step("write", offset=SIZES, **content),
        step("append", **content),
        step("map", offset=SIZES, **{**content, "length": some}),
        step("truncate", size=SIZES),
        step("fallocate", mode=modes, offset=SIZES, length=SIZES),
        step("rename", to=NAMES),
        step("link", to=NAMES),
        step("unlink"),
        step("rmdir"),
        step("setxattr", name=st.sampled_from(["user.one", "user.two"]), seed=st.just("x"), length=st.just(30)),
        step("removexattr", name=st.sampled_from(["user.one", "user.two"])),
    )


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder in which files have holes and attributes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108 - in memory, and under a name of its own
        try:
            os.setxattr(folder, "user.lab", b"")
        except OSError:
            pytest.skip("no extended attributes in the folder for temporary files")
        yield Path(folder)


def number_of(model: Model, step: Step) -> int:
    """The errno with which the model refuses a step, or 0 when it was done."""
    try:
        model.do(step)
    except OSError as refused:
        return refused.errno or -1
    return 0


def found(root: Path) -> dict[str, Any]:
    """All that is below a folder: a directory is None, a file its bytes, number of names and attributes."""
    held: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        attributes = {name: os.getxattr(path, name) for name in os.listxattr(path) if name.startswith("user.")}
        name = str(path.relative_to(root))
        held[name] = attributes, None if path.is_dir() else (path.read_bytes(), path.stat().st_nlink)
    return held


def modelled(model: Model) -> dict[str, Any]:
    """The same of a model."""
    held: dict[str, Any] = {}
    for path, node in sorted(model.nodes()):
        attributes = {name: value for name, value in node.attached.items() if value is not None}
        content = None if node.content is None else (b"".join(node.content.chunks()), node.entry.names)
        held[path] = attributes, None if node.is_directory else content
    return held


def a_step(do: str, path: str, **more: object) -> Step:
    return Step(do, path, "part", more)


FULL = {"seed": "x", "length": 5000}

RARE = (
    [a_step("create", "a", **FULL), a_step("link", "a", to="b"), a_step("rename", "a", to="b")],
    [a_step("mkdir", "dir"), a_step("create", "dir/a", **FULL), a_step("rename", "dir/a", to="dir")],
    [a_step("mkdir", "dir"), a_step("mkdir", "dir/sub"), a_step("rename", "dir", to="dir/sub")],
    [a_step("create", "a", **FULL), a_step("fallocate", "a", mode=0, offset=0, length=700)],
    [a_step("create", "dir", **FULL), a_step("rename", "a", to="dir/a")],
    [a_step("mkdir", "dir"), a_step("mkdir", "b"), a_step("rename", "dir", to="b"), a_step("rmdir", "b")],
)
"""What chance seldom comes to."""


@example(RARE[0])
@example(RARE[1])
@example(RARE[2])
@example(RARE[3])
@example(RARE[4])
@example(RARE[5])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planned=st.lists(steps(), max_size=12))
def test_a_step_has_the_effect_that_it_has_on_a_real_file_system(ground: Path, planned: list[Step]) -> None:
    with tempfile.TemporaryDirectory(dir=ground) as root:
        model = Model(Manifest(()), NOTHING)
        for step in planned:
            result = Result.from_json(probe.take(os.fsencode(root), step.to_json()))
            assert (str(step), result.number) == (str(step), number_of(model, step))
        assert modelled(model) == found(Path(root))
        for path, node in model.nodes():
            entry = node.found(path)
            if node.content is not None:
                raw = (Path(root) / path).read_bytes()
                assert (entry.size, entry.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
                for offset, length in entry.holes or ():
                    assert not any(raw[offset : offset + length])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), SIZES, SIZES),
            st.tuples(st.just("clear"), SIZES, SIZES),
            st.tuples(st.just("resize"), SIZES, st.just(0)),
        ),
        max_size=8,
    )
)
@settings(max_examples=100, deadline=None)
def test_bytes_in_pages_are_bytes(changes: list[tuple[str, int, int]]) -> None:
    plain, paged = bytearray(), Bytes()
    for do, offset, length in changes:
        raw = Extent(0, length, f"{offset}").bytes() if length else b""
        if do == "write":
            if raw:
                plain.extend(bytes(max(0, offset - len(plain))))
                plain[offset : offset + length] = raw
            paged.write(offset, raw)
        elif do == "clear":
            end = min(offset + length, len(plain))
            plain[offset:end] = bytes(max(0, end - offset))
            paged.clear(offset, length)
        else:
            del plain[offset:]
            plain.extend(bytes(offset - len(plain)))
            paged.resize(offset)
    assert b"".join(paged.chunks()) == plain
    assert paged.digest() == digest((bytes(plain),), len(plain))


def test_where_holes_may_lie() -> None:
    some = Bytes.of(b"x" + bytes(600) + b"y" + bytes(400) + b"z" + bytes(5))
    some.resize(3 * PAGE)
    assert some.zeros() == ((1, 600), (1003, 3 * PAGE - 1003))


@pytest.mark.parametrize("form", ["noise", "text"])
@pytest.mark.parametrize("length", [1, 63, 64, 65, 5000])
def test_both_sides_make_the_same_bytes(form: str, length: int) -> None:
    step = Step("create", "a", "part", {"seed": "a seed", "length": length, "form": form})
    assert probe.generated("a seed", length, form) == content_of(step)


BEFORE = Manifest(
    (
        Entry("kept", Kind.DIRECTORY),
        Entry("kept/a", Kind.FILE, 5, *digest((b"hello",), 5), streams=(), names=2),
        Entry("b", Kind.FILE, 5, *digest((b"hello",), 5), streams=(), names=2),
        Entry("c", Kind.FILE, 3, *digest((b"odd",), 3), streams=(), names=1, short_name="C~1"),
    )
)
SOURCE = Held({"b": b"hello", "c": b"odd"}, {"kept/a": 40, "b": 40, "c": 41})


def test_what_is_written_through_one_name_is_seen_through_the_other() -> None:
    model = Model(BEFORE, SOURCE)
    model.do(Step("append", "b", "append/linked", {"seed": "s", "length": 4}))
    after = model.manifest().by_path
    assert after["kept/a"].size == after["b"].size == 9
    assert after["c"] == BEFORE.by_path["c"]
    model.do(Step("unlink", "b", "delete/linked"))
    assert (model.manifest().by_path["kept/a"].names, "b" in model.manifest().by_path) == (1, False)


def test_what_the_volume_held_before_must_be_what_the_manifest_says() -> None:
    lying = Held({"c": b"not"}, {"c": 41})
    with pytest.raises(LabError) as caught:
        Model(BEFORE, lying).do(Step("append", "c", "append/resident", {"seed": "s", "length": 4}))
    assert str(caught.value).startswith("'c': read before the steps as 3 bytes, ")
    with pytest.raises(LabError) as caught:
        Model(BEFORE, Held(numbers={"c": 41})).do(Step("truncate", "c", "truncate/resident", {"size": 1}))
    assert str(caught.value) == "'c': nobody has read it"


def test_an_alias_goes_with_the_name_that_it_stood_beside() -> None:
    model = Model(BEFORE, SOURCE)
    like = {"like": "c"}
    assert model.do(Step("lookup", "C~1", "short-name/lookup", like)) is True
    assert model.do(Step("lookup", "b", "short-name/lookup", like)) is False
    model.do(Step("rename", "c", "rename/resident", {"to": "d"}))
    # Whether an alias is a name of its own, drivers do not agree: of what had one, the count is open.
    assert model.manifest().by_path["d"].names is None
    with pytest.raises(FileNotFoundError):
        model.do(Step("lookup", "C~1", "short-name/lookup", {"like": "d"}))


Do = Callable[..., Any]


def expected(*pairs: tuple[Step, Mapping[str, Any]]) -> Any:
    results = [Result.from_json(result) for _, result in pairs]
    return expect(BEFORE, SOURCE, [step for step, _ in pairs], results, streams=True)


NO_ROOM = {"errno": errno.ENOSPC, "text": "No space left on device"}
NOT_SUPPORTED = {"errno": errno.EOPNOTSUPP, "text": "Operation not supported"}


def test_a_write_that_broke_off_leaves_nobody_sure_of_the_bytes() -> None:
    step = Step("append", "c", "append/resident", {"seed": "s", "length": 4})
    assert expected((step, NO_ROOM)).manifest.by_path["c"].sha256 is None
    again = Step("append", "c", "append/resident", {"seed": "t", "length": 4})
    mapped = Step("map", "c", "append/resident", {"seed": "t", "offset": 1, "length": 4})
    after = expected((step, NO_ROOM), (again, {}), (mapped, {}))
    assert (after.manifest.by_path["c"].sha256, after.lies) == (None, ())
    # Who says that it cannot at all must have left everything as it was.
    assert expected((step, NOT_SUPPORTED)).manifest.by_path["c"] == BEFORE.by_path["c"]


def test_of_a_file_that_was_not_created_nobody_knows_whether_it_is_there() -> None:
    step = Step("create", "new", "create/empty", {"length": 0})
    after = expected((step, NO_ROOM)).manifest
    assert after.is_unsure("new")
    assert "new" not in after.by_path


def test_what_fails_because_something_before_it_did_is_told_apart() -> None:
    made, inside, other = (
        Step("mkdir", "new", "tree/deep"),
        Step("create", "new/file", "tree/deep", {"length": 0}),
        Step("rmdir", "kept/none", "tree/deep"),
    )
    missing = {"errno": errno.ENOENT, "text": "No such file or directory"}
    refusals = expected((made, NO_ROOM), (inside, missing), (other, missing)).refusals
    assert [refusal.follows for refusal in refusals] == [False, True, False]
    assert str(refusals[0]) == "mkdir 'new': ENOSPC: No space left on device"


def test_a_directory_that_is_not_empty_because_of_a_refusal_follows_from_it() -> None:
    too_long = {"errno": errno.ENAMETOOLONG, "text": "File name too long"}
    not_empty = {"errno": errno.ENOTEMPTY, "text": "Directory not empty"}
    steps = (Step("unlink", "kept/a", "delete/directory"), Step("rmdir", "kept", "delete/directory"))
    after = expected((steps[0], too_long), (steps[1], not_empty))
    assert [refusal.follows for refusal in after.refusals] == [False, True]
    assert [refusal.follows for refusal in expected((steps[1], not_empty)).refusals] == [False]


def test_a_step_that_cannot_have_been_done_is_a_lie() -> None:
    after = expected(
        (Step("rmdir", "kept", "tree/deep"), {}), (Step("lookup", "b", "x", {"like": "c"}), {"value": True})
    )
    assert [(str(step), why) for step, why in after.lies] == [
        ("rmdir 'kept'", "Directory not empty"),
        ("lookup 'b'", "False expected, True said"),
    ]
    assert after.manifest.entries == BEFORE.entries
    assert after.part_of("kept/a") == ""


@pytest.mark.parametrize(
    ("trimmed", "free", "why"),
    [(29507584, 29478912, ["29507584 bytes were trimmed, 28672 more than were free"]), (4096, 4096, []), (0, 4096, [])],
)
def test_a_trim_of_more_than_is_free_was_one_of_clusters_in_use(trimmed: int, free: int, why: list[str]) -> None:
    step = Step("trim", "", "trim/volume")
    after = expected((step, {"value": {"trimmed": trimmed, "free": free}}))
    assert [said for _, said in after.lies] == why
    assert after.done == (step,)


def test_of_what_was_never_tried_nothing_is_expected() -> None:
    tried, never = Step("unlink", "c", "delete/resident"), Step("unlink", "b", "delete/linked")
    after = expect(BEFORE, SOURCE, [tried, never], [Result()], streams=True)
    assert set(after.manifest.by_path) == {"kept", "kept/a", "b"}
    assert after.part_of("c") == "delete/resident"


def test_to_cut_a_file_to_the_size_that_it_has_is_no_change_of_it() -> None:
    model = Model(BEFORE, SOURCE)
    for size, moved in ((5, False), (4, True), (4, True)):
        model.do(Step("truncate", "b", "truncate/resident", {"size": size}))
        assert ("modified" in dict(model.nodes())["b"].moved) is moved
