"""What an embedded host is made of: Debian's Xen and libvirt of one release, and the cures that nesting needs.

Every cure stands here once with its reason; each was paid for with a crash (docs/explanation/nested-xen.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.debian.rootfs import Rootfs
from lab.errors import UnknownNameError
from lab.keys import Keys

__all__ = ["DOM0_MODULES", "EmbeddedRecipe", "embedded_recipe", "embedded_versions"]

MOVES = "10.78"
"""Likewise of the network for migrations."""

_SUITES = {"4.14": "bullseye", "4.17": "bookworm", "4.20": "trixie"}

NETWORK = "10.77"
"""First half of the addresses on the network that hosts and guests share; it exists only inside QEMU."""

DOM0_MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "virtio_net",
    "bridge",
    "ext4",
    "xen_evtchn",
    "xen_gntdev",
)
"""What dom0 loads in its initrd. Loading the rest by udev would cost a modprobe each, seconds under emulation."""

# Seconds each under emulation, and nothing here needs them (ifupdown alone: 17-24 s).
_MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer "
    "logrotate.timer man-db.timer getty@tty1.service getty-static.service console-getty.service "
    "serial-getty@hvc0.service "
    "networking.service systemd-binfmt.service systemd-machined.service systemd-timesyncd.service "
    "systemd-tmpfiles-clean.timer libvirt-guests.service xendomains.service systemd-random-seed.service "
    "systemd-update-utmp.service apparmor.service keyboard-setup.service console-setup.service "
    "systemd-logind.service systemd-pstore.service kmod-static-nodes.service systemd-networkd-wait-online.service "
    "ldconfig.service systemd-journal-catalog-update.service systemd-sysusers.service systemd-update-done.service "
    "sys-kernel-tracing.mount sys-kernel-debug.mount dev-mqueue.mount dev-hugepages.mount "
    "systemd-network-generator.service systemd-udev-load-credentials.service systemd-journal-flush.service"
)


@dataclass(frozen=True, slots=True)
class EmbeddedRecipe:
    """An embedded host of one Xen version: its root file system and how it boots."""

    xen: str
    rootfs: Rootfs

    @property
    def name(self) -> str:
        """Such as ``xen-4.17``."""
        return f"xen-{self.xen}"

    @property
    def address(self) -> str:
        """Where it takes in guests that move: its address on the network for migrations."""
        return f"{MOVES}.{self.xen}"

    @property
    def station(self) -> int:
        """Its number on the shared network, no other host's."""
        return int(self.xen.partition(".")[2])

    @property
    def xen_args(self) -> str:
        """The hypervisor's command line."""
        return "console=com1 com1=115200 dom0_mem=1024M,max:1024M loglvl=all guest_loglvl=all noreboot"

    @property
    def dom0_args(self) -> str:
        """The dom0 kernel's command line."""
        return "root=/dev/vda rw console=hvc0 net.ifnames=0 quiet mitigations=off audit=0 selinux=0 apparmor=0"


def embedded_versions() -> tuple[str, ...]:
    """The Xen versions that the lab can nest, oldest first."""
    return tuple(_SUITES)


def host_address(xen: str) -> str:
    """The shared-network address of the embedded host of a Xen version: 4.17 -> 10.77.4.17."""
    return f"{NETWORK}.{xen}"


def embedded_recipe(xen: str, keys: Keys) -> EmbeddedRecipe:
    """The recipe of the host that runs this Xen version.

    Raises:
        UnknownNameError: no Debian release that the lab knows ships it.
    """
    if xen not in _SUITES:
        raise UnknownNameError("embedded Xen version", xen, _SUITES)
    files = _overlay(xen, keys)
    return EmbeddedRecipe(
        xen,
        Rootfs(
            suite=_SUITES[xen],
            arch="amd64",
            packages=(
                f"xen-hypervisor-{xen}-amd64",
                f"xen-utils-{xen}",
                # The cloud flavour has no CONFIG_XEN_DOM0.
                "linux-image-amd64",
                "libvirt-daemon-system",
                "libvirt-daemon-driver-xen",
                "libvirt-clients",
                # libvirt 7.0 does not start its Xen driver without a dnsmasq binary.
                "dnsmasq-base",
                "openssh-server",
                "netcat-openbsd",
                "kmod",
                "udev",
                "iproute2",
                "systemd-sysv",
                "dbus",
                "python3-minimal",
            ),
            overlay=files,
            private=frozenset({"/etc/ssh/lab_host_key"}),
            commands=(
                f"systemctl mask {_MASKED}",
                "systemctl enable ssh systemd-networkd libvirtd.service; rm -f /etc/ssh/ssh_host_*",
                "mkdir -p /var/log/xen/console",
                # The model must come last among the x86 ones, so that a real CPU still finds its own first.
                (
                    'sed -i "0,/<\\/arch>/s//<include filename=\\x27x86_lab.xml\\x27\\/><\\/arch>/" '
                    "/usr/share/libvirt/cpu_map/index.xml"
                ),
                "rm -rf /var/lib/apt/lists/* /var/cache/apt/* /boot/initrd.img*",
            ),
        ),
    )


def _overlay(xen: str, keys: Keys) -> dict[str, str]:
    return {
        **keys.sshd_files(),
        "/etc/hostname": f"xen-{xen}\n",
        "/etc/hosts": "127.0.0.1 localhost\n" + "".join(f"{host_address(v)} xen-{v}\n" for v in _SUITES),
        "/etc/fstab": "",
        # A machine id that is there saves the first-boot logic of systemd.
        "/etc/machine-id": f"{int(xen.replace('.', '')):032x}\n",
        "/etc/systemd/network/10-lab-nat.network": (
            "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\n"
        ),
        "/etc/systemd/network/20-lab-bridge.netdev": (
            "[NetDev]\nName=xenbr0\nKind=bridge\n[Bridge]\nSTP=no\nForwardDelaySec=0\n"
        ),
        "/etc/systemd/network/20-lab-port.network": (
            "[Match]\nName=eth1\n[Network]\nBridge=xenbr0\nLinkLocalAddressing=no\n"
        ),
        "/etc/systemd/network/25-lab-moves.network": (
            # Large frames: 128 MiB of a guest's memory cross in 23 s instead of 32 under emulation.
            f"[Match]\nName=eth2\n[Link]\nMTUBytes=65000\n[Network]\nAddress={MOVES}.{xen}/16\nLinkLocalAddressing=no\n"
        ),
        "/etc/systemd/network/30-lab-shared.network": (
            f"[Match]\nName=xenbr0\n[Network]\nAddress={host_address(xen)}/16\nLinkLocalAddressing=no\n"
            "ConfigureWithoutCarrier=yes\n"
        ),
        # xenconsoled writes every guest's console to /var/log/xen/console/guest-NAME.log, also after its death.
        "/etc/default/xen": 'XENCONSOLED_ARGS="--log=guest --log-dir=/var/log/xen/console"\n',
        "/etc/default/xendomains": "XENDOMAINS_SAVE=\nXENDOMAINS_RESTORE=false\n",
        "/etc/libvirt/libvirtd.conf": (
            f'host_uuid = "{_host_uuid(xen)}"\nunix_sock_group = "root"\nauth_unix_rw = "none"\n'
            'log_outputs = "3:file:/var/log/libvirt/libvirtd.log"\n'
        ),
        # Without Xen's daemons the Xen driver does not start, and an idle libvirtd would be gone from the snapshot.
        "/etc/systemd/system/libvirtd.service.d/lab.conf": (
            "[Unit]\nWants=xen.service\nAfter=xen.service\n[Service]\nEnvironment=LIBVIRTD_ARGS=\nEnvironmentFile=\n"
        ),
        "/etc/libvirt/libxl.conf": "autoballoon = 0\n",
        "/usr/share/libvirt/cpu_map/x86_lab.xml": _CPU_MODEL,
        "/etc/sysctl.d/lab.conf": "net.ipv4.ip_forward=0\nnet.bridge.bridge-nf-call-iptables=0\n",
    }


# Xen clears SEP on AMD, so no model in libvirt's map fits the emulated AMD CPU: "Cannot find suitable CPU model for
# given data ... Failed to initialize host cpu features", and the Xen driver does not start. This one always fits.
_CPU_FEATURES = (
    "fpu", "de", "pse", "tsc", "msr", "pae", "cx8", "apic", "pge", "cmov", "pat", "mmx", "fxsr", "sse", "sse2",
    "lm", "nx", "syscall",
)  # fmt: skip
_CPU_MODEL = (
    "<cpus>\n  <model name='lab-emulated'>\n    <decode host='on' guest='on'/>\n"
    + "".join(f"    <feature name='{feature}'/>\n" for feature in _CPU_FEATURES)
    + "  </model>\n</cpus>\n"
)


def _host_uuid(xen: str) -> str:
    # libvirt refuses to migrate between hosts of one UUID, and one without a DMI table would have none.
    return f"c7055ead-0000-4000-8000-{int(xen.replace('.', '')):012x}"
