from __future__ import annotations

import pytest

from lab.errors import UnknownNameError
from lab.ntfs import probe
from lab.ntfs.drivers import DriverKind, built_for, drivers


def test_the_drivers_are_known() -> None:
    assert tuple(drivers) == ("lowntfs-3g", "ntfs", "ntfs-3g", "ntfs-classic", "ntfs3", "ntfs3-lzx")


def test_a_driver_that_is_not_there_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownNameError) as refused:
        drivers["ntfs4"]
    assert (
        refused.value.message == "no driver 'ntfs4'; known: lowntfs-3g, ntfs, ntfs-3g, ntfs-classic, ntfs3, ntfs3-lzx"
    )
    assert refused.value.hint.startswith("did you mean 'ntfs")


@pytest.mark.parametrize(("name", "releases"), [("ntfs3", {"trixie"}), ("ntfs", {"forky", "sid", "experimental"})])
def test_the_suite_table_is_that_of_the_measurements(name: str, releases: set[str]) -> None:
    suites = ("bullseye", "bookworm", "trixie", "forky", "sid", "experimental")
    assert {release for release in suites if drivers[name].ships_in(release)} == releases


@pytest.mark.parametrize("write", [False, True])
def test_the_probe_understands_every_drivers_words(*, write: bool) -> None:
    for driver in drivers.values():
        args = probe.parse(["mount-and-read", *driver.probe_arguments(write=write), "--device", "/dev/xvdb"])
        assert (args.driver, args.kind, args.device) == (driver.name, driver.kind.value, "/dev/xvdb")
        assert args.options == ",".join(driver.options(write=write))
        assert args.options.split(",")[0] == ("rw" if write else "ro")
        if driver.kind is DriverKind.KERNEL:
            assert args.type == driver.types[0]
            assert tuple(args.modules) == driver.modules
        else:
            assert args.program == driver.program


@pytest.mark.parametrize(
    ("release", "names"),
    [
        ("bullseye", ("ntfs-classic",)),
        ("bookworm", ("ntfs-classic", "ntfs3-lzx")),
        ("trixie", ("ntfs3-lzx",)),
        ("forky", ("ntfs3-lzx",)),
        ("sid", ()),
    ],
)
def test_what_is_compiled_for_which_kernel(release: str, names: tuple[str, ...]) -> None:
    assert tuple(driver.name for driver in built_for(release)) == names


def test_a_compiled_driver_takes_the_place_of_the_kernels_own() -> None:
    words = drivers["ntfs3-lzx"].probe_arguments()
    assert words[words.index("--type") :] == (
        *("--type", "ntfs3", "--rmmod", "ntfs3"),
        *("--insmod", "/root/modules/ntfs3-lzx/ntfs3.ko"),
    )
    # Not --modules ntfs3: modprobe would load the kernel's own.
    assert drivers["ntfs3-lzx"].options() == drivers["ntfs3"].options()


def test_classic_ntfs_for_bookworm_is_of_the_last_source_that_has_it() -> None:
    built = drivers["ntfs-classic"].built
    assert built is not None
    source = built.source("bookworm")
    assert source is not None
    assert (source.package, source.version) == ("linux-source-6.1", "6.1.176-1")
    assert source.note


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("ntfs3", ("ro", "iocharset=utf8")),
        ("ntfs", ("ro", "iocharset=utf8")),
        ("ntfs-3g", ("ro", "permissions", "streams_interface=xattr")),
        ("lowntfs-3g", ("ro", "permissions", "streams_interface=xattr")),
    ],
)
def test_what_was_written_is_read_back_with_the_same_options(name: str, asked: tuple[str, ...]) -> None:
    assert drivers[name].again == asked
    assert drivers[name].options(write=True) == ("rw", *asked[1:])
