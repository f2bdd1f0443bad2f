# ruff: noqa: INP001 - it is no part of the package, it is sent into a guest
# ruff: noqa: UP006, UP031, UP045, RUF005 - must run on Python 3.5: no f-strings, no annotations of variables
# ruff: noqa: ANN401, RET504 - in the annotations that 3.5 has
# ruff: noqa: PTH103, PTH107, PTH118, PTH123, SIM105 - each import costs an emulated guest a tenth of a second
# ruff: noqa: T201 - its answers go to standard output
"""A witness inside a guest: what becomes of time, memory, disk writes and connections while the guest is moved.

This one file is sent into a guest and run there as root: standard library only, Python 3.5 and later, 32 and 64 bits,
nothing of the lab imported (which is why it is longer than the lab's other modules). It lives on a tmpfs and speaks
over sockets, so that its report comes also when the guest's disk does not answer any more.

    python3 agent.py start --config JSON      starts it; says what it is when all of it is ready

Then it answers on a Unix socket, FOLDER/socket, and looks only over TCP: a JSON document in a line, one back.

    {"do": "report", "since": BOOTTIME, "verify": 0 or 1, "deadline": SECONDS}
    {"do": "fault", "name": NAME, "with": {...}}
    {"do": "stop"}

Processes, each with its own job so that none disturbs another's timing:

    hub         answers; asks the others; never touches the disk
    heartbeat   sleeps a tick and reads the clocks, at real-time priority; writes to shared memory only
    memory      fills pages with a pattern of (page, generation), rewrites some of them, compares all when asked
    disk        writes a region and waits for fsync, over and over; a thread beside it answers though the disk hangs
    echo        echoes TCP and UDP
    sentinel    does nothing; it is there to be the same process later
"""

import array
import errno
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple  # noqa: UP035 - see the top

SCHEMA = "lab.agent/1"
FOLDER = "/run/lab-agent"
CLOCK_BOOTTIME = 7  # linux/time.h; Python has the name since 3.7
PAGE = 4096
DEFAULTS = {
    "seed": 1,
    "disk_file": "/var/tmp/lab-agent-disk",  # noqa: S108 - a guest that has no other users
    "address": "",  # every one the guest has
    "port": 7070,  # reports, over TCP, for when no shell can be started any more; -1 for none
    "echo_port": 7077,  # TCP and UDP
    "tick": 0.005,
    "notable": 0.025,  # gaps of the heartbeat from here on are remembered one by one
    "memory_mib": 64,
    "memory_share": 0.5,  # at most this part of what is available
    "hot_share": 0.25,  # the part of it that is rewritten all the time
    "pages_per_second": 128,
    "regions": 64,
    "region_bytes": 4096,
    "writes_per_second": 10.0,
    "lock": True,  # keep its own pages in memory
}  # type: Dict[str, Any]

LOOK = 16  # ticks from one look at all clocks to the next
RING = 1024  # notable gaps that are remembered
STEPS = 64
LATENCIES = 8192
MOST_TOLD = 16


class Trouble(Exception):  # noqa: N818 - it is told to whoever asked
    """What the user of this program is told instead of an answer."""


def clock(which: int) -> float:
    return time.clock_gettime(which)


def boottime() -> float:
    return clock(CLOCK_BOOTTIME)


def base_pattern(seed: int, size: int) -> bytes:
    """Two times the same ``size`` bytes, so that a slice that begins anywhere in the first half has that size."""
    words = array.array("I")
    value = seed & 0xFFFFFFFF
    for number in range(size // 4 + 1):
        value = zlib.crc32(struct.pack("<I", number), value)
        words.append(value)
    once = words.tobytes()[:size]
    return once + once


def start_ticks(pid: int) -> int:
    """When a process was started, in clock ticks since boot (proc(5), field 22 of stat); 0 if it is dead."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


# --- the line between the hub and the others ------------------------------------------------------------------------


class Channel:
    """One end of a socket on which JSON documents are exchanged, one a line."""

    def __init__(self, sock: "socket.socket") -> None:
        self.sock = sock
        self.pending = b""

    def send(self, document: "Dict[str, Any]") -> None:
        self.sock.sendall((json.dumps(document) + "\n").encode("ascii"))

    def receive(self, seconds: float) -> "Optional[Dict[str, Any]]":
        """The next document, or None when there is none in that time; EOFError when there will never be one."""
        end = clock(time.CLOCK_MONOTONIC) + seconds
        while True:
            line, newline, rest = self.pending.partition(b"\n")
            if newline:
                self.pending = rest
                document = json.loads(line.decode("ascii"))  # type: Dict[str, Any]
                return document
            left = max(0.0, end - clock(time.CLOCK_MONOTONIC))
            if not select.select([self.sock], [], [], left)[0]:
                return None
            some = self.sock.recv(65536)
            if not some:
                raise EOFError
            self.pending += some


# --- heartbeat ------------------------------------------------------------------------------------------------------

# Where things stand in the shared array of doubles.
SEQUENCE, TICKS, BOOT, MONO, REAL, BACKWARDS, WORST, NOTABLE, STEPPED, LIE, FIFO, EASY = range(12)
GAPS = 16  # RING times (begin, seconds on BOOTTIME, seconds on MONOTONIC)
STEP = GAPS + 3 * RING  # STEPS times (when, seconds)
BOARD = STEP + 2 * STEPS


class Beats:
    """What the heartbeat saw, on a board that another process reads: SEQUENCE is odd while it is written.

    A gap is a time in which the guest did nothing. When Xen suspends a guest for a move, Linux stops MONOTONIC and
    adds the time to BOOTTIME (kernel/time/timekeeping.c, timekeeping_resume); when Xen only pauses it, both run on. So
    the longer one counts. A step is a change of REALTIME that BOOTTIME does not share.
    """

    def __init__(self, board: "Any", notable: float) -> None:
        self.board = board
        self.notable = notable

    def begin(self, boot: float, mono: float, real: float) -> None:
        self.board[BOOT], self.board[MONO], self.board[REAL] = boot, mono, real

    def see(self, last: float, boot: float, mono: float, real: float, ticks: int) -> None:
        """All three clocks now; ``last`` is BOOTTIME one tick ago, ``ticks`` their number since the last look."""
        board = self.board
        board[SEQUENCE] += 1
        whole = boot - board[BOOT]
        by_boot = boot - last
        by_mono = by_boot - (whole - (mono - board[MONO]))
        if max(by_boot, by_mono) >= self.notable:
            at = GAPS + 3 * (int(board[NOTABLE]) % RING)
            board[at], board[at + 1], board[at + 2] = last, by_boot, by_mono
            board[NOTABLE] += 1
        # Floating point alone makes this a nanosecond.
        if by_mono < -1e-6:
            board[BACKWARDS] += 1
            board[WORST] = min(board[WORST], by_mono)
        step = (real - board[REAL]) - whole
        if abs(step) > 0.01:
            at = STEP + 2 * (int(board[STEPPED]) % STEPS)
            board[at], board[at + 1] = boot, step
            board[STEPPED] += 1
        board[BOOT], board[MONO], board[REAL] = boot, mono, real
        board[TICKS] += ticks
        board[SEQUENCE] += 1


def read_clocks() -> "Tuple[float, float, float]":
    """BOOTTIME, MONOTONIC and REALTIME of one moment: read again if something came in between."""
    for _ in range(5):
        boot = boottime()
        mono, real = clock(time.CLOCK_MONOTONIC), clock(time.CLOCK_REALTIME)
        if boottime() - boot < 0.002:
            break
    return boot, mono, real


def heartbeat(config: "Dict[str, Any]", board: "Any") -> "NoReturn":
    try:
        # A busy guest is not a paused one: nothing else in it may keep the heartbeat from its tick.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        board[FIFO] = 1
    except OSError:
        pass
    beats = Beats(board, config["notable"])
    first = read_clocks()
    beats.begin(*first)
    last, easy, ticks = first[0], 0.0, 0
    # This loop runs hundreds of times a second on a CPU that may be emulated: it does next to nothing.
    tick, notable, sleep, gettime = config["tick"], config["notable"], time.sleep, time.clock_gettime
    while True:
        sleep(tick)
        now = gettime(CLOCK_BOOTTIME)
        ticks += 1
        if ticks < LOOK and 0.0 <= now - last < notable:
            easy = max(easy, now - last)
        else:
            now, mono, real = read_clocks()
            board[EASY] = easy
            beats.see(last, now, mono + board[LIE], real, ticks)
            ticks = 0
        last = now


def copy_board(board: "Any") -> "List[float]":
    """A board that nobody wrote to meanwhile; after many tries, any: its writer was stopped in the middle."""
    for _ in range(200):
        before = board[SEQUENCE]
        copy = list(board)
        if before % 2 == 0 and board[SEQUENCE] == before:
            break
        time.sleep(0.001)
    return copy


def heartbeat_report(board: "List[float]", config: "Dict[str, Any]", since: float) -> "Dict[str, Any]":
    notable = int(board[NOTABLE])
    gaps = [board[GAPS + 3 * (n % RING) :][:3] for n in range(max(0, notable - RING), notable)]
    # A gap that had begun before is one of this time as well, as far as it reaches into it.
    mine = [gap for gap in gaps if gap[0] + max(gap[1:]) >= since]
    oldest_lost = notable > RING and (not gaps or gaps[0][0] > since)
    mine.sort(key=lambda gap: max(gap[1:]), reverse=True)
    stepped = int(board[STEPPED])
    steps = [board[STEP + 2 * (n % STEPS) :][:2] for n in range(max(0, stepped - STEPS), stepped)]
    return {
        "tick": config["tick"],
        "notable": config["notable"],
        "ticks": int(board[TICKS]),
        "last": board[BOOT],
        "fifo": bool(board[FIFO]),
        "easy": board[EASY],
        "forgotten": bool(oldest_lost),
        "gaps": [{"at": at, "boot": by_boot, "mono": by_mono} for at, by_boot, by_mono in mine[:MOST_TOLD]],
        "backwards": int(board[BACKWARDS]),
        "backwards_worst": board[WORST],
        "steps": [{"at": at, "seconds": seconds} for at, seconds in steps if at >= since],
    }


# --- memory ---------------------------------------------------------------------------------------------------------


def memory_available() -> int:
    """Bytes that programs may still have (MemAvailable since Linux 3.14), or a little if the kernel does not say."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 16 << 20


class Memory:
    """Pages of which every byte follows from seed, page and generation. Its table of generations is the truth."""

    HEADER = struct.Struct("<8sIIII")  # magic, page, generation, seed, checksum of these

    def __init__(self, config: "Dict[str, Any]") -> None:
        wanted = config["memory_mib"] << 20
        room = int(memory_available() * config["memory_share"])
        self.wanted, self.room = wanted, room
        self.pages = max(256, min(wanted, room) // PAGE)
        self.seed = config["seed"] & 0xFFFFFFFF
        self.base = base_pattern(self.seed, PAGE)
        self.buffer = mmap.mmap(-1, self.pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.generations = array.array("I", bytes(4 * self.pages))
        self.hot = max(1, int(self.pages * config["hot_share"]))
        self.written = 0
        self.generation = 0
        # Few and larger bursts: each costs a wake-up.
        self.burst = max(1, config["pages_per_second"] // 10)
        self.pause = self.burst / float(max(1, config["pages_per_second"]))
        for page in range(self.pages):
            self.write(page, 0)

    def content(self, page: int, generation: int) -> bytes:
        fields = (b"LABPAGE1", page, generation, self.seed)
        head = self.HEADER.pack(*(fields + (zlib.crc32(struct.pack("<8sIII", *fields)),)))
        turn = (page * 31 + generation * 7) % PAGE
        return head + self.base[turn : turn + PAGE - len(head)]

    def write(self, page: int, generation: int) -> None:
        self.buffer[page * PAGE : (page + 1) * PAGE] = self.content(page, generation)
        self.generations[page] = generation

    def rewrite(self) -> None:
        for _ in range(self.burst):
            page = self.written % self.hot
            if page == 0:
                self.generation += 1
            self.write(page, self.generation)
            self.written += 1

    def verify(self) -> "Dict[str, Any]":
        wrong = 0
        first = None
        for page in range(self.pages):
            found = self.buffer[page * PAGE : (page + 1) * PAGE]
            if found != self.content(page, self.generations[page]):
                wrong += 1
                first = first or self.explain(page, found)
        return {"pages": self.pages, "wrong": wrong, "first": first}

    def explain(self, page: int, found: bytes) -> "Dict[str, Any]":
        expected = self.content(page, self.generations[page])
        at = next(n for n in range(PAGE) if found[n] != expected[n])
        magic, number, generation, seed, check = self.HEADER.unpack(found[: self.HEADER.size])
        whole = zlib.crc32(struct.pack("<8sIII", magic, number, generation, seed)) == check
        # A page of another time, or of another place, is told from one with a broken byte.
        other = whole and seed == self.seed and found == self.content(number, generation)
        return {
            "page": page,
            "offset": at,
            "generation": self.generations[page],
            "found_page": number if other else None,
            "found_generation": generation if other else None,
        }

    def answer(self, request: "Dict[str, Any]") -> "Dict[str, Any]":
        if request["do"] == "flip-page":
            page = int(request.get("page", self.pages - 1))
            at = page * PAGE + int(request.get("offset", PAGE // 2))
            self.buffer[at : at + 1] = bytes([self.buffer[at] ^ 1])
            return {"page": page}
        if request["do"] == "stale-page":
            page = int(request.get("page", 0))
            self.buffer[page * PAGE : (page + 1) * PAGE] = self.content(page, max(0, self.generations[page] - 1))
            return {"page": page}
        report = {
            "wanted": self.wanted,
            "filled": self.pages * PAGE,
            "room": self.room,
            "hot_pages": self.hot,
            "written": self.written,
            "generation": self.generation,
        }  # type: Dict[str, Any]
        report["verified"] = self.verify() if request.get("verify") else None
        return report

    def run(self, channel: Channel) -> "NoReturn":
        while True:
            request = channel.receive(self.pause)
            if request is None:
                self.rewrite()
            else:
                channel.send(dict(self.answer(request), id=request["id"]))


# --- disk -----------------------------------------------------------------------------------------------------------


class Disk:
    """A file of regions, each written again and again with a number that only grows, and each write waited for.

    One thread alone touches the disk. What it has done it leaves in memory, where the other finds it at any time.
    """

    HEADER = struct.Struct("<8sIIQI")  # magic, region, seed, number of the write, checksum of these

    def __init__(self, config: "Dict[str, Any]") -> None:
        self.path = config["disk_file"]
        self.seed = config["seed"] & 0xFFFFFFFF
        self.size = config["region_bytes"]
        self.regions = config["regions"]
        self.base = base_pattern(self.seed + 1, self.size)
        self.pause = 1.0 / config["writes_per_second"]
        self.numbers = [0] * self.regions  # of the last write that fsync has confirmed
        self.unsure = {}  # type: Dict[int, int]  # region -> number of a write that failed
        self.number = 0
        self.dropped = set()  # type: set[int]
        self.stall = 0.0
        self.in_flight = None  # type: Optional[float]
        self.starts = array.array("d")
        self.seconds = array.array("d")
        self.errors = []  # type: List[Dict[str, Any]]
        self.asked = threading.Event()
        self.verified = None  # type: Optional[Dict[str, Any]]
        self.answered = threading.Event()
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        for region in range(self.regions):
            self.number += 1
            os.pwrite(self.fd, self.content(region, self.number), region * self.size)
            self.numbers[region] = self.number
        os.fsync(self.fd)

    def content(self, region: int, number: int) -> bytes:
        fields = (b"LABDISK1", region, self.seed, number)
        head = self.HEADER.pack(*(fields + (zlib.crc32(struct.pack("<8sIIQ", *fields)),)))
        turn = (region * 31 + number * 7) % self.size
        return head + self.base[turn : turn + self.size - len(head)]

    def write(self) -> None:
        number = self.number + 1
        region = (number - 1) % self.regions
        begin = boottime()
        self.in_flight = begin
        try:
            if self.stall:
                seconds, self.stall = self.stall, 0.0
                time.sleep(seconds)
            if region not in self.dropped:
                os.pwrite(self.fd, self.content(region, number), region * self.size)
            os.fsync(self.fd)
        except OSError as broken:
            self.unsure[region] = number
            if len(self.errors) < MOST_TOLD:
                self.errors.append({"at": begin, "region": region, "text": broken.strerror})
        else:
            self.numbers[region] = number
            self.unsure.pop(region, None)
        self.number = number
        self.in_flight = None
        self.starts.append(begin)
        self.seconds.append(boottime() - begin)
        if len(self.starts) > 2 * LATENCIES:
            del self.starts[:LATENCIES]
            del self.seconds[:LATENCIES]

    def read_back(self) -> "Tuple[str, bytes]":
        """The file as it is on the disk, past the page cache, and by which means."""
        size = self.regions * self.size
        room = mmap.mmap(-1, size)  # O_DIRECT wants an aligned buffer
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        except OSError as refused:
            if refused.errno != errno.EINVAL:  # tmpfs had no O_DIRECT until Linux 6.6
                raise
            os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return "cache dropped", os.pread(self.fd, size, 0)
        with os.fdopen(fd, "rb", buffering=0) as file:
            read = file.readinto(room)
        return "direct", room[: read or 0]

    def verify(self) -> "Dict[str, Any]":
        try:
            how, found = self.read_back()
        except OSError as broken:
            return {"how": "", "error": broken.strerror, "wrong": 0, "first": None}
        wrong = 0
        first = None
        for region, number in enumerate(self.numbers):
            there = found[region * self.size : (region + 1) * self.size]
            may_be = [number] + ([self.unsure[region]] if region in self.unsure else [])
            if not any(there == self.content(region, one) for one in may_be):
                wrong += 1
                first = first or self.explain(region, there)
        return {"how": how, "error": "", "wrong": wrong, "first": first}

    def explain(self, region: int, there: bytes) -> "Dict[str, Any]":
        holds = None
        if len(there) == self.size:
            _magic, number, _seed, write, _check = self.HEADER.unpack(there[: self.HEADER.size])
            if there == self.content(number, write):
                holds = write
        return {"region": region, "number": self.numbers[region], "found_number": holds}

    def work(self) -> "NoReturn":
        while True:
            if self.asked.wait(self.pause):
                self.asked.clear()
                self.verified = self.verify()
                self.answered.set()
            self.write()

    def latencies(self, since: float) -> "Dict[str, Any]":
        """Of the writes that began since then and are done."""
        found = [(at, seconds) for at, seconds in zip(self.starts[:], self.seconds[:]) if at >= since]  # noqa: B905 - Python 3.10
        ordered = sorted(seconds for _at, seconds in found)
        return {
            "since": since,
            "count": len(ordered),
            "max": ordered[-1] if ordered else None,
            "p95": ordered[max(0, -(-len(ordered) * 95 // 100) - 1)] if ordered else None,
            "last": [{"at": at, "seconds": seconds} for at, seconds in found[-MOST_TOLD:]],
        }

    def answer(self, request: "Dict[str, Any]") -> "Dict[str, Any]":
        if request["do"] == "drop-region":
            region = int(request.get("region", self.regions // 2))
            self.dropped.add(region)
            return {"region": region}
        if request["do"] == "stall-disk":
            self.stall = float(request.get("seconds", 30.0))
            return {"seconds": self.stall}
        verified = None
        if request.get("verify"):
            self.answered.clear()
            self.asked.set()
            if self.answered.wait(request["deadline"]):
                verified = self.verified
        began = self.in_flight
        return {
            "file": self.path,
            "region_bytes": self.size,
            "number": self.number,
            "numbers": list(self.numbers),
            "in_flight": None if began is None else boottime() - began,
            "errors": self.errors,
            "fsync": self.latencies(request["since"]),
            "fsync_after": self.latencies(request["arrival"]),
            "verified": verified,
        }

    def run(self, channel: Channel) -> "NoReturn":
        thread = threading.Thread(target=self.work)
        thread.daemon = True
        thread.start()
        while True:
            request = channel.receive(3600)
            if request is None:
                continue
            answer = {"error": "its writer has died"} if not thread.is_alive() else self.answer(request)
            channel.send(dict(answer, id=request["id"]))


# --- echo -----------------------------------------------------------------------------------------------------------


class Echo:
    """Echoes TCP as it comes, and each UDP datagram of the lab's meter with REALTIME and BOOTTIME behind it."""

    MAGIC = b"labm"

    def __init__(self, config: "Dict[str, Any]") -> None:
        where = (config["address"], config["echo_port"])
        self.listener = listen(where)
        port = self.listener.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((config["address"], port))
        self.port = port
        self.connections = {}  # type: Dict[socket.socket, bytes]
        self.accepted = 0
        self.ended = []  # type: List[Dict[str, Any]]
        self.datagrams = 0
        self.mute = 0.0

    def run(self, channel: Channel) -> "NoReturn":
        while True:
            reading = [self.listener, self.udp, channel.sock] + list(self.connections)
            writing = [sock for sock, left in self.connections.items() if left]
            ready, free, _ = select.select(reading, writing, [], 3600)
            if channel.sock in ready:
                request = channel.receive(1)
                if request is not None:
                    channel.send(dict(self.answer(request), id=request["id"]))
            if self.udp in ready:
                self.echo_datagram()
            if self.listener in ready:
                sock, _address = self.listener.accept()
                sock.settimeout(0.0)
                self.connections[sock] = b""
                self.accepted += 1
            for sock in list(self.connections):
                if sock in ready or sock in free:
                    self.echo(sock, readable=sock in ready)

    def echo_datagram(self) -> None:
        words, sender = self.udp.recvfrom(2048)
        if not words.startswith(self.MAGIC) or boottime() < self.mute:
            return
        self.datagrams += 1
        try:
            self.udp.sendto(words + struct.pack("<dd", clock(time.CLOCK_REALTIME), boottime()), sender)
        except OSError:
            pass  # the network is away for the moment; whoever asked will miss the answer

    def echo(self, sock: "socket.socket", *, readable: bool) -> None:
        try:
            if readable:
                some = sock.recv(65536)
                if not some:
                    self.end(sock, "closed by the other side")
                    return
                self.connections[sock] += some
            sent = sock.send(self.connections[sock])
            self.connections[sock] = self.connections[sock][sent:]
        except BlockingIOError:
            pass
        except OSError as broken:
            self.end(sock, broken.strerror or str(broken))

    def end(self, sock: "socket.socket", why: str) -> None:
        sock.close()
        del self.connections[sock]
        self.ended.append({"at": boottime(), "why": why})
        del self.ended[:-MOST_TOLD]

    def answer(self, request: "Dict[str, Any]") -> "Dict[str, Any]":
        if request["do"] == "reset-tcp":
            count = len(self.connections)
            for sock in list(self.connections):
                # With no time to linger, close sends RST instead of FIN (socket(7)).
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.end(sock, "reset on request")
            return {"connections": count}
        if request["do"] == "mute-udp":
            self.mute = boottime() + float(request.get("seconds", 5.0))
            return {"until": self.mute}
        return {
            "port": self.port,
            "connections": len(self.connections),
            "accepted": self.accepted,
            "ended": self.ended,
            "datagrams": self.datagrams,
        }


def listen(where: "Any", family: int = socket.AF_INET) -> "socket.socket":
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(where)
    sock.listen(16)
    return sock


# --- faults that are no worker's ------------------------------------------------------------------------------------


def freeze_disk(path: str, seconds: float) -> None:
    """Freeze the file system of ``path`` and thaw it later (linux/fs.h); everything that writes to it waits."""
    import fcntl  # noqa: PLC0415 - for this alone

    fifreeze, fithaw = 0xC0045877, 0xC0045878
    fd = os.open(os.path.dirname(path), os.O_RDONLY)  # noqa: PTH120 - see the top
    fcntl.ioctl(fd, fifreeze, 0)
    if os.fork() == 0:
        time.sleep(seconds)
        fcntl.ioctl(fd, fithaw, 0)
        os._exit(0)
    os.close(fd)


def warn(text: str) -> None:
    """A line in the kernel's log, at the level of warnings."""
    with open("/dev/kmsg", "w") as log:
        log.write("<4>" + text + "\n")


# --- hub ------------------------------------------------------------------------------------------------------------


class Worker:
    """A child of the hub."""

    def __init__(self, name: str, pid: int, channel: Channel) -> None:
        self.name = name
        self.pid = pid
        self.channel = channel
        self.started = start_ticks(pid)
        self.ended = ""

    def reap(self) -> None:
        if self.ended:
            return
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except OSError:
            return
        if pid:
            how = "signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else "status %d" % os.WEXITSTATUS(status)
            self.ended = "ended with " + how

    def identity(self) -> "Dict[str, Any]":
        self.reap()
        return {"pid": self.pid, "start": self.started, "alive": bool(start_ticks(self.pid) == self.started != 0)}


class Hub:
    """Answers questions; the only one that does, and one question at a time."""

    def __init__(self, config: "Dict[str, Any]", folder: str) -> None:
        self.config = config
        self.folder = folder
        self.workers = {}  # type: Dict[str, Worker]
        self.requests = 0
        self.board = memoryview(mmap.mmap(-1, 8 * BOARD)).cast("d")
        self.listeners = [listen(os.path.join(folder, "socket"), socket.AF_UNIX)]
        self.port = -1
        if config["port"] >= 0:
            self.listeners.append(listen((config["address"], config["port"])))
            self.port = self.listeners[-1].getsockname()[1]
        self.locked = False
        self.stopping = False

    def employ(self) -> None:
        """Start everybody. They are forked from here, so that most of what they are made of is shared."""
        lock = locker() if self.config["lock"] else None
        self.fork("sentinel", lambda _channel: signal.pause(), lock)
        self.fork("memory", lambda channel: work(Memory, self.config, channel), lock)
        self.fork("disk", lambda channel: work(Disk, self.config, channel), lock)
        self.fork("echo", lambda channel: work(Echo, self.config, channel), lock)
        for name in ("memory", "disk", "echo"):
            ready = self.hear(name, 0, 120)
            if "error" in ready:
                raise Trouble("%s: %s" % (name, ready["error"]))
        # Last: what came before would look like gaps to it.
        self.fork("heartbeat", lambda _channel: heartbeat(self.config, self.board), lock)
        self.locked = bool(lock and lock())

    def fork(self, name: str, job: "Callable[[Channel], Any]", lock: "Optional[Callable[[], bool]]") -> None:
        mine, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                mine.close()
                for listener in self.listeners:
                    listener.close()
                for worker in self.workers.values():
                    worker.channel.sock.close()
                # If memory gets tight, the pattern goes, not the shell.
                write_quietly("/proc/self/oom_score_adj", "900" if name == "memory" else "-900")
                if lock is not None:
                    lock()
                job(Channel(theirs))
            except EOFError:
                status = 0  # the hub is gone
            except Exception:  # noqa: BLE001 - whatever it is, the log has it
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        theirs.close()
        self.workers[name] = Worker(name, pid, Channel(mine))

    def ask(self, questions: "Dict[str, Dict[str, Any]]", seconds: float) -> "Dict[str, Dict[str, Any]]":
        """Put a question to each of some workers, all at once, and wait for their answers that long."""
        self.requests += 1
        number = self.requests
        answers = {}
        for name, question in questions.items():
            worker = self.workers[name]
            worker.reap()
            try:
                worker.channel.send(dict(question, id=number))
            except OSError:
                worker.reap()
                answers[name] = {"error": worker.ended or "cannot be asked"}
        end = clock(time.CLOCK_MONOTONIC) + seconds
        for name in questions:
            if name not in answers:
                answers[name] = self.hear(name, number, max(0.0, end - clock(time.CLOCK_MONOTONIC)))
        return answers

    def hear(self, name: str, number: int, seconds: float) -> "Dict[str, Any]":
        worker = self.workers[name]
        end = clock(time.CLOCK_MONOTONIC) + seconds
        channel = worker.channel
        while True:
            try:
                answer = channel.receive(max(0.0, end - clock(time.CLOCK_MONOTONIC)))
            except (EOFError, OSError):
                time.sleep(0.05)
                worker.reap()
                return {"error": worker.ended or "it has closed its line"}
            if answer is None:
                return {"error": "no answer within %g s" % seconds}
            if answer.pop("id", None) == number:  # an answer to an earlier question came too late
                return answer

    def report(self, request: "Dict[str, Any]") -> "Dict[str, Any]":
        since, deadline = float(request.get("since", 0.0)), float(request.get("deadline", 30.0))
        beats = heartbeat_report(copy_board(self.board), self.config, since)
        worker = self.workers["heartbeat"]
        worker.reap()
        if worker.ended:
            beats = {"error": worker.ended}
        gaps = beats.get("gaps") or []
        arrival = gaps[0]["at"] + max(gaps[0]["boot"], gaps[0]["mono"]) if gaps else since
        question = {
            "do": "report",
            "verify": bool(int(request.get("verify", 1))),
            "since": since,
            "arrival": max(arrival, since),
            "deadline": deadline * 0.8,
        }
        report = self.ask(dict.fromkeys(("memory", "disk", "echo"), question), deadline)  # type: Dict[str, Any]
        boot, mono, real = read_clocks()
        report.update(
            schema=SCHEMA,
            boot_id=read_quietly("/proc/sys/kernel/random/boot_id"),
            bits=8 * struct.calcsize("P"),
            python="%d.%d" % sys.version_info[:2],
            port=self.port,
            locked=self.locked,
            now={"boot": boot, "mono": mono, "real": real},
            since=since,
            hub={"pid": os.getpid(), "start": start_ticks(os.getpid()), "alive": True},
            processes={name: worker.identity() for name, worker in self.workers.items()},
            heartbeat=beats,
        )
        return report

    def fault(self, name: str, words: "Dict[str, Any]") -> "Dict[str, Any]":  # noqa: PLR0911 - one a fault
        owner = {
            "flip-page": "memory",
            "stale-page": "memory",
            "drop-region": "disk",
            "stall-disk": "disk",
            "reset-tcp": "echo",
            "mute-udp": "echo",
        }.get(name)
        if owner is not None:
            return self.ask({owner: dict(words, do=name)}, 20)[owner]
        if name == "kill":
            victim = self.workers[words.get("process", "sentinel")]
            os.kill(victim.pid, signal.SIGKILL)
            return {"pid": victim.pid}
        if name == "stop-heartbeat":
            return self.stop_heartbeat(float(words.get("seconds", 0.25)))
        if name == "lie-monotonic":
            self.board[LIE] -= float(words.get("seconds", 1.0))
            return {}
        if name == "step-clock":
            time.clock_settime(time.CLOCK_REALTIME, clock(time.CLOCK_REALTIME) + float(words.get("seconds", 2.0)))
            return {}
        if name == "freeze-disk":
            freeze_disk(self.config["disk_file"], float(words.get("seconds", 30.0)))
            return {}
        if name == "warn":
            warn(words.get("text", "WARNING: CPU: 0 PID: 1 at lab/fault.c:1 injected"))
            return {}
        raise Trouble("no fault '%s'" % name)

    def stop_heartbeat(self, seconds: float) -> "Dict[str, Any]":
        pid = self.workers["heartbeat"].pid
        begin = boottime()
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
        return {"at": begin, "seconds": boottime() - begin}

    def serve(self) -> None:
        while not self.stopping:
            for listener in select.select(self.listeners, [], [], 3600)[0]:
                sock, _address = listener.accept()
                try:
                    sock.settimeout(10)
                    self.serve_one(Channel(sock), trusted=listener is self.listeners[0])
                except (OSError, EOFError, ValueError):
                    pass  # who asked has gone, or asked for nothing that can be meant
                finally:
                    sock.close()

    def serve_one(self, channel: Channel, *, trusted: bool) -> None:
        request = channel.receive(10)
        if request is None:
            return
        try:
            channel.send(self.answer(request, trusted=trusted))
        except (Trouble, OSError, KeyError, ValueError) as trouble:
            channel.send({"schema": SCHEMA, "trouble": str(trouble) or type(trouble).__name__})

    def answer(self, request: "Dict[str, Any]", *, trusted: bool) -> "Dict[str, Any]":
        do = request.get("do")
        if do == "report":
            return self.report(request)
        # Who comes by the network may look, and no more.
        if do == "fault" and trusted:
            return {"schema": SCHEMA, "fault": request["name"], "done": self.fault(request["name"], request["with"])}
        if do == "stop" and trusted:
            self.stopping = True
            self.dismiss()
            return {"schema": SCHEMA, "stopped": True}
        raise Trouble("cannot be asked to %r" % (do,))

    def dismiss(self) -> None:
        for worker in self.workers.values():
            try:
                os.kill(worker.pid, signal.SIGKILL)
            except OSError:
                pass
        end = clock(time.CLOCK_MONOTONIC) + 2  # a process that waits for its disk dies when that answers
        while clock(time.CLOCK_MONOTONIC) < end and not all(worker.ended for worker in self.workers.values()):
            for worker in self.workers.values():
                worker.reap()
            time.sleep(0.01)
        if self.workers["disk"].ended:
            remove_quietly(self.config["disk_file"])
        remove_quietly(os.path.join(self.folder, "socket"))


def work(kind: "Any", config: "Dict[str, Any]", channel: Channel) -> None:
    try:
        worker = kind(config)
    except (OSError, MemoryError, ValueError) as trouble:
        channel.send({"error": str(trouble) or type(trouble).__name__, "id": 0})
        return
    channel.send({"id": 0})
    worker.run(channel)


def locker() -> "Optional[Callable[[], bool]]":
    """What keeps the pages of the calling process in memory: once the disk is frozen, no page of it can come back."""
    try:
        import ctypes  # noqa: PLC0415 - costs a megabyte, wanted only here

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return None
    current, on_fault = 1, 4  # linux/mman.h; the second (Linux 4.4) spares what is mapped and was never used
    return lambda: libc.mlockall(current | on_fault) == 0


def read_quietly(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def write_quietly(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass


def remove_quietly(path: str) -> None:
    try:
        os.remove(path)
    except OSError:
        pass


# --- commands -------------------------------------------------------------------------------------------------------


def daemonize(tell: int, folder: str) -> None:
    os.setsid()
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(log, 2)
    os.closerange(3, tell)
    os.closerange(tell + 1, 64)


def start(config: "Dict[str, Any]", folder: str) -> "Dict[str, Any]":
    unknown = sorted(set(config) - set(DEFAULTS))
    if unknown:
        raise Trouble("no such setting: %s" % ", ".join(unknown))
    whole = dict(DEFAULTS, **config)
    try:
        os.makedirs(folder, 0o700)
    except FileExistsError:
        pass
    if alive(folder):
        raise Trouble("it runs already")
    remove_quietly(os.path.join(folder, "socket"))
    hear, tell = os.pipe()
    if os.fork() == 0:
        hub_life(whole, folder, tell)
    os.close(tell)
    with os.fdopen(hear, "rb") as said:
        words = said.readline()  # not to its end: workers hold the other end too
    if not words:
        raise Trouble("it died at its start: %s" % (read_quietly(os.path.join(folder, "log"))[-400:] or "silently"))
    answer = json.loads(words.decode("ascii"))  # type: Dict[str, Any]
    return answer


def hub_life(config: "Dict[str, Any]", folder: str, tell: int) -> "NoReturn":
    status = 1
    hub = None  # type: Optional[Hub]
    try:
        daemonize(tell, folder)
        try:
            hub = Hub(config, folder)
            hub.employ()
            answer = hub.report({"verify": 0, "deadline": 60})
        except (Trouble, OSError) as trouble:
            answer = {"schema": SCHEMA, "trouble": str(trouble)}
        os.write(tell, json.dumps(answer).encode("ascii") + b"\n")
        os.close(tell)
        if hub is not None and "trouble" not in answer:
            hub.serve()
            status = 0
    finally:
        if hub is not None and status:
            for worker in hub.workers.values():
                os.kill(worker.pid, signal.SIGKILL)
        os._exit(status)


def alive(folder: str) -> bool:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(os.path.join(folder, "socket"))
    except OSError:
        return False
    finally:
        sock.close()
    return True


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
