"""``--keep``: after a failure the stage stays as it is until somebody has looked inside."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

import pytest

from lab.cache import Cache
from lab.engine.patience import interrupted_once, wait_for_enter
from lab.hosts.living import LiveRun, living, mark_waiting
from lab.settings import Settings

__all__ = ["linger"]


def linger(session: pytest.Session, settings: Settings) -> None:
    """Say how to look inside what this process holds, and wait for Enter, Ctrl-C or SIGTERM.

    Does nothing where nothing failed, or the user has ended the session already. pytest holds standard input and the
    output while it runs; both are given back for good, since nothing but the summary comes after this.
    """
    if not session.testsfailed or session.exitstatus == pytest.ExitCode.INTERRUPTED:
        return
    capture = session.config.pluginmanager.get_plugin("capturemanager")
    if capture is not None:
        capture.suspend(in_=True)
    cache = Cache(settings.cache)
    own = [run for run in living(cache) if run.owner is not None and run.owner.pid == os.getpid()]
    with interrupted_once(), suppress(KeyboardInterrupt):
        for run in own:
            mark_waiting(cache.root / "run" / run.tag)
        wait_for_enter(_words(own))


def _words(runs: Sequence[LiveRun]) -> str:
    look = [f"  lab host shell {host.name} --run {run.tag}" for run in runs for host in run.hosts]
    look += [f"  lab guest shell {guest.name} --run {run.tag}" for run in runs for guest in run.guests]
    inside = "\n".join(["; look inside:", *look]) if look else "; no host is up"
    end = "".join(f", or from elsewhere: lab host down {run.tag}" for run in runs)
    return f"\nsomething failed, and the stage is kept{inside}\nEnter or Ctrl-C takes it down{end}\n"
