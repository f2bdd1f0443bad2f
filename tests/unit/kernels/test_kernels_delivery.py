"""Modules on their way into a guest: only what is wanted and what that needs, where the guest looks for it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.debian.module_tree import ModuleNotFoundInTreeError
from lab.kernels.delivery import push_modules
from lab.process import CommandError, run
from lab.testing.shell import Answer, FakeShell
from tests.unit.debian.trees import RELEASE, make_tree

NEEDS = {"dm-mod": (), "dm-crypt": ("dm-mod",), "fuse": (), "ntfs3": ()}
TREE = f"lib/modules/{RELEASE}"
UNPACK = "tar -x --keep-directory-symlink --no-same-owner -C / -f -"


def soon() -> Deadline:
    return Deadline(20)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    tree = make_tree(tmp_path / "root", NEEDS, builtin=["loop"])
    (tree / "modules.order").write_text("")
    return Kernel(tmp_path, RELEASE, "6.12.57-1", "amd64")


@pytest.fixture
def shell() -> FakeShell:
    return FakeShell({"tar *": "", "depmod *": ""})


def sent(shell: FakeShell) -> dict[str, bytes]:
    """What was in the archive: name -> content."""
    with tarfile.open(fileobj=io.BytesIO(shell.asked[0].stdin)) as tar:
        return {member.name: file.read() for member in tar if (file := tar.extractfile(member))}


def test_what_is_wanted_goes_with_what_it_needs_and_nothing_else(kernel: Kernel, shell: FakeShell) -> None:
    names = push_modules(shell, kernel, ["dm-crypt", "fuse"], deadline=soon())
    assert names == ("dm-mod.ko", "dm-crypt.ko", "fuse.ko", "modules.order", "modules.builtin")
    assert sent(shell) == {
        f"{TREE}/kernel/lib/dm-mod.ko": b"the module dm-mod",
        f"{TREE}/kernel/lib/dm-crypt.ko": b"the module dm-crypt",
        f"{TREE}/kernel/lib/fuse.ko": b"the module fuse",
        f"{TREE}/modules.order": b"",
        f"{TREE}/modules.builtin": b"kernel/lib/loop.ko\n",
    }
    assert shell.commands == [UNPACK, f"depmod {RELEASE}"]


def test_what_is_built_in_is_told_and_not_sent(kernel: Kernel, shell: FakeShell) -> None:
    assert push_modules(shell, kernel, ["loop"], deadline=soon()) == ("modules.order", "modules.builtin")


def test_what_is_sent_can_be_unpacked_over_a_merged_usr(kernel: Kernel, shell: FakeShell, tmp_path: Path) -> None:
    push_modules(shell, kernel, ["fuse"], deadline=soon())
    guest = tmp_path / "guest"
    (guest / "usr/lib").mkdir(parents=True)
    (guest / "lib").symlink_to("usr/lib")
    unpack = [str(guest) if word == "/" else word for word in UNPACK.split()]
    run(*unpack, stdin=shell.asked[0].stdin, deadline=soon()).check()
    assert (guest / "lib").is_symlink()
    assert (guest / "usr" / TREE / "kernel/lib/fuse.ko").read_bytes() == b"the module fuse"


def test_a_module_that_the_kernel_has_not_is_an_error_and_nothing_is_sent(kernel: Kernel, shell: FakeShell) -> None:
    with pytest.raises(ModuleNotFoundInTreeError) as caught:
        push_modules(shell, kernel, ["fuse", "ntfs4"], deadline=soon())
    assert str(caught.value) == f"kernel {RELEASE} has no module 'ntfs4'\n  hint: did you mean 'ntfs3'?"
    assert shell.asked == []


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (
            {"tar *": Answer(2, stderr="tar: write error: No space left on device\n")},
            "tar: status 2: tar: write error: No space left on device",
        ),
        ({"tar *": "", "depmod *": Answer(1, stderr="depmod: FATAL: bad\n")}, "depmod: status 1: depmod: FATAL: bad"),
        ({"tar *": ""}, "depmod: status 127: sh: depmod: not found"),
    ],
)
def test_a_guest_that_cannot_take_them_says_why(kernel: Kernel, answers: dict[str, str | Answer], words: str) -> None:
    with pytest.raises(CommandError, match=f"^{words}$"):
        push_modules(FakeShell(answers), kernel, ["fuse"], deadline=soon())
