"""Whether an embedded host can have a 32-bit dom0, by the kernels that there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.archive import Archive, Package, PackageError
from lab.errors import LabError, UnsupportedError
from lab.keys import Keys
from lab.scenario.cell import HostRequest
from lab.stage.dom0 import require_dom0

LEGACY = HostRequest("source", "4.14", dom0="i386")


def ask(folder: Path, request: HostRequest = LEGACY) -> None:
    cache = Cache(folder)
    require_dom0(request, cache, Keys.of(cache, deadline=Deadline(10)), Deadline(10))


def kernels(monkeypatch: pytest.MonkeyPatch, found: Any, version: str = "5.10.262-1") -> None:
    """What obtaining one gives, or raises; and what the suite's lists say of its version."""

    @contextmanager
    def obtain(*_args: Any, **_how: Any) -> Iterator[Any]:
        if isinstance(found, Exception):
            raise found
        yield SimpleNamespace(release="5.10.0-46-686-pae", config=lambda: found)

    given: AbstractContextManager[Any] = obtain  # type: ignore[assignment] # only its shape counts
    monkeypatch.setattr("lab.stage.dom0.obtain_kernel", given)
    family = (Package("linux-image-686-pae", version),)
    monkeypatch.setattr(Archive, "family", lambda *_args, **_how: family)


@pytest.mark.parametrize(
    "request_", [HostRequest("source", "4.14"), HostRequest("source", inventory="old", dom0="i386")]
)
def test_nobody_asks_for_more_than_is_wanted(tmp_path: Path, request_: HostRequest) -> None:
    ask(tmp_path, request_)


def test_a_kernel_that_can_be_a_dom0_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels(monkeypatch, {"CONFIG_XEN_PV": "y"})
    ask(tmp_path)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "5.10.0-46-686-pae of Debian bullseye is built without CONFIG_XEN_PV"),
        (PackageError("bullseye (i386): none"), "Debian bullseye has no 686-pae kernel (bullseye (i386): none)"),
        (
            LabError("apt-get: status 100: 404"),
            "the 686-pae kernel of Debian bullseye is 5.10.262-1, and Linux has had no 32-bit PV since 5.9",
        ),
    ],
)
def test_why_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Any, why: str) -> None:
    kernels(monkeypatch, found)
    with pytest.raises(UnsupportedError) as refused:
        ask(tmp_path)
    assert refused.value.message == f"xen-4.14-dom0-i386: no 32-bit dom0 can be nested: {why}"


def test_a_kernel_that_cannot_be_fetched_may_be_one_that_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels(monkeypatch, LabError("apt-get: status 100: 404"), version="4.19.316-1")
    with pytest.raises(LabError, match=r"^apt-get: status 100: 404$"):
        ask(tmp_path)
