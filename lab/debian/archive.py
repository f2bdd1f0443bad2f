"""Debian suites as the machine's own apt configuration reaches them.

The mirror, its keys and its proxies are whatever apt on this machine uses; the lab only asks it for other suites.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.errors import LabError
from lab.events import emit, step
from lab.process import Completed, run

__all__ = ["Archive", "Package", "suite_sources"]

_LISTS_MIB = 200
"""What the package lists of one suite may take, with apt's own indices of them."""

FRESH_SECONDS = 20 * 3600.0
"""How long a resolved set of versions is trusted before the suite is asked again: a nightly run always asks."""
WITHOUT_SECURITY_SECONDS = 3600.0
"""How long they are trusted when the suite's security archive did not answer: a mirror's own update takes minutes."""

_PARTIAL = "experimental"
"""A suite of some packages, laid over sid. Its Release file says ``NotAutomatic: yes``, so that apt takes of it only
what sid has not at all, unless it is told that this is the suite that is meant (apt_preferences(5)).
"""

# Suites that have a security archive (Debian 11 and later name it SUITE-security); testing and unstable have none of
# use.
_SECURITY = frozenset({"bullseye", "bookworm", "trixie"})


class PackageError(LabError, LookupError):
    """A package or suite cannot be had from the machine's mirror."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package in one version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Archive:
    """Debian ``suite`` seen from ``arch``, with an apt state folder of its own in the cache."""

    cache: Cache
    suite: str
    arch: str = "amd64"

    def closure(self, packages: tuple[str, ...], *, deadline: Deadline) -> tuple[Package, ...]:
        """Every package, with version, that an empty system would get for ``packages``, sorted.

        Raises:
            PackageError: the suite has no such packages.
        """

        def resolve() -> list[list[str]]:
            said = self._apt(
                "apt-get", "install", "--simulate", "--no-install-recommends", *packages, deadline=deadline
            )
            found = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", said, re.MULTILINE)
            return sorted(map(list, found))

        return tuple(Package(*pair) for pair in self._remembered(["closure", packages], resolve, deadline))

    def family(self, package: str, prefix: str, *, deadline: Deadline) -> tuple[Package, ...]:
        """``package`` and those of its dependencies, followed down, whose names begin with ``prefix``.

        A kernel of 7.2 and later is split over several packages (linux-base-*, linux-modules-*, linux-binary-*).
        """

        def resolve() -> list[list[str]]:
            found: dict[str, str] = {}
            todo, seen = [package], set[str]()
            while todo:
                name = todo.pop()
                if name in seen:
                    continue
                seen.add(name)
                record = self._apt("apt-cache", "show", "--no-all-versions", name, deadline=deadline)
                version = _field(record, "Version")
                if not version:
                    continue  # a virtual package (linux-initramfs-tool): no file, and nothing below it
                found[name] = version
                depends = re.findall(r"[a-z0-9][a-z0-9.+-]+(?=[ ,:(|]|$)", _field(record, "Depends"))
                todo += [dependency for dependency in depends if dependency.startswith(prefix)]
            return sorted(map(list, found.items()))

        return tuple(Package(*pair) for pair in self._remembered(["family 2", package, prefix], resolve, deadline))

    def download(self, packages: tuple[Package, ...], into: Path, *, deadline: Deadline) -> tuple[Path, ...]:
        """Fetch packages, checked by apt against the suite's signatures, as .deb files in ``into``."""
        self._refresh(deadline)
        names = [f"{package.name}={package.version}" for package in packages]
        with step("download", packages=" ".join(names)):
            run("apt-get", "download", *names, env=self._env(), cwd=into, deadline=deadline).check(
                hint="the mirror may have moved on since the versions were resolved: `lab clean --all` resolves anew"
            )
        return tuple(sorted(into.glob("*.deb")))

    def sources(self, *, deadline: Deadline) -> tuple[str, ...]:
        """The apt sources that answered, one a line; what is built must come from the same."""
        self._refresh(deadline)
        return tuple((self._folder / "sources.list").read_text().splitlines())

    @property
    def _folder(self) -> Path:
        return self.cache.root / "apt" / f"{self.suite}-{self.arch}"

    @property
    def _stamp(self) -> Path:
        """As old as the package lists are; older, where they are not to be trusted for so long."""
        return self._folder / "updated"

    def _remembered(
        self, question: list[object], resolve: Callable[[], list[list[str]]], deadline: Deadline
    ) -> list[list[str]]:
        answers = self._folder / "answers"
        answer = answers / f"{fingerprint(question, *self._preferred)}.json"
        if _fresh(answer):
            return [list(pair) for pair in json.loads(answer.read_text())]
        self._refresh(deadline)
        age = self._stamp.stat().st_mtime
        found = resolve()
        answers.mkdir(parents=True, exist_ok=True)
        half = answer.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps(found))
        os.utime(half, (age, age))  # an answer is as old as the lists that it comes from
        half.replace(answer)
        return found

    def _refresh(self, deadline: Deadline) -> None:
        with self.cache.alone("apt", f"{self.suite}-{self.arch}", deadline=deadline):
            self._update(deadline)

    def _update(self, deadline: Deadline) -> None:
        for part in ("lists/partial", "archives/partial", "parts"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        settings = self._folder / "apt.conf"
        if not settings.exists() or settings.read_text() != self._configuration():  # of an older lab
            settings.write_text(self._configuration())
        if _fresh(self._stamp):
            return
        (self._folder / "status").touch()
        self.cache.require(_LISTS_MIB, f"asking the mirror for {self.suite}")
        sources = suite_sources(self.suite, deadline=deadline)
        with step("ask the mirror", suite=self.suite, arch=self.arch):
            done, trusted = self._ask(sources, deadline), FRESH_SECONDS
            enough = tuple(source for source in sources if f" {self.suite}-security " not in source)
            if not done and enough != sources:
                # A mirror in the middle of its own update serves a security index that does not fit its signature.
                # The suite itself is enough to work with for a while; that it is used alone must be seen.
                emit("mirror trouble", suite=self.suite, arch=self.arch, why=_reason(done), going_on_with=enough[0])
                done, trusted = self._ask(enough, deadline), WITHOUT_SECURITY_SECONDS
            done.check(hint=f"is {self.suite} on this machine's Debian mirror? `apt-get update` must work first")
        self._stamp.touch()
        updated = time.time() - FRESH_SECONDS + trusted
        os.utime(self._stamp, (updated, updated))

    def _ask(self, sources: tuple[str, ...], deadline: Deadline) -> Completed:
        (self._folder / "sources.list").write_text("\n".join(sources) + "\n")
        return run("apt-get", "update", "-qq", env=self._env(), deadline=deadline.at_most(300))

    def _configuration(self) -> str:
        folder = self._folder
        return (
            f'APT::Architecture "{self.arch}";\nAPT::Architectures {{ "{self.arch}"; }};\n'
            f'Dir::State "{folder}";\nDir::State::lists "{folder}/lists/";\nDir::State::status "{folder}/status";\n'
            f'Dir::Cache "{folder}";\nDir::Cache::archives "{folder}/archives/";\n'
            f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "{folder}/parts";\n'
            f'Dir::Etc::preferences "/dev/null";\nDir::Etc::preferencesparts "{folder}/parts";\n'
            'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAcquire::Retries "3";\n'
            + "".join(f'APT::Default-Release "{suite}";\n' for suite in self._preferred)
        )

    @property
    def _preferred(self) -> tuple[str, ...]:
        """The suite whose packages are taken before those of others, newer or not; the newest are, where it is none."""
        return (_PARTIAL,) if self.suite == _PARTIAL else ()

    def _env(self) -> dict[str, str]:
        return {"APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}

    def _apt(self, *argv: str, deadline: Deadline) -> str:
        done = run(*argv, env=self._env(), deadline=deadline)
        if not done:
            said = done.stderr.decode(errors="replace").strip() or "it said nothing"
            raise PackageError(f"{self.suite} ({self.arch}): {said}")
        return done.text


def suite_sources(suite: str, *, deadline: Deadline) -> tuple[str, ...]:
    """One-line apt sources for ``suite``, with the mirrors and keyrings that this machine's apt uses for Debian.

    Raises:
        PackageError: the machine's apt knows no Debian mirror.
    """
    form = "$(REPO_URI) $(LABEL)"
    listed = run("apt-get", "indextargets", "--format", form, "Created-By: Packages", deadline=deadline).check().text
    mirrors: dict[str, str] = {}
    for line in listed.splitlines():
        uri, _, label = line.partition(" ")
        mirrors.setdefault(label, uri)
    if "Debian" not in mirrors:
        raise PackageError(
            "this machine's apt knows no Debian mirror", hint="add one to its sources and run `apt-get update` once"
        )
    sources = [f"deb {mirrors['Debian']} {suite} main"]
    if suite == _PARTIAL:
        sources.append(f"deb {mirrors['Debian']} sid main")
    if suite in _SECURITY and "Debian-Security" in mirrors:
        sources.append(f"deb {mirrors['Debian-Security']} {suite}-security main")
    return tuple(sources)


def _fresh(path: Path) -> bool:
    return path.exists() and time.time() - path.stat().st_mtime < FRESH_SECONDS


def _reason(done: Completed) -> str:
    lines = [line.removeprefix("E: ") for line in done.stderr.decode(errors="replace").splitlines()]
    return next(
        (line.partition("  ")[2] or line for line in lines if "Failed to fetch" in line), lines[-1] if lines else ""
    )


def _field(record: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", record, re.MULTILINE)
    return found.group(1) if found else ""
