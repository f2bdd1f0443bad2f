"""What is seen of a good move, to be broken one thing at a time."""

from __future__ import annotations

from dataclasses import replace

from lab.checks.journey import Journey
from lab.checks.steerable import Steering
from lab.checks.whereabouts import Sides
from lab.guests.meter import ClockSample, DatagramReport, MeterReport, SessionReport, Silence
from lab.guests.witness import (
    AgentReport,
    Arrears,
    DiskReport,
    EchoReport,
    Gap,
    HeartbeatReport,
    Latencies,
    MemoryReport,
    Moment,
    ProcessReport,
)
from lab.hosts.traces import parse_traces
from lab.hypervisor import DiskIdentity, DomainIdentity, DomainState
from tests.unit.guests.observations import HEALTHY, LOG

__all__ = ["GOOD", "SOURCE_AFTER", "SOURCE_BEFORE", "TARGET_AFTER", "TARGET_BEFORE"]

UUID = "0b0f1e7e-0000-4111-8111-0123456789ab"
DOMAIN = DomainIdentity(
    name="web32",
    uuid=UUID,
    type="pvh",
    memory_kib=262144,
    vcpus=1,
    macs=("00:16:3e:77:00:0a",),
    disks=(DiskIdentity("xvda", "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_web32-xvda", readonly=False),),
)
PROCESSES = {
    "hub": ProcessReport(400, 2200, alive=True),
    "sentinel": ProcessReport(401, 2201, alive=True),
    "heartbeat": ProcessReport(405, 2240, alive=True),
}
EMPTY = Latencies(0.0, 0, None, None, ())
AGENT_BEFORE = AgentReport(
    boot_id=HEALTHY.boot_id,
    bits=32,
    python="3.11",
    port=7070,
    now=Moment(60.0, 60.0, 1_795_000_000.0),
    since=0.0,
    processes=PROCESSES,
    heartbeat=HeartbeatReport(0.005, 0.025, 4000, 59.99, True, 0.02, False, (), 0, 0.0, ()),  # noqa: FBT003 - fields of a report
    memory=MemoryReport(64 << 20, 24 << 20, 24 << 20, 5000, 3, Arrears(6144, 0, "")),
    disk=DiskReport(1000, tuple(range(937, 1001)), 4096, None, (), EMPTY, EMPTY, Arrears(64, 0, "", "direct")),
    echo=EchoReport(7077, 1, 1, (), 3000),
)
AGENT_AFTER = replace(
    AGENT_BEFORE,
    now=Moment(90.0, 88.8, 1_795_000_030.0),
    since=60.0,
    heartbeat=HeartbeatReport(0.005, 0.025, 9000, 89.99, True, 0.02, False, (Gap(80.0, 1.2, 0.0),), 0, 0.0, ()),  # noqa: FBT003 - likewise
    disk=DiskReport(
        1280,
        tuple(range(1217, 1281)),
        4096,
        0.001,
        (),
        Latencies(60.0, 280, 1.3, 0.02, ()),
        Latencies(81.2, 80, 0.04, 0.02, ((89.9, 0.02),)),
        Arrears(64, 0, "", "direct"),
    ),
)
METER_BEFORE = MeterReport(
    now=500.0,
    since=0.0,
    interval=0.02,
    udp=DatagramReport(900, 0, 0, 0, 0, 0, (Silence(495.0, 0.05),), 0.03, 0.002, 0.01, (ClockSample(499, 0.3, 0.002),)),
    tcp=SessionReport(180, 180, 180, "", "", (Silence(498.0, 0.12),)),
)
METER = MeterReport(
    now=530.0,
    since=500.0,
    interval=0.02,
    udp=DatagramReport(
        1450, 30, 30, 0, 0, 0, (Silence(520.0, 1.3),), 0.03, 0.002, 0.01, (ClockSample(529, 0.31, 0.002),)
    ),
    tcp=SessionReport(480, 479, 290, "", "", (Silence(520.0, 1.6), Silence(529.95, 0.05))),
)

_TENANT = """tenant {id} web32 256 1 -b---- 3.2 0b0f1e7e-0000-4111-8111-0123456789ab - -
xenstore /vm/0b0f1e7e-0000-4111-8111-0123456789ab
xenstore /libxl/{id}
xenstore /local/domain/{id}
xenstore /local/domain/0/backend/vbd/{id}/51712
xenstore /local/domain/0/backend/vif/{id}/0
interface vif{id}.0
backend vbd-{id}-51712
backend vif-{id}-0
file /var/lib/xen/userdata-d.{id}.0b0f1e7e-0000-4111-8111-0123456789ab.libvirt-xml
file /run/libvirt/libxl/web32.xml
"""
_HOST = """xenstore /local/domain/0
file /run/libvirt/libxl/driver.pid
port 22
xl dmesg
(XEN) Xen version 4.17
(XEN) Dom0 has maximum 2 VCPUs
"""
SOURCE_BEFORE = parse_traces(_TENANT.format(id=3) + _HOST)
SOURCE_AFTER = parse_traces(_HOST)
TARGET_BEFORE = parse_traces(_HOST)
TARGET_AFTER = parse_traces(
    _TENANT.format(id=5) + _HOST + "(XEN) grant_table.c:1882:d5v0 Expanding d5 grant table from 1 to 2 frames\n"
)
GOOD = Journey(
    how="live",
    guest="web32",
    home="xen-4.20",
    before=HEALTHY,
    after=replace(HEALTHY, uptime=95.5, clock_offset=0.31, clock_error=0.2, kernel_log=(*LOG, "[ 70.9] OOM killer on")),
    sides=Sides(DomainState.ABSENT, DomainState.RUNNING, DOMAIN, DOMAIN),
    agent_before=AGENT_BEFORE,
    agent_after=AGENT_AFTER,
    meter_before=METER_BEFORE,
    meter=METER,
    traces={"xen-4.17": (SOURCE_BEFORE, SOURCE_AFTER), "xen-4.20": (TARGET_BEFORE, TARGET_AFTER)},
    steering=Steering(("paused", "resumed", "answered", "shut down")),
)
