"""What is on a host: read from the script's words, and the script itself in a shell whose Xen is played."""

from __future__ import annotations

import re

import pytest

from lab.deadline import Deadline
from lab.errors import HostError
from lab.hosts.traces import ALLOWED, Tenant, Trace, Traces, leftovers, parse_traces, take_traces
from lab.process import Completed
from lab.testing.shell import Answer, FakeShell
from tests.unit.guests.witnesses import HereShell
from tests.unit.programs import Programs

UUID = "0b0f1e7e-0000-4111-8111-0123456789ab"
XL = f"""
case "$1" in
  list) cat <<'END'
Name                 ID   Mem VCPUs      State   Time(s) UUID                            Reason-Code
Domain-0              0  1024     2     r-----      95.1 00000000-0000-0000-0000-000000000000 -
web32-1               3   128     1     -b----       3.2 {UUID} -
(null)                7     0     1     --ps-d       1.0 11111111-2222-4333-8444-555555555555 -
END
  ;;
  dmesg) echo '(XEN) one'; echo '(XEN) two' ;;
esac
"""
STORE = f"""
cat <<'END'
/vm = ""
/vm/{UUID} = ""
/vm/{UUID}/name = "web32-1"
/libxl/3 = ""
/libxl/3/device = ""
/local/domain/0 = ""
/local/domain/0/backend/vbd/3/51712 = ""
/local/domain/0/backend/vbd/3/51712/state = "4"
/local/domain/3 = ""
/local/domain/3/name = "web32-1"
END
"""


def test_the_script_tells_what_is_there(programs: Programs) -> None:
    # The script sets its own PATH; a played Xen has to be put in front of that.
    programs.add("xl", XL)
    programs.add("xenstore-ls", STORE)
    shell = _Played(programs)
    found = take_traces(shell, deadline=Deadline(20))
    assert found.log == ("(XEN) one", "(XEN) two")
    assert found.tenants == (
        Tenant(3, "web32-1", UUID),
        Tenant(7, "(null)", "11111111-2222-4333-8444-555555555555"),
    )
    assert {trace for trace in found.traces if trace.kind in {"tenant", "xenstore"}} == {
        Trace("tenant", "web32-1"),
        Trace("tenant", "(null)"),
        Trace("xenstore", f"/vm/{UUID}"),
        Trace("xenstore", "/libxl/3"),
        Trace("xenstore", "/local/domain/0"),
        Trace("xenstore", "/local/domain/3"),
        Trace("xenstore", "/local/domain/0/backend/vbd/3/51712"),
    }


class _Played:
    """A shell here, with programs in front of the PATH that a script chooses."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        script = argv[2].replace("PATH=", f"PATH={self.programs.folder}:", 1)
        return HereShell().run(*argv[:2], script, deadline=deadline, stdin=stdin)


def test_half_an_answer_is_no_answer() -> None:
    with pytest.raises(HostError, match=r"^what is on the host: half an answer of 8 characters \(status 1\)$"):
        take_traces(FakeShell({"sh *": Answer(1, "port 22\n")}), deadline=Deadline(5))


def test_only_ports_that_take_in_guests_count() -> None:
    found = parse_traces("port 22\nport 49151\nport 49152\nport 49216\nport 49217\nxl dmesg\n")
    assert found.traces == {Trace("port", "49152"), Trace("port", "49216")}


TENANT = Tenant(3, "web32-1", UUID)


@pytest.mark.parametrize(
    "trace",
    [
        Trace("tenant", "web32-1"),
        Trace("xenstore", "/libxl/3"),
        Trace("xenstore", "/local/domain/3"),
        Trace("xenstore", "/local/domain/0/backend/vif/3/0"),
        Trace("xenstore", f"/vm/{UUID}"),
        Trace("interface", "vif3.0"),
        Trace("backend", "vbd-3-51712"),
        Trace("file", "/run/libvirt/libxl/web32-1.xml"),
        Trace("file", f"/var/lib/xen/userdata-d.3.{UUID}.libvirt-xml"),
        Trace("process", "qemu-system-i38 qemu-system-i386 -xen-domid 3 -name web32-1 -nographic"),
    ],
    ids=str,
)
def test_a_guest_owns_what_bears_its_number_its_name_or_its_uuid(trace: Trace) -> None:
    assert TENANT.owns(trace)
    before, after = Traces((), frozenset(), ()), Traces((TENANT,), frozenset({trace}), ())
    assert leftovers(before, after, guest="web32-1", home=True) == ()
    assert leftovers(before, after, guest="web32-1", home=False) == (f"+ {trace}",)
    assert leftovers(after, before, guest="web32-1", home=False) == ()
    gone = Traces((), frozenset({trace}), ())
    assert leftovers(after, gone, guest="web32-1", home=False) == (f"= {trace}",)


@pytest.mark.parametrize(
    "trace",
    [
        Trace("tenant", "web32-10"),
        Trace("tenant", "(null)"),
        Trace("xenstore", "/libxl/33"),
        Trace("xenstore", "/local/domain/0/backend/vif/33/0"),
        Trace("interface", "vif33.0"),
        Trace("backend", "vbd-33-51712"),
        Trace("loop", "loop0 /run/web32-1"),
        Trace("file", "/run/libvirt/libxl/web32-10.xml"),
        Trace("process", "libxl-save-help libxl-save-helper --restore-domain 3"),
        Trace("port", "49152"),
    ],
    ids=str,
)
def test_a_guest_does_not_own_what_is_anothers_or_ought_to_be_nobodys(trace: Trace) -> None:
    assert not TENANT.owns(trace)
    before, after = Traces((), frozenset(), ()), Traces((TENANT,), frozenset({trace}), ())
    assert leftovers(before, after, guest="web32-1", home=True) == (f"+ {trace}",)
    assert leftovers(after, before, guest="web32-1", home=False) == (f"- {trace}",)


def test_what_is_allowed_has_a_reason_and_a_pattern_that_can_be_read() -> None:
    for kind, pattern, why in ALLOWED:
        assert kind
        assert re.compile(pattern)
        assert why
    allowed = Traces((), frozenset({Trace("file", "/run/libvirt/virtlogd.pid")}), ())
    assert leftovers(Traces((), frozenset(), ()), allowed, guest="web32-1", home=True) == ()
