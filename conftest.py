"""For all tests of the project. The lab's own plugin comes by its entry point, like everywhere else."""

from __future__ import annotations

pytest_plugins = ["pytester"]
