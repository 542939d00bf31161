"""FastZero: the operations over one database, one block one transaction."""

from contextlib import suppress
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine

from . import database
from .errors import ConflictError, FastZeroError
from .models import User
from .todos import Todos
from .users import Users


class FastZero:
    """One transaction over one database: `with FastZero(url) as fz:` commits at the end, or undoes all on an error.

    `database` is a PostgreSQL URL, or an Engine made by `fastzero_core.database.create_engine`, which stays open and
    may be shared between threads while a FastZero may not. Without it the settings decide: DATABASE_URL, else the
    database of `project`, by default the one the settings name.

    With `autocommit` every statement commits by itself: for reading that may pause for long, since no transaction
    stays open. Raises ProjectNotFoundError, DatabaseUnreachableError, DatabaseLoginError.
    """

    def __init__(
        self, database: str | Engine | None = None, *, project: str | None = None, autocommit: bool = False
    ) -> None:
        self._engine = database if isinstance(database, Engine) else _engine(database, project)
        self._autocommit = autocommit
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        if self._connection is not None:
            raise RuntimeError("this FastZero is in a block already; one block is one transaction")
        self._connection = database.connect(self._engine)
        if self._autocommit:
            self._connection = self._connection.execution_options(isolation_level="AUTOCOMMIT")
        self._connection.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._bound, None
        if kind is not None:
            # The error of the block is what matters, also where the connection is lost and cannot roll back.
            with suppress(FastZeroError):
                connection.close()
            return
        with connection:
            _refuse_if_failed(connection)
            connection.commit()

    @property
    def users(self) -> Users:
        return Users(self._bound)

    def todos(self, owner: User | int | str | None = None) -> Todos:
        """The todos of one user: a User, an id, a name to look up first, or None for the only user there is.

        Raises UserNotFoundError, or InvalidInputError if there are several.
        """
        if owner is None:
            owner = self.users.only()
        if isinstance(owner, str):
            owner = self.users.get(owner)
        return Todos(self._bound, owner.id if isinstance(owner, User) else owner)

    @property
    def _bound(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("no transaction: use `with FastZero(…) as fz:` and call the operations inside")
        return self._connection


def _refuse_if_failed(connection: Connection) -> None:
    """PostgreSQL answers a COMMIT behind a failed statement by undoing everything, without an error."""
    database.refuse_if_lost(connection)
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None and driver_connection.info.transaction_status.name == "INERROR":
        raise ConflictError("an earlier statement of this block failed, so that nothing of it was saved")


def _engine(url: str | None, project: str | None) -> Engine:
    if url is None:
        from .settings import load_settings
        from .stack.project import database_url

        url = database_url(load_settings(project=project))
    return database.create_engine(url)
