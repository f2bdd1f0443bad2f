"""The user's own Xen hosts: the schema of a hosts file, and what is in one.

As strict and as closed as a scenario file, read by the same means, and its mistakes are told in the same way: all at
once, each as file:line:column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lab.errors import UnknownNameError, UsageError
from lab.scenario.document import Node, read
from lab.scenario.load import read_text
from lab.scenario.mistake import Mark, Mistakes
from lab.scenario.model import Model, Name, fault, shaped, validate
from lab.scenario.wording import message, place

__all__ = ["MOST_STANDS", "HostShape", "HostsFile", "Inventory", "ListedHost", "load_inventory", "parse_inventory"]

MOST_STANDS = 120
"""A stand is a /24 of the guests' network from 10.77.129.0 on (lab.guests.guest.Address)."""

_PORTS = 65535


def _between(most: int, what: str) -> BeforeValidator:
    def check(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise fault(f"{value!r} is not {what}, a whole number from 1 to {most}")
        return value

    return BeforeValidator(check)


# A word that began with a dash would be an option of ssh's.
Ssh = Annotated[
    str,
    AfterValidator(
        shaped(
            r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.:-]*",
            "a machine that ssh reaches, such as root@10.0.0.11 or an alias of your ssh configuration",
        )
    ),
]
Address = Annotated[str, AfterValidator(shaped(r"[A-Za-z0-9][A-Za-z0-9.:-]*", "an IP address or a host name"))]
Bridge = Annotated[
    str, AfterValidator(shaped(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}", "a network interface, such as xenbr0"))
]
File = Annotated[str, AfterValidator(shaped(r"[^\0\n\"]+", "the path of a file"))]
Port = Annotated[int, _between(_PORTS, "a port")]
Stand = Annotated[int, _between(MOST_STANDS, "a stand")]
Accelerator = Literal["hardware", "kvm", "tcg"]


class HostShape(Model):
    """One of the user's hosts."""

    ssh: Ssh = Field(description="Where ssh connects to: `root@10.0.0.11`, or an alias of your own ssh configuration.")
    port: Port | None = Field(None, description="ssh's port there, if your ssh configuration does not know it.")
    identity: File | None = Field(
        None, description="The private key to log in with; your agent and ssh configuration when left out."
    )
    known_hosts: File | None = Field(
        None, description="The file with the host's public key; your own known_hosts when left out."
    )
    bridge: Bridge = Field("xenbr0", description="The host's bridge that guests are put on.")
    address: Address | None = Field(
        None, description="Where migrating guests arrive; what ssh connects to when left out."
    )
    stand: Stand | None = Field(
        None,
        description="1 to 120: this host's addresses are 10.77.128+stand.0/24; its place in the file when left out. Two"
        " labs whose hosts share a wire must not use the same.",
    )
    accelerator: Accelerator = Field(
        "hardware", description="What runs its CPU; `tcg` or `kvm` for a host that is itself a machine in QEMU."
    )


class HostsFile(Model):
    """A hosts file."""

    hosts: dict[Name, HostShape] = Field(min_length=1, description="Name -> host. Scenarios say `inventory: NAME`.")


@dataclass(frozen=True, slots=True)
class ListedHost:
    """A host of the user's list. ``machine`` is what ssh is told to connect to; paths are absolute.

    ``place`` is file:line:column. ``address`` is empty where it is ssh's own.
    """

    name: str
    machine: str
    stand: int
    user: str = ""
    port: int | None = None
    identity: Path | None = field(default=None, repr=False)
    known_hosts: Path | None = field(default=None, repr=False)
    bridge: str = "xenbr0"
    address: str = ""
    accelerator: str = "hardware"
    place: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The hosts of one hosts file, by name; without a file there are none."""

    path: str = ""
    hosts: Mapping[str, ListedHost] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path | None) -> Inventory:
        """What is in that file; nothing without one.

        Raises:
            ScenarioError: it cannot be read or holds mistakes.
        """
        return load_inventory(path) if path is not None else cls()

    def host(self, name: str) -> ListedHost:
        """The host of that name.

        Raises:
            UsageError: there is no hosts file.
            UnknownNameError: there is no such host in it.
        """
        if not self.path:
            raise UsageError(f"{name}: a host of the inventory, and no hosts file was named", hint=NO_FILE)
        if name not in self.hosts:
            raise UnknownNameError(f"host in {self.path}", name, self.hosts)
        return self.hosts[name]


NO_FILE = "name one: --hosts FILE (pytest --lab-hosts FILE), or LAB_HOSTS"


def load_inventory(path: Path) -> Inventory:
    """The hosts of the file ``path``.

    Raises:
        ScenarioError: it cannot be read or holds mistakes; one line ``file:line:column: what`` for each of them.
    """
    name, text = read_text(path, root=Path.cwd())
    return parse_inventory(text, path=name, folder=path.absolute().parent)


def parse_inventory(text: str, *, path: str, folder: Path) -> Inventory:
    """The hosts in ``text``; files that it names lie relative to ``folder``.

    Raises:
        ScenarioError: there are mistakes; all of them are named.
    """
    mistakes = Mistakes(path)
    trees = read(text, mistakes, form="a hosts file is a map that begins with `hosts:`")
    for tree in trees[1:]:
        mistakes.add(tree.mark, "a second document; a hosts file has one")
    mistakes.check()
    tree = trees[0]
    found, complaints = validate(HostsFile, tree.plain)
    for one in complaints:
        mistakes.add(place(tree, one), message(HostsFile, tree, one))
    if found is None:
        mistakes.check()
        return Inventory(path)
    hosts = tuple(_hosts(found, tree, path, folder))
    _check_apart(hosts, tree, mistakes)
    mistakes.check()
    return Inventory(path, {host.name: host for host in hosts})


def _hosts(found: HostsFile, tree: Node, path: str, folder: Path) -> Iterator[ListedHost]:
    for number, (name, shape) in enumerate(found.hosts.items(), 1):
        user, _, machine = shape.ssh.rpartition("@")
        yield ListedHost(
            name,
            machine,
            shape.stand or number,
            user,
            shape.port,
            _file(shape.identity, folder),
            _file(shape.known_hosts, folder),
            shape.bridge,
            shape.address or "",
            shape.accelerator,
            tree.at(("hosts", name)).key.place(path),
        )


def _file(named: str | None, folder: Path) -> Path | None:
    return (folder / Path(named).expanduser()) if named is not None else None


def _check_apart(hosts: tuple[ListedHost, ...], tree: Node, mistakes: Mistakes) -> None:
    """No two names for one machine, which would wait for itself, and no two hosts at one stand."""
    machines: dict[tuple[str, int | None], str] = {}
    stands: dict[int, str] = {}
    for host in hosts:
        other = machines.setdefault((host.machine, host.port), host.name)
        if other != host.name:
            mistakes.add(_mark(tree, host, "ssh"), f"hosts.{host.name}.ssh: the same machine as {other!r}")
        other = stands.setdefault(host.stand, host.name)
        if other != host.name:
            words = f"hosts.{host.name}: stands at {host.stand}, and so does {other!r}; give one of them another stand"
            mistakes.add(_mark(tree, host, "stand"), words)


def _mark(tree: Node, host: ListedHost, key: str) -> Mark:
    """The place of a host's value, or of its name where it has none."""
    at = tree.at(("hosts", host.name))
    value = at.child(key)
    return at.key if value is None else value.mark
