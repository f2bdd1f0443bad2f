"""A file system in memory: what a volume holds, and what becomes of it when steps are done as POSIX has them.

Pure. Only what a step changes is known anew; everything else must be found as it was. Where the standard leaves it
open, or NTFS keeps it in a way of its own, nothing is said (None), and is compared with nothing.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping

from lab.ntfs.filetime import from_nanoseconds
from lab.ntfs.manifest import About, Kind, Manifest, Times
from lab.ntfs.operations.node import Node
from lab.ntfs.operations.source import Source
from lab.ntfs.operations.step import HOLE, KEEP_SIZE, ZERO, Step
from lab.ntfs.volumes.content import Extent

__all__ = ["Model"]


def _refuse(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Model:
    """A tree of :class:`Node`. ``streams`` says whether extended attributes in ``user.`` are named streams."""

    def __init__(self, before: Manifest, source: Source, *, streams: bool = True) -> None:
        self._source = source
        self._streams = streams
        self._before = before
        self._root = Node.new(Kind.DIRECTORY)
        self._unsure = set(before.unsure)
        self.label = before.about.label if before.about is not None else None
        files: dict[int, Node] = {}
        for entry in before.entries:
            number = source.number(entry.path) if entry.kind is Kind.FILE else None
            node = files.get(number) if number is not None else None
            if node is None:
                node = Node(entry, entry.path, {} if entry.kind is Kind.DIRECTORY else None)
                if number is not None:
                    files[number] = node
            self._place(entry.path, node)

    def _place(self, path: str, node: Node) -> None:
        folder, name = self._folder(path)
        folder[name] = node

    def _folder(self, path: str) -> tuple[dict[str, Node], str]:
        """The directory that a name is to be in."""
        *above, name = path.split("/")
        children = self._at("/".join(above)).children
        if children is None:
            raise _refuse(errno.ENOTDIR)
        return children, name

    def _at(self, path: str) -> Node:
        node = self._root
        for part in filter(None, path.split("/")):
            if node.children is None:
                raise _refuse(errno.ENOTDIR)
            if part not in node.children:
                raise _refuse(errno.ENOENT)
            node = node.children[part]
        return node

    # --- what came of it ----------------------------------------------------------------------------------------

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """Every path with what it names, directories before what they hold."""
        pending = [("", self._root)]
        while pending:
            path, node = pending.pop()
            if path:
                yield path, node
            for name, child in (node.children or {}).items():
                pending.append((f"{path}/{name}" if path else name, child))

    def manifest(self) -> Manifest:
        """What the volume is to hold now."""
        about = self._before.about
        if about is not None:
            about = About(self.label, about.flags, about.serial, about.geometry)
        entries = tuple(node.found(path) for path, node in self.nodes())
        return Manifest(entries, self._before.sees, frozenset(self._unsure), about, self._before.fragile)

    # --- what is done -------------------------------------------------------------------------------------------

    def do(self, step: Step) -> object:
        """Do it; what the system call would return.

        Raises:
            OSError: with the errno that POSIX has for it; nothing is changed then.
            LabError: the content of an existing file is not what the manifest says.
        """
        return _DO[step.do](self, step)

    def fail(self, step: Step, *, halfway: bool) -> None:
        """It was refused. ``halfway``: perhaps only after some of it had been done."""
        if step.do == "create":
            self._unsure.add(step.path)
        elif halfway and step.do in _ON_CONTENT:
            try:
                self._at(step.path).lose()
            except OSError:
                self._unsure.add(step.path)

    def _make(self, step: Step, kind: Kind) -> Node:
        folder, name = self._folder(step.path)
        if name in folder:
            raise _refuse(errno.EEXIST)
        made = Node.new(kind)
        made.part = step.part
        folder[name] = made
        self._stir(step.path, step)
        return made

    def _stir(self, path: str, step: Step) -> None:
        """The directory of ``path`` got or lost a name."""
        node = self._at(path.rpartition("/")[0])
        node.written()
        node.part = step.part

    def _file(self, step: Step) -> Node:
        node = self._at(step.path)
        if node.is_directory:
            raise _refuse(errno.EISDIR)
        if node.entry.kind is not Kind.FILE:
            raise _refuse(errno.ELOOP)
        return node

    def _mkdir(self, step: Step) -> None:
        self._make(step, Kind.DIRECTORY)

    def _create(self, step: Step) -> None:
        made = self._make(step, Kind.FILE)
        made.holding(self._source).write(0, content_of(step))

    def _write(self, step: Step) -> None:
        node = self._file(step)
        self._put(node, step, int(step.more["offset"]))

    def _append(self, step: Step) -> None:
        node = self._file(step)
        self._put(node, step, node.holding(self._source).size)

    def _map(self, step: Step) -> None:
        node = self._file(step)
        offset = int(step.more["offset"])
        if not node.lost and offset + int(step.more["length"]) > node.holding(self._source).size:
            raise _refuse(errno.EINVAL)
        self._put(node, step, offset)

    def _put(self, node: Node, step: Step, offset: int) -> None:
        node.holding(self._source).write(offset, content_of(step))
        node.written()
        node.part = step.part

    def _truncate(self, step: Step) -> None:
        size = int(step.more["size"])
        if size < 0:
            raise _refuse(errno.EINVAL)
        node = self._file(step)
        content = node.holding(self._source)
        as_it_was = content.size == size and "modified" not in node.moved
        content.resize(size)
        node.written()
        if as_it_was:
            node.moved.discard("modified")  # truncate(2): times change if the size does
        node.part = step.part

    def _fallocate(self, step: Step) -> None:
        node = self._file(step)
        offset, length, mode = (int(step.more[key]) for key in ("offset", "length", "mode"))
        if not length:
            raise _refuse(errno.EINVAL)
        content = node.holding(self._source)
        if mode & (HOLE | ZERO):
            content.clear(offset, length)
        if not mode & KEEP_SIZE:
            content.resize(max(content.size, offset + length))
        node.written()
        node.moved.discard("modified")  # to allocate what was not is no change of content; drivers part there
        node.part = step.part

    def _rename(self, step: Step) -> None:
        folder, name = self._folder(step.path)
        target = str(step.more["to"])
        above, last = self._folder(target)  # Linux finds both directories before it looks into either
        if name not in folder:
            raise _refuse(errno.ENOENT)
        node = folder[name]
        if _lies_in(target, step.path) and node.is_directory and target != step.path:
            raise _refuse(errno.EINVAL)
        if _lies_in(step.path, target) and target != step.path:
            raise _refuse(errno.ENOTEMPTY)
        over = above.get(last)
        if over is node:
            return
        if over is not None:
            _may_replace(node, over)
            self._forget(over)
        del folder[name]
        above[last] = node
        node.touched()
        if node.entry.short_name:  # which was the old name's
            node.known(short_name=None, names=None)
        node.part = step.part
        self._stir(step.path, step)
        self._stir(target, step)

    def _unlink(self, step: Step) -> None:
        folder, name = self._folder(step.path)
        if name not in folder:
            raise _refuse(errno.ENOENT)
        if folder[name].is_directory:
            raise _refuse(errno.EISDIR)
        self._forget(folder.pop(name))
        self._stir(step.path, step)

    def _rmdir(self, step: Step) -> None:
        folder, name = self._folder(step.path)
        if name not in folder:
            raise _refuse(errno.ENOENT)
        children = folder[name].children
        if children is None:
            raise _refuse(errno.ENOTDIR)
        if children:
            raise _refuse(errno.ENOTEMPTY)
        del folder[name]
        self._stir(step.path, step)

    def _link(self, step: Step) -> None:
        node = self._at(step.path)
        target = str(step.more["to"])
        folder, name = self._folder(target)
        if name in folder:
            raise _refuse(errno.EEXIST)
        if node.is_directory:
            raise _refuse(errno.EPERM)
        folder[name] = node
        _count(node, 1)
        node.part = step.part
        self._stir(target, step)

    def _forget(self, node: Node) -> None:
        if not node.is_directory:
            _count(node, -1)

    def _symlink(self, step: Step) -> None:
        # Interix', WSL's or Windows' own: what a reader without the driver's help makes of it is not laid down.
        self._make(step, Kind.SYMLINK).known(target=str(step.more["target"]), streams=None, eas=None)

    def _mknod(self, step: Step) -> None:
        node = self._make(step, Kind.OTHER)
        node.mode, node.device = int(step.more["mode"]), int(step.more["device"])
        node.known(streams=None, eas=None)

    def _chmod(self, step: Step) -> None:
        node = self._at(step.path)
        node.mode = stat.S_IMODE(int(step.more["mode"]))
        self._touch(node, step)

    def _chown(self, step: Step) -> None:
        node = self._at(step.path)
        node.owner = (int(step.more["uid"]), int(step.more["gid"]))
        self._touch(node, step)

    def _touch(self, node: Node, step: Step) -> None:
        node.touched()
        node.known(security=None, eas=None)  # where a driver keeps them: in the descriptor, or as WSL does
        node.part = step.part

    def _times(self, step: Step) -> None:
        node = self._at(step.path)
        modified, accessed = (from_nanoseconds(int(step.more[key])) for key in ("modified", "accessed"))
        node.known(times=Times(node.entry.times.created, modified, None, accessed))
        node.moved.discard("modified")
        node.part = step.part

    def _lookup(self, step: Step) -> bool:
        """By an alias, too; and it is the only step that goes by one."""
        like = self._at(str(step.more["like"]))
        folder, name = self._folder(step.path)
        found = folder.get(name) or next((one for one in folder.values() if one.entry.short_name == name), None)
        if found is None:
            raise _refuse(errno.ENOENT)
        return found is like

    def _setxattr(self, step: Step) -> None:
        node, name = self._at(step.path), str(step.more["name"])
        value = bytes.fromhex(step.more["value"]) if "value" in step.more else content_of(step)
        node.part = step.part
        if name == ATTRIBUTES:
            node.touched()
            node.known(attributes=struct.unpack("<I", value)[0])
            return
        node.attach(name, value, streams=self._streams)

    def _removexattr(self, step: Step) -> None:
        node, name = self._at(step.path), str(step.more["name"])
        held = {f"user.{one.name}" for one in node.entry.streams or ()} if self._streams else set()
        if node.attached.get(name) is None and (name in node.attached or name not in held):
            raise _refuse(errno.ENODATA)
        node.attach(name, None, streams=self._streams)
        node.part = step.part

    def _label(self, step: Step) -> None:
        self.label = str(step.more["label"])

    def _trim(self, step: Step) -> None:
        """Nothing that anybody could see."""


ATTRIBUTES = "system.ntfs_attrib"
"""The attributes of $STANDARD_INFORMATION, as ntfs-3g and ntfs3 show them."""

_ON_CONTENT = frozenset({"append", "fallocate", "map", "truncate", "write"})

_DO: Mapping[str, Callable[[Model, Step], object]] = {
    name: getattr(Model, f"_{name}")
    for name in (
        *_ON_CONTENT,
        *("chmod", "chown", "create", "label", "link", "lookup", "mkdir", "mknod", "removexattr", "rename", "rmdir"),
        *("setxattr", "symlink", "times", "trim", "unlink"),
    )
}


def content_of(step: Step) -> bytes:
    """The bytes that a step brings along; the probe makes the same ones."""
    length = int(step.more.get("length", 0))
    if not length:
        return b""
    return Extent(0, length, str(step.more["seed"]), noise=step.more.get("form", "noise") == "noise").bytes()


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _may_replace(node: Node, over: Node) -> None:
    if node.is_directory and not over.is_directory:
        raise _refuse(errno.ENOTDIR)
    if over.is_directory and not node.is_directory:
        raise _refuse(errno.EISDIR)
    if over.children:
        raise _refuse(errno.ENOTEMPTY)


def _count(node: Node, more: int) -> None:
    """One name more or less. Of a file with an alias, nobody says whether it keeps it, nor whether that is a name."""
    node.touched()
    names = None if node.entry.short_name else node.entry.names
    node.known(names=None if names is None else names + more, short_name=None)
