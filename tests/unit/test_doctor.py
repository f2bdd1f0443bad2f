"""The doctor: a machine that is well, and each fault that must be named, with what mends it."""

from __future__ import annotations

import fcntl
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lab.cache import Cache, Entry
from lab.commands import doctor as verb
from lab.deadline import Deadline
from lab.doctor import (
    Diagnosis,
    Looked,
    Machine,
    Requirement,
    State,
    cure,
    diagnose,
    diagnose_hosts,
    examine,
    look,
    requirements,
    well,
)
from lab.doctor.requirement import parse
from lab.hosts.inventory.survey import Survey
from lab.report import doctor_table
from lab.scenario.inventory import Inventory, ListedHost
from lab.settings import Settings
from tests.unit.programs import Programs

GIB = 1 << 30
REQUIRED = requirements()
ENTRY = Entry("host", "k", Path("/cache/host/k"), 3 * GIB, 0.0)

WELL = Machine(
    distribution="Debian GNU/Linux 12 (bookworm)",
    release=12,
    root=True,
    found={requirement.proof: f"/there/{requirement.package}" for requirement in REQUIRED if requirement.proof},
    libraries={"lxml": "6.1.3", "typer": "0.29.2"},
    cache=Path("/cache"),
    cache_trouble="",
    free=20 * GIB,
    memory=16 * GIB,
    cores=4,
    fuse_trouble="",
    accelerator="kvm",
    accelerator_reason="a kernel booted under it",
    mirror_trouble={"bookworm": "", "trixie": ""},
    samples=Path("/samples"),
    samples_found=7,
    entries=(ENTRY,),
)


def said(machine: Machine, name: str) -> Diagnosis:
    return next(diagnosis for diagnosis in diagnose(machine, REQUIRED) if diagnosis.name == name)


def without(*proofs: str) -> Machine:
    return replace(WELL, found={**WELL.found, **dict.fromkeys(proofs, "")})


def test_a_machine_that_is_well_has_nothing_but_good_news() -> None:
    diagnoses = diagnose(WELL, REQUIRED)
    assert {diagnosis.state for diagnosis in diagnoses} == {State.WELL}
    assert well(diagnoses)
    assert cure(WELL, diagnoses) == ""


def test_missing_programs_are_mended_by_one_command() -> None:
    machine = without("qemu-system-x86_64", "mmdebstrap")
    diagnoses = diagnose(machine, REQUIRED)
    assert said(machine, "qemu-system-x86") == Diagnosis(
        "qemu-system-x86",
        State.MISSING,
        "no qemu-system-x86_64: embedded Xen hosts are machines in QEMU",
        packages=("qemu-system-x86",),
    )
    assert not well(diagnoses)
    assert cure(machine, diagnoses) == (
        "apt-get update && apt-get install -y --no-install-recommends mmdebstrap qemu-system-x86"
    )
    assert cure(replace(machine, root=False), diagnoses) == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends mmdebstrap qemu-system-x86"
    )


@pytest.mark.parametrize(("release", "package"), [(12, "libvirt0"), (13, "libvirt-common"), (14, "libvirt-common")])
def test_the_schemas_come_from_the_package_of_the_release(release: int, package: str) -> None:
    machine = replace(without("/usr/share/libvirt/schemas/domain.rng"), release=release)
    missing = [each.packages for each in diagnose(machine, REQUIRED) if each.state is State.MISSING]
    assert missing == [(package,)]


def test_a_browser_is_wanted_for_tests_only() -> None:
    assert said(without("chromium"), "chromium").state is State.NOTE
    assert well(diagnose(without("chromium"), REQUIRED))


@pytest.mark.parametrize(
    ("fault", "name", "seen", "advice"),
    [
        ({"root": False}, "root", "no", "images are built and volumes mounted as root: run the lab with sudo -E"),
        (
            {"free": 300 << 20},
            "disk",
            "0.3 GiB free for /cache",
            "a run needs 1.0 GiB: free some, or point LAB_CACHE at a larger disk",
        ),
        (
            {"cache_trouble": "/ cannot be written"},
            "disk",
            "/cache: / cannot be written",
            "point LAB_CACHE at a folder that you may write",
        ),
        ({"memory": 2 * GIB}, "memory", "2.0 GiB available", "one embedded host takes 3.0 GiB"),
        (
            {"fuse_trouble": "/dev/fuse: No such file or directory"},
            "FUSE",
            "/dev/fuse: No such file or directory",
            "sample volumes are written through ntfs-3g: load the module fuse, or give the container the device",
        ),
        (
            {"mirror_trouble": {"bookworm": "", "trixie": "404  Not Found"}},
            "Debian mirror",
            "trixie: 404  Not Found",
            "hosts and guests are made from what apt on this machine reaches: `apt-get update` must work first",
        ),
        (
            {"samples_found": None},
            "LAB_SAMPLES",
            "/samples: no such folder",
            "unset LAB_SAMPLES or point it at a folder",
        ),
    ],
)
def test_what_no_package_mends_comes_with_advice(fault: dict[str, object], name: str, seen: str, advice: str) -> None:
    machine = replace(WELL, **fault)  # type: ignore[arg-type]  # a field and its value
    assert said(machine, name) == Diagnosis(name, State.MISSING, seen, advice=advice)
    assert [each.name for each in diagnose(machine, REQUIRED) if each.state is State.MISSING] == [name]


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ({"release": None, "distribution": "Fedora Linux"}, "system"),
        ({"release": 11}, "system"),
        ({"free": 4 * GIB}, "disk"),
        ({"memory": 4 * GIB}, "memory"),
        ({"cores": 1}, "cores"),
        ({"leftovers": ("run 1234abcd (1 processes)",)}, "leftovers"),
    ],
)
def test_what_is_doubtful_does_not_fail(fault: dict[str, object], name: str) -> None:
    machine = replace(WELL, **fault)  # type: ignore[arg-type]  # a field and its value
    diagnoses = diagnose(machine, REQUIRED)
    assert [each.name for each in diagnoses if each.state is State.DOUBTFUL] == [name]
    assert well(diagnoses)


def test_what_the_cache_holds_counts_towards_the_room_it_needs() -> None:
    assert said(replace(WELL, free=5 * GIB), "disk").state is State.WELL
    assert said(replace(WELL, free=5 * GIB, entries=()), "disk").state is State.DOUBTFUL


def test_missing_libraries_and_leftovers_have_commands_after_the_packages() -> None:
    machine = replace(without("zstd"), libraries={"lxml": "", "typer": "0.29"}, leftovers=("run 1 (0 processes)",))
    diagnoses = diagnose(machine, REQUIRED)
    assert said(machine, "Python packages").seen == "not installed: lxml"
    assert cure(machine, diagnoses) == (
        "apt-get update && apt-get install -y --no-install-recommends zstd && scripts/quickstart && lab clean"
    )


def test_an_accelerator_that_was_not_probed_is_said_so() -> None:
    machine = replace(WELL, accelerator="", accelerator_reason="not probed yet")
    assert said(machine, "accelerator") == Diagnosis("accelerator", State.NOTE, "not probed yet")


def test_every_package_of_the_list_has_a_reason_and_a_known_purpose() -> None:
    assert {requirement.purpose for requirement in REQUIRED} == {"build", "run", "test"}
    assert all(requirement.reason for requirement in REQUIRED)
    names = [requirement.package for requirement in REQUIRED]
    assert len(set(names)) == len(names)


def test_the_list_is_five_columns() -> None:
    text = "# a comment\n\nqemu  run  13+  -  its reason has words\n"
    assert parse(text) == (Requirement("qemu", "run", "13+", "", "its reason has words"),)
    with pytest.raises(ValueError, match="not enough values to unpack"):
        parse("qemu run all\n")


def table(machine: Machine, *, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, write_through=True) as file:
        diagnoses = diagnose(machine, REQUIRED)
        doctor_table.show(diagnoses, cure(machine, diagnoses), file=file, width=100)
        return raw.getvalue().decode(encoding)


def test_the_table_says_in_words_what_it_says_in_glyphs() -> None:
    shown = table(replace(without("zstd"), cores=1))
    assert "✘ missing  zstd" in shown
    assert "! warning  cores" in shown
    assert shown.endswith(
        "The lab cannot work here yet: zstd.\n  apt-get update && apt-get install -y --no-install-recommends zstd\n"
    )
    assert table(replace(WELL, cores=1)).endswith("This machine has what the lab needs. 1 warnings above.\n")


def test_the_table_is_ascii_where_it_must_be() -> None:
    assert "X missing  zstd" in table(without("zstd"), encoding="ascii")


def test_a_hostile_name_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in table(replace(WELL, distribution="Debian\x1b[2J"))


def test_this_machine_can_be_examined_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.doctor.examination._mirror_trouble", lambda _deadline: {"trixie": ""})
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "one.img").touch()
    settings = Settings(tmp_path / "cache" / "deep", tmp_path / "samples", tmp_path, "tcg")
    machine = examine(settings, REQUIRED, probe=False, deadline=Deadline(30))
    assert (machine.accelerator, machine.accelerator_reason) == ("tcg", "asked for")
    assert machine.samples_found == 1
    assert machine.cores >= 1
    assert machine.memory > 0
    assert machine.free > 0
    assert machine.entries == ()
    assert machine.found["mke2fs"] in ("", "/usr/sbin/mke2fs", "/sbin/mke2fs")
    assert not (tmp_path / "cache").exists()


def test_a_half_made_thing_is_a_leftover_once_nobody_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.doctor.examination._mirror_trouble", lambda _deadline: {})
    (tmp_path / "host" / "abc.building").mkdir(parents=True)
    settings = Settings(Cache(tmp_path).root, None, tmp_path, "tcg")
    with (tmp_path / "host" / "abc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert examine(settings, REQUIRED, probe=False, deadline=Deadline(30)).leftovers == ()
    assert examine(settings, REQUIRED, probe=False, deadline=Deadline(30)).leftovers == ("half-made host/abc",)


def test_a_mirror_that_lacks_a_suite_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lab.doctor.examination.suite_sources", lambda suite, **_: (f"deb file:{tmp_path} {suite} main",)
    )
    monkeypatch.setattr("lab.doctor.examination.SUITES", ("trixie",))
    settings = Settings(tmp_path, None, tmp_path, "tcg")
    troubles = examine(settings, REQUIRED, probe=False, deadline=Deadline(30)).mirror_trouble
    assert set(troubles) == {"trixie"}
    assert f"{tmp_path}/dists/trixie/InRelease" in troubles["trixie"]


@pytest.mark.parametrize(("machine", "code"), [(WELL, 0), (without("zstd"), 3)])
def test_the_verb_writes_json_and_tells_by_its_exit_code(
    machine: Machine, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "examine", lambda *_args, **_options: machine)
    app = typer.Typer()
    verb.register(app)
    result = CliRunner().invoke(app, ["--json"])
    document = json.loads(result.stdout)
    assert result.exit_code == code
    assert document["schema"] == "lab.doctor/1"
    assert document["well"] is (code == 0)
    assert ("zstd" in document["cure"]) is (code == 3)
    assert {"name": "cores", "state": "ok", "seen": "4", "advice": ""} in document["diagnoses"]


RACK = ListedHost("old-rack-1", "10.0.0.11", 1, "root")
SOUND = Survey(
    root=True,
    programs=frozenset({"xl", "virsh", "python3", "nbd-client", "nc", "flock", "ip", "xenstore-ls"}),
    modules=frozenset({"nbd", "xen-blkback"}),
    bridge=True,
    bridges=("xenbr0",),
    socket="/run/libvirt/libvirt-sock",
    xen="4.14.6",
    free_mib=12000,
    libvirt="",
    forwards=True,
    consoles=True,
)


def test_a_host_of_the_users_that_has_all_is_one_line() -> None:
    assert list(diagnose_hosts([Looked(RACK, SOUND)])) == [
        Diagnosis("old-rack-1", State.WELL, "Xen 4.14.6, libvirt answers, bridge xenbr0, 12000 MiB free")
    ]


def test_what_a_host_lacks_is_named_with_the_command_that_mends_it() -> None:
    poor = replace(SOUND, programs=SOUND.programs - {"nbd-client"}, bridge=False, consoles=False)
    found = list(diagnose_hosts([Looked(RACK, poor)]))
    assert [(one.name, one.state) for one in found] == [
        ("old-rack-1: nbd-client", State.MISSING),
        ("old-rack-1: bridge", State.MISSING),
        ("old-rack-1: consoles", State.NOTE),
    ]
    assert cure(WELL, found) == (
        "ssh root@10.0.0.11 'apt-get update && apt-get install -y --no-install-recommends nbd-client'"
    )


def test_a_host_without_a_console_log_is_well_all_the_same() -> None:
    found = list(diagnose_hosts([Looked(RACK, replace(SOUND, consoles=False))]))
    assert [one.state for one in found] == [State.WELL, State.NOTE]


def test_a_host_that_lets_nobody_in(programs: Programs) -> None:
    programs.add("ssh", 'echo "ssh: connect to host 10.0.0.11 port 22: No route to host" >&2; exit 255')
    looked = look(Inventory("hosts.yaml", {"old-rack-1": RACK}), deadline=Deadline(20))
    (found,) = diagnose_hosts(looked)
    assert (found.name, found.state) == ("old-rack-1", State.MISSING)
    assert found.seen == "ssh does not get there: ssh: connect to host 10.0.0.11 port 22: No route to host"
    assert found.advice == "try it yourself: ssh root@10.0.0.11"
