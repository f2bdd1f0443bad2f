"""Modules compiled out of tree: what is fetched, what make is told, what is kept, and what a failure says."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.errors import UnsupportedError
from lab.kernels.build import BuiltModule, ModuleBuildError, obtain_module
from lab.kernels.build_delivery import push_built
from lab.kernels.build_recipe import Built, Source
from lab.kernels.build_system import HeadersError
from lab.testing.shell import FakeShell
from tests.unit.debian.mirror import Mirror, make_deb
from tests.unit.programs import Programs

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")

RELEASE = "6.1.0-56-cloud-amd64"
HEADERS = f"linux-headers-{RELEASE}"
BUILT = Built(
    "ntfs3",
    "fs/ntfs3",
    (("CONFIG_NTFS3_FS", "m"), ("CONFIG_NTFS3_LZX_XPRESS", "y")),
    (Source("bookworm", "linux-source-6.1"),),
)
SIMULATED = f"""\
Inst gcc-12 (12.2.0-14 Debian:12 [amd64])
Inst cpp-12 (12.2.0-14 Debian:12 [amd64])
Inst linux-compiler-gcc-12-x86 (6.1.192-2 Debian:12 [amd64])
Inst linux-headers-6.1.0-56-common (6.1.192-2 Debian:12 [all])
Inst linux-kbuild-6.1 (6.1.192-2 Debian:12 [amd64])
Inst linux-image-{RELEASE} (6.1.192-2 Debian:12 [amd64])
Inst {HEADERS} (6.1.192-2 Debian:12 [amd64])
"""

# mmdebstrap and the programs of the system that it makes are both started through unshare(1).
UNSHARE = r"""
case "$*" in
*mmdebstrap*)
    echo "$*" | sed 's/.*--include=\([^ ]*\) .*/\1/' > "$HERE/included"
    while [ "$1" != bookworm ]; do shift; done
    mkdir -p "$2/usr/lib"
    ln -s usr/lib "$2/lib" ;;
*)
    while [ "$1" != chroot ]; do shift; done
    root=$2
    shift 2
    echo "$*" >> "$HERE/ran"
    find "$root/build" -type f | sed "s|$root||" | sort > "$HERE/sources"
    ls -d "$root"/usr/src/* | sed "s|$root||" > "$HERE/headers"
    case "$*" in
    *" make "*)
        [ -L "$root/lib" ] || { echo "the link is gone" >&2; exit 1; }
        if [ -e "$HERE/fails" ]; then echo "  CC [M]  super.o"; cat "$HERE/fails" >&2; exit 2; fi
        echo "the module" > "$root/build/ntfs3/ntfs3.ko" ;;
    esac ;;
esac
"""


def soon() -> Deadline:
    return Deadline(20)


def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path, RELEASE, "6.1.192-2", "amd64")


def tree(*names: str) -> bytes:
    """A packed source tree with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        for name in names:
            member = tarfile.TarInfo(f"linux-source-6.1/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return packed.getvalue()


@pytest.fixture
def world(mirror: Mirror, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A mirror with headers and source, and a compiler that is none."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    mirror.simulates(SIMULATED)
    headers = {f"usr/src/{HEADERS}/Makefile": b"", f"lib/modules/{RELEASE}/build": b""}
    mirror.ships(HEADERS, make_deb(tmp_path, HEADERS, headers))
    source(mirror, tmp_path, "fs/ext4/super.c", "fs/ntfs3/Makefile", "fs/ntfs3/lib/lzx.c", "fs/ntfs3x/no.c", "ipc/a.c")
    programs.add("unshare", UNSHARE)
    programs.add("apt-config", "")
    programs.add("modinfo", 'case $2 in vermagic) cat "$HERE/magic" ;; *) cat "$HERE/srcversion" ;; esac')
    (programs.folder / "magic").write_text(f"{RELEASE} SMP preempt mod_unload modversions \n")
    (programs.folder / "srcversion").write_text("8E8932450B3E68EE113D78B\n")
    return programs


def source(mirror: Mirror, tmp_path: Path, *names: str) -> None:
    packed = {"usr/src/linux-source-6.1.tar.xz": tree(*names)}
    mirror.ships("linux-source-6.1", make_deb(tmp_path, "linux-source-6.1", packed))


def obtain(cache: Cache, tmp_path: Path, built: Built = BUILT, *, suite: str = "bookworm") -> BuiltModule:
    with obtain_module(cache, suite, kernel(tmp_path), built, deadline=soon()) as module:
        return module


def test_a_module_is_compiled_in_a_system_of_its_kernels_release(world: Programs, cache: Cache, tmp_path: Path) -> None:
    module = obtain(cache, tmp_path)
    assert module.file.read_text() == "the module\n"
    assert json.loads(module.facts) == {
        "module": "ntfs3",
        "kernel": RELEASE,
        "source": "linux-source-6.1 6.1.192-2",
        "srcversion": "8E8932450B3E68EE113D78B",
        "options": "CONFIG_NTFS3_FS=m CONFIG_NTFS3_LZX_XPRESS=y",
    }
    # What apt would bring besides, the image for one, is not wanted.
    tools = [
        "gcc-12",
        "linux-compiler-gcc-12-x86",
        "linux-headers-6.1.0-56-common",
        "linux-kbuild-6.1",
        "binutils",
        "make",
    ]
    assert world.note("included") == [",".join(tools)]
    assert world.note("headers") == [f"/usr/src/{HEADERS}"]
    make, strip = world.note("ran")
    assert re.sub(r" -j\d+", "", make) == (
        f"env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C make -C /usr/src/{HEADERS} M=/build/ntfs3 "
        "CONFIG_NTFS3_FS=m CONFIG_NTFS3_LZX_XPRESS=y CONFIG_MODULE_SRCVERSION_ALL=y "
        "CFLAGS_MODULE=-DCONFIG_NTFS3_FS_MODULE=1 -DCONFIG_NTFS3_LZX_XPRESS=1 modules"
    )
    assert strip == "env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C strip -g /build/ntfs3/ntfs3.ko"
    assert world.note("sources") == ["/build/ntfs3/Makefile", "/build/ntfs3/lib/lzx.c", "/build/ntfs3/ntfs3.ko"]
    # Nothing of Debian's packages stays but what was made of them.
    assert sorted(path.name for path in module.folder.iterdir()) == ["built.json", "ntfs3.ko"]


def test_it_is_compiled_once_and_anew_for_other_options(world: Programs, cache: Cache, tmp_path: Path) -> None:
    first, again = obtain(cache, tmp_path), obtain(cache, tmp_path)
    assert first == again
    other = obtain(cache, tmp_path, replace(BUILT, options=BUILT.options[:1]))
    assert other.folder != first.folder
    assert len([line for line in world.note("ran") if " make " in line]) == 2


def test_an_older_source_is_fetched_where_one_is_named(
    world: Programs, mirror: Mirror, cache: Cache, tmp_path: Path
) -> None:
    del world
    older = replace(BUILT, sources=(Source("bookworm", "linux-source-6.1", "6.1.176-1", "it has gone since"),))
    assert obtain(cache, tmp_path, older).source == "linux-source-6.1 6.1.176-1"
    assert "apt-get download linux-source-6.1=6.1.176-1" in mirror.asked()


def test_a_failure_shows_its_last_lines_and_where_all_of_them_are(
    world: Programs, cache: Cache, tmp_path: Path
) -> None:
    (world.folder / "fails").write_text("1\n2\nsuper.c:1: error: unknown type\nmake[2]: Error 1\n\nmake: Error 2\n")
    with pytest.raises(ModuleBuildError) as caught:
        obtain(cache, tmp_path)
    log = cache.root / "module" / f"failed-ntfs3-{RELEASE}.log"
    assert str(caught.value) == (
        f"ntfs3 for {RELEASE}: status 2: 2 | super.c:1: error: unknown type | make[2]: Error 1 | make: Error 2\n"
        f"  hint: all that the compiler said is in {log}"
    )
    assert log.read_text().startswith("  CC [M]  super.o\n1\n")
    assert not cache.entries()


@pytest.mark.parametrize(
    ("modinfo", "told"),
    [
        (("magic", "6.1.0-50-cloud-amd64 SMP"), "vermagic is '6.1.0-50-cloud-amd64 SMP', srcversion 8E89"),
        (("srcversion", ""), f"vermagic is '{RELEASE} SMP preempt mod_unload modversions', srcversion none"),
    ],
)
def test_a_module_that_could_not_be_told_from_others_is_not_taken(
    world: Programs, cache: Cache, tmp_path: Path, modinfo: tuple[str, str], told: str
) -> None:
    note, said = modinfo
    (world.folder / note).write_text(said)
    with pytest.raises(ModuleBuildError) as caught:
        obtain(cache, tmp_path)
    assert caught.value.message.startswith(f"ntfs3.ko for {RELEASE}: {told}")


def test_a_source_that_has_lost_the_driver_says_so(
    world: Programs, mirror: Mirror, cache: Cache, tmp_path: Path
) -> None:
    del world
    source(mirror, tmp_path / "b", "fs/ntfs/super.c")
    with pytest.raises(ModuleBuildError) as caught:
        obtain(cache, tmp_path)
    assert str(caught.value) == (
        "linux-source-6.1.tar.xz has no linux-source-6.1/fs/ntfs3\n"
        "  hint: kernels lose drivers in updates, too: name a version of the source that still has it"
    )


def test_headers_of_another_version_are_not_taken(
    world: Programs, mirror: Mirror, cache: Cache, tmp_path: Path
) -> None:
    del world
    mirror.simulates(SIMULATED.replace(f"{HEADERS} (6.1.192-2", f"{HEADERS} (6.1.193-1"))
    with pytest.raises(HeadersError) as caught:
        obtain(cache, tmp_path)
    assert str(caught.value) == (
        f"bookworm: {HEADERS} is of version 6.1.193-1, the kernel of 6.1.192-2\n"
        "  hint: the mirror has moved on since the kernel was fetched: `lab clean --all` resolves anew"
    )


def test_what_is_not_built_for_a_kernel_is_refused(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        obtain(cache, tmp_path, suite="bullseye")
    assert (caught.value.message, caught.value.reason) == ("ntfs3 is not built for bullseye", "module-not-built")


def test_a_module_goes_where_modprobe_does_not_look(tmp_path: Path) -> None:
    (tmp_path / "ntfs3.ko").write_bytes(b"the module")
    module = BuiltModule(tmp_path, "ntfs3", RELEASE, "linux-source-6.1 6.1.192-2", "8E89", "CONFIG_NTFS3_FS=m")
    shell = FakeShell({"tar *": ""})
    push_built(shell, {"/root/modules/ntfs3-lzx": module}, deadline=soon())
    assert shell.commands == ["tar -x --keep-directory-symlink --no-same-owner -C / -f -"]
    with tarfile.open(fileobj=io.BytesIO(shell.asked[0].stdin)) as tar:
        sent = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    assert sent == {
        "root/modules/ntfs3-lzx/ntfs3.ko": b"the module",
        "root/modules/ntfs3-lzx/ntfs3.ko.json": module.facts.encode(),
    }


def test_where_there_is_none_nothing_is_sent() -> None:
    shell = FakeShell()
    push_built(shell, {}, deadline=soon())
    assert shell.commands == []
