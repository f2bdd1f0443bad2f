"""What a guest is made of: a Debian userland of either architecture, realistic or small."""

from __future__ import annotations

from importlib import resources

from lab.debian.rootfs import Rootfs
from lab.errors import UnknownNameError
from lab.keys import Keys

__all__ = ["BOOT_MODULES", "guest_rootfs"]

BOOT_MODULES = ("xen_blkfront", "xen_netfront", "ext4")
"""What a guest's initrd loads, as far as its kernel has not built it in."""

_COMMON = ("openssh-server", "kmod", "iproute2", "python3", "fdisk")

# Under emulation each of these costs a guest seconds, and no check needs them.
_MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer "
    "logrotate.timer man-db.timer getty@tty1.service getty-static.service console-getty.service "
    "serial-getty@hvc0.service "
    "networking.service systemd-networkd.service systemd-timesyncd.service systemd-tmpfiles-clean.timer "
    "systemd-random-seed.service systemd-update-utmp.service systemd-pstore.service kmod-static-nodes.service "
    "systemd-network-generator.service ldconfig.service systemd-journal-catalog-update.service "
    "systemd-sysusers.service systemd-update-done.service systemd-journal-flush.service systemd-binfmt.service "
    "sys-kernel-tracing.mount sys-kernel-debug.mount dev-mqueue.mount dev-hugepages.mount "
    "systemd-udev-settle.service systemd-logind.service systemd-udev-trigger.service systemd-tmpfiles-setup.service "
    "systemd-remount-fs.service systemd-modules-load.service systemd-sysctl.service systemd-user-sessions.service "
    "modprobe@loop.service modprobe@fuse.service modprobe@dm_mod.service modprobe@configfs.service "
    "modprobe@drm.service modprobe@efi_pstore.service systemd-update-utmp-runlevel.service"
)


def guest_rootfs(system: str, release: str, userland: str, keys: Keys) -> Rootfs:
    """The root file system of a guest.

    Args:
        system: ``debian`` boots systemd as an installed machine does; ``probe`` boots a script, in seconds; ``perf``
            is that with fio, which brings 26 packages and 53 MB with it.
        release: the Debian suite.
        userland: i386 or amd64.
        keys: who may log in, and what the guest proves itself with.

    Raises:
        UnknownNameError: no such system.
    """
    match system:
        case "debian":
            return _debian(release, userland, keys)
        case "probe":
            return _probe(release, userland, keys)
        case "perf":
            return _probe(release, userland, keys, "fio")
        case _:
            raise UnknownNameError("guest system", system, ("debian", "perf", "probe"))


def _debian(release: str, userland: str, keys: Keys) -> Rootfs:
    overlay = {**_overlay(keys), "/etc/systemd/system/lab-net.service": _file("lab-net.service")}
    return Rootfs(
        suite=release,
        arch=userland,
        packages=(*_COMMON, "systemd-sysv", "udev", "dbus"),
        overlay=overlay,
        executable=frozenset({"/usr/local/sbin/lab-net"}),
        private=frozenset({"/etc/ssh/lab_host_key"}),
        commands=(f"systemctl mask {_MASKED}", "systemctl enable ssh lab-net", _CLEAN),
    )


def _probe(release: str, userland: str, keys: Keys, *more: str) -> Rootfs:
    # The kernel calls them /sbin/lab-init and /sbin/poweroff. Never /sbin itself where it is a link into /usr: a folder
    # of that name would take its place.
    sbin = "/sbin" if release in _SPLIT else "/usr/sbin"
    programs = {f"{sbin}/lab-init": _file("probe-init"), f"{sbin}/poweroff": _file("probe-poweroff")}
    overlay = {**_overlay(keys), **programs}
    return Rootfs(
        suite=release,
        arch=userland,
        packages=(*_COMMON, "ntfs-3g", *more),
        overlay=overlay,
        executable=frozenset({"/usr/local/sbin/lab-net", *programs}),
        private=frozenset({"/etc/ssh/lab_host_key"}),
        commands=(_CLEAN,),
    )


_SPLIT = frozenset({"bullseye"})
"""Releases whose /sbin is a folder of its own, as debootstrap makes them; Debian 12 was the first without."""

_CLEAN = "rm -rf /var/lib/apt/lists/* /var/cache/apt/* /etc/ssh/ssh_host_* /boot/*"


def _overlay(keys: Keys) -> dict[str, str]:
    return {
        **keys.sshd_files(),
        "/etc/hostname": "guest\n",
        "/etc/hosts": "127.0.0.1 localhost guest\n",
        "/etc/fstab": "",
        "/etc/machine-id": "c7055ead000040008000000000000001\n",
        "/usr/local/sbin/lab-net": _file("lab-net"),
        "/etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nForwardToConsole=no\n",
        # sshd's own folder, which Debian makes by systemd-tmpfiles.
        "/etc/systemd/system/ssh.service.d/lab.conf": "[Service]\nRuntimeDirectory=sshd\nExecStartPre=\n",
    }


def _file(name: str) -> str:
    return resources.files("lab.guests").joinpath("files", name).read_text()
