"""Cells that differ in one axis only: whether they say the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.errors import UsageError
from lab.matrix.agreement import Group, Seen, agreement, exit_code
from lab.matrix.model import NO_VERDICT, MatrixCell
from lab.verdict import Check, Outcome

KERNEL = {"kernel_version": "6.12.117", "driver_version": "6.12.117", "options_in_force": "ro;ro"}
GOOD = Check("bytes", Outcome.PASS, "as the volume has them", "the same")
BAD = Check("bytes", Outcome.FAIL, "as the volume has them", "2: 'a': bytes from byte 0")
WRONG: dict[str, Any] = {
    "outcome": Outcome.FAIL,
    "finding": "wrong-data",
    "reason": "wrong-data: 'a'",
    "checks": (BAD,),
}


def cell(stage: str, volume: str = "clean", **more: Any) -> MatrixCell:
    host = {"xen": "4.20"}.get(stage, stage)
    axes = {"host": host, "kernel": "trixie", "driver": "ntfs3", "volume": volume, "operation": "read", "stage": stage}
    made = MatrixCell(
        f"s::{volume}-{stage}", "both", "ntfs", {**axes, **KERNEL}, Outcome.PASS, "correct", checks=(GOOD,)
    )
    return replace(made, **more)


def groups(*cells: MatrixCell | Seen) -> tuple[Group, ...]:
    return agreement((one if isinstance(one, Seen) else Seen(one) for one in cells), "stage")


def alone(*cells: MatrixCell | Seen) -> Group:
    (group,) = groups(*cells)
    return group


def test_cells_that_say_the_same_agree() -> None:
    found = groups(cell("xen"), cell("xen", "dirty"), cell("microvm"), cell("microvm", "dirty"))
    assert [str(group) for group in found] == [
        "trixie ntfs3 clean read: xen and microvm",
        "trixie ntfs3 dirty read: xen and microvm",
    ]
    assert exit_code(found) == 0
    wrong = [Seen(cell(stage, **WRONG), '["a"]') for stage in ("xen", "microvm")]
    assert exit_code([alone(*wrong)]) == 0  # wrong on both stages is the same on both


def other(**more: Any) -> dict[str, Any]:
    return {"axes": {**cell("microvm").axes, **more}}


@pytest.mark.parametrize(
    ("more", "unlike"),
    [
        (
            WRONG,
            (
                "outcome: xen: pass (correct), microvm: fail (wrong-data)",
                "check bytes: xen: pass, microvm: fail: 2: 'a': bytes from byte 0",
            ),
        ),
        ({"finding": "read-only"}, ("outcome: xen: pass (correct), microvm: pass (read-only)",)),
        (
            {"checks": (GOOD, replace(BAD, name="times"))},
            ("check times: xen: nothing, microvm: fail: " + BAD.observed,),
        ),
        ({"checks": ()}, ("check bytes: xen: pass, microvm: nothing",)),
        (other(kernel_version="6.12.118"), ("kernel_version: xen: 6.12.117, microvm: 6.12.118",)),
        (other(options_in_force="ro;rw"), ("options_in_force: xen: ro;ro, microvm: ro;rw",)),
    ],
)
def test_what_is_not_the_same_is_named(more: dict[str, Any], unlike: tuple[str, ...]) -> None:
    group = alone(cell("xen"), cell("microvm", **more))
    assert group.unlike == unlike
    assert exit_code([group]) == 1


def test_differences_are_compared_to_the_last_byte() -> None:
    group = alone(Seen(cell("xen", **WRONG), '["a"]'), Seen(cell("microvm", **WRONG), '["a", "b"]'))
    assert str(group) == "trixie ntfs3 clean read: not the same: differences.json of their evidence"


def test_where_both_crashed_addresses_do_not_count() -> None:
    crashes = [
        Seen(
            cell(
                stage,
                outcome=Outcome.FAIL,
                finding="crash",
                checks=(Check("kernel-log", Outcome.FAIL, "no oops", f"BUG: page fault for address: {address}"),),
            ),
            address,
        )
        for stage, address in (("xen", "ffff8880"), ("microvm", "ffffc900"))
    ]
    assert alone(*crashes).unlike == ()


@pytest.mark.parametrize(
    ("more", "lacking"),
    [
        ({"outcome": Outcome.ERROR, "reason": "no room"}, "microvm: error: no room"),
        ({"outcome": Outcome.SKIPPED, "reason": "budget"}, "microvm: skipped: budget"),
        ({"outcome": Outcome.FAIL, "reason": f"{NO_VERDICT}killed"}, f"microvm: fail: {NO_VERDICT}killed"),
    ],
)
def test_no_evidence_is_no_agreement(more: dict[str, Any], lacking: str) -> None:
    group = alone(cell("xen"), cell("microvm", **more))
    assert (group.unlike, group.lacking) == ((), (lacking,))
    assert exit_code([group]) == 3


def test_a_cell_without_its_counterpart_is_no_agreement() -> None:
    found = groups(cell("xen"), cell("xen", "dirty"), cell("microvm"))
    assert [str(group) for group in found] == [
        "trixie ntfs3 clean read: xen and microvm",
        "trixie ntfs3 dirty read: cannot be told: microvm: not tried",
    ]
    assert exit_code(found) == 3


def test_two_hosts_and_none_are_all_compared() -> None:
    older = cell("xen", axes={**cell("xen").axes, "host": "4.14"}, **WRONG)
    group = alone(cell("xen"), older, cell("microvm"))
    assert group.unlike[0] == "outcome: xen: pass (correct), xen: fail (wrong-data)"
    assert len(group.sides["xen"]) == 2


def test_a_cell_that_names_no_stage_ran_on_xen() -> None:
    # Runs of one scenario, the second of them with --stage microvm.
    plain = cell("xen", axes={name: value for name, value in cell("xen").axes.items() if name != "stage"})
    assert alone(plain, cell("microvm")).unlike == ()


def test_cells_of_one_stage_only_can_not_be_compared() -> None:
    with pytest.raises(UsageError) as caught:
        groups(cell("xen"), cell("xen", "dirty"))
    assert str(caught.value) == (
        "nothing to compare: stage is 'xen' throughout each scenario\n  hint: name the run with the other stage, too"
    )
    with pytest.raises(UsageError, match=r"^nothing to compare: stage is in no cell throughout each scenario$"):
        groups()
