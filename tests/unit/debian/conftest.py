from __future__ import annotations

from pathlib import Path

import pytest

from lab.cache import Cache
from tests.unit.debian.mirror import Mirror
from tests.unit.programs import Programs


@pytest.fixture
def mirror(programs: Programs) -> Mirror:
    """A world in which apt's answers are ours."""
    return Mirror(programs)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")
