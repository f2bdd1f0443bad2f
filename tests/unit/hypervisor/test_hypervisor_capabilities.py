"""Capabilities as the libxl driver words them."""

from __future__ import annotations

import pytest

from lab.errors import UnknownNameError
from lab.hypervisor import Capabilities, DomainXmlError, GuestAbi, capabilities

# The shape that libvirt's libxl driver gives to xen_caps "xen-3.0-x86_64 hvm-3.0-x86_32p hvm-3.0-x86_64".
XEN = """<capabilities>
  <host><cpu><arch>x86_64</arch><features><pae/></features></cpu></host>
  <guest><os_type>xen</os_type>
    <arch name='x86_64'><wordsize>64</wordsize><machine>xenpv</machine><domain type='xen'/></arch></guest>
  <guest><os_type>hvm</os_type>
    <arch name='i686'><wordsize>32</wordsize><machine>xenfv</machine><domain type='xen'/></arch>
    <features><pae/><nonpae/><acpi default='on' toggle='yes'/><hap default='on' toggle='yes'/></features></guest>
  <guest><os_type>hvm</os_type>
    <arch name='x86_64'><wordsize>64</wordsize><machine>xenfv</machine><domain type='xen'/></arch></guest>
  <guest><os_type>xenpvh</os_type>
    <arch name='x86_64'><wordsize>64</wordsize><machine>xenpvh</machine><domain type='xen'/></arch></guest>
</capabilities>"""


@pytest.mark.parametrize(
    ("kind", "arch", "supported"),
    [
        ("pv", "x86_64", True),
        ("pv", "amd64", True),
        ("pv", "i686", False),
        ("pv", "i386", False),
        ("pvh", "amd64", True),
        ("pvh", "i386", False),
        ("hvm", "i386", True),
        ("hvm", "arm64", False),
    ],
)
def test_what_a_host_takes(kind: str, arch: str, *, supported: bool) -> None:
    assert capabilities(XEN).supports(type=kind, arch=arch) is supported


def test_everything_is_read() -> None:
    read = capabilities(XEN)
    assert read.arch == "x86_64"
    assert read.guests[1] == GuestAbi("hvm", "i686", ("xenfv",), ("pae", "nonpae", "acpi", "hap"))
    assert str(read) == "hvm-i686 hvm-x86_64 xen-x86_64 xenpvh-x86_64"


def test_no_guests_at_all() -> None:
    assert capabilities("<capabilities/>") == Capabilities("", ())
    assert str(capabilities("<capabilities/>")) == "no guests"


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(UnknownNameError) as caught:
        capabilities(XEN).supports(type="pvm", arch="i386")
    assert str(caught.value).startswith("no guest type 'pvm'; known: hvm, pv, pvh")


def test_broken_capabilities_say_what_they_are() -> None:
    with pytest.raises(DomainXmlError, match=r"^capabilities XML: line 1: "):
        capabilities("<capabilities")
