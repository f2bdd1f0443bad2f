"""Loading modules in a guest, and what came of it: the script as it runs there, with a modprobe that is played."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import GuestError
from lab.kernels.loading import Loading, load_modules
from lab.process import CommandError, Completed, run
from lab.testing.shell import Answer, FakeShell
from tests.unit.programs import Programs

PROC_MODULES = """\
loop 45056 0 - Live 0xffffffffc0400000
dm_mod 192512 1 dm_crypt, Live 0xffffffffc0500000
fuse 200704 0 - Loading 0xffffffffc0600000
"""
MODPROBE = r"""
echo "$1" >> "$HERE/asked"
case "$1" in
  nowhere) echo "modprobe: FATAL: Module $1 not found in directory /lib/modules/6.12" >&2; exit 1 ;;
  foreign)
    echo "modprobe: WARNING: /lib/modules/6.12/x.ko: no line" >&2
    echo "on standard output, too"
    echo "modprobe: ERROR: could not insert 'foreign': Exec format error" >&2
    exit 1 ;;
  backslash) printf '%s\n' 'modprobe: ERROR: \n is no\tnew line \c' >&2; exit 2 ;;
  mute) exit 3 ;;
  chatty) echo "warning: taints the kernel"; echo "of which nobody hears" >&2 ;;
esac
"""
MODINFO = """
case "$1 $2 $3" in
  "-F filename ext4") echo "(builtin)" ;;
  "-F filename two") echo "(builtin)"; echo "/lib/modules/6.12/two.ko" ;;
  "-F filename fuse") echo "/lib/modules/6.12/fuse.ko" ;;
  *) echo "modinfo: ERROR: Module $3 not found." >&2; exit 1 ;;
esac
"""


def soon() -> Deadline:
    return Deadline(20)


@dataclass
class Here:
    """A shell of this machine, whose list of modules is a file."""

    modules: Path
    commands: int = 0

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        self.commands += 1
        shell, option, script, *words = argv
        assert (shell, option, script.count("/proc/modules")) == ("sh", "-c", 1)
        script = script.replace("/proc/modules", str(self.modules))
        return run(shell, option, script, *words, deadline=deadline, stdin=stdin)


@pytest.fixture
def here(programs: Programs, tmp_path: Path) -> Here:
    programs.add("modprobe", MODPROBE)
    programs.add("modinfo", MODINFO)
    modules = tmp_path / "modules"
    modules.write_text(PROC_MODULES)
    return Here(modules)


NOT_LISTED = "modprobe: status 0, but /proc/modules has no "


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("loop", "live"),
        ("dm-mod", "live"),
        ("dm_mod", "live"),
        ("chatty", f"{NOT_LISTED}chatty"),
        ("ext4", "builtin"),
        ("two", "builtin"),
        # Not live yet, and no part of a name is another's.
        ("fuse", f"{NOT_LISTED}fuse"),
        ("dm", f"{NOT_LISTED}dm"),
        ("dm-crypt", f"{NOT_LISTED}dm_crypt"),
        (
            "nowhere",
            "modprobe: status 1: modprobe: FATAL: Module nowhere not found in directory /lib/modules/6.12",
        ),
        ("foreign", "modprobe: status 1: modprobe: ERROR: could not insert 'foreign': Exec format error"),
        ("backslash", r"modprobe: status 2: modprobe: ERROR: \n is no\tnew line \c"),
        ("mute", "modprobe: status 3: "),
    ],
)
def test_each_end_of_a_modprobe_has_its_state(here: Here, name: str, state: str) -> None:
    assert load_modules(here, [name], deadline=soon()) == (Loading(name, state),)
    assert Loading(name, state).there is (state in {"live", "builtin"})


def test_many_are_loaded_by_one_command_and_each_has_its_own_line(here: Here, programs: Programs) -> None:
    names = ("unknown", "loop", "foreign", "dm-mod", "ext4", "backslash", "fuse", "unknown")
    states = [each.state for each in load_modules(here, names, deadline=soon())]
    assert states == [
        f"{NOT_LISTED}unknown",
        "live",
        "modprobe: status 1: modprobe: ERROR: could not insert 'foreign': Exec format error",
        "live",
        "builtin",
        r"modprobe: status 2: modprobe: ERROR: \n is no\tnew line \c",
        f"{NOT_LISTED}fuse",
        f"{NOT_LISTED}unknown",
    ]
    assert here.commands == 1
    # As it was asked for: modprobe knows either spelling.
    assert programs.note("asked") == list(names)


def test_a_guest_without_kmod_says_so(here: Here, programs: Programs) -> None:
    programs.add("modprobe", 'echo "sh: modprobe: not found" >&2; exit 127')
    [loading] = load_modules(here, ["loop"], deadline=soon())
    assert loading == Loading("loop", "modprobe: status 127: sh: modprobe: not found")


def test_a_module_of_which_nothing_is_said_is_not_passed_over() -> None:
    shell = FakeShell({"sh -c *": "live\n"})
    with pytest.raises(GuestError) as caught:
        load_modules(shell, ["loop", "fuse"], deadline=soon())
    assert str(caught.value) == "loading loop, fuse: 1 lines of an answer: 'live'"


def test_a_guest_that_cannot_run_it_is_told() -> None:
    shell = FakeShell({"sh -c *": Answer(137, "live\n", "Killed\n")})
    with pytest.raises(CommandError, match=r"^sh: status 137: Killed$"):
        load_modules(shell, ["loop", "fuse"], deadline=soon())


def test_nothing_to_load_is_nothing_done() -> None:
    shell = FakeShell()
    assert load_modules(shell, [], deadline=soon()) == ()
    assert shell.asked == []
