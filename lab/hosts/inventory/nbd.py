"""Disks for hosts of the user's: an image file of this machine, served by NBD through the ssh connection.

::

    image -- qemu-nbd -- socket here == ssh -R ==> socket there -- nbd-client -- /dev/nbdN <-- FOLDER/disks/SERIAL

No storage is shared, and nothing is copied. The link is the path that libvirt is told; it is the same on every host,
which a live migration needs, whatever the number of the device behind it.
"""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import HostError, LabError
from lab.events import emit
from lab.process import last_line, spawn
from lab.shell import SshShell
from lab.wait import wait_until

__all__ = ["Exports", "NbdShelf"]

_UNDO_SECONDS = 60.0

# A device is free while the kernel shows no pid for it. Yet somebody else may take it just before we do, and whoever
# merely has it open, such as udev looking at a new one, makes it "already in use" as well: so several are tried, and
# tried again. The words of nbd-client go to a file: where it stays as a daemon, a pipe would never end.
_ATTACH = r"""
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
socket=$1 link=$2 sector=$3 readonly=$4
if [ ! -d /sys/block/nbd0 ]; then
  modprobe nbd || exit 1
  udevadm settle -t 5 2>/dev/null
fi
said="every device of /dev/nbd* is taken; more with nbds_max= of the module nbd"
tries=0
while [ $tries -lt 12 ]; do
  before=$tries
  for place in /sys/block/nbd*; do
    device=${place##*/}
    case $device in *p*) continue ;; esac
    [ -e "$place/pid" ] && continue
    [ $tries -lt 12 ] || break
    tries=$((tries + 1))
    if nbd-client -unix "$socket" "/dev/$device" -block-size "$sector" $readonly >"$socket.log" 2>&1 </dev/null; then
      ln -sfn "/dev/$device" "$link"
      for _ in $(seq 200); do [ "$(cat "$place/size")" -gt 0 ] && break; sleep 0.05; done
      rm -f "$socket.log"
      exit 0
    fi
    said="nbd-client: $(grep -vi '^exiting' "$socket.log" | tail -n 1)"
  done
  [ $tries -gt $before ] || break
  sleep 0.2
done
echo "$said" >&2
exit 1
"""

# Also where only half of it is there.
_DETACH = r"""
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
socket=$1 link=$2
device=$(readlink "$link") && rm -f "$link"
if [ -n "$device" ]; then
  # What dom0 itself wrote (a saved guest) is in its page cache; what a guest wrote never was.
  blockdev --flushbufs "$device" 2>/dev/null
  nbd-client -d "$device" >"$socket.log" 2>&1 </dev/null
  for _ in $(seq 200); do [ -e "/sys/block/${device##*/}/pid" ] || break; sleep 0.05; done
  [ -e "/sys/block/${device##*/}/pid" ] && { echo "$device stays: $(tail -n 1 "$socket.log")" >&2; exit 1; }
fi
rm -f "$socket" "$socket.log"
"""


@dataclass
class _Export:
    """One image that is served. ``users`` are how many disks of hosts it is."""

    socket: Path
    process: subprocess.Popen[bytes]
    users: int = 0


@dataclass
class Exports:
    """The images that this machine serves, their sockets and logs in ``folder``, whose path is short.

    An image is served by one process, however many hosts have it: see docs/adr/0011-inventory-hosts.md for why what one
    host has written is what the other one reads. Threads may share it.
    """

    folder: Path
    _up: dict[tuple[Path, bool], _Export] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def serve(self, image: Path, *, read_only: bool, deadline: Deadline) -> Iterator[Path]:
        """The socket on which the image is served; its server ends with the last who wants it.

        Raises:
            HostError: qemu-nbd does not start.
        """
        key = (image, read_only)
        with self._lock:
            if key not in self._up:
                self._up[key] = self._start(image, read_only=read_only, deadline=deadline)
            export = self._up[key]
            export.users += 1
        try:
            yield export.socket
        finally:
            with self._lock:
                export.users -= 1
                if not export.users:
                    del self._up[key]
                    export.process.kill()
                    export.process.wait()
                    export.socket.unlink(missing_ok=True)

    def _start(self, image: Path, *, read_only: bool, deadline: Deadline) -> _Export:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        socket = self.folder / f"n{next(self._numbers)}"
        log = socket.with_suffix(".log")
        file = str(image).replace(",", ",,")
        options = f"driver=raw,discard=unmap,file.driver=file,file.locking=off,file.discard=unmap,file.filename={file}"
        argv = ("qemu-nbd", "--persistent", "--shared=0", "--cache=unsafe", "--discard=unmap", f"--socket={socket}")
        with log.open("wb") as words:
            process = spawn(
                *(*argv, *(("--read-only",) if read_only else ()), "--image-opts", options),
                stdin=subprocess.DEVNULL,
                stdout=words.fileno(),
                stderr=words.fileno(),
            )
        try:
            serves = partial(_serves, process, socket, log, image)
            wait_until(f"{image.name}: qemu-nbd", serves, deadline=deadline, interval=0.02)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return _Export(socket, process)


def _serves(process: subprocess.Popen[bytes], socket: Path, log: Path, image: Path) -> bool:
    if process.poll() is not None:
        said = last_line(log.read_bytes()) or "it said nothing"
        raise HostError(f"{image.name}: qemu-nbd ended with status {process.returncode}: {said}")
    return socket.exists()


@dataclass(frozen=True, slots=True)
class _Plugged:
    image: Path
    unplug: Callable[[], None]


@dataclass
class NbdShelf:
    """A :class:`lab.hosts.host.DiskShelf`: network block devices of the host behind ``shell``, whose links and sockets
    lie there below ``folder``.
    """

    shell: SshShell
    exports: Exports
    folder: str
    _plugs: dict[str, _Plugged] = field(default_factory=dict)

    def path(self, serial: str) -> str:
        """See :class:`lab.hosts.host.DiskShelf`."""
        return f"{self.folder}/disks/{serial}"

    def plug(self, image: Path, serial: str, *, read_only: bool, sector: int, deadline: Deadline) -> str:
        """See :class:`lab.hosts.host.DiskShelf`.

        Raises:
            HostError: the host cannot have it; what it said is in the message.
        """
        path = self.path(serial)
        held = self._plugs.get(serial)
        if held is not None:
            # A move that failed has left it here.
            if held.image == image and self.shell.run("test", "-b", path, deadline=deadline):
                return path
            self._pull(serial)
        remote = f"{self.folder}/sockets/{serial}"
        with ExitStack() as undo:
            local = undo.enter_context(self.exports.serve(image, read_only=read_only, deadline=deadline))
            self.shell.lend(local, remote, deadline=deadline)
            undo.callback(self._quietly, f"forwarding of {serial}", partial(self._take_back, local, remote))
            # From here on something may be there: what is undone copes with a half.
            undo.callback(self._quietly, f"disk {serial}", partial(self._detach, remote, path))
            words = (remote, path, str(sector), "-readonly" if read_only else "")
            done = self.shell.run("sh", "-c", _ATTACH, "sh", *words, deadline=deadline)
            if not done:
                said = last_line(done.stderr) or f"status {done.status}"
                raise HostError(f"{self.shell.name}: disk {serial}: {said}", hint="see lab doctor --hosts FILE")
            kept = undo.pop_all()
        self._plugs[serial] = _Plugged(image, kept.close)
        return path

    def unplug(self, serial: str, *, deadline: Deadline) -> None:
        """See :class:`lab.hosts.host.DiskShelf`.

        Raises:
            HostError: it has no such disk.
        """
        del deadline  # undoing has a time of its own: somebody else's may have run out on what came before
        if serial not in self._plugs:
            raise HostError(f"{self.shell.name}: no disk {serial}")
        self._pull(serial)

    def clear(self) -> None:
        """Unplug whatever is left."""
        for serial in tuple(self._plugs):
            self._pull(serial)

    def watch(self) -> None:
        """See :class:`lab.hosts.host.DiskShelf`.

        Raises:
            HostError: the connection to the host is gone.
        """
        if not self.shell.network.alive(self.shell.alias, deadline=Deadline(5)):
            raise HostError(f"{self.shell.name}: connection lost")

    def _pull(self, serial: str) -> None:
        self._plugs.pop(serial).unplug()

    def _detach(self, remote: str, path: str) -> None:
        deadline = Deadline(_UNDO_SECONDS)
        self.shell.run("sh", "-c", _DETACH, "sh", remote, path, deadline=deadline).check()

    def _take_back(self, local: Path, remote: str) -> None:
        self.shell.take_back(local, remote, deadline=Deadline(_UNDO_SECONDS))

    def _quietly(self, what: str, action: Callable[[], None]) -> None:
        """One part that cannot be undone must not keep the others; of a host that is gone there is nothing to undo."""
        try:
            self.watch()
            action()
        except LabError as trouble:
            emit("undo failed", what=f"{what} on {self.shell.name}", why=trouble.message)
