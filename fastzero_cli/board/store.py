"""Read and change the todos of a board, under asyncio."""

import asyncio
from collections.abc import Callable
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, TypeVar

from fastzero_core.postgres import database
from fastzero_core.todo_app.fastzero import AsyncFastZero, FastZero
from fastzero_core.todo_app.models import TodoFilters, TodoSort

from .columns import columns_of

if TYPE_CHECKING:
    from fastzero_core.todo_app.history import History
    from fastzero_core.todo_app.todos import Todos

    from .columns import Columns

T = TypeVar("T")

CARDS = 200  # of a column
LIMIT = 10  # seconds for one operation
GRACE = 0.5  # seconds for one that runs when the board is closed
BY_HAND: Any = {"sort": TodoSort.POSITION}
NEWEST_FIRST: Any = {"sort": TodoSort.UPDATED, "descending": True}


class Operations:
    """The operations on the todos and the history of the board's owner, in one transaction."""

    def __init__(self, fz: FastZero, owner: int, in_list: str | None, zone: tzinfo | None) -> None:
        self._fz, self._owner, self._list, self._zone = fz, owner, in_list, zone

    @property
    def todos(self) -> "Todos":
        return self._fz.todos(self._owner, list=self._list, time_zone=self._zone)

    @property
    def history(self) -> "History":
        return self._fz.history(self._owner, list=self._list)


class Store:
    """The todos of one user, or of one of the user's lists, that meet `filters`."""

    def __init__(
        self,
        url: str,
        owner: int,
        filters: TodoFilters,
        *,
        in_list: str | None = None,
        zone: tzinfo | None = None,
    ) -> None:
        self._engine = database.create_async_engine(url, pool_size=1)
        self._owner, self._filters, self._list, self._zone = owner, filters, in_list, zone
        self._running: set[asyncio.Task[Any]] = set()

    async def read(self, search: str) -> "Columns":
        """Return the columns of the board, all as at one moment; with a search of todos with it. Raises FastZeroError.

        Otherwise a todo that moves during it could be in two columns, or in none.
        """
        filters = {**self._filters, "text": search} if search else self._filters
        return await self._run(
            lambda operations: columns_of(operations.todos, filters, BY_HAND, CARDS, of_closed=NEWEST_FIRST),
            isolation_level="REPEATABLE READ",
        )

    async def change(self, operation: Callable[[Operations], T]) -> T:
        """Run an operation in a transaction. Raises FastZeroError."""
        return await self._run(operation)

    async def close(self) -> None:
        """Close the connection, after what runs has ended or was cancelled."""
        if running := [*self._running]:
            _, late = await asyncio.wait(running, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        await self._engine.dispose()

    async def _run(self, operation: Callable[[Operations], T], **options: Any) -> T:
        fz = AsyncFastZero(self._engine.execution_options(**options), limit=LIMIT)
        task = asyncio.create_task(fz.run(lambda fz: operation(Operations(fz, self._owner, self._list, self._zone))))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)
