"""What is made ahead of cells: everything once, two at a time, and nothing of it goes on after its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.events import Event, subscribe
from lab.guests.poised import AS_BOOTED, Readiness
from lab.process import run
from lab.scenario.cell import (
    BootRequest,
    Cell,
    GuestRequest,
    HostRequest,
    KernelRequest,
    MigrationRequest,
    ModulesRequest,
    NtfsRequest,
    Request,
)
from lab.stage.bench import readiness
from lab.stage.planning import _both, make_ahead
from lab.stage.watched import WATCHED


def test_all_is_made_and_two_at_a_time() -> None:
    made, busy, most = [], [0], [0]
    lock = threading.Lock()

    def job(name: int) -> Callable[[], None]:
        def work() -> None:
            with lock:
                busy[0] += 1
                most[0] = max(most[0], busy[0])
            time.sleep(0.01)
            with lock:
                busy[0] -= 1
                made.append(name)

        return work

    _both([job(number) for number in range(6)], Deadline(20))
    assert sorted(made) == list(range(6))
    assert most[0] <= 2


def test_what_cannot_be_made_is_left_to_its_cell_and_the_rest_is_made() -> None:
    made: list[str] = []

    def broken() -> None:
        raise HostError("xen-4.14: it does not boot")

    _both([broken, lambda: made.append("guest"), broken, lambda: made.append("other")], Deadline(20))
    assert made == ["guest", "other"]


def test_the_deadline_ends_what_is_still_being_made() -> None:
    ended: list[int] = []
    start = time.monotonic()
    with pytest.raises(DeadlineError, match=r"^images and snapshots: not all made within 0\.6 s$"):
        _both([lambda: ended.append(run("sleep", "60", deadline=Deadline(30)).status)], Deadline(0.6))
    assert time.monotonic() - start < 10
    assert ended == [-9]


def test_nothing_to_make_is_nothing_done() -> None:
    _both([], Deadline(1))


BARE = HostRequest("microvm", inventory="microvm")


@dataclass
class Pool:
    """What is asked of the hosts, in order; ``lacking`` is what cannot be made."""

    made: list[str] = field(default_factory=list)
    lacking: frozenset[str] = frozenset()

    @property
    def accelerator(self) -> str:
        self.made.append("accelerator")
        return "tcg"

    def make_image(self, host: HostRequest, deadline: Deadline) -> None:
        self._make(f"image {host.name}", deadline)

    def make_snapshot(self, host: HostRequest, deadline: Deadline) -> None:
        self._make(f"snapshot {host.name}", deadline)

    def make_poised(self, host: HostRequest, guest: GuestRequest, ready: Readiness, deadline: Deadline) -> None:
        self._make(f"{guest.name} on {host.name}, {READY.get(ready.key, ready.key)}", deadline)

    def _make(self, what: str, deadline: Deadline) -> None:
        deadline.check(what)
        self.made.append(what)
        if what in self.lacking:
            raise HostError(f"{what}: cannot be made")


READY = {AS_BOOTED.key: "as booted", WATCHED.key: "watched", readiness().key: "bench"}
WEB = GuestRequest("web", "bookworm", "i386", KernelRequest("trixie"))
NTFS = GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie"), system="probe")
OLD, NEW = HostRequest("source", "4.14"), HostRequest("target", "4.20")
LISTED = HostRequest("target", "4.20", inventory="rack-7")
NOTHING: Any = None


def ahead(monkeypatch: pytest.MonkeyPatch, *requests: Request, pool: Pool | None = None) -> list[str]:
    """What is made for cells with those requests: files, then snapshots, then guests; two at a time, so in no order."""
    pool = pool or Pool()

    @contextmanager
    def image(_cache: object, request: GuestRequest, _keys: object, *, deadline: Deadline) -> Iterator[None]:
        deadline.check(request.name)
        pool.made.append(f"guest {request.name} {request.kernel.release}")
        yield

    def bare(pool: Pool, guest: GuestRequest, deadline: Deadline) -> None:
        pool._make(f"{guest.name} {guest.kernel.release} without a host", deadline)

    monkeypatch.setattr("lab.stage.planning.obtain_guest_image", image)
    monkeypatch.setattr("lab.stage.planning.make_bare", bare)
    cells = [Cell("s.lab.yaml", str(n), "s", "boot", {}, request) for n, request in enumerate(requests)]
    make_ahead(NOTHING, NOTHING, pool, cells, deadline=Deadline(20))  # type: ignore[arg-type] # as much as is used
    rest = pool.made
    if any(line.startswith("image") or line.endswith("without a host") for line in rest):
        first, *rest = rest
        assert first == "accelerator"
    phases = [0 if line.startswith(("image", "guest")) else 1 + (not line.startswith("snapshot")) for line in rest]
    assert phases == sorted(phases)
    return sorted(rest, key=lambda line: (phases[rest.index(line)], line))


def test_a_migration_wants_both_hosts_and_a_watched_guest_on_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    live, cold = (MigrationRequest(OLD, NEW, WEB, how) for how in ("live", "cold"))
    assert ahead(monkeypatch, live, cold) == [
        "guest web trixie",
        "image xen-4.14",
        "image xen-4.20",
        "snapshot xen-4.14",
        "snapshot xen-4.20",
        "web on xen-4.14, watched",
    ]


def test_as_what_a_guest_arrives_is_an_image_and_nothing_that_is_booted(monkeypatch: pytest.MonkeyPatch) -> None:
    arrive = replace(WEB, kernel=KernelRequest("forky"))
    made = ahead(monkeypatch, MigrationRequest(OLD, NEW, WEB, "cold", arrive=arrive))
    assert made[:2] == ["guest web forky", "guest web trixie"]
    assert [line for line in made if " on " in line] == ["web on xen-4.14, watched"]


def test_the_same_guest_is_frozen_once_for_each_thing_that_is_done_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ahead(
        monkeypatch,
        BootRequest(OLD, WEB),
        MigrationRequest(OLD, NEW, WEB, "live"),
        BootRequest(OLD, WEB, ModulesRequest(("loop",))),
        NtfsRequest(NEW, NTFS, "ntfs3", "basic"),
        NtfsRequest(NEW, NTFS, "ntfs-3g", "sparse"),
        BootRequest(NEW, WEB),
    )
    assert [line for line in made if " on " in line] == [
        "ntfs on xen-4.20, bench",
        "web on xen-4.14, as booted",
        "web on xen-4.14, watched",
        "web on xen-4.20, as booted",
    ]
    assert made.count("guest web trixie") == 1


def test_a_bare_guest_wants_its_image_and_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    forky = replace(NTFS, kernel=KernelRequest("forky"))
    made = ahead(
        monkeypatch,
        NtfsRequest(BARE, NTFS, "ntfs3", "basic", stage="microvm"),
        NtfsRequest(BARE, NTFS, "ntfs-3g", "basic", stage="microvm"),
        NtfsRequest(BARE, forky, "ntfs", "basic", stage="microvm"),
    )
    assert made == [
        "guest ntfs forky",
        "guest ntfs trixie",
        "ntfs forky without a host",
        "ntfs trixie without a host",
    ]


def test_on_both_stages_both_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    xen, bare = NtfsRequest(NEW, NTFS, "ntfs3", "basic"), NtfsRequest(BARE, NTFS, "ntfs3", "basic", stage="microvm")
    assert ahead(monkeypatch, xen, bare) == [
        "guest ntfs trixie",
        "image xen-4.20",
        "snapshot xen-4.20",
        "ntfs on xen-4.20, bench",
        "ntfs trixie without a host",
    ]


def test_hosts_of_an_inventory_are_there_already_and_hide_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ahead(monkeypatch, BootRequest(NEW, WEB), BootRequest(LISTED, WEB))
    assert made == ["guest web trixie", "image xen-4.20", "snapshot xen-4.20", "web on xen-4.20, as booted"]
    assert ahead(monkeypatch, BootRequest(LISTED, WEB), BootRequest(NEW, WEB)) == made


def test_for_a_dom0_that_does_not_exist_nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ahead(monkeypatch, MigrationRequest(replace(OLD, dom0="i386"), NEW, WEB, "live")) == []


def test_what_cannot_be_booted_is_left_to_its_cell_and_the_rest_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(lacking=frozenset({"snapshot xen-4.14", "web on xen-4.14, as booted", "image xen-4.14"}))
    made = ahead(monkeypatch, BootRequest(OLD, WEB), BootRequest(NEW, WEB), pool=pool)
    assert made[-4:] == [
        "snapshot xen-4.14",
        "snapshot xen-4.20",
        "web on xen-4.14, as booted",
        "web on xen-4.20, as booted",
    ]


def test_a_run_hears_what_is_being_made_and_how_much_there_is_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, str]] = []

    def hear(event: Event) -> None:
        if event.kind == "making":
            told.append((event.fields["number"], event.fields["total"], event.fields["title"]))

    unsubscribe = subscribe(hear)
    ahead(monkeypatch, BootRequest(NEW, WEB))
    unsubscribe()
    assert sorted(number for number, _, _ in told) == [1, 2, 3, 4]
    assert {total for _, total, _ in told} == {4}
    assert sorted(title for _, _, title in told) == ["disk of web", "disk of xen-4.20", "web on xen-4.20", "xen-4.20"]
