"""No cell is judged by what another module did: the compiled one and the kernel's own bear the same name."""

from __future__ import annotations

from typing import Any

import pytest

from lab.ntfs.judging.reading import judge
from lab.ntfs.manifest import Manifest
from lab.ntfs.volumes import State
from lab.verdict import Check, Outcome, Verdict
from tests.unit.ntfs.test_ntfs_judge import MOUNTED, document

RIGHT, WRONG = "DDF2952598F898A7697A757", "2030797926FBA9D17605AAD"
BUILT = {"srcversion": RIGHT, "source": "linux-source-6.12 6.12.117-1", "module": "ntfs3"}
LOADED = {"name": "ntfs3", "loaded": True}


def judged(module: dict[str, Any], **more: Any) -> Verdict:
    seen = document(module=module, entries=[], mount={**MOUNTED, "type": "ntfs3"}, **more)
    return judge(Manifest(()), State.CLEAN, seen)


def check(verdict: Verdict) -> Check | None:
    return next((check for check in verdict.checks if check.name == "module-in-force"), None)


def test_the_compiled_module_in_force_passes_and_is_the_drivers_version() -> None:
    verdict = judged({**LOADED, "srcversion": RIGHT, "taint": "OE", "built": BUILT})
    assert verdict.outcome is Outcome.PASS
    assert check(verdict) == Check("module-in-force", Outcome.PASS, f"srcversion {RIGHT}", f"srcversion {RIGHT}")
    assert verdict.facts["driver_version"] == f"{RIGHT} (linux-source-6.12 6.12.117-1)"


@pytest.mark.parametrize(
    ("module", "observed"),
    [
        ({**LOADED, "srcversion": WRONG, "taint": "OE", "built": BUILT}, f"srcversion {WRONG}"),
        ({**LOADED, "taint": "", "built": BUILT}, "srcversion none"),
        ({"name": "ntfs3", "loaded": False, "built": BUILT}, "srcversion none"),
    ],
    ids=["another", "the kernel's own", "none"],
)
def test_any_other_module_is_the_labs_trouble_and_nothing_about_the_driver(
    module: dict[str, Any], observed: str
) -> None:
    verdict = judged(module)
    assert (verdict.outcome, verdict.finding) == (Outcome.ERROR, None)
    assert verdict.reason == f"ntfs3: module-in-force: error (expected srcversion {RIGHT}, observed {observed})"


def test_a_driver_is_not_blamed_for_the_crash_of_another() -> None:
    verdict = judged(
        {**LOADED, "srcversion": WRONG, "built": BUILT}, kernel_log=["BUG: unable to handle page fault for address: 0"]
    )
    assert (verdict.outcome, verdict.finding) == (Outcome.ERROR, None)


def test_a_shipped_driver_is_not_judged_by_a_compiled_one() -> None:
    own = judged({**LOADED, "taint": ""})
    assert own.outcome is Outcome.PASS
    assert check(own) == Check("module-in-force", Outcome.PASS, "the kernel's own", "the kernel's own")
    other = judged({**LOADED, "taint": "OE", "srcversion": RIGHT})
    assert other.outcome is Outcome.ERROR
    assert other.reason == (
        f"ntfs3: module-in-force: error (expected the kernel's own, observed out of tree, srcversion {RIGHT})"
    )


@pytest.mark.parametrize("module", [{}, {"module": {"name": "ntfs3", "loaded": False}}], ids=["none", "built in"])
def test_what_is_no_module_is_not_asked(module: dict[str, Any]) -> None:
    verdict = judge(Manifest(()), State.CLEAN, document(entries=[], **module))
    assert (verdict.outcome, check(verdict)) == (Outcome.PASS, None)
