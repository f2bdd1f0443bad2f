"""Fakes that stand behind the lab's own Protocols and pass the same contract tests as the real things."""
