"""Which of several workers gets which cells: those that share a bench go together, what takes longest begins first."""

from __future__ import annotations

from collections import OrderedDict

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from lab.engine.items import cells_of
from lab.scenario.cell import Cell, MigrationRequest, NtfsRequest

__all__ = ["CellScheduling"]


class CellScheduling(LoadScopeScheduling):  # type: ignore[misc]  # mypy does not follow xdist
    """xdist's own scheduling by scopes, where a scope is a bench; any other cell is one of its own."""

    workqueue: OrderedDict[str, dict[str, bool]]
    _cells: dict[str, Cell] | None = None
    _ordered = False

    def schedule(self) -> None:
        """Begin, or go on."""
        if self._cells is None:
            ids = next(iter(self.registered_collections.values()))
            self._cells = {cell.id: cell for cell in cells_of(ids, self.config.rootpath)}
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        cell = (self._cells or {}).get(nodeid)
        if cell is None or not isinstance(cell.request, NtfsRequest):
            return nodeid
        return f"{cell.path}::{cell.request.host.name} {cell.request.guest}"

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._ordered:
            self._ordered = True
            self.workqueue = OrderedDict((scope, self.workqueue[scope]) for scope in self._order())
        super()._assign_work_unit(node)

    def _order(self) -> list[str]:
        """Moves first, then the largest bench, then from small to large: who begins with a move gets little more."""
        moves = [scope for scope, ids in self.workqueue.items() if any(map(self._moves, ids))]
        rest = sorted((scope for scope in self.workqueue if scope not in set(moves)), key=self._size)
        return [*moves, *rest[-1:], *rest[:-1]]

    def _moves(self, nodeid: str) -> bool:
        cell = (self._cells or {}).get(nodeid)
        return cell is not None and isinstance(cell.request, MigrationRequest)

    def _size(self, scope: str) -> int:
        return len(self.workqueue[scope])
