"""What preflight says: a decision for one guest, and every reason for it with where the fact comes from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

__all__ = ["Answer", "Decision", "Reason"]


class Decision(Enum):
    """What a reason, or a whole answer, comes to; ordered best to worst. WARN is never that of an answer."""

    GO = "go"
    WARN = "warn"
    UNTESTED = "untested"
    NO_GO = "no-go"


_SEVERITY = {decision: rank for rank, decision in enumerate(Decision)}


@dataclass(frozen=True, slots=True)
class Reason:
    """What one rule has found. ``source`` is where the fact comes from: a command, a file, a run, a document."""

    decision: Decision
    rule: str
    words: str
    source: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.words} ({self.source})"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer for one guest. ``source`` and ``target`` are the names of the hosts; with ``back`` it returns."""

    guest: str
    source: str
    target: str
    how: str
    reasons: tuple[Reason, ...]
    back: bool = False

    @property
    def decision(self) -> Decision:
        """The worst of the reasons, among which a warning counts as go. Without a reason nothing was tested."""
        found = max((reason.decision for reason in self.reasons), key=_SEVERITY.__getitem__, default=Decision.UNTESTED)
        return Decision.GO if found is Decision.WARN else found

    def of(self, decision: Decision) -> tuple[Reason, ...]:
        """The reasons of that kind."""
        return tuple(reason for reason in self.reasons if reason.decision is decision)

    @property
    def facts(self) -> Mapping[str, str]:
        """What a migration cell carries of it: the decision, and the rules that it rests on."""
        decisive = () if self.decision is Decision.GO else self.of(self.decision)
        because = ",".join(dict.fromkeys(reason.rule for reason in decisive))
        return {
            "preflight": self.decision.value,
            **({"preflight_rules": because} if because else {}),
            **({"trip": "there-and-back"} if self.back else {}),
        }

    def and_back(self, home: Answer) -> Answer:
        """The answer for this move and then ``home``, whose rules are marked ``back:``."""
        returning = (replace(reason, rule=f"back:{reason.rule}") for reason in home.reasons)
        return replace(self, reasons=(*self.reasons, *returning), back=True)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``answers`` in ``lab.preflight/1``."""
        return {
            "guest": self.guest,
            "from": self.source,
            "to": self.target,
            "how": self.how,
            "decision": self.decision.value,
            "reasons": [
                {"decision": r.decision.value, "rule": r.rule, "words": r.words, "source": r.source}
                for r in self.reasons
            ],
        }
