"""FastZero: the operations over one database, one block one transaction; AsyncFastZero: the same ones under asyncio."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.util import greenlet_spawn

from ..errors import ConflictError, DatabaseUnreachableError, FastZeroError
from ..postgres import database
from ..postgres.database import commits_by_itself
from .invitations import Invitations
from .logins import Logins
from .models import Identity, User
from .passwords import DEFAULT_COST, HashCost
from .todos import Todos
from .users import Users

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")


class FastZero:
    """One transaction over one database: `with FastZero(url) as fz:` commits at the end, or undoes all on an error.

    `database` is a PostgreSQL URL, or an Engine made by `postgres.database.create_engine`, which stays open and
    may be shared between threads while a FastZero may not. Without it the settings decide: DATABASE_URL, else the
    database of `project`, by default the one the settings name.

    With `autocommit` every statement commits by itself: for reading that may pause for long, since no transaction
    stays open. `hash_cost` is what the hash of a new password takes; give the app's, so that the time of a login does
    not tell who has an account. Raises ProjectNotFoundError, DatabaseUnreachableError, DatabaseLoginError.
    """

    def __init__(
        self,
        database: str | Engine | None = None,
        *,
        project: str | None = None,
        autocommit: bool = False,
        hash_cost: HashCost = DEFAULT_COST,
    ) -> None:
        self._engine = database if isinstance(database, Engine) else _engine(database, project)
        self._commits_by_itself = commits_by_itself(self._engine)
        self._autocommit = autocommit and not self._commits_by_itself
        self._connection: Connection | None = None
        self._hash_cost = hash_cost

    def __enter__(self) -> Self:
        if self._connection is not None:
            raise RuntimeError("this FastZero is in a block already; one block is one transaction")
        self._connection = database.connect(self._engine)
        if self._autocommit:
            self._connection = self._connection.execution_options(isolation_level="AUTOCOMMIT")
        if not self._commits_by_itself:
            self._connection.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._bound, None
        if kind is not None or self._commits_by_itself:
            # The error of the block is what matters, also where the connection is lost and cannot roll back.
            with suppress(FastZeroError):
                connection.close()
            return
        with connection:
            _refuse_if_failed(connection)
            connection.commit()

    @property
    def users(self) -> Users:
        return Users(self._bound, hash_cost=self._hash_cost)

    def users_for(self, bearer: Identity) -> Users:
        """The users as the bearer of a token may see and change them.

        The operations raise InvalidTokenError once the token no longer holds.
        """
        return Users(self._bound, bearer, hash_cost=self._hash_cost)

    @property
    def logins(self) -> Logins:
        return Logins(self._bound)

    @property
    def invitations(self) -> Invitations:
        return Invitations(self._bound)

    def todos(self, owner: User | Identity | int | str | None = None) -> Todos:
        """The todos of one user: a User, an id, a name to look up first, or None for the only user there is.

        For the Identity of a token the operations raise InvalidTokenError once it no longer holds.
        Raises UserNotFoundError, or InvalidInputError if there are several.
        """
        if owner is None:
            owner = self.users.only()
        if isinstance(owner, str):
            owner = self.users.get(owner)
        return Todos(self._bound, owner.id if isinstance(owner, User) else owner)

    @property
    def driver_connection(self) -> Any:
        """psycopg's own connection, for what only the driver can tell."""
        return self._bound.connection.driver_connection

    @property
    def _bound(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("no transaction: use `with FastZero(…) as fz:` and call the operations inside")
        return self._connection


class AsyncFastZero:
    """FastZero under asyncio: `await AsyncFastZero(url).run(lambda fz: fz.todos(ana).list())`.

    Each `run` is one block of the synchronous FastZero, and so one transaction, in a greenlet: whenever the database is
    at work, the event loop goes on. `database` is a URL, or an engine of `postgres.database.create_async_engine`;
    leaving `async with` closes an engine made here. What takes more than `limit` seconds is an UnavailableError.
    """

    def __init__(self, database: "str | AsyncEngine", *, limit: float = 60) -> None:
        self._owned = isinstance(database, str)
        self._engine = _async_engine(database) if isinstance(database, str) else database
        self._limit = limit

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._owned:
            await self._engine.dispose()

    async def run(self, operations: Callable[[FastZero], T], *, limit: float | None = None) -> T:
        """What `operations` return, run in a block of their own; `limit` is for this one. Raises what they raise."""
        deadline = _Deadline(self._limit if limit is None else limit)

        def block() -> T:
            with FastZero(self._engine.sync_engine) as fz:
                deadline.watch(fz)
                return operations(fz)

        with deadline:
            return await greenlet_spawn(block)


class _Deadline:
    """Ends the task's waiting for a connection by cancelling it, and a statement by cutting its connection.

    A driver that is cancelled asks the server to cancel the statement, and waits: for ever, where the server is gone.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._task = asyncio.current_task()
        self._connection: Any = None
        self._cancelled = False

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._limit, self._end)

    def watch(self, fz: FastZero) -> None:
        """From here on it is about a statement on this connection."""
        self._connection = fz.driver_connection

    def _end(self) -> None:
        if self._connection is None:
            assert self._task is not None, "a coroutine runs in a task"
            self._cancelled = self._task.cancel()
        elif not self._connection.closed:
            _shut_down(self._connection.fileno())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if not self._cancelled or self._task is None:
            return
        is_ours_alone = self._task.uncancel() == 0
        if kind is asyncio.CancelledError and is_ours_alone:
            raise DatabaseUnreachableError(f"the database does not answer within {self._limit:g} seconds")


def _shut_down(file: int) -> None:
    connection = socket.socket(fileno=file)
    try:
        connection.shutdown(socket.SHUT_RDWR)
    finally:
        connection.detach()


def _refuse_if_failed(connection: Connection) -> None:
    """PostgreSQL answers a COMMIT behind a failed statement by undoing everything, without an error."""
    database.refuse_if_lost(connection)
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None and driver_connection.info.transaction_status.name == "INERROR":
        raise ConflictError("an earlier statement of this block failed, so that nothing of it was saved")


def _async_engine(url: str) -> "AsyncEngine":
    return database.create_async_engine(url)


def _engine(url: str | None, project: str | None) -> Engine:
    if url is None:
        from ..project import database_url
        from ..settings import load_settings

        url = database_url(load_settings(project=project))
    return database.create_engine(url)
