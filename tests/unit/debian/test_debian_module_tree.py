"""Which files to load for a module, in which order."""

from __future__ import annotations

import lzma
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.deadline import Deadline
from lab.debian.module_tree import ModuleNotFoundInTreeError, ModuleTree, module_bytes, module_name
from tests.unit.debian.bzimages import pack
from tests.unit.debian.trees import RELEASE, all_needs, make_tree

NEEDS = {
    "crc16": (),
    "mbcache": (),
    "jbd2": ("crc16",),
    "ext4": ("jbd2", "mbcache"),
    "crc32c_generic": (),
    "crc32c-intel": (),
    "libcrc32c": (),
    "dm-mod": (),
    "dm-crypt": ("dm-mod",),
}


@pytest.fixture
def tree(tmp_path: Path) -> ModuleTree:
    made = make_tree(
        tmp_path,
        NEEDS,
        soft=[
            "softdep ext4 pre: crc32c",
            "softdep dm_crypt pre: mbcache libcrc32c post: ext4",
            "softdep jbd2 post: ext4",
        ],
        aliases=[
            "alias crc32c crc32c_intel",
            "alias crc32c crc32c_generic",
            "alias pci:v00008086d* crc32c_intel",
            "alias fs-ext4 ext4",
        ],
        builtin=["loop", "xen-blkfront"],
    )
    return ModuleTree(made)


def names(files: tuple[Path, ...]) -> list[str]:
    return [module_name(file.name) for file in files]


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("dm-mod", "dm_mod"),
        ("dm_mod.ko.xz", "dm_mod"),
        ("kernel/drivers/md/dm-mod.ko", "dm_mod"),
        ("ext4.ko.zst", "ext4"),
        ("loop", "loop"),
    ],
)
def test_a_module_is_known_by_the_kernels_own_spelling(spelled: str, name: str) -> None:
    assert module_name(spelled) == name


def test_a_module_comes_after_all_it_needs(tree: ModuleTree) -> None:
    assert names(tree.closure(["dm-crypt"]))[-2:] == ["dm_mod", "dm_crypt"]


def test_soft_dependencies_come_first_and_of_an_alias_the_portable_answer(tree: ModuleTree) -> None:
    assert names(tree.closure(["ext4"])) == ["crc32c_generic", "crc16", "jbd2", "mbcache", "ext4"]


def test_soft_dependencies_after_the_module_are_left_out(tree: ModuleTree) -> None:
    assert names(tree.closure(["dm_crypt"])) == ["mbcache", "libcrc32c", "dm_mod", "dm_crypt"]
    assert names(tree.closure(["jbd2"])) == ["crc16", "jbd2"]


def test_what_is_built_in_needs_no_file(tree: ModuleTree) -> None:
    assert tree.closure(["loop", "xen_blkfront"]) == ()
    assert tree.builtin == {"loop", "xen_blkfront"}


def test_no_file_comes_twice_and_each_is_there(tree: ModuleTree) -> None:
    files = tree.closure(["ext4", "jbd2", "dm-crypt", "ext4"])
    assert len(set(files)) == len(files) == 8
    assert all(file.is_file() for file in files)


def test_a_name_that_is_nowhere_is_an_error_with_the_nearest(tree: ModuleTree) -> None:
    with pytest.raises(ModuleNotFoundInTreeError) as caught:
        tree.closure(["ext4", "dm-cript"])
    assert str(caught.value) == f"kernel {RELEASE} has no module 'dm_cript'\n  hint: did you mean 'dm_crypt'?"
    assert isinstance(caught.value, LookupError)


def test_a_name_that_is_like_no_other_has_no_hint(tree: ModuleTree) -> None:
    with pytest.raises(ModuleNotFoundInTreeError, match=f"^{re.escape(f'kernel {RELEASE} has no module')} 'ntfs3'$"):
        tree.closure(["ntfs3"])


def test_what_is_nearly_built_in_is_hinted_at_as_well(tree: ModuleTree) -> None:
    with pytest.raises(ModuleNotFoundInTreeError, match="did you mean 'xen_blkfront'"):
        tree.closure(["xen-blkfrontt"])


def test_a_tree_without_the_optional_indexes_is_a_tree(tree: ModuleTree) -> None:
    for name in ("modules.softdep", "modules.alias"):
        (tree.path / name).unlink()
    assert names(tree.closure(["ext4"])) == ["crc16", "jbd2", "mbcache", "ext4"]
    assert "crc32c_intel" in tree.loadable


MODULES = [f"m{number}" for number in range(12)]


@st.composite
def graphs(draw: st.DrawFn) -> Mapping[str, tuple[str, ...]]:
    """Modules that need only earlier ones: every graph without a circle has such a numbering."""
    return {
        name: tuple(draw(st.lists(st.sampled_from(MODULES[:number]), unique=True, max_size=4))) if number else ()
        for number, name in enumerate(MODULES)
    }


@settings(max_examples=30, deadline=None)
@given(
    graphs(), graphs(), st.lists(st.sampled_from(MODULES), min_size=1, max_size=4), st.sets(st.sampled_from(MODULES))
)
def test_whatever_needs_what_each_module_comes_after_all_it_needs(
    needs: Mapping[str, tuple[str, ...]],
    soft: Mapping[str, tuple[str, ...]],
    wanted: list[str],
    with_soft: set[str],
) -> None:
    lines = [f"softdep {name} pre: {' '.join(soft[name])}" for name in with_soft if soft[name]]
    with tempfile.TemporaryDirectory() as folder:
        order = names(ModuleTree(make_tree(Path(folder), needs, soft=lines)).closure(wanted))
    assert len(set(order)) == len(order)
    assert set(wanted) <= set(order)
    for place, name in enumerate(order):
        assert set(all_needs(needs, name)) <= set(order[:place]), name
    for name in wanted:
        for each in (*all_needs(needs, name), name):
            assert each not in with_soft or set(soft[each]) <= set(order)


@pytest.mark.parametrize("form", ["", ".xz", ".zst"])
def test_a_packed_module_is_unpacked(form: str, tmp_path: Path) -> None:
    if form == ".zst" and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    content = b"\x7fELF module"
    packed = {"": content, ".xz": lzma.compress(content)}.get(form) or pack(("zstd", "-qc"), content)
    file = tmp_path / f"loop.ko{form}"
    file.write_bytes(packed)
    assert module_bytes(file, deadline=Deadline(20)) == content
