"""Which module a kernel driver really ran as: several register the same type of file system, and mount(2) takes any."""

from __future__ import annotations

from lab.ntfs.observation import Module, Observation
from lab.verdict import Check, Outcome, Verdict

__all__ = ["module_checks", "wrong_module"]

_NAME = "module-in-force"
_OWN = "the kernel's own"


def module_checks(seen: Observation) -> tuple[Check, ...]:
    """The module that was compiled for the driver is the one that was loaded; else it is the kernel's own.

    None of it is asked where the driver is no module: a program, or part of the kernel's image.
    """
    module = seen.module
    if module is None or not (module.loaded or module.built):
        return ()
    if module.built:
        right = module.srcversion == module.built
        expected = f"srcversion {module.built}"
    else:
        # Debian's own modules have no srcversion to compare, unless they have a MODULE_VERSION.
        right = "O" not in module.taint
        expected = _OWN
    # Not a failure: it says nothing about the driver that the cell is about.
    return (Check(_NAME, Outcome.PASS if right else Outcome.ERROR, expected, _observed(module)),)


def _observed(module: Module) -> str:
    version = f"srcversion {module.srcversion or 'none'}"
    if module.built:
        return version
    return f"out of tree, {version}" if "O" in module.taint else _OWN


def wrong_module(seen: Observation) -> Verdict | None:
    """The lab's trouble, if what was tried was another module than the one that the cell is about."""
    wrong = [check for check in module_checks(seen) if check.outcome is not Outcome.PASS]
    if not wrong:
        return None
    return Verdict(Outcome.ERROR, f"{seen.driver}: {wrong[0]}", tuple(wrong), facts=seen.facts)
