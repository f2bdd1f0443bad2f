"""Domain XML: every spec satisfies libvirt's RELAX-NG, comes back as it went, and nonsense is refused before."""

from __future__ import annotations

import functools
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import LabError, MissingToolError, UsageError
from lab.hypervisor import (
    DiskIdentity,
    DiskSpec,
    DomainIdentity,
    DomainSpec,
    DomainXmlError,
    InterfaceSpec,
    device_xml,
    domain_xml,
    identity,
    validate,
)

SPEC = DomainSpec(
    name="web32",
    uuid="0b0f1e7e-0000-4111-8111-0123456789ab",
    type="pv",
    memory_mib=256,
    vcpus=1,
    kernel="/boot/vmlinux",
    initrd="/boot/initrd.img",
    cmdline="root=/dev/xvda console=hvc0",
    disks=(DiskSpec("/dev/vdb"), DiskSpec("/srv/volume.img", "xvdb", kind="file", readonly=True)),
    interfaces=(InterfaceSpec("00:16:3e:00:00:01", "xenbr0"),),
    tags=(("run", "2026-11-22-a"), ("cell", "web32-live <&>")),
)

paths = st.from_regex(r"/[ -~]{1,20}", fullmatch=True) | st.just("/srv/Bücher/ディスク.img")
targets = st.from_regex(r"xvd[a-z]{1,2}[0-9]{0,2}", fullmatch=True)
macs = st.from_regex(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", fullmatch=True)
disks = st.builds(
    DiskSpec,
    source=paths,
    target=targets,
    kind=st.sampled_from(["block", "file"]),
    format=st.sampled_from(["raw", "qcow2"]),
    readonly=st.booleans(),
)
interfaces = st.builds(InterfaceSpec, mac=macs, bridge=st.from_regex(r"[A-Za-z0-9_.-]{1,15}", fullmatch=True))
printable = st.text(max_size=30).filter(str.isprintable)
tags = st.tuples(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), printable)


@st.composite
def specs(draw: st.DrawFn) -> DomainSpec:
    kind = draw(st.sampled_from(["pv", "pvh", "hvm"]))
    return DomainSpec(
        name=draw(st.from_regex(r"[A-Za-z][A-Za-z0-9_.+-]{0,20}", fullmatch=True)),
        uuid=str(draw(st.uuids())),
        type=kind,
        memory_mib=draw(st.integers(1, 1 << 20)),
        vcpus=draw(st.integers(1, 128)),
        kernel=draw(paths),
        initrd=draw(st.none() | paths),
        cmdline=draw(printable),
        disks=tuple(draw(st.lists(disks, max_size=3, unique_by=lambda disk: disk.target))),
        interfaces=tuple(draw(st.lists(interfaces, max_size=2, unique_by=lambda interface: interface.mac))),
        serial_log=draw(st.none() | paths) if kind == "hvm" else None,
        tsc_native=draw(st.booleans()),
        hap=kind == "pv" or draw(st.booleans()),
        on_crash=draw(st.sampled_from(["destroy", "preserve"])),
        tags=tuple(draw(st.lists(tags, max_size=3, unique_by=lambda tag: tag[0]))),
    )


@settings(max_examples=60, deadline=None)
@given(specs())
def test_every_spec_satisfies_libvirts_schema_and_comes_back(spec: DomainSpec) -> None:
    xml = domain_xml(spec)
    validate(xml)
    assert identity(xml) == DomainIdentity(
        name=spec.name,
        uuid=spec.uuid,
        type=spec.type,
        memory_kib=spec.memory_mib * 1024,
        vcpus=spec.vcpus,
        macs=tuple(interface.mac for interface in spec.interfaces),
        disks=tuple(DiskIdentity(disk.target, disk.source, disk.readonly) for disk in spec.disks),
        tags=spec.tags,
    )


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.integers(-5, 200))
def test_any_text_is_either_refused_or_valid(name: str, path: str, cmdline: str, vcpus: int) -> None:
    try:
        spec = replace(SPEC, name=name, kernel="/" + path, cmdline=cmdline, vcpus=vcpus)
    except UsageError:
        return
    validate(domain_xml(spec))


def test_a_pv_guest_in_full() -> None:
    assert domain_xml(SPEC) == (Path(__file__).parent / "golden" / "pv.xml").read_text()


def test_a_pvh_guest_has_native_tsc_and_shadow_paging_when_asked() -> None:
    xml = domain_xml(replace(SPEC, type="pvh", tsc_native=True, hap=False))
    assert '<type arch="x86_64" machine="xenpvh">xenpvh</type>' in xml
    assert '<timer name="tsc" mode="native"/>' in xml
    assert '<hap state="off"/>' in xml


def test_an_hvm_guest_may_log_its_serial_port() -> None:
    xml = domain_xml(replace(SPEC, type="hvm", serial_log="/var/log/xen/web32.log"))
    assert '<type arch="x86_64" machine="xenfv">hvm</type>' in xml
    assert '<source path="/var/log/xen/web32.log"/>' in xml
    validate(xml)


def test_a_device_by_itself() -> None:
    assert device_xml(InterfaceSpec("00:16:3e:00:00:01", "xenbr0"), "hvm") == (
        '<interface type="bridge">\n'
        '  <mac address="00:16:3e:00:00:01"/>\n'
        '  <source bridge="xenbr0"/>\n'
        '  <model type="netfront"/>\n'
        "</interface>\n"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "7"}, "guest name '7' is not a letter followed by letters, digits or _.+-"),
        ({"uuid": "no"}, "guest web32: uuid 'no' is not a lower-case UUID with dashes"),
        ({"type": "xenu"}, "guest web32: type 'xenu' is not one of hvm, pv, pvh"),
        ({"memory_mib": 0}, "guest web32: memory of 0 MiB"),
        ({"vcpus": 129}, "guest web32: 129 vcpus is not within 1..128"),
        ({"kernel": "vmlinux"}, "guest web32: kernel 'vmlinux' is not an absolute path"),
        ({"initrd": "initrd"}, "guest web32: initrd 'initrd' is not an absolute path"),
        ({"cmdline": "a\nb"}, "guest web32: cmdline 'a\\nb' has an unprintable character"),
        ({"on_crash": "restart"}, "guest web32: on_crash 'restart' is not one of destroy, preserve"),
        ({"disks": (DiskSpec("/a"), DiskSpec("/b"))}, "guest web32: two disks xvda"),
        ({"interfaces": SPEC.interfaces * 2}, "guest web32: two interfaces 00:16:3e:00:00:01"),
        ({"tags": (("run", "1"), ("run", "2"))}, "guest web32: two tags run"),
        ({"tags": (("Run", "1"),)}, "guest web32: tag 'Run' is not a lower-case word"),
        ({"tags": (("run", "\0"),)}, "guest web32: tag run: '\\x00' has an unprintable character"),
        ({"type": "hvm", "serial_log": "log"}, "guest web32: serial log 'log' is not an absolute path"),
        (
            {"hap": False},
            "guest web32: hap is off, but a pv guest has none\n  hint: only pvh and hvm have it",
        ),
        (
            {"serial_log": "/log"},
            (
                "guest web32: a serial log of a pv guest: libxl gives it no serial port\n"
                "  hint: xenconsoled --log=guest writes /var/log/xen/console/guest-NAME.log on the host"
            ),
        ),
    ],
)
def test_what_libxl_cannot_do_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(SPEC, **change)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (functools.partial(DiskSpec, "vdb"), "disk source 'vdb' is not an absolute path"),
        (functools.partial(DiskSpec, "/a", "hda"), "disk target 'hda' is not like xvda or xvdb1"),
        (functools.partial(DiskSpec, "/a", kind="net"), "disk kind 'net' is not one of block, file"),
        (functools.partial(DiskSpec, "/a", format="vhd"), "disk format 'vhd' is not one of qcow2, raw"),
        (
            functools.partial(InterfaceSpec, "01:16:3e:00:00:01", "xenbr0"),
            "MAC '01:16:3e:00:00:01' is not six lower-case bytes of a unicast address",
        ),
        (
            functools.partial(InterfaceSpec, "00:16:3e:00:00:01", "a bridge"),
            "bridge 'a bridge' is not an interface name",
        ),
    ],
)
def test_devices_are_checked(make: functools.partial[object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message


def test_a_schema_violation_names_line_and_element() -> None:
    with pytest.raises(DomainXmlError) as caught:
        validate(domain_xml(SPEC).replace("on_crash", "on_crush"))
    assert str(caught.value) == "domain XML: line 21: Element domain has extra content: on_crush"
    assert caught.value.code == 0


def test_broken_xml_names_line_and_column() -> None:
    with pytest.raises(DomainXmlError) as caught:
        validate("<domain>\n<name>")
    assert str(caught.value).startswith(
        "domain XML: line 2: Premature end of data in tag name line 2, line 2, column 7"
    )


def test_without_the_schema_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError) as caught:
        validate(domain_xml(SPEC), schema=tmp_path / "domain.rng")
    assert str(caught.value) == (
        f"{tmp_path}/domain.rng: libvirt's RELAX-NG schemas are not installed\n"
        "  hint: apt-get install libvirt0 (Debian 12) or libvirt-common (Debian 13)"
    )


def test_a_schema_that_is_none_is_the_labs_trouble(tmp_path: Path) -> None:
    schema = tmp_path / "domain.rng"
    schema.write_text("<grammar>")
    with pytest.raises(LabError, match=rf"^{schema}: not a RELAX-NG schema: "):
        validate(domain_xml(SPEC), schema=schema)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<network/>", "domain XML: the root is <network>, not <domain>"),
        ("<domain><memory unit='pages'>1</memory></domain>", "domain XML: memory unit 'pages' is none of libvirt's"),
        ("<domain><memory>many</memory></domain>", "domain XML: memory 'many' is not a number"),
        ("<domain><vcpu>-1</vcpu></domain>", "domain XML: vcpu '-1' is not a number"),
    ],
)
def test_what_is_no_domain_has_no_identity(xml: str, message: str) -> None:
    with pytest.raises(DomainXmlError) as caught:
        identity(xml)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("memory", "kib"),
    [
        ("<memory>65536</memory>", 65536),
        ("<memory unit='b'>67108864</memory>", 65536),
        ("<memory unit='MB'>64</memory>", 62500),
        ("<memory unit='G'>1</memory>", 1 << 20),
        ("", 0),
    ],
)
def test_units_of_memory(memory: str, kib: int) -> None:
    assert identity(f"<domain>{memory}</domain>").memory_kib == kib


def test_entities_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    xml = f"<!DOCTYPE d [<!ENTITY e SYSTEM 'file://{secret}'>]><domain><name>&e;</name></domain>"
    assert "secret" not in identity(xml).name


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"interfaces": (InterfaceSpec("00:16:3e:00:00:02", "xenbr0"),)},
         "macs: ('00:16:3e:00:00:01',) -> ('00:16:3e:00:00:02',)"),
        ({"vcpus": 2}, "vcpus: 1 -> 2"),
        ({"memory_mib": 128}, "memory_kib: 262144 -> 131072"),
        ({"type": "pvh"}, "type: pv -> pvh"),
        ({"uuid": str(uuid.UUID(int=7))},
         "uuid: 0b0f1e7e-0000-4111-8111-0123456789ab -> 00000000-0000-0000-0000-000000000007"),
    ],
)  # fmt: skip
def test_each_change_of_identity_is_seen_by_name(change: dict[str, Any], difference: str) -> None:
    before, after = identity(domain_xml(SPEC)), identity(domain_xml(replace(SPEC, **change)))
    assert before.differences(after) == (difference,)
    assert before.differences(before) == ()
