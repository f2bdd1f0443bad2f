"""Every rule: red by its fault, quiet or go without it, and never a go where a host did not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from lab.errors import UsageError
from lab.preflight.answer import Answer, Decision, Reason
from lab.preflight.guest import Disk
from lab.preflight.kernels import KNOWN_BAD, real_version
from lab.preflight.move import Move
from lab.preflight.rules import RULES
from lab.preflight.survey import Place, Tenant
from lab.verdict import Outcome
from tests.unit.preflight.questions import (
    CAPS,
    DISK,
    KERNEL,
    OLD,
    PLACES,
    WEB,
    Change,
    answer,
    cell,
    decision,
    past,
    question,
    reasons,
)

GO, WARN, UNTESTED, NO_GO = Decision.GO, Decision.WARN, Decision.UNTESTED, Decision.NO_GO
COLD = Move("cold")
OTHER = "11111111-2222-3333-4444-555555555555"
ARM = frozenset({"xen-3.0-aarch64"})

# Rule -> the fault that turns it red, and the whole of what it then says.
FAULTS: Mapping[str, tuple[Change, str]] = {
    "state": (
        {"guest": {"active": False}},
        ("state: it does not run, and live moves what runs; start it, or ask with --how cold (libvirt on old)"),
    ),
    "abi": (
        {"inside": {"machine": "i686"}},
        (
            "abi: the target takes no xen-3.0-x86_32p, which a pv guest with a 32-bit kernel needs (xl info on new: "
            "xen_caps; uname -m in web is hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 xen-3.0-x86_64)"
        ),
    ),
    "suspend": (
        {"source": {"xen_caps": ARM}},
        (
            "suspend: Xen on Arm (old) neither saves, restores nor migrates; only a cold move is possible "
            "(libxl.h: LIBXL_HAVE_NO_SUSPEND_RESUME; xl info: xen_caps)"
        ),
    ),
    "log-dirty": (
        {"source": {"virt_caps": frozenset({"pv", "hvm", "hap"})}},
        (
            "log-dirty: the source's Xen is built without shadow paging, which a live move of a PV guest needs "
            "(xl info on old: virt_caps is hap hvm pv)"
        ),
    ),
    "shadow": (
        {"guest": {"type": "pvh", "shadow": True}, "target": {"virt_caps": frozenset({"hvm", "hap"})}},
        (
            "shadow: it wants shadow paging, and the target's Xen is built without it (domain XML: hap off; "
            "xl info on new: virt_caps is hap hvm)"
        ),
    ),
    "builder": (
        {"move": Move("cold", kernel="6.1.0-56-686-pae", type="pvh"), "target": {"xen": "4.14.6"}},
        (
            "builder: Xen 4.14 does not load a 32-bit kernel as PVH: segment boundary too low "
            "(seen with Debian's 686-pae kernels; the name of kernel 6.1.0-56-686-pae)"
        ),
    ),
    "cpu": (
        {"target": {"features": frozenset({"fpu", "lm"})}},
        (
            "cpu: the target's CPU lacks pni, which the guest has found here (xl info: hw_caps of old and new; "
            "/proc/cpuinfo in web)"
        ),
    ),
    "memory": (
        {"target": {"free_mib": 131}},
        "memory: it needs 132 MiB and only 131 MiB are free (xl info on new: free_memory)",
    ),
    "vcpus": (
        {"guest": {"vcpus": 3}},
        ("vcpus: it has 3, and the target takes 2 (xl info on new: max_cpu_id, which is virsh maxvcpus)"),
    ),
    "bridge": (
        {"target": {"bridges": frozenset({"br0", "br1"})}},
        "bridge: the target has no bridge xenbr0; there: br0, br1 (/sys/class/net on new)",
    ),
    "disk": (
        {"target": {"places": {**PLACES, DISK: Place("absent")}}},
        f"disk: xvda ({DISK}): the target lacks it ({DISK} on new)",
    ),
    "name": (
        {"target": {"tenants": (Tenant("web", OTHER, active=True),)}},
        f"name: the name is taken there, by a guest with UUID {OTHER} (libvirt on new)",
    ),
    "boot-files": (
        {"move": COLD, "target": {"places": {**PLACES, KERNEL: Place("absent")}}},
        f"boot-files: the target lacks the kernel that it starts from ({KERNEL} on new)",
    ),
    "kernel": (
        {"inside": {"release": "4.18.0-3-amd64", "version": "#1 SMP Debian 4.18.20-2 (2018-11-23)"}},
        (f"kernel: kernel 4.18.20 (4.18.0-3-amd64): its clock breaks when Xen moves it ({KNOWN_BAD[0].source})"),
    ),
    "modules": (
        {"move": Move("cold", kernel="6.12.1-amd64")},
        (
            "modules: it has no modules for kernel 6.12.1-amd64; there: 6.1.0-56-cloud-amd64 "
            "(/lib/modules/6.12.1-amd64 in web)"
        ),
    ),
    "past": (
        {"past": past(cell(Outcome.UNSUPPORTED, "libvirt-no-support: refused"))},
        "past: such a move was seen: unsupported: libvirt-no-support: refused (run 20261122-1, live)",
    ),
}

# Nothing of these is a no by itself: only a run can say.
ONLY_UNTESTED: Mapping[str, tuple[Change, str]] = {
    "xen-version": (
        {"target": {"xen": "4.13.4"}},
        (
            "xen-version: from Xen 4.14.6 back to 4.13.4 is not supported "
            "(https://wiki.xenproject.org/wiki/Xen_Project_Version_Compatibility)"
        ),
    ),
    "libvirt-version": (
        {"target": {"libvirt": "6.10.0"}},
        (
            "libvirt-version: from libvirt 7.0.0 back to 6.10.0: it may not read what the newer one sends "
            "(libvirt on both hosts)"
        ),
    ),
}


def test_every_rule_has_its_fault() -> None:
    assert {*FAULTS, *ONLY_UNTESTED} == {*RULES}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_rule_says_no_by_its_fault_and_is_quiet_without(rule: str) -> None:
    fault, said = FAULTS[rule]
    assert [str(one) for one in reasons(question(**fault), rule) if one.decision is NO_GO] == [said]
    assert answer(question(**fault)).decision is NO_GO
    sound: Change = {"move": replace(fault["move"], kernel="", type="")} if "move" in fault else {}
    assert decision(question(**sound, past=past(cell())), rule) in {None, GO}


@pytest.mark.parametrize("rule", ONLY_UNTESTED)
def test_a_direction_is_untested_until_a_run_has_seen_it(rule: str) -> None:
    fault, said = ONLY_UNTESTED[rule]
    (reason,) = reasons(question(**fault), rule)
    assert (reason.decision, str(reason)) == (UNTESTED, said)
    seen = past(cell(target="4.13" if rule == "xen-version" else "4.15"), libvirt=fault["target"].get("libvirt", ""))
    assert decision(question(**fault, past=seen), rule) is WARN
    assert decision(question(), rule) in {None, GO}


def test_a_move_with_nothing_wrong_goes_once_a_run_has_seen_it() -> None:
    assert answer(question()).decision is UNTESTED
    assert [one.rule for one in answer(question()).of(UNTESTED)] == ["past"]
    found = answer(question(past=past(cell())))
    assert found.decision is GO
    assert found.facts == {"preflight": "go"}
    assert {one.rule for one in found.of(GO)} == {
        *("abi", "log-dirty", "cpu", "memory", "bridge", "disk", "xen-version", "past"),
    }


@pytest.mark.parametrize(
    ("rule", "unknown"),
    [
        ("abi", {"target": {"xen_caps": frozenset()}}),
        ("abi", {"guest": {"type": "xenner"}}),
        ("log-dirty", {"source": {"virt_caps": None}}),
        ("log-dirty", {"source": {"xen": "4.12.4", "virt_caps": frozenset({"hvm"})}}),
        ("shadow", {"guest": {"type": "pvh", "shadow": True}, "target": {"virt_caps": None}}),
        ("cpu", {"source": {"features": None}}),
        ("cpu", {"target": {"features": None}}),
        ("memory", {"target": {"free_mib": None}}),
        ("memory", {"target": {"free_mib": 4, "dom0_fixed": False}}),
        ("bridge", {"target": {"bridges": None}}),
        ("bridge", {"guest": {"networks": ("network default",)}}),
        ("disk", {"target": {"places": {}}}),
        ("disk", {"source": {"places": {}}}),
        ("disk", {"guest": {"disks": (Disk("xvda", "pool/image", "network"),)}}),
        ("boot-files", {"target": {"places": {DISK: PLACES[DISK]}}}),
        ("modules", {"guest": {"inside": None}, "move": Move("cold", kernel="6.12.1-amd64")}),
        ("xen-version", {"target": {"xen": ""}}),
        ("xen-version", {"target": {"xen": "4.17.5"}}),
        ("past", {"past": past(cell(how="cold"))}),
    ],
)
def test_what_a_host_does_not_say_is_never_a_go(rule: str, unknown: Change) -> None:
    assert decision(question(**unknown), rule) is UNTESTED
    assert answer(question(**{"past": past(cell()), **unknown})).decision is not GO


@pytest.mark.parametrize(
    ("rule", "doubtful"),
    [
        ("vcpus", {"target": {"max_vcpus": None}}),
        ("boot-files", {"target": {"places": {**PLACES, KERNEL: Place("absent")}}}),
        ("name", {"target": {"tenants": (Tenant("web", WEB.uuid, active=False),)}}),
        ("kernel", {"guest": {"inside": None, "silent": "there is no way in"}}),
    ],
)
def test_a_warning_leaves_a_go(rule: str, doubtful: Change) -> None:
    asked = question(**doubtful, past=past(cell()))
    assert decision(asked, rule) is WARN
    assert answer(asked).decision is GO


@pytest.mark.parametrize(
    ("kind", "machine", "caps", "said"),
    [
        ("pv", "x86_64", CAPS, GO),
        ("pv", "i686", CAPS, NO_GO),
        ("pv", "i686", CAPS | {"xen-3.0-x86_32p"}, GO),
        ("pvh", "x86_64", CAPS, GO),
        ("pvh", "i686", CAPS, GO),
        ("pvh", "i686", CAPS - {"hvm-3.0-x86_32p"}, NO_GO),
        ("hvm", "x86_64", frozenset({"xen-3.0-x86_64"}), NO_GO),
    ],
)
def test_the_abi_follows_the_width_of_the_kernel(kind: str, machine: str, caps: frozenset[str], said: Decision) -> None:
    asked = question(guest={"type": kind}, inside={"machine": machine}, target={"xen_caps": caps})
    assert decision(asked, "abi") is said


def test_the_kernels_width_is_told_by_the_best_witness() -> None:
    nobody = {"inside": None}
    elf = {"places": {**PLACES, KERNEL: Place("file", 1, bits=32)}}
    assert question().bits == (64, "uname -m in web")
    assert question(move=Move("cold", kernel="5.10.0-46-686-pae")).bits == (32, "the name of kernel 5.10.0-46-686-pae")
    assert question(guest=nobody, source=elf).bits == (32, "the ELF header of /boot/vmlinux on old")
    assert question(guest=nobody, source={"places": {}}).bits == (64, "domain XML of web")
    assert question(guest={**nobody, "arch": "i686"}, source={"places": {}}).bits == (32, "domain XML of web")


def test_a_32_bit_kernel_made_for_it_is_loaded_by_4_14() -> None:
    move = Move("cold", kernel="6.1.0-56-686-pae", type="pvh", based_at_zero=True)
    assert decision(question(move=move, target={"xen": "4.14.6"}), "builder") is GO
    assert decision(question(move=move), "builder") is None


def test_a_guest_on_arm_needs_arm() -> None:
    arm: Change = {
        "source": {"xen_caps": ARM},
        "target": {"xen_caps": ARM},
        "guest": {"arch": "aarch64", "type": "pvh"},
    }
    assert decision(question(**arm, move=COLD), "abi") is GO
    assert decision(question(**arm, move=COLD), "suspend") is None
    assert decision(question(**arm), "suspend") is NO_GO


def test_only_live_moves_of_pv_guests_need_shadow_paging_on_the_source() -> None:
    without = {"virt_caps": frozenset({"hvm", "hap"})}
    assert decision(question(source=without, move=Move("save-restore")), "log-dirty") is None
    assert decision(question(source=without, guest={"type": "pvh"}), "log-dirty") is None
    assert decision(question(source=without), "log-dirty") is NO_GO


def test_shadow_paging_is_wanted_as_the_move_says() -> None:
    hapless: Change = {"guest": {"type": "pvh", "shadow": True}, "target": {"virt_caps": frozenset({"hvm", "hap"})}}
    assert decision(question(**hapless, move=Move("cold", shadow=False)), "shadow") is None
    assert decision(question(**{**hapless, "target": {}}), "shadow") is None
    plain: Change = {**hapless, "guest": {"type": "pvh"}}
    assert decision(question(**plain, move=Move("cold", shadow=True)), "shadow") is NO_GO


def test_a_cpu_feature_counts_if_the_guest_may_have_found_it() -> None:
    lacking = {"features": (OLD.features or frozenset()) - {"ssse3"}}
    assert decision(question(target=lacking), "cpu") is GO  # it was never shown to this guest
    assert decision(question(target=lacking, inside={"flags": frozenset({"ssse3"})}), "cpu") is NO_GO
    (reason,) = reasons(question(target=lacking, guest={"inside": None}), "cpu")
    assert str(reason) == (
        "cpu: the target's CPU lacks ssse3, which the guest may have found here (xl info: hw_caps of old and new)"
    )
    assert decision(question(target=lacking, guest={"inside": None}, move=COLD), "cpu") is None


def test_memory_is_reckoned_as_libxl_does() -> None:
    assert WEB.needed_mib == 128 + 2 + 2
    assert replace(WEB, memory_kib=4096 << 10, vcpus=4).needed_mib == 4096 + 4 + 32 + 2
    assert replace(WEB, memory_kib=(128 << 10) + 1).needed_mib == 134  # in steps of 2 MiB
    assert decision(question(target={"free_mib": 132}), "memory") is GO
    dom0 = "it needs 132 MiB and 4 MiB are free; dom0 (1024 MiB) would have to give the rest"
    assert reasons(question(target={"free_mib": 4, "dom0_fixed": False}), "memory")[0].words == dom0


def test_pvh_guests_have_a_limit_of_their_own() -> None:
    many = question(guest={"type": "pvh", "vcpus": 129}, target={"max_vcpus": 256})
    assert [one.words for one in reasons(many, "vcpus")] == ["it has 129, and the target takes 128"]
    assert decision(question(guest={"vcpus": 129}, target={"max_vcpus": 256}), "vcpus") is None


def test_names_and_uuids_clash() -> None:
    there = question(target={"tenants": (Tenant("web", WEB.uuid, active=True),)})
    assert [str(one) for one in reasons(there, "name")] == ["name: it is there already, and runs (libvirt on new)"]
    taken = question(target={"tenants": (Tenant("shop", WEB.uuid, active=False),)})
    assert [str(one) for one in reasons(taken, "name")] == [
        f"uuid: its UUID {WEB.uuid} is taken there, by shop (libvirt on new)"
    ]
    assert answer(taken).decision is NO_GO
    assert not reasons(question(target={"tenants": (Tenant("shop", OTHER, active=True),)}), "name")


@pytest.mark.parametrize(
    ("release", "version", "said"),
    [
        ("4.10.17", "#1 SMP", None),
        ("4.11.0", "#1 SMP", NO_GO),
        ("4.18.20", "#1 SMP", NO_GO),
        ("4.18.0-3-amd64", "#1 SMP Debian 4.18.20-2 (2018-11-23)", NO_GO),
        ("4.18.0-553.el8_10.x86_64", "#1 SMP Fri May 10 15:19:13 UTC 2024", UNTESTED),
        ("4.19.0-27-amd64", "#1 SMP Debian 4.19.316-1 (2024-06-25)", UNTESTED),
        ("4.14.336", "#1 SMP", UNTESTED),
        ("5.0.0", "#1 SMP", None),
        ("5.10.0-46-amd64", "#1 SMP Debian 5.10.251-1", None),
    ],
)
def test_kernels_known_to_break(release: str, version: str, said: Decision | None) -> None:
    asked = question(inside={"release": release, "version": version})
    assert decision(asked, "kernel") is said
    assert decision(replace(asked, move=COLD), "kernel") is None


def test_a_kernels_own_version_is_found() -> None:
    assert real_version("4.19.0-27-amd64", "#1 SMP Debian 4.19.316-1 (2024-06-25)") == ((4, 19, 316), False)
    assert real_version("6.12.0", "") == ((6, 12, 0), False)
    assert real_version("7.3-rc1-lab", "") == ((7, 3), True)


def test_between_equal_versions_there_is_no_direction() -> None:
    same: Change = {"target": {"xen": OLD.xen, "libvirt": OLD.libvirt}}
    assert decision(question(**same), "xen-version") is GO
    assert decision(question(**same), "libvirt-version") is None


def test_an_emulator_is_needed_at_once() -> None:
    boots = (("emulator", "/usr/bin/qemu"), ("firmware", "/usr/share/ovmf"))
    gone: Change = {"places": {**PLACES, "/usr/bin/qemu": Place("absent"), "/usr/share/ovmf": Place("absent")}}
    found = reasons(question(guest={"type": "hvm", "boots": boots}, target=gone), "boot-files")
    assert [(one.decision, one.words) for one in found] == [
        (NO_GO, "the target lacks the emulator that it starts from"),
        (WARN, "the target lacks the firmware: it would arrive, and not start there again"),
    ]


def test_modules_of_another_kernel() -> None:
    meant = Move("cold", kernel="6.12.1-amd64", modules=frozenset({"dm-mod", "loop"}))
    trees = frozenset({"6.12.1-amd64"})
    assert decision(question(move=meant, inside={"trees": trees}), "modules") is GO
    assert [
        one.words for one in reasons(question(move=meant, inside={"trees": trees, "has": frozenset()}), "modules")
    ] == ["kernel 6.12.1-amd64 needs dm_mod, loop, and the guest lacks it"]
    lost = question(move=replace(meant, modules=frozenset()), inside={"trees": trees, "has": frozenset({"dm_mod"})})
    (reason,) = reasons(lost, "modules")
    assert (reason.decision, reason.words) == (WARN, "now loaded, and not there for kernel 6.12.1-amd64: loop")
    same = Move("cold", kernel="6.1.0-56-cloud-amd64")
    assert decision(question(move=same), "modules") is None


@pytest.mark.parametrize(
    ("how", "changed", "said"),
    [
        ("fast", {}, "how 'fast' is not one of cold, cold-shared, live, save-restore"),
        (
            "live",
            {"kernel": "6.12.1"},
            "kernel '6.12.1': a guest that is moved live keeps its kernel\n  hint: only a cold move starts it anew",
        ),
        (
            "save-restore",
            {"type": "pv"},
            "type 'pv': a guest that is moved save-restore keeps its type\n  hint: only a cold move starts it anew",
        ),
        ("cold", {"type": "pvx"}, "type 'pvx' is not one of hvm, pv, pvh"),
    ],
)
def test_a_move_is_checked_for_sense(how: str, changed: Change, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Move(how, **changed)
    assert str(caught.value) == said


def test_an_answer_names_the_rules_that_it_rests_on() -> None:
    two = answer(question(target={"free_mib": 4, "bridges": frozenset()}))
    assert two.facts == {"preflight": "no-go", "preflight_rules": "memory,bridge"}
    assert answer(question()).facts == {"preflight": "untested", "preflight_rules": "past"}
    assert Answer("web", "old", "new", "live", ()).decision is UNTESTED
    assert Answer("web", "old", "new", "live", (Reason(WARN, "x", "y", "z"),)).decision is GO
