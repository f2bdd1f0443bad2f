"""What a migration scenario may say of its moves: ways, arrivals, trips, iterations, and hosts with another dom0."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from lab.errors import ScenarioError
from lab.scenario.cell import BootRequest, Cell, GuestRequest, HostRequest, KernelRequest, Limits, MigrationRequest
from lab.scenario.load import parse
from lab.scenario.model import LimitsShape

HOSTS = 'hosts: {source: {xen: "4.17"}, target: {xen: "4.20"}}\n'
PAE32 = (
    "guests: {pae32: {release: bookworm, userland: i386, type: pvh, kernel: {release: bookworm, arch: i386,"
    " flavour: 686-pae}}}\n"
)
WEB = "guests: {web: {release: bookworm, type: [pv, pvh]}}\n"
TO_AMD64 = "migrate: {how: cold, arrive: {kernel: {arch: amd64}, type: [pv, pvh]}}\n"
START = f"scenario: s\n{HOSTS}"


def cells(text: str) -> tuple[Cell, ...]:
    return parse(text, path="s.lab.yaml")


def moves(text: str) -> list[MigrationRequest]:
    requests = [cell.request for cell in cells(text)]
    assert all(isinstance(request, MigrationRequest) for request in requests)
    return [request for request in requests if isinstance(request, MigrationRequest)]


def complaints(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        cells(text)
    return caught.value.message.splitlines()


def test_what_is_not_said_is_the_plain_move_and_shows_no_axis() -> None:
    text = f"{START}{WEB}migrate: {{how: cold-shared}}\n"
    first, second = cells(text)
    assert [cell.name for cell in (first, second)] == [
        "cold-shared-4.17-to-4.20-web-pv",
        "cold-shared-4.17-to-4.20-web-pvh",
    ]
    assert list(first.axes) == ["source", "target", "how", "guest", "type", "userland", "kernel"]
    assert [(move.arrive, move.back, move.iterations) for move in moves(text)] == [(None, False, 1)] * 2


def test_a_guest_arrives_under_another_kernel_as_pv_and_as_pvh() -> None:
    found = cells(START + PAE32 + TO_AMD64)
    assert [cell.name for cell in found] == [
        "cold-4.17-to-4.20-pae32-pvh-as-bookworm-amd64-cloud-pv",
        "cold-4.17-to-4.20-pae32-pvh-as-bookworm-amd64-cloud-pvh",
    ]
    assert list(found[0].axes.items()) == [
        ("source", "4.17"),
        ("target", "4.20"),
        ("how", "cold"),
        ("guest", "pae32"),
        ("type", "pvh"),
        ("userland", "i386"),
        ("kernel", "bookworm-i386-686-pae"),
        ("arrives", "bookworm-amd64-cloud-pv"),
    ]
    guest = GuestRequest("pae32", "bookworm", "i386", KernelRequest("bookworm", "i386", "686-pae"), "pvh")
    there = replace(guest, kernel=KernelRequest("bookworm", "amd64", "cloud"), type="pv")
    source, target = HostRequest("source", "4.17"), HostRequest("target", "4.20")
    assert found[0].request == MigrationRequest(source, target, guest, "cold", arrive=there)
    assert found[1].request == MigrationRequest(source, target, guest, "cold", arrive=replace(there, type="pvh"))


def test_one_arrival_is_shown_too() -> None:
    (cell,) = cells(START + PAE32 + TO_AMD64.replace("[pv, pvh]", "pv"))
    assert cell.axes["arrives"] == "bookworm-amd64-cloud-pv"


def test_kernels_of_arrivals_are_an_axis_and_of_the_guests_release_if_not_said() -> None:
    kernels = "[{release: trixie, flavour: [cloud, generic]}, {flavour: cloud}]"
    found = cells(f"{START}{WEB}migrate: {{how: cold, arrive: {{kernel: {kernels}}}}}\n")
    assert [cell.axes["arrives"] for cell in found] == [
        *(f"{kernel}-pv" for kernel in ("trixie-amd64-cloud", "trixie-amd64-generic", "bookworm-amd64-cloud")),
        *(f"{kernel}-pvh" for kernel in ("trixie-amd64-cloud", "trixie-amd64-generic", "bookworm-amd64-cloud")),
    ]


def test_whoever_arrives_as_what_it_was_becomes_nothing_else() -> None:
    found = moves(f"{START}{WEB}migrate: {{how: cold, arrive: {{type: [pv, pvh]}}}}\n")
    assert [(move.guest.type, move.arrive and move.arrive.type) for move in found] == [
        ("pv", None),
        ("pv", "pvh"),
        ("pvh", "pv"),
        ("pvh", None),
    ]
    assert all(move.arrive is None or move.arrive.kernel == move.guest.kernel for move in found)


def test_two_kernels_that_name_one_are_one_arrival() -> None:
    arrive = "{kernel: [{arch: amd64}, {release: bookworm}], type: pv}"
    assert len(cells(f"{START}{PAE32}migrate: {{how: cold, arrive: {arrive}}}\n")) == 1


@pytest.mark.parametrize("way", ["live", "save-restore"])
def test_a_running_guest_keeps_its_kernel(way: str) -> None:
    assert complaints(START + PAE32 + TO_AMD64.replace("how: cold", f"how: [cold, cold-shared, {way}]")) == [
        (
            f"s.lab.yaml:4:36: migrate.how: '{way}' moves a running guest, which keeps its kernel and type;"
            " arrive goes with cold and cold-shared only"
        )
    ]
    assert complaints(START + PAE32 + TO_AMD64.replace("how: cold", f"how: {way}")) == [
        (
            f"s.lab.yaml:4:16: migrate.how: '{way}' moves a running guest, which keeps its kernel and type;"
            " arrive goes with cold and cold-shared only"
        )
    ]


@pytest.mark.parametrize(
    ("migrate", "mistake"),
    [
        ("{how: cold, arrive: {}}", "4:30: migrate.arrive: names neither kernel nor type; write type: pvh"),
        ("{how: cold, arrive: pvh}", "4:30: migrate.arrive: 'pvh' where a map is expected"),
        ("{how: cold, arrive: }", "4:22: migrate.arrive: has no value"),
        ("{how: cold, arrive: {typ: pv}}", "4:31: migrate.arrive: unknown key 'typ'; did you mean 'type'?"),
        (
            "{how: cold, arrive: {kernel: 6.10}}",
            (
                '4:39: migrate.arrive.kernel: 6.10 without quotes is a number (6.1); write "6.10" if a text is meant,'
                " but here a map is expected, such as {release: bookworm}"
            ),
        ),
        (
            "{how: cold, arrive: {type: [pv, pvx]}}",
            "4:42: migrate.arrive.type: 'pvx' is not one of hvm, pv, pvh; did you mean 'pv'?",
        ),
        (
            "{how: cold, arrive: {kernel: {arch: i386}}}",
            ("4:31: kernel bookworm-i386-686-pae cannot run the amd64 userland of guest 'web'; exclude that"),
        ),
        (
            "{how: cold, arrive: {kernel: {arch: i386, flavour: cloud}}}",
            "4:61: migrate.arrive.kernel.flavour: there is no cloud kernel for i386; it has 686-pae",
        ),
        (
            "{how: live, trip: back}",
            "4:28: migrate.trip: 'back' is not one of there, there-and-back",
        ),
        ("{how: live, trip: [there, there]}", "4:36: migrate.trip: 'there' stands twice"),
        ("{how: live, iterations: 0}", "4:34: migrate.iterations: 0 is not a whole number from 1 to 1000"),
        ("{how: live, iterations: 1001}", "4:34: migrate.iterations: 1001 is not a whole number from 1 to 1000"),
        ("{how: live, iterations: 1.5}", "4:34: migrate.iterations: 1.5 is not a whole number from 1 to 1000"),
        ("{how: live, iterations: 0x10}", "4:34: migrate.iterations: 0x10 is not a whole number from 1 to 1000"),
        ("{how: live, iterations: true}", "4:34: migrate.iterations: true is not a whole number from 1 to 1000"),
        ('{how: live, iterations: "30"}', "4:34: migrate.iterations: '30' is not a whole number from 1 to 1000"),
        ("{how: live, iterations: [1, 2]}", "4:34: migrate.iterations: a list is not a whole number from 1 to 1000"),
    ],
)
def test_one_mistake(migrate: str, mistake: str) -> None:
    assert complaints(f"{START}{WEB}migrate: {migrate}\n") == [f"s.lab.yaml:{mistake}"]


def test_an_impossible_arrival_can_be_excluded() -> None:
    text = START + WEB.replace("}}", ", userland: [i386, amd64]}}")
    text += "migrate: {how: cold, arrive: {kernel: {arch: [amd64, i386]}}}\n"
    assert len(complaints(text)) == 1
    arrivals = "[bookworm-i386-686-pae-pv, bookworm-i386-686-pae-pvh]"
    assert len(cells(f"{text}exclude: [{{userland: amd64, arrives: {arrivals}}}]\n")) == 6


def test_every_way_that_does_not_go_with_arrive_is_named() -> None:
    said = "moves a running guest, which keeps its kernel and type; arrive goes with cold and cold-shared only"
    assert complaints(START + PAE32 + TO_AMD64.replace("how: cold", "how: [live, save-restore]")) == [
        f"s.lab.yaml:4:17: migrate.how: 'live' {said}",
        f"s.lab.yaml:4:23: migrate.how: 'save-restore' {said}",
    ]


def test_a_mistake_in_an_arrival_puts_nothing_else_in_doubt() -> None:
    text = f"{START}{WEB}migrate: {{how: [cold, live], arrive: {{type: pvx}}}}\n"
    added = "exclude: [{how: hot}, {arrives: x}, {type: hvm}]\n"
    assert complaints(text + added) == [
        "s.lab.yaml:4:45: migrate.arrive.type: 'pvx' is not one of hvm, pv, pvh; did you mean 'pv'?",
        "s.lab.yaml:5:11: exclude matches no cell: how is never 'hot' here, only cold, live",
        "s.lab.yaml:5:37: exclude matches no cell: type is never 'hvm' here, only pv, pvh",
    ]


def test_a_trip_may_lead_home() -> None:
    text = f"{START}{WEB.replace('[pv, pvh]', 'pv')}migrate: {{how: live, trip: [there, there-and-back]}}\n"
    assert [(cell.name, cell.axes["trip"]) for cell in cells(text)] == [
        ("live-4.17-to-4.20-web-pv", "there"),
        ("live-4.17-to-4.20-and-back-web-pv", "there-and-back"),
    ]
    assert [move.back for move in moves(text)] == [False, True]
    (home,) = cells(text.replace("[there, there-and-back]", "there-and-back"))
    assert home.axes["trip"] == "there-and-back"
    (there,) = cells(text.replace("[there, there-and-back]", "there"))
    assert "trip" not in there.axes


def test_expect_and_exclude_know_trips_and_arrivals() -> None:
    text = START + PAE32 + TO_AMD64.replace("how: cold", "how: cold, trip: [there, there-and-back]")
    text += "exclude: {trip: there-and-back, arrives: bookworm-amd64-cloud-pv}\n"
    text += "expect: {when: {arrives: bookworm-amd64-cloud-pv}, outcome: unsupported, because: so}\n"
    assert [(cell.axes["trip"], cell.axes["arrives"], cell.expect is None) for cell in cells(text)] == [
        ("there", "bookworm-amd64-cloud-pv", False),
        ("there", "bookworm-amd64-cloud-pvh", True),
        ("there-and-back", "bookworm-amd64-cloud-pvh", True),
    ]


def test_iterations_go_to_the_cell_and_are_no_axis() -> None:
    text = f"{START}{WEB}migrate: {{how: live, iterations: 30}}\n"
    assert [move.iterations for move in moves(text)] == [30, 30]
    assert all("iterations" not in cell.axes for cell in cells(text))


def test_a_32_bit_dom0_makes_another_host() -> None:
    text = f"{START}{WEB.replace('[pv, pvh]', 'pv')}migrate: {{how: cold}}\n"
    found = cells(text.replace('{xen: "4.17"}', '{xen: ["4.14", "4.17"], dom0: [amd64, i386]}'))
    assert [cell.name for cell in found] == [
        "cold-4.14-to-4.20-web-pv",
        "cold-4.14-dom0-i386-to-4.20-web-pv",
        "cold-4.17-to-4.20-web-pv",
        "cold-4.17-dom0-i386-to-4.20-web-pv",
    ]
    sources = [move.source for move in moves(text.replace('"4.17"', '"4.14", dom0: i386'))]
    assert sources == [HostRequest("source", "4.14", dom0="i386")]
    assert (sources[0].label, sources[0].name) == ("4.14-dom0-i386", "xen-4.14-dom0-i386")
    assert (HostRequest("source", "4.14").label, HostRequest("source", "4.14").name) == ("4.14", "xen-4.14")


def test_hosts_that_differ_in_their_dom0_only_are_two() -> None:
    (cell,) = cells(
        'scenario: s\nhosts: {source: {xen: "4.14", dom0: i386}, target: {xen: "4.14"}}\n'
        "guests: {a: {release: sid}}\nmigrate: {how: cold}\n"
    )
    assert cell.name == "cold-4.14-dom0-i386-to-4.14-a-pv"
    both = cells('scenario: s\nhosts: {a: {xen: "4.14", dom0: i386}, b: {xen: "4.14"}}\nguests: {a: {release: sid}}\n')
    assert [cell.request.host.dom0 for cell in both if isinstance(cell.request, BootRequest)] == ["i386", "amd64"]


def test_a_host_of_the_inventory_has_one_dom0_and_keeps_its_name() -> None:
    text = f"{START}{WEB}migrate: {{how: cold}}\n".replace('xen: "4.17"', 'inventory: rack-1, xen: "4.14", dom0: i386')
    text = text.replace('{xen: "4.20"}', "{inventory: rack-2}")
    assert {move.source for move in moves(text)} == {HostRequest("source", "4.14", "rack-1", "i386")}
    assert {cell.axes["source"] for cell in cells(text)} == {"rack-1"}
    assert moves(text)[0].source.name == "rack-1"
    assert complaints(text.replace("dom0: i386", "dom0: [amd64, i386]")) == [
        "s.lab.yaml:2:56: hosts.source.dom0: a host of the inventory has one dom0"
    ]


def test_an_unknown_dom0_is_a_mistake() -> None:
    assert complaints(START.replace('"4.20"', '"4.20", dom0: i686') + WEB + "migrate: {how: cold}\n") == [
        "s.lab.yaml:2:60: hosts.target.dom0: 'i686' is not one of amd64, i386; did you mean 'i386'?"
    ]


def test_every_limit_can_be_set_and_has_the_same_default_everywhere() -> None:
    assert LimitsShape().model_dump() == asdict(Limits())
    text = f"{START}{WEB}migrate: {{how: live}}\n"
    limits = "limits: {network_gap: 1s, guest_pause: 250ms, cell: 2m, fsync: 1.5s, clock: 20ms}\n"
    assert cells(text + limits)[0].limits == Limits(network_gap=1, guest_pause=0.25, cell=120, fsync=1.5, clock=0.02)
    assert complaints(f"{text}limits: {{fsync: 2, clock: 1h}}\n") == [
        "s.lab.yaml:5:17: limits.fsync: 2 has no unit; write 5s",
        "s.lab.yaml:5:27: limits.clock: '1h' is not an amount with one of the units ms, s, m; write 5s",
    ]
