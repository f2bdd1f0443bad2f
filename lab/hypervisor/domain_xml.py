"""A guest as libvirt's libxl driver wants it told, and read back from what libvirt tells.

https://libvirt.org/drvxen.html and https://libvirt.org/formatdomain.html describe the format.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from lab.hypervisor.binding import XML_ERROR, Said
from lab.hypervisor.document import Element, element, parse, render, text_of, validate
from lab.hypervisor.domain_spec import DiskSpec, DomainSpec, InterfaceSpec
from lab.hypervisor.errors import DomainXmlError

__all__ = ["NAMESPACE", "DiskIdentity", "DomainIdentity", "device_xml", "domain_xml", "identity", "validate"]

NAMESPACE = "urn:crossroads-lab:domain:1"
"""Of the one metadata element in which a guest carries its tags."""

# libvirt's os types: `linux` is what it calls a PV guest since Xen 3.0.
_OS = {"pv": ("linux", "xenpv"), "pvh": ("xenpvh", "xenpvh"), "hvm": ("hvm", "xenfv")}
_TYPES = {"linux": "pv", "xen": "pv", "xenpvh": "pvh", "hvm": "hvm"}

# libvirt's names of units; without one it means KiB.
_UNITS = {
    "b": 1, "bytes": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}  # fmt: skip


def domain_xml(spec: DomainSpec) -> str:
    """The domain XML of ``spec``; it satisfies libvirt's RELAX-NG (a property test holds that for every spec)."""
    return render(
        element(
            "domain",
            element("name", spec.name),
            element("uuid", spec.uuid),
            _metadata(spec),
            element("memory", str(spec.memory_mib), attributes={"unit": "MiB"}),
            element("vcpu", str(spec.vcpus)),
            _os(spec),
            _features(spec),
            _clock(spec),
            element("on_poweroff", "destroy"),
            element("on_reboot", "restart"),
            element("on_crash", spec.on_crash),
            element(
                "devices",
                *(_disk(disk) for disk in spec.disks),
                *(_interface(interface, spec.type) for interface in spec.interfaces),
                *_consoles(spec),
            ),
            attributes={"type": "xen"},
        )
    )


def device_xml(device: DiskSpec | InterfaceSpec, domain_type: str = "pv") -> str:
    """One device by itself, for attach to and detach from a guest of ``domain_type``."""
    return render(_disk(device) if isinstance(device, DiskSpec) else _interface(device, domain_type))


def _metadata(spec: DomainSpec) -> Element | None:
    if not spec.tags:
        return None
    tags = (element(_tag("tag"), attributes={"name": name, "value": value}) for name, value in spec.tags)
    return element("metadata", element(_tag("guest"), *tags, namespaces={"lab": NAMESPACE}))


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _os(spec: DomainSpec) -> Element:
    kind, machine = _OS[spec.type]
    return element(
        "os",
        # The ABI of the domain, also for a 686-pae kernel: libxl reads the kernel's own width from its ELF header.
        element("type", kind, attributes={"arch": "x86_64", "machine": machine}),
        element("kernel", spec.kernel),
        element("initrd", spec.initrd) if spec.initrd is not None else None,
        element("cmdline", spec.cmdline) if spec.cmdline else None,
    )


def _features(spec: DomainSpec) -> Element | None:
    wanted = [element(name) for name in ("acpi", "apic", "pae")] if spec.type == "hvm" else []
    if not spec.hap:
        wanted.append(element("hap", attributes={"state": "off"}))
    return element("features", *wanted) if wanted else None


def _clock(spec: DomainSpec) -> Element:
    timer = element("timer", attributes={"name": "tsc", "mode": "native"}) if spec.tsc_native else None
    return element("clock", timer, attributes={"offset": "utc"})


def _disk(disk: DiskSpec) -> Element:
    # libxl's phy backend takes regular files too on Linux (its block script makes the loop device), so a raw file
    # needs no QEMU in the host. https://xenbits.xen.org/docs/unstable/man/xl-disk-configuration.5.html
    backend = "phy" if disk.format == "raw" else "qemu"
    return element(
        "disk",
        element("driver", attributes={"name": backend, "type": disk.format}),
        element("source", attributes={"dev" if disk.kind == "block" else "file": disk.source}),
        element("target", attributes={"dev": disk.target, "bus": "xen"}),
        element("readonly") if disk.readonly else None,
        attributes={"type": disk.kind, "device": "disk"},
    )


def _interface(interface: InterfaceSpec, domain_type: str) -> Element:
    # Without a model libxl gives an HVM guest an emulated card as well, which needs its own driver.
    model = element("model", attributes={"type": "netfront"}) if domain_type == "hvm" else None
    return element(
        "interface",
        element("mac", attributes={"address": interface.mac}),
        element("source", attributes={"bridge": interface.bridge}),
        model,
        attributes={"type": "bridge"},
    )


def _consoles(spec: DomainSpec) -> list[Element]:
    if spec.type != "hvm":
        target = element("target", attributes={"type": "xen", "port": "0"})
        return [element("console", target, attributes={"type": "pty"})]
    source = element("source", attributes={"path": spec.serial_log}) if spec.serial_log is not None else None
    kind = "file" if spec.serial_log is not None else "pty"
    return [element("serial", source, element("target", attributes={"port": "0"}), attributes={"type": kind})]


@dataclass(frozen=True, slots=True)
class DiskIdentity:
    """A disk by what a guest and its host call it."""

    target: str
    source: str
    readonly: bool


@dataclass(frozen=True, slots=True)
class DomainIdentity:
    """What must not change about a guest while it moves, as a domain XML has it. ``type`` is pv, pvh or hvm."""

    name: str
    uuid: str
    type: str
    memory_kib: int
    vcpus: int
    macs: tuple[str, ...]
    disks: tuple[DiskIdentity, ...]
    tags: tuple[tuple[str, str], ...] = ()

    def differences(self, other: DomainIdentity) -> tuple[str, ...]:
        """What differs, each as ``field: mine -> other's``; empty when the two are the same guest."""
        pairs = ((field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return tuple(f"{name}: {mine} -> {theirs}" for name, mine, theirs in pairs if mine != theirs)


def identity(xml: str) -> DomainIdentity:
    """The identity that a domain XML states, whoever wrote it.

    Raises:
        DomainXmlError: not well-formed, or not a domain's.
    """
    root = parse(xml)
    if root.tag != "domain":
        raise _not_a_domain(f"the root is <{root.tag}>, not <domain>")
    kind = text_of(root, "os/type")
    return DomainIdentity(
        name=text_of(root, "name"),
        uuid=text_of(root, "uuid").lower(),
        type=_TYPES.get(kind, kind),
        memory_kib=_kib(root),
        vcpus=_number(text_of(root, "vcpu", "1"), "vcpu"),
        macs=tuple(mac.get("address", "").lower() for mac in root.iterfind("devices/interface/mac")),
        disks=tuple(_disk_identity(disk) for disk in root.iterfind("devices/disk")),
        tags=tuple((tag.get("name", ""), tag.get("value", "")) for tag in root.iterfind(f"metadata//{_tag('tag')}")),
    )


def _disk_identity(disk: Element) -> DiskIdentity:
    source, target = disk.find("source"), disk.find("target")
    where = "" if source is None else source.get("dev") or source.get("file") or source.get("name") or ""
    return DiskIdentity("" if target is None else target.get("dev", ""), where, disk.find("readonly") is not None)


def _kib(root: Element) -> int:
    memory = root.find("memory")
    unit = "KiB" if memory is None else memory.get("unit", "KiB")
    if unit not in _UNITS:
        raise _not_a_domain(f"memory unit {unit!r} is none of libvirt's")
    return _number(text_of(root, "memory", "0"), "memory") * _UNITS[unit] // 1024


def _number(text: str, what: str) -> int:
    if not text.isdecimal():
        raise _not_a_domain(f"{what} {text!r} is not a number")
    return int(text)


def _not_a_domain(text: str) -> DomainXmlError:
    return DomainXmlError("domain XML", Said(XML_ERROR, 0, text))
