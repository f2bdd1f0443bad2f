# ruff: noqa: INP001 - a program of its own, no part of a package
"""Tries what the documentation tells people to do: parses its scenarios, looks its commands up. For `tox -e docs`."""

from __future__ import annotations

import ast
import configparser
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import make_reference

from lab.engine.names import known_names
from lab.errors import ScenarioError
from lab.scenario.inventory import parse_inventory
from lab.scenario.load import parse

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> Iterator[Path]:
    """Everything that people read."""
    yield from (ROOT / "README.md", ROOT / "CHANGELOG.md")
    yield from (page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts)


def mistakes(page: Path) -> Iterator[str]:
    """What does not work on a page, with its line."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        for wrong in _check(found[1], found[2]):
            yield f"{page.relative_to(ROOT)}:{line}: {wrong}"


def _check(language: str, block: str) -> Iterator[str]:
    match language:
        case "yaml":
            try:
                if block.startswith("hosts:"):
                    parse_inventory(block, path="example", folder=ROOT)
                else:
                    parse(block, path="example", known=known_names())
            except ScenarioError as wrong:
                yield str(wrong)
        case "python":
            try:
                ast.parse(block)
            except SyntaxError as wrong:
                yield str(wrong)
        case "console" | "sh":
            for command in block.replace("\\\n", " ").splitlines():
                if command.strip():
                    yield from _command(shlex.split(command.removeprefix("$ "), comments=True))


def _command(words: list[str]) -> Iterator[str]:
    while words and "=" in words[0]:
        words = words[1:]
    program, *rest = words
    match program.removeprefix(".venv/bin/"):
        case "lab":
            yield from _lab(rest)
        case "tox":
            yield from _tox(rest)
        case "pytest" | "sudo" | "git" | "apt-get":
            pass
        case path if (ROOT / path).is_file():
            pass
        case other:
            yield f"{other}: no such program"


def _tox(words: list[str]) -> Iterator[str]:
    known = configparser.ConfigParser(interpolation=None)
    known.read(ROOT / "tox.ini")
    names = {"unit", *(section.removeprefix("testenv:") for section in known.sections())}
    asked = words[words.index("-e") + 1].split(",") if "-e" in words else []
    yield from (f"tox has no environment {name!r}" for name in asked if name not in names)


def _lab(words: list[str]) -> Iterator[str]:
    command, path = make_reference.application(), "lab"
    while words and getattr(command, "commands", None):
        name, *words = words
        if name not in command.commands:
            yield f"{path} has no verb {name!r}"
            return
        command, path = command.commands[name], f"{path} {name}"
    words = words[: words.index("--")] if "--" in words else words  # the rest is pytest's
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in known:
            yield f"{path} has no option {word}"


def main() -> int:
    """Print every mistake; the exit code says whether there was one."""
    found = [wrong for page in pages() for wrong in mistakes(page)]
    sys.stderr.write("".join(f"{wrong}\n" for wrong in found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
