"""FastZero, the operations on one database in one transaction per block; and AsyncFastZero, the same for asyncio."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import tzinfo
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.util import greenlet_spawn

from ..errors import ConflictError, DatabaseUnreachableError, FastZeroError
from ..postgres import database
from ..postgres.database import commits_by_itself
from .models import Identity, User
from .owner import ListKey, place_of
from .passwords import DEFAULT_COST, HashCost
from .todos import Todos
from .users import Users

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .calendars import Calendars, Feed
    from .history import History
    from .invitations import Invitations
    from .lists import Lists
    from .logins import Logins

# What few commands need is imported by the methods that return it, so that a command starts fast.
T = TypeVar("T")
UserOrKey = User | Identity | int | str


class FastZero:
    """One transaction on one database: `with FastZero(url) as fz:` commits at the end, or rolls back on an error.

    `database` is a PostgreSQL URL, or an Engine from `postgres.database.create_engine`, which is not closed. Threads
    may share an Engine, but not a FastZero. The default is DATABASE_URL, else the database of `project`, which defaults
    to the project in the settings.

    With `autocommit` each statement commits by itself, so that no transaction stays open while a reader pauses.
    `hash_cost` is the cost of hashing a new password. Use the app's cost, so that the duration of a login does not
    reveal which accounts exist. Raises ProjectNotFoundError, DatabaseUnreachableError, DatabaseLoginError.
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
            raise RuntimeError("this FastZero is already in a `with` block; one block is one transaction")
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
            # Keep the error of the block, even if the connection is lost and cannot roll back.
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
        """Return the operations on users that the bearer of a token is allowed to perform.

        They raise InvalidTokenError if the token has been revoked.
        """
        return Users(self._bound, bearer, hash_cost=self._hash_cost)

    @property
    def logins(self) -> "Logins":
        from .logins import Logins

        return Logins(self._bound)

    @property
    def invitations(self) -> "Invitations":
        from .invitations import Invitations

        return Invitations(self._bound)

    def lists(self, user: UserOrKey | None = None) -> "Lists":
        """Return the operations on the lists of one user, and on those shared with this user. As for `todos`."""
        from .lists import Lists

        return Lists(self._bound, self._owner(user))

    def todos(
        self, owner: UserOrKey | None = None, *, list: ListKey | None = None, time_zone: tzinfo | None = None
    ) -> Todos:
        """Return the operations on the todos of one user: a User, an id, a username, or None for the only user.

        `list` limits them to one list: the name or id of an own one, `inbox`, or `OWNER/NAME` of one of which the user
        is a member. `time_zone` is where days begin and end, for dates without a time; None is the time zone of this
        machine. With the Identity of a token, the operations raise InvalidTokenError if the token has been revoked.
        Raises UserNotFoundError; InvalidInputError for None if there are several users; ListNotFoundError.
        """
        user = self._owner(owner)
        return Todos(self._bound, user, place_of(self._bound, user, list), time_zone=time_zone)

    def history(self, owner: UserOrKey | None = None, *, list: ListKey | None = None) -> "History":
        """Return the operations on the history of one user's todos: undo, redo and log. As for `todos`."""
        from .history import History

        user = self._owner(owner)
        return History(self._bound, user, place_of(self._bound, user, list))

    def calendar(self, owner: UserOrKey | None = None) -> "Calendars":
        """Return the operations on one user's calendar. `owner` is as for `todos`."""
        from .calendars import Calendars

        return Calendars(self._bound, self._owner(owner))

    def calendar_feed(self, token: str) -> "Feed":
        """Return the todos of the calendar with this token."""
        from .calendars import Feed

        return Feed(self._bound, token)

    def _owner(self, owner: UserOrKey | None) -> Identity | int:
        if owner is None:
            owner = self.users.only()
        if isinstance(owner, str):
            owner = self.users.get(owner)
        return owner.id if isinstance(owner, User) else owner

    @property
    def driver_connection(self) -> Any:
        """The psycopg connection, for information that only the driver has."""
        return self._bound.connection.driver_connection

    @property
    def _bound(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("no transaction: use `with FastZero(…) as fz:` and call the operations in the block")
        return self._connection


class AsyncFastZero:
    """FastZero under asyncio: `await AsyncFastZero(url).run(lambda fz: fz.todos(ana).list())`.

    Each `run` is one block of the synchronous FastZero, and so one transaction, in a greenlet. It does not block the
    event loop while it waits for the database. `database` is a URL, whose engine `async with` closes, or an engine from
    `postgres.database.create_async_engine`. Operations that take more than `limit` seconds raise UnavailableError.
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
        """Run `operations` in one block and return their result. `limit` overrides the default. Raises their errors."""
        deadline = _Deadline(self._limit if limit is None else limit)

        def block() -> T:
            with FastZero(self._engine.sync_engine) as fz:
                deadline.watch(fz)
                return operations(fz)

        with deadline:
            return await greenlet_spawn(block)


class _Deadline:
    """After a time limit, cancels the task if it waits for a connection; during a statement, shuts its socket down.

    Cancelling a statement would not work: the driver asks the server to cancel it, and waits without a timeout.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._task = asyncio.current_task()
        self._connection: Any = None
        self._cancelled = False

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._limit, self._end)

    def watch(self, fz: FastZero) -> None:
        """Set the connection to shut down from now on."""
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
        is_only_ours = self._task.uncancel() == 0
        if kind is asyncio.CancelledError and is_only_ours:
            raise DatabaseUnreachableError(f"the database does not answer within {self._limit:g} seconds")


def _shut_down(file: int) -> None:
    connection = socket.socket(fileno=file)
    try:
        connection.shutdown(socket.SHUT_RDWR)
    finally:
        connection.detach()


def _refuse_if_failed(connection: Connection) -> None:
    """Raise ConflictError if a statement failed: PostgreSQL would turn COMMIT into ROLLBACK without an error."""
    database.refuse_if_lost(connection)
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None and driver_connection.info.transaction_status.name == "INERROR":
        raise ConflictError("an earlier statement in this block failed; nothing was saved")


def _async_engine(url: str) -> "AsyncEngine":
    return database.create_async_engine(url)


def _engine(url: str | None, project: str | None) -> Engine:
    if url is None:
        from ..project import database_url
        from ..settings import load_settings

        url = database_url(load_settings(project=project))
    return database.create_engine(url)
