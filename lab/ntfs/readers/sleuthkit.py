"""The reader Sleuth Kit, through ``fls`` and ``icat``. Run as a program: ``VOLUME [--only]`` in, manifest out.

It scans the MFT, so it also finds files that no index names; it is told to leave out deleted ones. With ``--only``, a
JSON list on standard input names the files and directories whose content is wanted; the others are listed alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

from lab.ntfs.manifest import Entry, Feature, Kind, Manifest, digest
from lab.ntfs.observation import is_system_name

__all__ = ["listing", "read"]

_SEES = frozenset({Feature.NAMES, Feature.SIZES, Feature.BYTES})

_LINE = re.compile(r"(?P<name>.)/(?P<meta>.) (?P<address>\d+(-(?P<type>\d+)-\d+)?):\t(?P<path>.*)", re.DOTALL)
"""Such as ``r/r 64-128-1:<tab>folder/file``; 128 is $DATA, 144 a directory's index.
An address without a type is a file whose data it cannot follow, as where a hole is longer than the volume."""

_MOST_BYTES = 1 << 30
"""icat writes out every zero of a hole: a sparse file of a terabyte must not fill the memory."""

_OWN = ("$OrphanFiles",)


def read(volume: str, only: frozenset[str] | None = None) -> Manifest:
    """Names of the allocated files, and sizes and bytes of all, or of those that ``only`` names or holds.

    Raises:
        subprocess.CalledProcessError: fls refuses the volume.
    """
    said = subprocess.run(("fls", "-r", "-p", "-u", "-f", "ntfs", volume), capture_output=True, check=True).stdout
    entries, unsure = [], set()
    wanted = Manifest((), unsure=frozenset({""}) if only is None else only)
    for path, kind, address in listing(said.decode("utf-8", "surrogateescape")):
        if kind is Kind.DIRECTORY or not wanted.is_unsure(path):
            entries.append(Entry(path, kind))
        elif (content := _content(volume, address)) is None:
            unsure.add(path)
        elif len(content) > _MOST_BYTES:
            entries.append(Entry(path, kind))
        else:
            sha256, blocks = digest((content,), len(content))
            entries.append(Entry(path, kind, size=len(content), sha256=sha256, blocks=blocks))
    return Manifest(tuple(entries), _SEES, frozenset(unsure))


def _content(volume: str, address: str) -> bytes | None:
    """All of it, or more than :data:`_MOST_BYTES`; None where icat fails."""
    if "-" not in address:
        return None
    words = ("icat", "-f", "ntfs", volume, address)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as icat:
        assert icat.stdout is not None  # noqa: S101 - a pipe was asked for
        content = icat.stdout.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            icat.kill()
            return content
    return content if icat.returncode == 0 else None


def listing(output: str) -> Iterator[tuple[str, Kind, str]]:
    """Path, kind and address of each unnamed stream in the output of ``fls -r -p``.

    A named stream is listed like a file, as ``path:name``, beside the file whose record it shares.
    """
    lines = [found for line in output.split("\n") if (found := _LINE.fullmatch(line))]
    paths = {(found["path"], _record(found)) for found in lines}
    for found in lines:
        path, record = found["path"], _record(found)
        if is_system_name(path) or path.split("/", 1)[0] in _OWN or not path:
            continue
        if any((path[:colon], record) in paths for colon, one in enumerate(path) if one == ":"):
            continue
        kind = Kind.DIRECTORY if found["meta"] == "d" else Kind.FILE
        if found["type"] in ("128", "144", None):
            yield path, kind, found["address"]


def _record(found: re.Match[str]) -> str:
    return found["address"].partition("-")[0]


if __name__ == "__main__":
    try:
        asked = frozenset(json.load(sys.stdin)) if sys.argv[2:] == ["--only"] else None
        sys.stdout.write(read(sys.argv[1], asked).to_text())
    except subprocess.CalledProcessError as refused:
        sys.exit(refused.stderr.decode("utf-8", "backslashreplace").strip().partition("\n")[0] or "fls refuses it")
