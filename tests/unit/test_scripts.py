"""The set-up scripts, in a copy of the checkout in which apt, dpkg, Python and the lab are stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.doctor import requirements

ROOT = Path(__file__).parents[2]
BOOKWORM = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
TRIXIE = BOOKWORM.replace("12 (bookworm)", "13 (trixie)").replace('"12"', '"13"')

# Every stand-in writes down how it was called; what dpkg knows stands in a file that apt-get adds to.
STAND_INS = {
    "id": 'echo "${FAKE_UID:-0}"',
    "dpkg-query": 'for name; do :; done; grep -qx "$name" "$FAKE/installed" && printf installed',
    "apt-get": """echo "apt-get $*" >>"$FAKE/log"
[ "${FAKE_APT:-ok}" = ok ] || { echo "E: the mirror is asleep"; exit 100; }
case " $* " in *" install "*) for word; do echo "$word"; done >>"$FAKE/installed" ;; esac""",
    "python3": """case "$*" in
*sys.version_info*) exit 0 ;;
--version) echo "Python 3.99.0" ;;
"-m venv "*) echo "venv $3" >>"$FAKE/log"; mkdir -p "$3/bin"; cp "$FAKE/bin/python3" "$3/bin/python"
    for tool in lab tox; do cp "$FAKE/bin/tool" "$3/bin/$tool"; done ;;
"-m pip "*) echo "pip $*" >>"$FAKE/log"; exit "${FAKE_PIP:-0}" ;;
esac""",
    "tool": 'echo "${0##*/} $*" >>"$FAKE/log"; exit "${FAKE_STATUS:-0}"',
}


@dataclass(frozen=True)
class Bare:
    """A bare machine with a checkout on it."""

    folder: Path

    @property
    def checkout(self) -> Path:
        return self.folder / "a checkout"

    @property
    def log(self) -> list[str]:
        """What was called, in order."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, script: str, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the checkout by dash, the strictest sh at hand, from another folder."""
        (self.folder / "log").unlink(missing_ok=True)
        given = {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "FAKE": str(self.folder),
            "LAB_OS_RELEASE": str(self.folder / "os-release"),
            "LAB_PYTHON": str(self.folder / "bin" / "python3"),
            **env,
        }
        return subprocess.run(
            ("dash", self.checkout / script, *argv),
            env=given,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    machine = Bare(tmp_path)
    for name in ("scripts", ".ci"):
        shutil.copytree(ROOT / name, machine.checkout / name)
    for name in ("pyproject.toml", "lab/doctor/packages.txt"):
        (machine.checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, machine.checkout / name)
    (tmp_path / "bin").mkdir()
    for name, body in STAND_INS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    (tmp_path / "installed").touch()
    (tmp_path / "os-release").write_text(BOOKWORM)
    return machine


def wanted(release: int, *purposes: str) -> list[str]:
    return [each.package for each in requirements() if each.purpose in purposes and each.holds_for(release)]


def test_quickstart_sets_up_and_runs_the_quick_scenario(bare: Bare) -> None:
    done = bare.run("scripts/quickstart")
    assert done.returncode == 0, done.stderr
    update, install, venv, upgrade, packages, lab = bare.log
    assert update == "apt-get -q -o DPkg::Lock::Timeout=600 update"
    assert install.endswith(f"--no-install-recommends install {' '.join(wanted(12, 'build', 'run'))}")
    assert venv == f"venv {bare.checkout}/.venv"
    assert upgrade.endswith("pip>=25.1")
    assert packages.endswith(f"-e {bare.checkout}[readers]")
    assert lab == "lab run scenarios/quick.lab.yaml"


def test_a_second_time_nothing_is_set_up_again(bare: Bare) -> None:
    bare.run("scripts/quickstart")
    again = bare.run("scripts/quickstart", "-k", "live")
    assert bare.log == ["lab run scenarios/quick.lab.yaml -k live"], again.stderr


@pytest.mark.parametrize("changed", ["pyproject.toml", ".venv/bin/python"])
def test_what_changed_is_set_up_again(bare: Bare, changed: str) -> None:
    bare.run("scripts/quickstart")
    if changed == "pyproject.toml":
        with (bare.checkout / changed).open("a") as file:
            file.write("# changed\n")
    else:
        (bare.checkout / changed).write_text("#!/bin/sh\nexit 1\n")  # as after an upgrade of the system's Python
    bare.run("scripts/quickstart")
    assert any(line.endswith("[readers]") for line in bare.log)
    assert any(line.startswith("venv") for line in bare.log) is (changed != "pyproject.toml")
    assert not any(line.startswith("apt-get") for line in bare.log)


def test_only_what_is_missing_is_installed(bare: Bare) -> None:
    (bare.folder / "installed").write_text("\n".join(set(wanted(12, "build", "run")) - {"zstd"}))
    bare.run("scripts/quickstart")
    assert next(line.rpartition(" install ")[2] for line in bare.log if " install " in line) == "zstd"


def test_debian_13_gets_its_own_packages(bare: Bare) -> None:
    (bare.folder / "os-release").write_text(TRIXIE)
    bare.run("scripts/quickstart")
    names = bare.log[1].rpartition(" install ")[2].split()
    assert names == wanted(13, "build", "run")
    assert "libvirt-common" in names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ID=fedora\nVERSION_ID=44\n", "This is fedora 44, and the set-up knows Debian 12 and 13."),
        ("ID=debian\nVERSION_ID=11\n", "This is debian 11, and the set-up knows Debian 12 and 13."),
        ("", "This is an unknown system of no release, and the set-up knows Debian 12 and 13."),
    ],
)
def test_elsewhere_the_packages_are_named_and_nothing_is_done(bare: Bare, text: str, said: str) -> None:
    (bare.folder / "os-release").write_text(text)
    done = bare.run("scripts/quickstart")
    assert done.returncode == 3
    first, _second, names = done.stderr.splitlines()
    assert first == said
    assert names.split() == wanted(13, "build", "run")
    assert bare.log == []


def test_without_root_and_without_sudo_it_says_so(bare: Bare) -> None:
    (bare.folder / "bin" / "sudo").write_text("#!/bin/sh\nexit 1\n")
    (bare.folder / "bin" / "sudo").chmod(0o755)
    done = bare.run("scripts/test", FAKE_UID="1000")
    assert done.returncode == 3
    assert done.stderr == (
        "The lab builds disk images and mounts volumes, which needs root, and sudo wants a password.\n"
        f'Run: sudo -E HOME="$HOME" {bare.checkout}/scripts/test\n'
    )
    assert bare.log == []


def test_a_user_becomes_root_through_sudo_and_keeps_the_home(bare: Bare) -> None:
    sudo = 'echo "sudo $*" >>"$FAKE/log"\nwhile [ "${1#-}" != "$1" ]; do shift; done\nFAKE_UID=0 exec "$@"'
    (bare.folder / "bin" / "sudo").write_text(f"#!/bin/sh\n{sudo}\n")
    (bare.folder / "bin" / "sudo").chmod(0o755)
    done = bare.run("scripts/quickstart", "-k", "a b", FAKE_UID="1000")
    assert done.returncode == 0, done.stderr
    assert bare.log[0] == "sudo -n true"
    assert bare.log[1].startswith(f"sudo -n -E env HOME={bare.folder} PATH=")
    assert bare.log[-1] == "lab run scenarios/quick.lab.yaml -k a b"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"FAKE_APT": "broken"}, ("E: the mirror is asleep", "ask the mirror: failed with status 100: apt-get ")),
        ({"FAKE_PIP": "1"}, ("upgrade pip: failed with status 1: ",)),
    ],
)
def test_a_failing_step_is_shown_and_is_trouble_of_the_lab(
    bare: Bare, fault: dict[str, str], said: tuple[str, ...]
) -> None:
    done = bare.run("scripts/quickstart", **fault)
    assert done.returncode == 3
    assert all(words in done.stderr for words in said), done.stderr
    assert not any(line.startswith("lab ") for line in bare.log)


def test_a_failed_set_up_is_not_taken_for_a_finished_one(bare: Bare) -> None:
    bare.run("scripts/quickstart", FAKE_PIP="1")
    bare.run("scripts/quickstart")
    assert any(line.endswith("[readers]") for line in bare.log)


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_exit_code_is_the_labs(bare: Bare, code: int) -> None:
    done = bare.run("scripts/quickstart", FAKE_STATUS=str(code))
    assert done.returncode == code
    assert f"done, exit code {code}" in done.stdout


def test_the_report_is_named_when_there_is_one(bare: Bare) -> None:
    assert "The report:" not in bare.run("scripts/quickstart").stdout
    latest = bare.checkout / "reports" / "latest"
    latest.mkdir(parents=True)
    (latest / "matrix.html").touch()
    assert "The report:  reports/latest/matrix.html" in bare.run("scripts/quickstart").stdout


def test_scripts_test_runs_tox_with_its_arguments(bare: Bare) -> None:
    done = bare.run("scripts/test", "-e", "unit,docs", FAKE_STATUS="1")
    assert done.returncode == 1
    assert bare.log[-1] == "tox run -e unit,docs"
    assert bare.log[1].rpartition(" install ")[2].split() == wanted(12, "build", "run", "test")
    assert bare.log[-2].endswith(f"--group {bare.checkout}/pyproject.toml:tox")


def test_ci_shows_the_closing_lines_of_pytest_last_and_fails_with_them(bare: Bare) -> None:
    tool = bare.folder / "bin" / "tool"
    closing = "===== 3 passed, 1 failed in 2.10s ====="
    tool.write_text(f'#!/bin/sh\necho "{closing}"\necho "congratulations :("\necho "samples $LAB_SAMPLES"\nexit 1\n')
    (bare.folder / "shared" / "images").mkdir(parents=True)
    done = bare.run(".ci/run")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == closing
    assert f"samples {bare.folder}/shared/images" in done.stdout


def test_ci_ends_by_itself_when_time_is_over(bare: Bare) -> None:
    (bare.folder / "bin" / "tool").write_text("#!/bin/sh\nexec sleep 30\n")
    done = bare.run(".ci/run", LAB_CI_SECONDS="1")
    assert done.returncode == 124
    assert "the time limit of 1 s is over" in done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    files = ("scripts/quickstart", "scripts/test", "scripts/lib.sh", ".ci/run")
    said = subprocess.run(("shellcheck", "-x", *files), cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.stdout == ""
