"""An apt that answers from a small world of its own: apt-get and apt-cache on PATH, no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lab.deadline import Deadline
from lab.events import Event, subscribe
from lab.process import run
from tests.unit.programs import Programs

MAIN = "http://mirror.example/debian/"
SECURITY = "http://mirror.example/debian-security/"
TARGETS = f"{MAIN} Debian\n{MAIN} Debian\n{SECURITY} Debian-Security\nhttp://other.example/ Other\n"

# Every call leaves a line in `asked`. The state folder is the one that APT_CONFIG lies in.
APT_GET = r"""
echo "apt-get $*" >> "$HERE/asked"
folder=$(dirname "$APT_CONFIG")
case $1 in
indextargets) cat "$HERE/targets" ;;
update)
    if [ -e "$HERE/broken" ] && grep -q "$(cat "$HERE/broken")" "$folder/sources.list"; then
        cat "$HERE/said" >&2
        exit 100
    fi ;;
install)
    if [ -e "$HERE/simulated" ]; then cat "$HERE/simulated"; else
        echo "E: Unable to locate package $4" >&2
        exit 100
    fi ;;
download)
    shift
    for wanted in "$@"; do
        name=${wanted%%=*}
        if [ -e "$HERE/$name.deb" ]; then cp "$HERE/$name.deb" "${name}_${wanted#*=}_all.deb"
        else echo "E: Version '${wanted#*=}' for '$name' was not found" >&2; exit 100; fi
    done ;;
esac
"""

APT_CACHE = r"""
echo "apt-cache $*" >> "$HERE/asked"
cat "$HERE/record-$3" 2>/dev/null || echo "N: Unable to locate package $3" >&2
"""


class Mirror:
    """The world behind the fake apt."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.targets(TARGETS)
        programs.add("apt-get", APT_GET)
        programs.add("apt-cache", APT_CACHE)

    def targets(self, lines: str) -> None:
        """What this machine's own apt knows."""
        self._put("targets", lines)

    def breaks(self, source: str, said: str) -> None:
        """Whoever asks for a source that matches gets an error."""
        self._put("broken", source)
        self._put("said", said)

    def simulates(self, lines: str) -> None:
        """What an installation would do."""
        self._put("simulated", lines)

    def has(self, records: Mapping[str, str]) -> None:
        """Packages with their version and what they depend on: ``1.2 | a, b``; no version makes a virtual one."""
        for name, record in records.items():
            version, _, depends = record.partition(" | ")
            fields = [f"Package: {name}", f"Version: {version}", *([f"Depends: {depends}"] if depends else [])]
            self._put(f"record-{name}", "\n".join([*fields, "Description: none", ""]) if version else "")

    def ships(self, name: str, deb: bytes) -> None:
        """A package that can be fetched."""
        (self.programs.folder / f"{name}.deb").write_bytes(deb)

    def asked(self, program: str = "") -> list[str]:
        """Every call so far."""
        return [line for line in self.programs.note("asked") if line.startswith(program)]

    def _put(self, name: str, text: str) -> None:
        (self.programs.folder / name).write_text(text)


@contextmanager
def heard(kind: str) -> Iterator[list[Event]]:
    """The events of that kind while the context lasts."""
    events: list[Event] = []
    unsubscribe = subscribe(lambda event: events.append(event) if event.kind == kind else None)
    try:
        yield events
    finally:
        unsubscribe()


def make_deb(folder: Path, name: str, files: Mapping[str, bytes]) -> bytes:
    """A real package with these files."""
    root = folder / f"{name}.d"
    for path, content in {"DEBIAN/control": control(name).encode(), **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
        (root / path).chmod(0o755 if path.startswith("bin/") else 0o644)
    run("dpkg-deb", "-Znone", "--root-owner-group", "-b", root, folder / f"{name}.deb", deadline=Deadline(20)).check()
    return (folder / f"{name}.deb").read_bytes()


def control(name: str) -> str:
    """The least that dpkg-deb takes."""
    return f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: none\n"
