"""A program that reads volumes by one of the lab's readers after another, each reading in a process of its own.

A line of JSON in (``reader``, ``volume``, ``seconds``), a line of JSON out: ``said`` (the manifest, or for ntfs-3g the
probe's document) or ``refused``, and the ``signal`` that ended the reading, or ``late``. To start Python for each of
hundreds of readings would take longer than to read.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from lab.ntfs import probe
from lab.ntfs.drivers import drivers
from lab.ntfs.manifest import Manifest
from lab.ntfs.readers import libfsntfs, sleuthkit


def read(reader: str, volume: str, seconds: float) -> dict[str, Any]:
    """What the reader says."""
    if reader == "ntfs-3g":
        with tempfile.TemporaryDirectory(prefix="lab-hostile-") as at:
            words = (*drivers["ntfs-3g"].probe_arguments(at=at), "--device", volume, "--seconds", f"{seconds:g}")
            return probe.run(probe.parse(["mount-and-read", *words, "--metadata", "--fingerprint"]))
    module = libfsntfs if reader == "libfsntfs" else sleuthkit
    manifest: Manifest = module.read(volume)
    return manifest.to_json()


def child(reader: str, volume: str, seconds: float, writing: int) -> None:
    """Never returns."""
    answer: dict[str, Any]
    try:
        answer = {"said": read(reader, volume, seconds)}
    except (OSError, subprocess.CalledProcessError) as refused:
        answer = {"refused": str(refused)}
    with os.fdopen(writing, "w") as file:
        json.dump(answer, file)
    os._exit(0)


def apart(reader: str, volume: str, seconds: float) -> dict[str, Any]:
    """One reading, ended when its time is up."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.setpgid(0, 0)
        child(reader, volume, seconds, writing)
    os.close(writing)
    said, until = b"", time.monotonic() + 2 * seconds  # the probe ends itself after ``seconds``, and tidies up
    while (left := until - time.monotonic()) > 0 and select.select([reading], [], [], left)[0]:
        chunk = os.read(reading, 1 << 20)
        if not chunk:
            break
        said += chunk
    late = left <= 0
    if late:
        os.killpg(pid, signal.SIGKILL)
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if late:
        return {"late": True}
    return json.loads(said) if said else {"signal": -status}


def main() -> None:
    """Until standard input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(apart(**json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
