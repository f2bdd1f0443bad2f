"""Loading a module in a guest, and what came of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.kernels.loading import Loading, load_modules
from lab.testing.shell import Answer, FakeShell

PROC_MODULES = """\
loop 45056 0 - Live 0xffffffffc0400000
dm_mod 192512 1 dm_crypt, Live 0xffffffffc0500000
fuse 200704 0 - Loading 0xffffffffc0600000
"""


def soon() -> Deadline:
    return Deadline(20)


@pytest.mark.parametrize(
    ("answers", "state", "there"),
    [
        ({"modprobe loop": "", "sh -c *": "live\n"}, "live", True),
        ({"modprobe loop": "", "sh -c *": "(builtin)\n"}, "builtin", True),
        (
            {"modprobe loop": "", "sh -c *": "/lib/modules/6.12/loop.ko\n"},
            "modprobe: status 0, but /proc/modules has no loop",
            False,
        ),
        (
            {"modprobe loop": "", "sh -c *": Answer(1, stderr="modinfo: ERROR: Module loop not found.\n")},
            "modprobe: status 0, but /proc/modules has no loop",
            False,
        ),
        (
            {
                "modprobe loop": Answer(
                    1, stderr="modprobe: FATAL: Module loop not found in directory /lib/modules/6.12\n"
                )
            },
            "modprobe: status 1: modprobe: FATAL: Module loop not found in directory /lib/modules/6.12",
            False,
        ),
        (
            {"modprobe loop": Answer(1, stderr="modprobe: ERROR: could not insert 'loop': Exec format error\n")},
            "modprobe: status 1: modprobe: ERROR: could not insert 'loop': Exec format error",
            False,
        ),
        ({}, "modprobe: status 127: sh: modprobe: not found", False),
    ],
    ids=["live", "builtin", "not listed", "not known", "not found", "wrong kernel's", "no kmod"],
)
def test_each_end_of_a_modprobe_has_its_state(answers: dict[str, str | Answer], state: str, there: bool) -> None:  # noqa: FBT001 - a column of the table
    [loading] = load_modules(FakeShell(answers), ["loop"], deadline=soon())
    assert loading == Loading("loop", state)
    assert loading.there is there


def test_each_module_is_asked_for_by_its_name_and_looked_for_by_the_kernels(tmp_path: Path) -> None:
    shell = FakeShell({"modprobe *": "", "sh -c *": "live"})
    assert [each.name for each in load_modules(shell, ["dm-mod", "loop"], deadline=soon())] == ["dm-mod", "loop"]
    assert shell.commands[0] == "modprobe dm-mod"
    assert shell.commands[2] == "modprobe loop"
    # The question itself, put to a list of modules as the kernel writes it (proc(5)).
    modules = tmp_path / "modules"
    modules.write_text(PROC_MODULES)
    script = shell.asked[1].argv[2].replace("/proc/modules", str(modules)).replace("modinfo", "echo no:")
    for name, said in (("dm_mod", "live"), ("fuse", "no: -F filename dm-mod"), ("dm", "no: -F filename dm-mod")):
        done = subprocess.run(
            ("sh", "-c", script.replace("^dm_mod ", f"^{name} ")),
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        assert done.stdout.strip() == said


def test_nothing_to_load_is_nothing_done() -> None:
    shell = FakeShell()
    assert load_modules(shell, [], deadline=soon()) == ()
    assert shell.asked == []
