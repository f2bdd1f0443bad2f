"""A session that continues a run: what stands of that is not run again. A plugin, in the controller of xdist too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.engine.begin import begin
from lab.engine.carried import Earlier
from lab.engine.configured import settings_of
from lab.engine.stash import CELL, CONTINUED, RUN
from lab.errors import LabError

__all__ = ["Continuation"]

_FOLDER = "lab_continue"
_MATCHED = "lab_matched"
_REFUSED = "lab_refused"
"""What the controller of xdist and its workers tell each other: the run, whether a cell was chosen, why it ends."""


class Continuation:
    """The run that goes on, and what of it stands. ``matched`` says whether any cell was chosen, standing or not."""

    def __init__(self, config: pytest.Config, earlier: Earlier) -> None:
        self.earlier = earlier
        self.matched = False
        self._config = config
        self._standing = 0

    @classmethod
    def begin(cls, config: pytest.Config) -> None:
        """Continue the run of ``--lab-continue``. Where the user named no paths, its scenario files are collected.

        Raises:
            Exit: there is no such run, or a file of it is gone.
        """
        inside = getattr(config, "workerinput", {})
        try:
            if _FOLDER in inside:  # `latest` would be another by now
                earlier = Earlier.read(Path(inside[_FOLDER]))
            else:
                earlier = Earlier.find(settings_of(config).reports, config.getoption("lab_continue"))
            if config.args_source is not pytest.Config.ArgsSource.ARGS:
                config.args = [str(path) for path in earlier.files_below(config.rootpath)]
        except LabError as trouble:
            pytest.exit(f"error: {trouble}", returncode=trouble.exit_code)
        config.stash[CONTINUED] = cls(config, earlier)
        config.pluginmanager.register(config.stash[CONTINUED], "lab-continuation")

    @pytest.hookimpl(trylast=True)  # what -k and the like leave
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Deselect the cells whose verdicts stand."""
        standing = {item for item in items if CELL in item.stash and self.earlier.standing(item.stash[CELL])}
        self.matched = any(CELL in item.stash for item in items)
        self._standing = len(standing)
        if standing:
            items[:] = [item for item in items if item not in standing]
            self._config.hook.pytest_deselected(items=list(standing))

    def pytest_report_collectionfinish(self) -> str:
        """Said where pytest says how many items there are."""
        return f"run {self.earlier.id} goes on: of the selected cells {self._standing} have verdicts, and are carried"

    def admit(self, accelerator: str) -> None:
        """Let hosts that run under this accelerator go on with the run.

        Raises:
            Exit: they must not.
        """
        try:
            self.earlier.admit(accelerator)
        except LabError as trouble:
            self._refuse(f"error: {trouble}", trouble.exit_code)

    def pytest_sessionfinish(self) -> None:
        """A worker tells the controller whether a cell was chosen."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_MATCHED] = self.matched

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - xdist's own type
        """The controller tells a worker which run goes on."""
        node.workerinput[_FOLDER] = str(self.earlier.folder)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - xdist's own type
        """Hear a worker out that has ended.

        Raises:
            Exit: it must not go on with the run.
        """
        said = getattr(node, "workeroutput", {})  # none of one that crashed
        if _REFUSED in said:
            self._refuse(*said[_REFUSED])
        # Nothing was left to be run, so nobody has asked for a record yet.
        if said.get(_MATCHED) and RUN not in self._config.stash and not self._config.option.collectonly:
            begin(self._config, ())

    def _refuse(self, why: str, code: int) -> None:
        if RUN in self._config.stash:
            self._config.stash[RUN].refused = True
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_REFUSED] = (why, code)
        pytest.exit(why, returncode=code)
