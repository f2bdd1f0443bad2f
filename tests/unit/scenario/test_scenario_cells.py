"""What cells a scenario makes: their axes, names, requests, order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from lab.errors import ScenarioError
from lab.scenario.axes import summary
from lab.scenario.cell import (
    BootRequest,
    Cell,
    GuestRequest,
    HostRequest,
    KernelRequest,
    Limits,
    MigrationRequest,
    ModulesRequest,
    NtfsRequest,
)
from lab.scenario.load import Known, Untested, expansions, load, parse, untested_combinations
from lab.scenario.model import Expect
from lab.scenario.select import order
from lab.verdict import Finding

ROOT = Path(__file__).parents[3]
QUICK = ROOT / "scenarios" / "quick.lab.yaml"
WEB32 = GuestRequest("web32", "bookworm", "i386", KernelRequest("bookworm", "amd64", "cloud"), "pv", 256, "debian")
MIGRATION = """\
scenario: guests move
hosts: {source: {xen: "4.14"}, target: {xen: ["4.17", "4.20"]}}
guests: {web32: {release: bookworm, userland: i386, type: [pv, pvh]}}
migrate: {how: [cold, save-restore, live]}
"""
NTFS = """\
scenario: drivers
hosts: {lab: {xen: "4.20"}}
kernels: [{release: trixie}, {release: forky}]
drivers: [ntfs3, ntfs]
volumes: [clean, dirty]
"""


def cells(text: str) -> tuple[Cell, ...]:
    return parse(text, path="s.lab.yaml")


def test_the_quick_file_makes_the_smallest_whole_lab() -> None:
    known = Known(
        frozenset({"ntfs3", "ntfs", "ntfs-3g"}),
        frozenset({"clean", "dirty", "compressed", "sparse", "unicode-names"}),
        frozenset({"read"}),
    )
    found = load(QUICK, root=ROOT, known=known)
    *ntfs, modules, migration = found
    assert migration.id == "scenarios/quick.lab.yaml::live-4.14-to-4.20-web32-pv"
    assert migration.request == MigrationRequest(
        HostRequest("source", "4.14"),
        HostRequest("target", "4.20"),
        replace(WEB32, memory=128),
        "live",
        ModulesRequest(("loop", "fuse", "dm-mod"), ("isofs",), "push"),
    )
    assert modules.name == "modules-4.20-web32-pv"
    assert modules.request == BootRequest(
        HostRequest("target", "4.20"),
        replace(WEB32, memory=128),
        ModulesRequest(("loop", "fuse", "dm-mod", "isofs"), (), "push"),
    )
    assert [(cell.axes["driver"], cell.axes["kernel"]) for cell in ntfs] == (
        [("ntfs3", "trixie")] * 5 + [("ntfs-3g", "trixie")] * 5 + [("ntfs", "forky")] * 5
    )
    assert ntfs[0].name == "ntfs3-trixie-clean-read"


def test_a_migration_cell_is_resolved() -> None:
    first, *_, last = cells(MIGRATION + "limits: {network_gap: 500ms, cell: 1.5m}")
    assert first == Cell(
        path="s.lab.yaml",
        name="cold-4.14-to-4.17-web32-pv",
        scenario="guests move",
        kind="migration",
        axes={
            "source": "4.14",
            "target": "4.17",
            "how": "cold",
            "guest": "web32",
            "type": "pv",
            "userland": "i386",
            "kernel": "bookworm-amd64-cloud",
        },
        request=MigrationRequest(HostRequest("source", "4.14"), HostRequest("target", "4.17"), WEB32, "cold"),
        limits=Limits(0.5, 5.0, 90.0),
    )
    assert last.name == "live-4.14-to-4.20-web32-pvh"
    assert last.id == "s.lab.yaml::live-4.14-to-4.20-web32-pvh"


def test_pairs_of_one_version_are_left_out() -> None:
    text = MIGRATION.replace('"4.14"', '["4.14", "4.17", "4.20"]').replace(
        '["4.17", "4.20"]', '["4.14", "4.17", "4.20"]'
    )
    pairs = {(cell.axes["source"], cell.axes["target"]) for cell in cells(text)}
    assert pairs == {(a, b) for a in ("4.14", "4.17", "4.20") for b in ("4.14", "4.17", "4.20") if a != b}


def test_hosts_of_the_inventory_go_by_their_names() -> None:
    (cell,) = cells(
        'scenario: own\nhosts: {source: {inventory: rack-1}, target: {inventory: rack-2, xen: "4.20"}}\n'
        "guests: {a: {release: sid}}\nmigrate: {how: live}\n"
    )
    assert isinstance(cell.request, MigrationRequest)
    assert (cell.request.source, cell.request.target) == (
        HostRequest("source", "", "rack-1"),
        HostRequest("target", "4.20", "rack-2"),
    )
    assert cell.name == "live-rack-1-to-rack-2-a-pv"


def test_no_migrate_and_no_modules_is_a_boot() -> None:
    (cell,) = cells('scenario: s\nhosts: {any: {xen: "4.20"}}\nguests: {a: {release: sid, system: probe}}\n')
    guest = GuestRequest("a", "sid", "amd64", KernelRequest("sid", "amd64", "cloud"), "pv", 256, "probe")
    assert cell.request == BootRequest(HostRequest("any", "4.20"), guest)
    assert (cell.kind, cell.name) == ("boot", "boot-4.20-a-pv")
    assert cell.axes == {
        "host": "4.20",
        "guest": "a",
        "type": "pv",
        "userland": "amd64",
        "kernel": "sid-amd64-cloud",
    }


def test_an_i386_kernel_is_686_pae_unless_said_otherwise() -> None:
    (cell,) = cells(
        'scenario: s\nhosts: {h: {xen: "4.14"}}\n'
        "guests: {a: {release: bookworm, userland: i386, kernel: {arch: i386}}}\n"
    )
    assert cell.axes["kernel"] == "bookworm-i386-686-pae"


def test_axes_that_are_not_always_shown_are_shown_where_they_vary() -> None:
    found = cells(
        'scenario: s\nhosts: {h: {xen: "4.14"}}\n'
        "guests: {a: {release: sid, memory: [256M, 1G]}}\nmodules: {load: loop}\n"
    )
    assert [cell.name for cell in found] == ["modules-4.14-a-pv-256M", "modules-4.14-a-pv-1G"]
    assert [cell.axes["memory"] for cell in found] == ["256M", "1G"]
    assert [cell.request.guest.memory for cell in found] == [256, 1024]
    assert "system" not in found[0].axes


def test_only_as_many_axes_are_appended_as_tell_cells_apart() -> None:
    text = (
        'scenario: s\nhosts: {h: {xen: "4.14"}}\nguests: {a: {release: sid, userland: [i386, amd64],'
        " kernel: [{release: bookworm}, {release: sid}]}, b: {release: sid}}\n"
    )
    assert [cell.name for cell in cells(text)] == [
        "boot-4.14-a-pv-i386-bookworm-amd64-cloud",
        "boot-4.14-a-pv-amd64-bookworm-amd64-cloud",
        "boot-4.14-a-pv-i386-sid-amd64-cloud",
        "boot-4.14-a-pv-amd64-sid-amd64-cloud",
        "boot-4.14-b-pv",
    ]


def test_an_ntfs_cell_is_resolved_with_the_probe_guest() -> None:
    first, *_ = cells(NTFS)
    guest = GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie", "amd64", "cloud"), "pv", 256, "probe")
    assert first.request == NtfsRequest(HostRequest("lab", "4.20"), guest, "ntfs3", "clean", "read", "xen")
    assert list(first.axes.items()) == [
        ("host", "4.20"),
        ("kernel", "trixie"),
        ("driver", "ntfs3"),
        ("volume", "clean"),
        ("operation", "read"),
    ]


def test_two_kernels_of_one_release_go_by_their_full_names() -> None:
    found = cells(NTFS.replace("{release: forky}", "{release: [forky, trixie], flavour: generic}"))
    assert list(dict.fromkeys(cell.axes["kernel"] for cell in found)) == [
        "trixie-amd64-cloud",
        "forky",
        "trixie-amd64-generic",
    ]


def test_a_microvm_needs_no_host() -> None:
    text = NTFS.replace('hosts: {lab: {xen: "4.20"}}\n', "stage: microvm\n")
    first, *_ = cells(text)
    assert first.axes["stage"] == "microvm"
    assert first.axes["host"] == "microvm"
    assert first.name == "ntfs3-trixie-clean-read"
    assert isinstance(first.request, NtfsRequest)
    assert first.request.stage == "microvm"


def test_both_stages_make_an_axis() -> None:
    found = cells(f"{NTFS}stage: [xen, microvm]\n")
    assert found[0].name == "ntfs3-trixie-clean-read-4.20"
    assert found[0].axes["stage"] == "xen"
    assert found[8].name == "ntfs3-trixie-clean-read-microvm"


def test_exclude_leaves_out_what_it_names() -> None:
    found = cells(f"{NTFS}exclude: [{{driver: ntfs3, kernel: forky}}, {{driver: ntfs, kernel: [trixie]}}]")
    assert [cell.name for cell in found] == [
        "ntfs3-trixie-clean-read",
        "ntfs3-trixie-dirty-read",
        "ntfs-forky-clean-read",
        "ntfs-forky-dirty-read",
    ]


def test_expect_goes_to_the_cells_it_names_with_its_place() -> None:
    found = cells(
        f"{NTFS}expect:\n  - {{when: {{volume: dirty, driver: ntfs3}}, outcome: pass, finding: refused, because: so}}\n"
    )
    expected = {cell.name: cell.expect for cell in found if cell.expect}
    assert sorted(expected) == ["ntfs3-forky-dirty-read", "ntfs3-trixie-dirty-read"]
    first = expected["ntfs3-trixie-dirty-read"]
    assert first is not None
    assert (first.outcome, first.finding, first.because, first.place) == ("pass", "refused", "so", "s.lab.yaml:7:5")


def test_findings_of_the_schema_are_those_of_verdicts() -> None:
    (named, _) = get_args(Expect.model_fields["finding"].annotation)
    assert set(get_args(named)) == {finding.value for finding in Finding}


def test_pairwise_says_what_it_leaves_untested() -> None:
    whole = cells(MIGRATION)
    (expansion,) = expansions(f"{MIGRATION}pairwise: true\n", path="s.lab.yaml")
    assert len(whole) == 12
    assert len(expansion.cells) < 12
    assert untested_combinations([expansion]) == 12 - len(expansion.cells)
    assert {cell.name for cell in expansion.cells} <= {cell.name for cell in whole}


def test_pairwise_names_the_pairs_that_exclude_makes_impossible() -> None:
    text = f"{MIGRATION}pairwise: true\n"
    (whole,) = expansions(text, path="s.lab.yaml")
    assert whole.untested == ()
    (less,) = expansions(
        f"{text}exclude: [{{how: live, type: pvh}}, {{target: '4.20', how: cold}}]\n", path="s.lab.yaml"
    )
    assert less.untested == (
        Untested((("how", "live"), ("type", "pvh")), excluded=True),
        Untested((("target", "4.20"), ("how", "cold")), excluded=True),
    )
    (one,) = expansions(MIGRATION, path="s.lab.yaml")
    assert one.untested is None


def test_a_value_of_a_lone_axis_can_be_untested() -> None:
    text = MIGRATION.replace("type: [pv, pvh]", "type: pv").replace('["4.17", "4.20"]', '"4.17"')
    (expansion,) = expansions(f"{text}pairwise: true\nexclude: {{how: live}}\n", path="s.lab.yaml")
    assert expansion.untested == (Untested((("how", "live"),), excluded=True),)


def test_the_order_is_quick_first_and_keeps_guests_together() -> None:
    found = cells(f"{MIGRATION}---\n{NTFS}---\n{MIGRATION.replace('migrate: {how: [cold, save-restore, live]}', '')}")
    by_volume = sorted(found, key=lambda cell: cell.axes.get("volume", ""))
    ordered = order(by_volume)
    kinds = [cell.kind for cell in ordered]
    assert kinds == ["boot"] * 6 + ["ntfs"] * 8 + ["migration"] * 12
    assert [cell.axes["kernel"] for cell in ordered if cell.kind == "ntfs"] == ["trixie"] * 4 + ["forky"] * 4
    assert [cell for cell in ordered if cell.kind == "migration"] == [c for c in by_volume if c.kind == "migration"]


def test_the_summary_names_axes_and_counts() -> None:
    first, second = summary(cells(f"{MIGRATION}---\n{NTFS}"))
    assert (first.scenario, first.kind, first.line, first.count) == ("guests move", "migration", 1, 12)
    assert first.axes["how"] == ("cold", "save-restore", "live")
    assert (second.scenario, second.kind, second.line, second.count) == ("drivers", "ntfs", 6, 8)
    assert second.axes["volume"] == ("clean", "dirty")


def test_merged_maps_are_followed() -> None:
    text = """\
scenario: s
hosts: {h: {xen: "4.20"}}
guests:
  a: &a {release: sid, userland: i386, memory: 512M}
  b: {<<: *a, memory: 1G}
"""
    guests = [cell.request.guest for cell in cells(text)]
    assert [(guest.name, guest.userland, guest.memory) for guest in guests] == [("a", "i386", 512), ("b", "i386", 1024)]


def test_ten_thousand_cells_have_unique_names() -> None:
    volumes = ", ".join(f"v{number}" for number in range(2500))
    found = cells(NTFS.replace("[clean, dirty]", f"[{volumes}]"))
    assert len({cell.name for cell in found}) == len(found) == 10_000


def test_a_path_outside_the_root_stays_absolute(tmp_path: Path) -> None:
    (tmp_path / "s.lab.yaml").write_text(NTFS, encoding="utf-8")
    first, *_ = load(tmp_path / "s.lab.yaml", root=tmp_path / "elsewhere")
    assert first.path == (tmp_path / "s.lab.yaml").as_posix()


def test_no_cell_of_a_file_with_a_mistake_is_returned() -> None:
    with pytest.raises(ScenarioError, match=r"^s\.lab\.yaml:6:1: unknown key 'x'; known here: "):
        cells(f"{NTFS}x: y\n---\n{MIGRATION}")


def test_the_guests_release_is_an_axis_that_compares_versions_of_a_program() -> None:
    text = NTFS.replace("[ntfs3, ntfs]", "[ntfs-3g]").replace(", {release: forky}", "")
    one = cells(text)
    three = cells(text + "guest: {release: [bullseye, trixie, forky]}\n")
    assert [cell.name for cell in one] == ["ntfs-3g-trixie-clean-read", "ntfs-3g-trixie-dirty-read"]
    assert [cell.name for cell in three] == [
        f"ntfs-3g-trixie-{volume}-read-{release}"
        for release in ("bullseye", "trixie", "forky")
        for volume in ("clean", "dirty")
    ]
    assert [cell.axes["release"] for cell in three[::2]] == ["bullseye", "trixie", "forky"]
    assert all(isinstance(cell.request, NtfsRequest) for cell in three)
    requests = [cell.request.guest for cell in three if isinstance(cell.request, NtfsRequest)]
    assert [(guest.release, guest.kernel.release) for guest in requests[::2]] == [
        ("bullseye", "trixie"),
        ("trixie", "trixie"),
        ("forky", "trixie"),
    ]


def test_a_release_can_be_left_out_on_some_kernels() -> None:
    text = NTFS.replace("[ntfs3, ntfs]", "[ntfs-3g]") + "guest: {release: [bullseye, trixie]}\n"
    found = cells(text + "exclude:\n  - {release: bullseye, kernel: forky}\n")
    assert [cell.name for cell in found if cell.axes["volume"] == "clean"] == [
        "ntfs-3g-trixie-clean-read-bullseye",
        "ntfs-3g-trixie-clean-read-trixie",
        "ntfs-3g-forky-clean-read",
    ]


def test_a_scenario_of_drivers_names_each_of_them_where_it_exists() -> None:
    found = load(ROOT / "scenarios" / "ntfs" / "drivers.lab.yaml", root=ROOT)
    pairs = dict.fromkeys((cell.axes["driver"], cell.axes["kernel"], cell.axes.get("release", "")) for cell in found)
    assert list(pairs)[:7] == [
        ("ntfs-classic", "bullseye", ""),
        ("ntfs-classic", "bookworm", ""),
        ("ntfs3-lzx", "bookworm", ""),
        ("ntfs3", "trixie", ""),
        ("ntfs3-lzx", "trixie", ""),
        ("ntfs3-lzx", "forky", ""),
        ("ntfs", "forky", ""),
    ]
    assert len(pairs) == 7 + 6
