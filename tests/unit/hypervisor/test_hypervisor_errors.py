"""libvirt's codes and origins to the lab's errors; code and words are always kept."""

from __future__ import annotations

import pytest

from lab.errors import GuestError, HostError, LabError, UnsupportedError
from lab.hypervisor import binding
from lab.hypervisor.binding import Said
from lab.hypervisor.errors import (
    DomainXmlError,
    GuestNotFoundError,
    GuestRefusedError,
    HostRefusedError,
    NotSupportedError,
    Place,
    refusal,
)

HOST = Place("xen:///system", "", "define")
GUEST = Place("xen:///system", "web32", "start")
DRIVER = binding.FROM_DRIVER


@pytest.mark.parametrize(
    ("place", "said", "expected"),
    [
        (GUEST, Said(binding.NO_DOMAIN, DRIVER, "Domain not found"), GuestNotFoundError),
        (GUEST, Said(binding.OPERATION_INVALID, DRIVER, "domain is already running"), GuestRefusedError),
        (GUEST, Said(binding.OPERATION_FAILED, DRIVER, "domain 'web32' already exists"), GuestRefusedError),
        (GUEST, Said(binding.INTERNAL_ERROR, DRIVER, "libxenlight failed to create new domain"), GuestRefusedError),
        (HOST, Said(binding.INTERNAL_ERROR, DRIVER, "no more"), HostRefusedError),
        (GUEST, Said(binding.INTERNAL_ERROR, binding.FROM_RPC, "client socket is closed"), HostRefusedError),
        (GUEST, Said(binding.SYSTEM_ERROR, DRIVER, "No space left on device"), HostRefusedError),
        (GUEST, Said(min(binding.NO_CONNECTION), DRIVER, "no connection"), HostRefusedError),
        (GUEST, Said(binding.NO_SUPPORT, DRIVER, "not supported"), NotSupportedError),
        (GUEST, Said(binding.OPERATION_UNSUPPORTED, DRIVER, "not supported"), NotSupportedError),
        (GUEST, Said(binding.ARGUMENT_UNSUPPORTED, DRIVER, "not supported"), NotSupportedError),
        (GUEST, Said(binding.CONFIG_UNSUPPORTED, DRIVER, "not supported"), NotSupportedError),
        (GUEST, Said(binding.INVALID_ARGUMENT, DRIVER, "unsupported flags (0x1) in function f"), NotSupportedError),
        (GUEST, Said(binding.INVALID_ARGUMENT, DRIVER, "invalid argument: no such disk"), GuestRefusedError),
        (HOST, Said(binding.XML_ERROR, DRIVER, "XML error: no name"), DomainXmlError),
        (HOST, Said(binding.XML_DETAIL, DRIVER, "line 1: no end"), DomainXmlError),
    ],
)
def test_every_refusal_has_its_error(place: Place, said: Said, expected: type[LabError]) -> None:
    error = refusal(place, said)
    assert type(error) is expected
    assert isinstance(error, GuestRefusedError | HostRefusedError | NotSupportedError | DomainXmlError)
    assert (error.code, error.text, error.place) == (said.code, said.text, place)
    assert str(error) == f"{place}: {said.text}"


def test_places_read_well() -> None:
    assert str(HOST) == "xen:///system: define"
    assert str(GUEST) == "xen:///system: guest web32: start"


@pytest.mark.parametrize(
    ("error", "families"),
    [
        (GuestNotFoundError(GUEST, Said(1, 1, "x")), (GuestError, LookupError, ConnectionError)),
        (HostRefusedError(GUEST, Said(1, 1, "x")), (HostError, ConnectionError)),
        (NotSupportedError(GUEST, Said(1, 1, "x"), reason="libvirt-x"), (UnsupportedError, NotImplementedError)),
        (DomainXmlError(GUEST, Said(1, 1, "x")), (LabError, ValueError)),
    ],
)
def test_every_error_is_also_a_builtin(error: LabError, families: tuple[type[Exception], ...]) -> None:
    assert all(isinstance(error, family) for family in families)


def test_reasons_are_machine_readable() -> None:
    error = refusal(GUEST, Said(binding.INVALID_ARGUMENT, DRIVER, "unsupported flags (0x1) in function f"))
    assert isinstance(error, UnsupportedError)
    assert error.reason == "libvirt-flags-unsupported"


def test_only_libvirts_own_errors_are_listened_to() -> None:
    assert binding.listen(ValueError("x")) is None
