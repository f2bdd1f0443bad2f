"""A guest with a shelf of volumes in which a program listens that tries drivers on them: the probe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, HostError
from lab.ntfs.shelf import Shelf
from lab.ntfs.volumes import State
from lab.process import last_line
from lab.stage.benched import BenchGuest

__all__ = ["Probed"]

_GRACE = 60.0
"""Seconds over the probe's own limit before the guest itself is taken for hung: to put together what it has heard of
50 000 names takes half a minute on a busy machine.
"""

_SECTORS = (512, 4096)
"""What a loop device can have."""


@dataclass
class Probed:
    """``spoiled`` says why nothing more may be tried in it: a driver that has oopsed taints all that comes after.

    ``port`` is where its probe listens.
    """

    port: ClassVar[int]
    guest: BenchGuest
    shelf: Shelf
    _: KW_ONLY
    spoiled: str = ""

    def ask(self, words: Sequence[str], deadline: Deadline) -> dict[str, Any]:
        """What the probe answers to a command line.

        Raises:
            GuestError: it refuses, or gives half an answer.
            HostError: the guest has ended, or the way to it is broken.
            DeadlineError: no answer in time.
        """
        question = json.dumps({"words": words}).encode()
        said = self.guest.ask(self.port, question, deadline=deadline, watch=self._watch)
        try:
            document: dict[str, Any] = json.loads(said.stdout)
        except ValueError as broken:
            reason = last_line(said.stderr) or f"half an answer, of {len(said.stdout)} bytes"
            raise GuestError(f"{self.guest.name}: the probe: {reason}") from broken
        if "refused" in document:
            raise GuestError(f"{self.guest.name}: the probe: {document['refused']}")
        return document

    def tried(
        self, what: str, words: Sequence[str], seconds: float, deadline: Deadline, *, silence: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The document of a probe that has ``seconds`` for ``what``; of a guest that does not come back it is
        ``silence``, and how it ended.

        Raises:
            LabError: it is not a driver that is to be blamed for that.
        """
        words = (*words, "--seconds", f"{seconds:g}")
        try:
            document: Mapping[str, Any] = self.ask(words, deadline.at_most(seconds + _GRACE))
        except (DeadlineError, HostError) as lost:
            self.guest.watch()
            self.spoiled = lost.message
            ended = "deadline" if self.guest.is_active(Deadline(10)) else "died"
            document = {**silence, "ended": ended, "last_step": [lost.message]}
        else:
            if document.get("ended") == "complete":
                return document
            self.spoiled = f"{what}: {document.get('ended')}"
        self.guest.acquit(Deadline(20))
        return document

    def part(self, volume: str) -> tuple[str, ...]:
        """The words for where on the shelf a volume is, and with what sectors."""
        place = self.shelf.places[volume]
        sector = min(max(place.specimen.sector, _SECTORS[0]), _SECTORS[-1])
        protected = ("--write-protected",) if place.specimen.state is State.WRITE_PROTECTED else ()
        return ("--part", f"{self.guest.shelf_device}:{place.offset}:{place.size}", "--sector", str(sector), *protected)

    def require(self, what: str, seconds: float, deadline: Deadline) -> None:
        """Nothing, if there is time for a probe that has ``seconds`` for ``what``.

        Raises:
            DeadlineError: there is less left, for which no driver must be blamed.
        """
        limit = seconds + _GRACE
        if deadline.remaining() < limit:
            raise DeadlineError(
                f"{what}: {deadline.remaining():.0f} of {deadline.seconds:g} s are left, and it may take {limit:.0f} s",
                hint="the machine is busy, or bringing up the guest took long; try again",
            )

    def _watch(self) -> None:
        self.guest.watch()
        # A time of its own: the other may have run out just now, and that says more.
        if not self.guest.is_active(Deadline(10)):
            raise HostError(f"{self.guest.name}: it has ended")
