# ruff: noqa: INP001 - a program of its own, no part of a package
"""The parts of the reference that the code knows best: keys of scenario files, verbs of the command line, invariants,
obstacles, hostile volumes, operations.

A page asks for one with a comment of its own line, ``<!-- generated: scenario -->``. Run as a program it prints them:
``python docs/make_reference.py scenario``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from lab import commands as verbs
from lab.checks.faults import faults_of
from lab.checks.invariants import INVARIANTS
from lab.checks.obstacles import OBSTACLES
from lab.checks.setback import CHECKS
from lab.doctor import requirements
from lab.ntfs import operations
from lab.ntfs.volumes import hostile
from lab.scenario import inventory, model

__all__ = ["PARTS", "application", "fill"]

_SHAPES: tuple[tuple[Any, str], ...] = (
    (model.Xen, "Xen version"),
    (model.Suite, "Debian suite"),
    (model.Name, "name"),
    (model.Names, "name or pattern"),
    (model.Module, "module"),
    (model.Memory, "amount (`256M`, `1G`)"),
    (model.Duration, "time (`500ms`, `5s`, `10m`)"),
    (model.Count, "whole number"),
    (model.Condition, "map: axis → value, or a list of values"),
    (model.Text, "text"),
    (inventory.Ssh, "text"),
    (inventory.Address, "address or name"),
    (inventory.Bridge, "network interface"),
    (inventory.File, "path"),
    (inventory.Port, "whole number"),
    (inventory.Stand, "whole number"),
    (str, "text"),
    (bool, "`true` or `false`"),
)

_SECTIONS: tuple[tuple[str, str, type[model.Model]], ...] = (
    ("Every scenario", "", model.Scenario),
    (
        "Scenarios of guests",
        "With `migrate` guests are moved, with `modules` alone they load them, else they boot.",
        model.GuestScenario,
    ),
    ("Scenarios of NTFS drivers", "", model.NtfsScenario),
    ("A host", "Under `hosts:`, by its role.", model.Host),
    ("A guest", "Under `guests:`, by its name.", model.Guest),
    ("The guest of an NTFS scenario", "Under `guest:`.", model.GuestShape),
    ("A kernel", "Under `kernel:` or in the list `kernels:`.", model.Kernel),
    ("Migrate", "Under `migrate:`.", model.Migrate),
    ("Arrive", "Under `migrate.arrive:`.", model.Arrive),
    ("Modules", "Under `modules:`.", model.Modules),
    ("Limits", "Under `limits:`.", model.LimitsShape),
    ("An expectation", "In the list `expect:`.", model.Expect),
)


def fill(text: str) -> str:
    """``text`` with each request replaced by what it asks for."""
    return re.sub(r"^<!-- generated: (\w+) -->$", lambda found: PARTS[found.group(1)](), text, flags=re.MULTILINE)


def scenario() -> str:
    """A section a model, a row a key."""
    return "\n\n".join("\n".join(_model(*section)) for section in _SECTIONS)


def hosts() -> str:
    """A row a key of a host in a hosts file."""
    return "\n".join(_model("A host", "Under `hosts:`, by its name.", inventory.HostShape))


def _model(title: str, words: str, shape: type[model.Model]) -> Iterator[str]:
    inherited = {key for base in shape.__bases__ for key in getattr(base, "model_fields", {})}
    own = inspect.get_annotations(shape)
    hints = get_type_hints(shape, include_extras=True)
    yield from (f"## {title}", "", *([words, ""] if words else []))
    if shape is model.GuestScenario or shape is model.NtfsScenario:
        yield from ("Beside the keys of every scenario:", "")
    yield from ("| key | takes | when left out | meaning |", "|---|---|---|---|")
    for key, field in shape.model_fields.items():
        if key in inherited and key not in own and issubclass(shape, model.Scenario):
            continue
        left_out = "**needed**" if field.is_required() else _default(field.default)
        if hints[key] == model.Count:
            left_out = f"`{field.default}`"  # the other whole numbers are MiB
        yield f"| `{key}` | {_takes(hints[key])} | {left_out} | {field.description or ''} |"


def _takes(hint: Any) -> str:  # noqa: ANN401, PLR0911 - an annotation; one answer a kind of it
    for shape, words in _SHAPES:
        if hint == shape:
            return words
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_takes(arg) for arg in args if arg is not NoneType)
    if origin is Annotated:
        return _takes(args[0])
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if origin is tuple:
        return f"{_takes(args[0])}; or a list"
    if origin is dict:
        return f"map: {_takes(args[0])} → {_takes(args[1])}"
    return f"[{_anchor(hint)[0]}](#{_anchor(hint)[1]})"


def _anchor(shape: type) -> tuple[str, str]:
    title = next(title for title, _words, known in _SECTIONS if known is shape)
    return title.lower().removeprefix("a ").removeprefix("an "), re.sub(r"[^a-z0-9]+", "-", title.lower())


def _default(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case tuple() | Mapping():
            return ", ".join(_default(each) for each in value)
        case model.Model():
            return "as below"
        case _:
            return (
                f"`{value:g}s`"
                if isinstance(value, float)
                else f"`{value}M`"
                if isinstance(value, int)
                else f"`{value}`"
            )


def application() -> Any:  # noqa: ANN401 - click's or typer's own command
    """The command line with every verb there is; the program itself imports one at a time."""
    app = typer.Typer(rich_markup_mode=None)
    app.callback()(lambda: None)
    for found in pkgutil.iter_modules(verbs.__path__):
        module = importlib.import_module(f"{verbs.__name__}.{found.name}")
        if hasattr(module, "register"):
            module.register(app)
    return typer.main.get_command(app)


def commands() -> str:
    """A section a verb, as the program itself explains it."""
    return "\n\n".join(_verbs("lab", application()))


def _verbs(path: str, command: Any) -> Iterator[str]:  # noqa: ANN401 - click's or typer's own command
    below = getattr(command, "commands", {})
    for name, each in below.items():
        if getattr(each, "commands", None):
            yield from _verbs(f"{path} {name}", each)
        elif not each.hidden:
            yield "\n".join(_verb(f"{path} {name}", each))


def _verb(path: str, command: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    usage = " ".join([path, *(["[OPTIONS]"] if options else []), *(_argument(param) for param in arguments)])
    yield from (f"## `{path}`", "", "```text", usage, "```", "", _prose(command.help or ""), "")
    if command.epilog:
        yield from (_prose(command.epilog), "")
    rows = [(f"`{', '.join((*param.opts, *param.secondary_opts))}`", param.help or "") for param in options]
    rows = [(f"`{param.name.upper()}`", getattr(param, "help", "") or "") for param in arguments] + rows
    if rows:
        yield from ("| | |", "|---|---|", *(f"| {name} | {_cell(words)} |" for name, words in rows))


def _argument(param: Any) -> str:  # noqa: ANN401 - as above
    name = param.name.upper()
    more = "..." if param.nargs != 1 else ""
    return f"{name}{more}" if param.required else f"[{name}]{more}"


def _prose(text: str) -> str:
    """Paragraphs as they are; examples, which the program writes on one line, each on its own."""

    def examples(found: re.Match[str]) -> str:
        return "\n".join(("```console", *(f"$ {each.strip()}" for each in found[1].split(" | ")), "```"))

    return re.sub(r"^Examples?: (.*)$", examples, text.strip(), flags=re.MULTILINE)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def packages() -> str:
    """The Debian packages and why."""
    rows = [f"| `{each.package}` | {each.purpose} | {each.debian} | {each.reason} |" for each in requirements()]
    return "\n".join(("| package | for | Debian | why |", "|---|---|---|---|", *rows))


def invariants() -> str:
    """A row an invariant: its checks, the moves it holds for, how it is found out, and the faults that break it."""
    rows = []
    for one in INVARIANTS:
        checks = ", ".join(f"`{check}`" for check in one.checks)
        faults = "; ".join(f"`{fault.name}`: {_cell(fault.does)}" for fault in faults_of(one.name)) or "**unproven**"
        rows.append(f"| `{one.name}` | {checks} | {', '.join(sorted(one.applies))} | {_cell(one.how)} | {faults} |")
    return "\n".join(("| invariant | checks | holds for | how | faults |", "|---|---|---|---|---|", *rows))


def obstacles() -> str:
    """A row an obstacle: what is done, when, what an error must name, and how it is undone."""
    rows = [f"| `{o.name}` | {o.when} | {_cell(o.does)} | {_cell(o.cause)} | {_cell(o.undone)} |" for o in OBSTACLES]
    head = ("| obstacle | when | what is done | an error must name | undone |", "|---|---|---|---|---|")
    return "\n".join((*head, *rows))


def setbacks() -> str:
    """A row a check that is put to a move which met an obstacle."""
    rows = [f"| `{name}` | {_cell(asks)} |" for name, asks in CHECKS]
    return "\n".join(("| check | holds if |", "|---|---|", *rows))


def hostile_volumes() -> str:
    """A row a volume: what is wrong with it, where, and what a good driver does."""
    return hostile.table().rstrip("\n")


def ntfs_operations() -> str:
    """A row an operation: how it mounts, and what it does."""
    return operations.table().rstrip("\n")


PARTS: Mapping[str, Callable[[], str]] = {
    "scenario": scenario,
    "hosts": hosts,
    "commands": commands,
    "packages": packages,
    "invariants": invariants,
    "obstacles": obstacles,
    "setbacks": setbacks,
    "hostile": hostile_volumes,
    "operations": ntfs_operations,
}

if __name__ == "__main__":
    print(PARTS[sys.argv[1]]())  # noqa: T201 - a program that prints
