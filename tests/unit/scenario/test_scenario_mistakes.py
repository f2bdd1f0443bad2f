"""Every kind of mistake, with its place and its whole message."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.scenario.load import Known, load, parse

MIGRATION = """\
scenario: a guest moves
hosts:
  source: {xen: "4.14"}
  target: {xen: "4.20"}
guests:
  web32: {release: bookworm, userland: i386, type: [pv, pvh]}
migrate: {how: live}
"""
NTFS = """\
scenario: drivers
hosts: {lab: {xen: "4.20"}}
kernels: [{release: trixie}, {release: forky}]
drivers: [ntfs3, ntfs-3g]
volumes: [clean, dirty]
"""
KNOWN = Known(frozenset({"ntfs3", "ntfs-3g"}), frozenset({"clean", "dirty"}), frozenset({"read"}))


def complaints(text: str, known: Known | None = None) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse(text, path="s.lab.yaml", known=known)
    return caught.value.message.splitlines()


def test_three_mistakes_are_reported_at_once_with_three_places() -> None:
    text = """\
scenario: three mistakes
hosts:
  source: {xen: "4.14"}
  target: {xen: "4.20"}
guests:
  web32: {release: bookworm, userland: i386, kernel: 6.10, memry: 256M}
migrate: {how: [live, cold]}
expect:
  - {when: {how: live, type: hvm}, outcome: unsupported, because: no device model}
"""
    assert complaints(text) == [
        (
            "s.lab.yaml:6:54: guests.web32.kernel: 6.10 without quotes is a number (6.1);"
            ' write "6.10" if a text is meant, but here a map is expected, such as {release: bookworm}'
        ),
        "s.lab.yaml:6:60: guests.web32: unknown key 'memry'; did you mean 'memory'?",
        "s.lab.yaml:9:5: expect matches no cell: type is never 'hvm' here, only pv",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"4.14"', "4.10", '3:17: hosts.source.xen: 4.10 without quotes is a number (4.1); write "4.10"'),
        ('"4.14"', "4", '3:17: hosts.source.xen: 4 without quotes is a number; write "4"'),
        ('"4.14"', '"4"', "3:17: hosts.source.xen: '4' is not a Xen version, such as \"4.17\""),
        ('"4.14"', "", "3:12: hosts.source.xen: has no value"),
        ('"4.14"', "[]", "3:12: hosts.source.xen: needs at least one"),
        ('xen: "4.14"', "", '3:11: hosts.source: needs xen, such as {xen: "4.17"}'),
        (
            '{xen: "4.14"}',
            "4.14",
            (
                '3:11: hosts.source: 4.14 without quotes is a number; write "4.14" if a text is meant,'
                " but here a map is expected"
            ),
        ),
        (
            "userland: i386",
            "userland: i368",
            "6:40: guests.web32.userland: 'i368' is not one of amd64, i386; did you mean 'i386'?",
        ),
        ("release: bookworm", "relase: bookworm", "6:11: guests.web32: unknown key 'relase'; did you mean 'release'?"),
        ("release: bookworm, ", "", "6:3: guests.web32: key 'release' is missing"),
        (
            "release: bookworm",
            "release: Bookworm",
            "6:20: guests.web32.release: 'Bookworm' is not a Debian suite, such as bookworm",
        ),
        ("[pv, pvh]", "[pv, pv]", "6:57: guests.web32.type: 'pv' stands twice"),
        ("[pv, pvh]", "[pv, [pvh]]", "6:57: guests.web32.type: a list is not one of hvm, pv, pvh"),
        ("[pv, pvh]", "true", "6:52: guests.web32.type: true is not one of hvm, pv, pvh"),
        ("type: [pv, pvh]", "memory: 256", "6:54: guests.web32.memory: 256 has no unit; write 256M or 1G"),
        (
            "type: [pv, pvh]",
            "memory: 0M",
            "6:54: guests.web32.memory: '0M' is not an amount with one of the units M, G; write 256M or 1G",
        ),
        ("type: [pv, pvh]", "memory: 0.3M", "6:54: guests.web32.memory: '0.3M' is not a whole number of MiB"),
        (
            "type: [pv, pvh]",
            "kernel: {arch: i386, flavour: [686-pae, cloud]}",
            "6:86: guests.web32.kernel.flavour: there is no cloud kernel for i386; it has 686-pae",
        ),
        (
            "userland: i386, type: [pv, pvh]",
            "kernel: {arch: i386}",
            "6:3: kernel bookworm-i386-686-pae cannot run an amd64 userland; exclude that",
        ),
        ("web32:", '"web 32":', "6:3: guests.web 32: 'web 32' is not a name of letters, digits, . _ -"),
        ("web32:", "32:", '6:3: a key must be a text; write "32"'),
        ("live", "[live, warm]", "7:23: migrate.how: 'warm' is not one of cold, cold-shared, live, save-restore"),
        (
            "live",
            "lve",
            "7:16: migrate.how: 'lve' is not one of cold, cold-shared, live, save-restore; did you mean 'live'?",
        ),
        ("{how: live}", "{}", "7:1: migrate: key 'how' is missing"),
        ("{how: live}", "live", "7:10: migrate: 'live' where a map is expected"),
        ("migrate:", "migrat:", "7:1: unknown key 'migrat'; did you mean 'migrate'?"),
        ("scenario: a guest moves", "why: x", "1:1: key 'scenario' is missing"),
        ("scenario: a guest moves", 'scenario: " "', "1:11: scenario: must not be empty"),
        ("a guest moves", '"a\\0b"', "1:11: scenario: holds control characters, which no report can show"),
        ("a guest moves", "a\nscenario: b", "2:1: key 'scenario' stands twice in one map; the first is at 1:1"),
        ("a guest moves", "!!float 1.5", '1:11: scenario: 1.5 without quotes is a number; write "1.5"'),
        ("a guest moves", "!name x", "1:11: tag '!name' has no meaning in a scenario"),
        ("target:", "goal:", "4:3: hosts: 'goal' is neither source nor target; a migration has these two"),
        (
            '"4.20"',
            '"4.14"',
            "2:1: hosts: source and target are the same host everywhere; a guest must move to another one",
        ),
        ("live}", "live}\npairwise: 1", "8:11: pairwise: 1 is neither true nor false"),
        ("live}", "live}\nmodules: {}", "8:10: modules: names no module; write load: [loop]"),
        ("live}", "live}\nmodules: {load: [loop, {a: b}]}", "8:24: modules.load: a map where a text is expected"),
        ("live}", "live}\nlimits: {cell: 5}", "8:16: limits.cell: 5 has no unit; write 5s"),
        (
            "migrate: {how: live}",
            "modules: {load: [loop], load_after: [isofs]}",
            "7:37: modules.load_after: nothing moves here, so there is no after; use load",
        ),
        (
            "live}",
            "live}\nlimits: {cell: 5h}",
            "8:16: limits.cell: '5h' is not an amount with one of the units ms, s, m; write 5s",
        ),
        (
            "live}",
            "live}\nlimits: {gap: 5s}",
            "8:10: limits: unknown key 'gap'; known here: network_gap, guest_pause, cell, fsync, clock",
        ),
        (
            "live}",
            "live}\ndrivers: [ntfs3]",
            (
                "8:1: 'drivers' does not go together with 'migrate' in one scenario;"
                " make it two, parted by a line with ---"
            ),
        ),
    ],
)
def test_one_mistake(old: str, new: str, expected: str) -> None:
    assert old in MIGRATION
    assert complaints(MIGRATION.replace(old, new, 1)) == [f"s.lab.yaml:{expected}"]


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("exclude: [{type: hvm}]", ["8:11: exclude matches no cell: type is never 'hvm' here, only pv, pvh"]),
        ("exclude: [{typ: pv}]", ["8:12: unknown axis 'typ'; did you mean 'type'?"]),
        ("exclude: [{type: [pv, pvh]}]", ["8:1: exclude: nothing is left"]),
        ("exclude: [{}]", ["8:11: exclude: needs at least one"]),
        (
            "expect: [{when: {type: pvv}, outcome: fail, because: x}]",
            ["8:10: expect matches no cell: type is never 'pvv' here, only pv, pvh; did you mean 'pv'?"],
        ),
        (
            "expect: [{when: {colour: red}, outcome: fail, because: x}]",
            [
                (
                    "8:18: unknown axis 'colour'; axes here: source, target, how, trip, guest, type, userland,"
                    " release, memory, system, kernel"
                )
            ],
        ),
        ("expect: [{when: {type: pv}, outcome: fail}]", ["8:10: expect: key 'because' is missing"]),
        (
            "expect: [{when: {type: pv}, outcome: error, because: x}]",
            ["8:38: expect.outcome: 'error' is not one of fail, pass, unsupported"],
        ),
        (
            "expect: [{when: {type: pv}, outcome: fail, finding: crash, because: x}]",
            ["8:44: expect.finding: only an NTFS scenario has findings"],
        ),
        (
            (
                "expect:\n- {when: {type: pv}, outcome: fail, because: x}\n"
                "- {when: {how: live}, outcome: pass, because: y}"
            ),
            ["10:3: expect: 1 of its cells is also named by the expect at s.lab.yaml:9:3"],
        ),
        (
            "exclude: [{type: pv}]\nexpect: [{when: {type: pv}, outcome: fail, because: x}]",
            ["9:10: expect matches no cell: type is never 'pv' here, only pvh; did you mean 'pvh'?"],
        ),
        (
            "exclude: [{type: pv, source: 4.14}]",
            ['8:30: exclude.source: 4.14 without quotes is a number; write "4.14"'],
        ),
    ],
)
def test_conditions(added: str, expected: list[str]) -> None:
    assert complaints(MIGRATION + added) == [f"s.lab.yaml:{line}" for line in expected]


def test_a_condition_whose_values_never_meet_is_a_mistake() -> None:
    text = MIGRATION.replace("type: [pv, pvh]}", "type: pv}\n  b: {release: sid, type: pvh}")
    assert complaints(text + "exclude: [{guest: b, type: pv}]") == [
        "s.lab.yaml:9:11: exclude matches no cell: no cell has all of these values together"
    ]


def test_the_same_cells_twice_name_both_places() -> None:
    assert complaints(f"{MIGRATION}---\n{MIGRATION}") == [
        (
            "s.lab.yaml:9:1: 2 cells, such as 'live-4.14-to-4.20-web32-pv', are also made by the scenario at"
            " s.lab.yaml:1:1; give the guest another name or exclude them here"
        )
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ntfs-3g", "ntfs-4g", "4:18: no driver 'ntfs-4g'; did you mean 'ntfs-3g'?"),
        ("dirty", "weird", "5:18: no volume 'weird'; known: clean, dirty"),
        ("volumes:", "operations: reed\nvolumes:", "5:13: no operation 'reed'; did you mean 'read'?"),
        ("volumes:", "volume:", "5:1: unknown key 'volume'; did you mean 'volumes'?"),
        (
            "{release: forky}",
            "6.1",
            (
                '3:30: kernels: 6.1 without quotes is a number; write "6.1" if a text is meant,'
                " but here a map is expected, such as {release: bookworm}"
            ),
        ),
        (
            'hosts: {lab: {xen: "4.20"}}\n',
            "",
            '1:1: needs hosts, such as {lab: {xen: "4.20"}}, unless stage is microvm',
        ),
        ("{lab:", '{old: {xen: "4.14"}, lab:', "2:1: hosts: needs exactly one"),
        (
            "volumes:",
            "guests: {a: {}}\nvolumes:",
            "5:1: 'guests' does not go together with 'kernels' in one scenario; make it two, parted by a line with ---",
        ),
        ("volumes:", "stage: qemu\nvolumes:", "5:8: stage: 'qemu' is not one of microvm, xen"),
        (
            "{release: forky}",
            "{release: forky, arch: i386}",
            "3:1: kernel forky-i386-686-pae cannot run an amd64 userland; exclude that",
        ),
    ],
)
def test_one_mistake_in_an_ntfs_scenario(old: str, new: str, expected: str) -> None:
    assert old in NTFS
    assert complaints(NTFS.replace(old, new, 1), KNOWN) == [f"s.lab.yaml:{expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: an empty file; a scenario is a map that begins with `scenario: what it is about`"),
        ("# nothing\n", "1:1: an empty file; a scenario is a map that begins with `scenario: what it is about`"),
        ("- a\n", "1:1: no map; a scenario is a map that begins with `scenario: what it is about`"),
        (
            f"{MIGRATION}---\n",
            "9:1: an empty document; a scenario is a map that begins with `scenario: what it is about`",
        ),
        ("scenario: a: b\n", "1:12: not YAML: mapping values are not allowed here"),
        ("scenario: [a\n", "2:1: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("scenario: *a\n", "1:11: not YAML: found undefined alias 'a'"),
        ("why: x\nscenario: \x01\n", "2:11: not YAML: a control character, which a scenario may not hold"),
        ("[\n" * 600, "1:1: nested too deeply"),
    ],
)
def test_what_is_no_scenario_at_all(text: str, expected: str) -> None:
    assert complaints(text) == [f"s.lab.yaml:{expected}"]


def test_an_alias_that_contains_itself_is_a_mistake() -> None:
    assert complaints(f"{MIGRATION}why: &a [*a]") == ["s.lab.yaml:8:6: an alias that contains itself"]


def test_a_key_that_is_no_text_is_a_mistake() -> None:
    assert complaints(f"{MIGRATION}limits: {{cell: 1m, [a]: 1}}") == [
        "s.lab.yaml:8:20: a key must be a text, not a list or a map"
    ]


def test_aliases_that_unfold_without_end_are_cut_short() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    assert any("values once aliases are followed" in line for line in complaints("\n".join(lines)))


def test_too_many_combinations_are_refused_before_they_fill_the_memory() -> None:
    numbers = ", ".join(f"v{n}" for n in range(60))
    text = f"{NTFS.replace('[clean, dirty]', f'[{numbers}]')}operations: [{numbers}]\n"
    text = text.replace("[ntfs3, ntfs-3g]", f"[{numbers}]")
    assert complaints(text) == ["s.lab.yaml:1:1: more than 100000 combinations; name fewer values or use several files"]


def test_mending_one_mistake_makes_no_other() -> None:
    text = """\
scenario: s
hosts: {source: 4, target: {xen: }}
guests:
  a: {relase: sid, type: [pvx], kernel: {arch: arm}, memory: }
migrate: {how: [hot]}
exclude: [{how: hot}, {source: "4.17", colour: red}]
expect: [{when: {type: hvm}, outcome: maybe, because: x}]
pairwise: on
"""
    assert complaints(text) == [
        (
            's.lab.yaml:2:17: hosts.source: 4 without quotes is a number; write "4" if a text is meant,'
            " but here a map is expected"
        ),
        "s.lab.yaml:2:29: hosts.target.xen: has no value",
        "s.lab.yaml:4:7: guests.a: unknown key 'relase'; did you mean 'release'?",
        "s.lab.yaml:4:27: guests.a.type: 'pvx' is not one of hvm, pv, pvh; did you mean 'pv'?",
        "s.lab.yaml:4:48: guests.a.kernel.arch: 'arm' is not one of amd64, i386",
        "s.lab.yaml:4:54: guests.a.memory: has no value",
        "s.lab.yaml:5:17: migrate.how: 'hot' is not one of cold, cold-shared, live, save-restore",
        "s.lab.yaml:7:39: expect.outcome: 'maybe' is not one of fail, pass, unsupported",
        "s.lab.yaml:8:11: pairwise: 'on' is neither true nor false",
    ]


@pytest.mark.parametrize(
    ("migrate", "mistake"),
    [
        ("{how: hot}", "7:16: migrate.how: 'hot' is not one of cold, cold-shared, live, save-restore"),
        ("live", "7:10: migrate: 'live' where a map is expected"),
        ("{how: []}", "7:11: migrate.how: needs at least one"),
    ],
)
def test_a_broken_migrate_still_means_a_migration(migrate: str, mistake: str) -> None:
    text = MIGRATION.replace("{how: live}", migrate)
    added = "expect: [{when: {how: live}, outcome: fail, because: x}, {when: {type: hvm}, outcome: fail, because: x}]"
    assert complaints(text + added) == [
        f"s.lab.yaml:{mistake}",
        "s.lab.yaml:8:58: expect matches no cell: type is never 'hvm' here, only pv, pvh",
    ]


def test_an_expect_with_mistakes_hides_no_other() -> None:
    text = """\
scenario: s
hosts: {h: {xen: "4.20"}}
guests: {a: {release: sid, type: [pvx, pvy, pv, pvh]}}
expect:
  - {when: {guest: a}, outcome: maybe, becaus: x, finding: 1}
  - {when: {guest: b}, outcome: fail, because: x}
  - {when: {host: "4.17"}, outcome: often, because: x}
  - {when: {host: 4.18}, outcome: fail, because: x}
"""
    assert complaints(text) == [
        "s.lab.yaml:3:35: guests.a.type: 'pvx' is not one of hvm, pv, pvh; did you mean 'pv'?",
        "s.lab.yaml:3:40: guests.a.type: 'pvy' is not one of hvm, pv, pvh; did you mean 'pv'?",
        "s.lab.yaml:5:33: expect.outcome: 'maybe' is not one of fail, pass, unsupported",
        "s.lab.yaml:5:40: expect: unknown key 'becaus'; did you mean 'because'?",
        (
            "s.lab.yaml:5:60: expect.finding: 1 is not one of correct, crash, damaged, degraded, hang, read-only,"
            " refused, wrong-data"
        ),
        "s.lab.yaml:6:5: expect matches no cell: guest is never 'b' here, only a",
        "s.lab.yaml:7:37: expect.outcome: 'often' is not one of fail, pass, unsupported",
        "s.lab.yaml:8:5: expect matches no cell: host is never '4.18' here, only 4.20",
        's.lab.yaml:8:19: expect.when.host: 4.18 without quotes is a number; write "4.18"',
    ]


def test_mistakes_of_all_documents_come_together() -> None:
    text = f"{MIGRATION.replace('live', 'live, x: y')}---\n{NTFS.replace('drivers', 'driver')}"
    assert complaints(text) == [
        "s.lab.yaml:7:22: migrate: unknown key 'x'; known here: how, arrive, trip, iterations",
        "s.lab.yaml:12:1: unknown key 'driver'; did you mean 'drivers'?",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "x.lab.yaml", root=tmp_path)
    assert str(caught.value) == "x.lab.yaml:1:1: cannot be read: No such file or directory"


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "x.lab.yaml").write_bytes("scenario: x\nwhy: é ".encode() + b"\xff\n")
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "x.lab.yaml", root=tmp_path)
    assert str(caught.value) == "x.lab.yaml:2:8: byte 0xff is not UTF-8"
