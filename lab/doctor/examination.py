"""The facts about this machine, gathered: the only module of the doctor that looks at anything."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.archive import suite_sources
from lab.debian.busybox import obtain_busybox
from lab.debian.initrd import build_initrd
from lab.debian.kernel import obtain_kernel
from lab.doctor.machine import SUITES, Machine
from lab.doctor.requirement import Requirement
from lab.errors import LabError
from lab.hosts.embedded.accelerator import Accelerator, choose_accelerator
from lab.hosts.run_folder import leftovers
from lab.process import last_line, run
from lab.settings import Settings

__all__ = ["examine"]

_DISTRIBUTION = "crossroads-lab"
_SBIN = ("/usr/sbin", "/sbin")
_ANSWER_SECONDS = 15.0


def examine(settings: Settings, required: Iterable[Requirement], *, probe: bool, deadline: Deadline) -> Machine:
    """Look at this machine. ``probe`` fetches what the accelerator's probe needs, if it is not in the cache."""
    cache = Cache(settings.cache)
    system = _os_release(Path("/etc/os-release"))
    release = system.get("VERSION_ID", "")
    accelerator = _accelerator(cache, settings.accelerator, probe=probe, deadline=deadline)
    samples = settings.samples
    return Machine(
        distribution=system.get("PRETTY_NAME", ""),
        release=int(release) if system.get("ID") == "debian" and release.isdecimal() else None,
        root=os.geteuid() == 0,
        found={requirement.proof: _find(requirement.proof) for requirement in required if requirement.proof},
        libraries=_libraries(),
        cache=settings.cache,
        cache_trouble=_write_trouble(settings.cache),
        free=shutil.disk_usage(_nearest(settings.cache)).free,
        memory=_memory(Path("/proc/meminfo").read_text(encoding="ascii")),
        cores=len(os.sched_getaffinity(0)),
        fuse_trouble=_fuse_trouble(Path("/dev/fuse")),
        accelerator=accelerator.name,
        accelerator_reason=accelerator.why,
        mirror_trouble=_mirror_trouble(deadline),
        samples=samples,
        samples_found=sum(file.is_file() for file in samples.rglob("*")) if samples and samples.is_dir() else None,
        entries=cache.entries(),
        leftovers=_leftovers(cache),
    )


def _os_release(path: Path) -> Mapping[str, str]:
    """os-release(5): shell assignments, values with or without quotes."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return {name: value.strip("\"'") for name, value in re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)}


def _find(proof: str) -> str:
    if proof.startswith("/"):
        return proof if Path(proof).exists() else ""
    # `su` keeps a user's PATH, and the lab's programs add these folders where they need them.
    return shutil.which(proof, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN))) or ""


def _libraries() -> Mapping[str, str]:
    try:
        wanted = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return {_DISTRIBUTION: ""}
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in wanted if "extra ==" not in line]
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _nearest(path: Path) -> Path:
    """The deepest folder of ``path`` that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _write_trouble(cache: Path) -> str:
    folder = _nearest(cache)
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written"


def _memory(meminfo: str) -> int:
    found = re.search(r"^MemAvailable: +(\d+) kB$", meminfo, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def _fuse_trouble(device: Path) -> str:
    # The node alone says little: in a container it may be there and be refused.
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as refused:
        return f"{device}: {refused.strerror}"
    return ""


def _mirror_trouble(deadline: Deadline) -> Mapping[str, str]:
    """Each suite's release file is fetched by apt's own means, proxies and all; some 150 kB each."""
    troubles = {}
    with tempfile.TemporaryDirectory(prefix="lab-doctor-") as folder:
        for suite in SUITES:
            try:
                mirror = suite_sources(suite, deadline=deadline.at_most(_ANSWER_SECONDS))[0].split()[1]
                troubles[suite] = _fetch(
                    f"{mirror.rstrip('/')}/dists/{suite}/InRelease", Path(folder) / suite, deadline
                )
            except LabError as trouble:
                troubles[suite] = trouble.message
    return troubles


def _fetch(address: str, into: Path, deadline: Deadline) -> str:
    options = ("-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=0")
    argv = ("/usr/lib/apt/apt-helper", *options, "download-file", address, into)
    done = run(*argv, deadline=deadline.at_most(_ANSWER_SECONDS), env={"LC_ALL": "C"})
    if done:
        return ""
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(b"E: Failed")]
    return last_line(said[-1] if said else done.stderr).removeprefix("E: ") or f"status {done.status}"


def _accelerator(cache: Cache, wanted: str, *, probe: bool, deadline: Deadline) -> Accelerator:
    device = Path("/dev/kvm")
    try:
        with ExitStack() as held:
            if wanted != "auto" or not device.exists():
                kernel = initrd = Path()
            elif probe:
                kernel, initrd = _obtain(cache, held, deadline)
            else:
                hosts = [entry.path for entry in cache.entries() if entry.kind == "host"]
                kernels = [entry.path for entry in cache.entries() if entry.kind == "kernel"]
                found = [path / "initrd" for path in hosts], [path / "vmlinuz" for path in kernels]
                initrd, kernel = (next((file for file in files if file.exists()), Path()) for files in found)
                if Path() in (kernel, initrd):
                    return Accelerator("", f"{device} is there, not probed yet: the first run does, or --probe")
            return choose_accelerator(cache, wanted, kernel=kernel, initrd=initrd, deadline=deadline)
    except LabError as trouble:
        return Accelerator("", f"not probed: {trouble.message}")


def _obtain(cache: Cache, held: ExitStack, deadline: Deadline) -> tuple[Path, Path]:
    kernel = held.enter_context(obtain_kernel(cache, "trixie", arch="amd64", flavour="cloud", deadline=deadline))
    busybox = held.enter_context(obtain_busybox(cache, "amd64", deadline=deadline))
    folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="lab-doctor-")))
    build_initrd(kernel, (), busybox, folder / "initrd", work=folder / "work", deadline=deadline)
    return kernel.bzimage, folder / "initrd"


def _leftovers(cache: Cache) -> tuple[str, ...]:
    runs = [f"run {ruin.tag} ({len(ruin.processes)} processes)" for ruin in leftovers(cache)]
    return (*runs, *(f"half-made {path.relative_to(cache.root).with_suffix('')}" for path in _ruins(cache.root)))


def _ruins(root: Path) -> list[Path]:
    """Half-made things of the cache that nobody is making any more."""
    found = []
    for half in sorted(root.glob("*/*.building")):
        with half.with_suffix(".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
        found.append(half)
    return found
