"""Hosts and guests that are not there, and what they print when they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lab.deadline import Deadline
from lab.hypervisor import DiskSpec, DomainSpec, InterfaceSpec, domain_xml
from lab.preflight.ask import Side
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import FakeShell
from tests.unit.preflight.questions import DISK, HW_CAPS, KERNEL, WEB

SOON = Deadline(3600)  # made when this module is imported, which may be long before a test

# As xl of Xen 4.14 prints it in an embedded host, but for what no rule looks at.
XL_INFO = f"""xl host                   : xen-4.14
xl release                : 5.10.0-46-amd64
xl machine                : x86_64
xl nr_cpus                : 2
xl max_cpu_id             : 1
xl hw_caps                : {HW_CAPS}
xl virt_caps              : pv hvm hap shadow
xl total_memory           : 3071
xl free_memory            : 700
xl xen_version            : 4.14.6
xl xen_caps               : xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 \n\
xl xen_commandline        : placeholder console=com1 com1=115200 dom0_mem=1024M,max:1024M noreboot
"""

PLACES = f"""place 0 block {1 << 30}
serial 0 0QEMU_web
place 1 file 40000000
filesystem 1 ext2/ext3
magic 1 7f454c4602
"""


def told(*, xl: str = XL_INFO, bridges: str = "bridge xenbr0\n", places: str = PLACES) -> str:
    """What the script prints on a host."""
    return f"kernel 5.10.0-46-amd64\n{xl}dom0 Domain-0  0  1024  2  r-----  12.3\n{bridges}bridges\n{places}end\n"


INSIDE = """release 6.1.0-56-cloud-amd64
version #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)
machine x86_64
bits 32
flags fpu pni lm
loaded loop
tree 6.1.0-56-cloud-amd64
end
"""


def xml_of(name: str = "web", uuid: str = WEB.uuid) -> str:
    """The definition of a guest as the lab makes it."""
    spec = DomainSpec(
        name=name,
        uuid=uuid,
        type="pv",
        memory_mib=128,
        vcpus=1,
        kernel=KERNEL,
        disks=(DiskSpec(DISK),),
        interfaces=(InterfaceSpec("00:16:3e:77:00:0a", "xenbr0"),),
    )
    return domain_xml(spec)


def hypervisor(*running: str, xen: str = "4.14", libvirt: str = "7.0.0") -> FakeHypervisor:
    """A hypervisor with these guests; the first has WEB's UUID."""
    found = FakeHypervisor(uri=f"fake:///{xen}")
    found.facts = replace(found.facts, hypervisor_version=xen, libvirt_version=libvirt)
    with found.connect(deadline=SOON) as connection:
        for number, name in enumerate(running):
            uuid = WEB.uuid if number == 0 else f"00000000-0000-4000-8000-{number:012}"
            connection.define(xml_of(name, uuid), SOON).start(SOON)
    return found


def side(
    name: str, world: FakeHypervisor, said: str | None = None, *, within: Mapping[str, FakeShell] | None = None
) -> Side:
    """A host that can be asked."""
    shell = FakeShell({"sh -c *": told() if said is None else said})
    return Side(name, shell, world.connect(deadline=SOON), (within or {}).get)
