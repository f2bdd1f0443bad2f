# ruff: noqa: INP001 - it is no part of the package, it is sent to a host
# ruff: noqa: UP006, UP031, UP045 - must run on Python 3.5: no f-strings, no annotations of variables
# ruff: noqa: RET504 - in the annotations that 3.5 has
# ruff: noqa: PTH103, PTH107, PTH118, SIM105 - each import costs an emulated host a tenth of a second
# ruff: noqa: T201 - its answers go to standard output
"""A meter outside a guest: how long the guest's network is silent while it is moved, and what becomes of a connection.

This one file is sent to a host and run there: standard library only, Python 3.5 and later, nothing of the lab imported.
It sends a numbered UDP datagram each few milliseconds to the guest's witness (agent.py), which sends it back with the
guest's time, and keeps one TCP connection to it on which numbered lines are echoed. That connection is never made anew.

    python3 netmeter.py start --config JSON      {"address": the guest's, ...}

Then it answers on a Unix socket, FOLDER/socket: a JSON document in a line, one back.

    {"do": "report", "since": MONOTONIC}
    {"do": "stop"}

Times are this host's CLOCK_MONOTONIC.
"""

import array
import json
import os
import select
import signal
import socket
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, NoReturn, Optional, Tuple  # noqa: UP035 - see the top

SCHEMA = "lab.netmeter/1"
FOLDER = "/run/lab-netmeter"
MAGIC = b"labm"
DATAGRAM = struct.Struct("<4sIQ")  # magic, session, number
ANSWER = struct.Struct("<4sIQdd")  # the same, the guest's REALTIME and BOOTTIME
DEFAULTS = {
    "address": "",
    "echo_port": 7077,
    "interval": 0.02,
    "tcp_interval": 0.1,
    "patience": 1.0,  # seconds after which a datagram without an answer is missed
}  # type: Dict[str, Any]
MOST_TOLD = 16


class Trouble(Exception):  # noqa: N818 - it is told to whoever asked
    """What the user of this program is told instead of an answer."""


def now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def quantile(ordered: "List[float]", percent: int) -> "Optional[float]":
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def largest(times: "List[float]") -> "List[Dict[str, float]]":
    """The longest times between one and the next of ``times``, the longest first."""
    gaps = [(after - before, before) for before, after in zip(times, times[1:])]  # noqa: B905, RUF007 - Python 3.10
    gaps.sort(reverse=True)
    return [{"at": at, "seconds": seconds} for seconds, at in gaps[:MOST_TOLD]]


class Datagrams:
    """What was sent, what came back and when."""

    def __init__(self, address: "Tuple[str, int]", patience: float) -> None:
        self.address = address
        self.patience = patience
        self.session = os.getpid()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(0.0)
        self.sent = array.array("d")
        self.back = array.array("d")  # 0.0 where nothing came back
        self.arrivals = array.array("d")
        self.refused = 0  # the kernel would not even send
        self.twice = 0
        self.overtaken = 0
        self.highest = -1
        # This host's REALTIME may be stepped; what it was at the start plus MONOTONIC cannot.
        self.base = time.clock_gettime(time.CLOCK_REALTIME) - now()
        self.clocks = []  # type: List[Tuple[float, float, float]]  # when, guest's clock minus ours, give or take

    def send(self) -> None:
        number = len(self.sent)
        self.sent.append(now())
        self.back.append(0.0)
        try:
            self.sock.sendto(DATAGRAM.pack(MAGIC, self.session, number), self.address)
        except OSError:  # no route, no buffers, or an ICMP error for an earlier one
            self.refused += 1

    def receive(self) -> None:
        try:
            words = self.sock.recv(2048)
        except OSError:
            return
        at = now()
        if len(words) != ANSWER.size:
            return
        magic, session, number, real, _boot = ANSWER.unpack(words)
        if magic != MAGIC or session != self.session or number >= len(self.sent):
            return
        if self.back[number]:
            self.twice += 1
            return
        self.back[number] = at
        self.arrivals.append(at)
        self.overtaken += number < self.highest
        self.highest = max(self.highest, number)
        self.see_clock(at, self.sent[number], real)

    def see_clock(self, at: float, sent: float, real: float) -> None:
        """The guest's clock was ``real`` at some moment between the two; of each second the surest answer is kept."""
        error = (at - sent) / 2
        sample = (at, real - (self.base + sent + error), error)
        if self.clocks and int(self.clocks[-1][0]) == int(at):
            if error < self.clocks[-1][2]:
                self.clocks[-1] = sample
        else:
            self.clocks.append(sample)
            del self.clocks[:-900]

    def report(self, since: float) -> "Dict[str, Any]":
        at = now()
        first = next((n for n, sent in enumerate(self.sent) if sent >= since), len(self.sent))
        judged = [n for n in range(first, len(self.sent)) if self.sent[n] <= at - self.patience]
        missed = [n for n in judged if not self.back[n]]
        run, longest, last = 0, 0, -2
        for number in missed:
            run = run + 1 if number == last + 1 else 1
            longest, last = max(longest, run), number
        trips = sorted(self.back[n] - self.sent[n] for n in range(first, len(self.sent)) if self.back[n])
        arrivals = [when for when in self.arrivals if when >= since]
        return {
            "sent": len(judged),
            "missed": len(missed),
            "missed_in_a_row": longest,
            "missed_first": missed[0] if missed else None,
            "refused": self.refused,
            "twice": self.twice,
            "overtaken": self.overtaken,
            # What has not ended yet is a silence as well.
            "silences": largest([max(since, self.sent[first]), *arrivals, at]) if first < len(self.sent) else [],
            "answers": len(arrivals),
            "trip": {
                "min": trips[0] if trips else None,
                "p50": quantile(trips, 50),
                "p95": quantile(trips, 95),
                "max": trips[-1] if trips else None,
            },
            # How late this meter itself was: a silence that it slept through is not the guest's.
            "own": largest(self.sent[first:].tolist())[:1],
            "clocks": [{"at": when, "offset": off, "error": err} for when, off, err in self.clocks if when >= since],
        }


class Session:
    """The one connection, with the numbers that went out and came back on it."""

    def __init__(self, address: "Tuple[str, int]") -> None:
        self.sock = socket.create_connection(address, 20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(0.0)
        self.sent = 0
        self.echoed = 0
        self.wrong = ""
        self.pending = b""
        self.leaving = b""
        self.arrivals = array.array("d")
        self.ended = None  # type: Optional[Dict[str, Any]]

    def end(self, why: str) -> None:
        self.ended = {"at": now(), "why": why}
        self.sock.close()

    def send(self) -> None:
        if self.ended is not None:
            return
        if len(self.leaving) < 4096:
            self.leaving += b"%d\n" % self.sent
            self.sent += 1
        try:
            self.leaving = self.leaving[self.sock.send(self.leaving) :]
        except BlockingIOError:
            pass
        except OSError as broken:
            self.end(broken.strerror or str(broken))

    def receive(self) -> None:
        try:
            some = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as broken:
            self.end(broken.strerror or str(broken))
            return
        if not some:
            self.end("closed by the guest")
            return
        self.arrivals.append(now())
        self.pending += some
        lines = self.pending.split(b"\n")
        self.pending = lines.pop()
        for line in lines:
            if line != b"%d" % self.echoed and not self.wrong:
                self.wrong = "%r came where %d was due" % (line[:40], self.echoed)
            self.echoed += 1

    def report(self, since: float) -> "Dict[str, Any]":
        arrivals = [when for when in self.arrivals if when >= since]
        return {
            "sent": self.sent,
            "echoed": self.echoed,
            "wrong": self.wrong,
            "ended": self.ended,
            "silences": largest([since or arrivals[0], *arrivals, now()]) if arrivals else [],
            "answers": len(arrivals),
        }


class Meter:
    """Sends on time, receives what comes, and answers who asks; all in one thread, since all of it is short."""

    def __init__(self, config: "Dict[str, Any]", folder: str) -> None:
        self.config = config
        address = (config["address"], config["echo_port"])
        self.session = Session(address)
        self.datagrams = Datagrams(address, config["patience"])
        self.folder = folder
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(os.path.join(folder, "socket"))
        self.listener.listen(4)
        self.stopping = False

    def run(self) -> None:
        due = tcp_due = now()
        while not self.stopping:
            at = now()
            if at >= due:
                self.datagrams.send()
                # After a stall it goes on from here, and does not send in one burst what it had slept through.
                due = max(due + self.config["interval"], at)
            if at >= tcp_due:
                self.session.send()
                tcp_due = max(tcp_due + self.config["tcp_interval"], at)
            listening = [self.datagrams.sock, self.listener]
            if self.session.ended is None:
                listening.append(self.session.sock)
            ready = select.select(listening, [], [], max(0.0, min(due, tcp_due) - now()))[0]
            if self.datagrams.sock in ready:
                self.datagrams.receive()
            if self.session.sock in ready:
                self.session.receive()
            if self.listener in ready:
                self.serve()

    def serve(self) -> None:
        sock, _address = self.listener.accept()
        sock.settimeout(5)
        try:
            request = json.loads(read_line(sock).decode("ascii"))
            sock.sendall(json.dumps(self.answer(request)).encode("ascii") + b"\n")
        except (OSError, ValueError, KeyError):
            pass  # who asked has gone, or asked for nothing that can be meant
        finally:
            sock.close()

    def answer(self, request: "Dict[str, Any]") -> "Dict[str, Any]":
        if request["do"] == "stop":
            self.stopping = True
            os.remove(os.path.join(self.folder, "socket"))
            return {"schema": SCHEMA, "stopped": True}
        since = float(request.get("since", 0.0))
        return {
            "schema": SCHEMA,
            "now": now(),
            "since": since,
            "interval": self.config["interval"],
            "pid": os.getpid(),
            "udp": self.datagrams.report(since),
            "tcp": self.session.report(since),
        }


def read_line(sock: "socket.socket") -> bytes:
    words = b""
    while not words.endswith(b"\n"):
        some = sock.recv(65536)
        if not some:
            raise Trouble("it ended while it was asked")
        words += some
    return words


def start(config: "Dict[str, Any]", folder: str) -> "Dict[str, Any]":
    unknown = sorted(set(config) - set(DEFAULTS))
    if unknown:
        raise Trouble("no such setting: %s" % ", ".join(unknown))
    try:
        os.makedirs(folder, 0o700)
    except FileExistsError:
        pass
    path = os.path.join(folder, "socket")
    if os.path.exists(path):  # noqa: PTH110 - see the top
        if alive(path):
            raise Trouble("it runs already")
        os.remove(path)
    hear, tell = os.pipe()
    if os.fork() == 0:
        live(dict(DEFAULTS, **config), folder, tell)
    os.close(tell)
    with os.fdopen(hear, "rb") as said:
        words = said.read()
    if not words:
        raise Trouble("it died at its start")
    answer = json.loads(words.decode("ascii"))  # type: Dict[str, Any]
    return answer


def alive(path: str) -> bool:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except OSError:
        return False
    finally:
        sock.close()
    return True


def live(config: "Dict[str, Any]", folder: str, tell: int) -> "NoReturn":
    status = 1
    try:
        os.setsid()
        os.chdir("/")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nothing, standard)
        try:
            meter = Meter(config, folder)
            answer = meter.answer({"do": "report"})
        except OSError as trouble:
            answer = {"schema": SCHEMA, "trouble": trouble.strerror or str(trouble)}
        os.write(tell, json.dumps(answer).encode("ascii"))
        os.close(tell)
        if "trouble" not in answer:
            meter.run()
            status = 0
    finally:
        os._exit(status)


def options(words: "List[str]") -> "Dict[str, str]":
    """The words after the verb, as pairs of ``--name value``."""
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise Trouble("expected pairs of --name value, got: %s" % " ".join(words))
    return {name[2:]: value for name, value in zip(words[::2], words[1::2])}  # noqa: B905 - Python 3.10


def obey(argv: "List[str]") -> "Dict[str, Any]":
    verb, given = (argv[0] if argv else ""), options(argv[1:])
    if verb == "start":
        return start(json.loads(given.get("config", "{}")), given.get("folder", FOLDER))
    raise Trouble("what to do? start")


def main(argv: "List[str]") -> int:
    try:
        answer = obey(argv)
    except (Trouble, ValueError) as trouble:
        answer = {"schema": SCHEMA, "trouble": str(trouble)}
    print(json.dumps(answer))
    return 1 if "trouble" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
