"""Answers of the agent and the meter as they come, with something in every list."""

from __future__ import annotations

from typing import Any

__all__ = ["AGENT", "METER"]

_LATENCIES: dict[str, Any] = {"since": 50.0, "count": 2, "max": 0.2, "p95": 0.2, "last": [{"at": 51.0, "seconds": 0.2}]}
_PROCESS = {"pid": 401, "start": 2201, "alive": True}

AGENT: dict[str, Any] = {
    "schema": "lab.agent/1",
    "boot_id": "7d0c5a0e-0f9b-4d9c-8a53-0f6d1f1b7a11",
    "bits": 32,
    "python": "3.11",
    "port": 7070,
    "locked": True,
    "now": {"boot": 61.0, "mono": 60.0, "real": 1795000000.5},
    "since": 50.0,
    "hub": _PROCESS,
    "processes": {"sentinel": _PROCESS, "memory": _PROCESS},
    "heartbeat": {
        "tick": 0.005,
        "notable": 0.025,
        "ticks": 9000,
        "last": 60.99,
        "fifo": True,
        "easy": 0.01,
        "forgotten": False,
        "gaps": [{"at": 55.0, "boot": 1.2, "mono": 0.005}],
        "backwards": 0,
        "backwards_worst": 0.0,
        "steps": [{"at": 56.0, "seconds": 0.02}],
    },
    "memory": {
        "wanted": 67108864,
        "filled": 25165824,
        "room": 25165824,
        "hot_pages": 1536,
        "written": 5000,
        "generation": 3,
        "verified": {
            "pages": 6144,
            "wrong": 1,
            "first": {"page": 7, "offset": 12, "generation": 3, "found_page": 7, "found_generation": 2},
        },
    },
    "disk": {
        "file": "/var/tmp/lab-agent-disk",  # noqa: S108 - inside a guest
        "region_bytes": 4096,
        "number": 130,
        "numbers": [129, 130],
        "in_flight": 0.001,
        "errors": [{"at": 52.0, "region": 1, "text": "Input/output error"}],
        "fsync": _LATENCIES,
        "fsync_after": _LATENCIES,
        "verified": {
            "how": "direct",
            "error": "",
            "wrong": 1,
            "first": {"region": 1, "number": 130, "found_number": 128},
        },
    },
    "echo": {
        "port": 7077,
        "connections": 0,
        "accepted": 1,
        "ended": [{"at": 57.0, "why": "reset on request"}],
        "datagrams": 3000,
    },
}

METER: dict[str, Any] = {
    "schema": "lab.netmeter/1",
    "now": 530.0,
    "since": 500.0,
    "interval": 0.02,
    "pid": 900,
    "udp": {
        "sent": 1450,
        "missed": 30,
        "missed_in_a_row": 30,
        "missed_first": 1200,
        "refused": 0,
        "twice": 0,
        "overtaken": 0,
        "silences": [{"at": 520.0, "seconds": 1.3}],
        "answers": 1420,
        "trip": {"min": 0.001, "p50": 0.002, "p95": 0.01, "max": 1.3},
        "own": [{"at": 510.0, "seconds": 0.03}],
        "clocks": [{"at": 529.0, "offset": 0.31, "error": 0.002}],
    },
    "tcp": {
        "sent": 480,
        "echoed": 479,
        "wrong": "",
        "ended": {"at": 529.0, "why": "Connection reset by peer"},
        "silences": [{"at": 520.0, "seconds": 1.6}],
        "answers": 290,
    },
}
