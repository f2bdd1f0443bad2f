"""What is asked of a cell; each check returns a :class:`lab.verdict.Verdict`."""
