"""The reader Sleuth Kit, through ``fls`` and ``icat``. Run as a program: ``VOLUME`` in, manifest out.

It scans the MFT, so it also finds files that no index names; it is told to leave out deleted ones.
"""

from __future__ import annotations

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

_OWN = ("$OrphanFiles",)


def read(volume: str) -> Manifest:
    """Names, sizes and bytes of the allocated files.

    Raises:
        subprocess.CalledProcessError: fls refuses the volume.
    """
    said = subprocess.run(("fls", "-r", "-p", "-u", "-f", "ntfs", volume), capture_output=True, check=True).stdout
    entries, unsure = [], set()
    for path, kind, address in listing(said.decode("utf-8", "surrogateescape")):
        if kind is Kind.DIRECTORY:
            entries.append(Entry(path, kind))
        elif (content := _content(volume, address)) is None:
            unsure.add(path)
        else:
            sha256, blocks = digest((content,), len(content))
            entries.append(Entry(path, kind, size=len(content), sha256=sha256, blocks=blocks))
    return Manifest(tuple(entries), _SEES, frozenset(unsure))


def _content(volume: str, address: str) -> bytes | None:
    if "-" not in address:
        return None
    said = subprocess.run(("icat", "-f", "ntfs", volume, address), capture_output=True, check=False)
    return said.stdout if said.returncode == 0 else None


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
        sys.stdout.write(read(sys.argv[1]).to_text())
    except subprocess.CalledProcessError as refused:
        sys.exit(refused.stderr.decode("utf-8", "backslashreplace").strip().partition("\n")[0] or "fls refuses it")
