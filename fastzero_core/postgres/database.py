"""The one door to the database: makes engines, and turns every driver error into a FastZeroError.

Engines made here carry time limits, so that nothing waits for ever, and an error handler, so that no
exception of SQLAlchemy or psycopg leaves the core.
"""

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from .. import errors
from .driver_errors import translate
from .url import POSTGRES_DRIVERS, session_options, unusable
from .url import url_of as url_of

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

CONNECT_TIMEOUT = 5  # seconds; libpq's own default is to wait for the kernel to give up
DRIVER = "postgresql+psycopg"
REFUSED_PASSWORD = "password authentication failed"  # noqa: S105 - what the server says of it
ROTATION_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds in which a password that is rotated gets to where it is read

_POOL = {"pool_pre_ping": True, "pool_use_lifo": True, "pool_timeout": CONNECT_TIMEOUT, "max_overflow": 0}

# A connection that commits by itself has nothing to undo when it comes back.
_AUTOCOMMIT: dict[str, Any] = {
    "isolation_level": "AUTOCOMMIT",
    "execution_options": {"commits_by_itself": True},
    "skip_autocommit_rollback": True,
    "pool_reset_on_return": None,
}

SESSION_SETTINGS = {
    "TimeZone": "UTC",
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5min",
}
# No function, operator or table of a database's owner is found by its name alone.
CATALOG_PATH = {"search_path": "pg_catalog,pg_temp"}
CATALOG_SETTINGS = {**SESSION_SETTINGS, **CATALOG_PATH}


def parse_url(url: str | URL) -> URL:
    """A PostgreSQL URL of any spelling, for psycopg 3. Raises InvalidInputError for anything else."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise unusable("the database URL cannot be read") from None
    if any("\0" in str(part) for part in parsed):
        raise unusable("the database URL must not contain a NUL character")
    if parsed.drivername not in POSTGRES_DRIVERS:
        raise unusable(f"the database URL begins with {parsed.drivername!r}; fastzero needs PostgreSQL")
    return parsed.set(drivername=DRIVER)


def create_engine(
    url: str | URL,
    *,
    pooled: bool = False,
    settings: dict[str, str] | None = None,
    connect_timeout: int = CONNECT_TIMEOUT,
) -> Engine:
    """An engine over psycopg 3 whose errors are FastZeroErrors.

    `pooled` keeps up to five connections, last in first out, tested before use; without it each connection is
    opened for its block alone. `settings` are PostgreSQL settings of the session, which go before those in the URL; by
    default SESSION_SETTINGS, which do not. `connect_timeout` is in seconds. Nothing is connected yet.
    """
    parsed = parse_url(url)
    pool: dict[str, Any] = _POOL if pooled else {"poolclass": NullPool}
    arguments = _connect_arguments(parsed, settings, connect_timeout)
    engine = sqlalchemy.create_engine(parsed, connect_args=arguments, use_native_hstore=False, **pool)
    _ask_for_catalogs_alone(engine)
    _watch(engine)
    return engine


def create_async_engine(
    url: str | URL,
    *,
    pool_size: int = 5,
    pool_timeout: float = CONNECT_TIMEOUT,
    autocommit: bool = False,
    settings: dict[str, str] | None = None,
    connect_timeout: int = CONNECT_TIMEOUT,
    read_password: Callable[[], str] | None = None,
) -> "AsyncEngine":
    """The same for asyncio, with up to `pool_size` connections, for one of which a task waits `pool_timeout` seconds.

    With `autocommit` every statement is a transaction of its own: one round trip instead of three. `read_password`
    gives the password of each login instead of the URL, and again where it is refused: it may just be rotated.
    """
    from sqlalchemy.ext.asyncio import create_async_engine as make_engine

    parsed = parse_url(url)
    options = _AUTOCOMMIT if autocommit else {}
    engine = make_engine(
        parsed,
        connect_args=_connect_arguments(parsed, settings, connect_timeout),
        pool_size=pool_size,
        pool_timeout=pool_timeout,
        pool_use_lifo=True,
        max_overflow=0,
        use_native_hstore=False,
        **options,
    )
    _ask_for_catalogs_alone(engine.sync_engine)
    _watch(engine.sync_engine)
    event.listen(engine.sync_engine, "checkout", _replace_if_ended)
    if read_password:
        event.listen(engine.sync_engine, "do_connect", partial(_log_in, read_password))
    return engine


def _ask_for_catalogs_alone(engine: Engine) -> None:
    """Qualify what SQLAlchemy asks each database when it first connects.

    A database's owner may have put a schema before pg_catalog. For the same reason nothing asks for hstore.
    """

    def schema(connection: Connection) -> Any:
        return connection.exec_driver_sql("SELECT pg_catalog.current_schema()").scalar()

    engine.dialect._get_default_schema_name = schema  # type: ignore[method-assign]


def _log_in(read_password: Callable[[], str], dialect: Any, record: object, positional: Any, named: Any) -> Any:
    """Connect with the password as it is now, for a moment also with the one that it is about to become."""
    from sqlalchemy.util import await_only

    for wait in ROTATION_WAITS:
        try:
            return dialect.connect(*positional, **{**named, "password": read_password()})
        except dialect.loaded_dbapi.OperationalError as error:
            if REFUSED_PASSWORD not in str(error):
                raise
            await_only(asyncio.sleep(wait))
    return dialect.connect(*positional, **{**named, "password": read_password()})


def _replace_if_ended(connection: Any, *_: object) -> None:
    """Have the pool replace a connection that the server has ended: without a round trip, unlike a ping.

    While nothing is asked, there is something to read only where the server said farewell, or the network ended.
    """
    readable = select.poll()
    readable.register(connection.driver_connection, select.POLLIN)
    if readable.poll(0):
        raise DisconnectionError


def _connect_arguments(parsed: URL, settings: dict[str, str] | None, connect_timeout: int) -> dict[str, Any]:
    """What libpq is told besides the URL, which goes before; but `settings` go before those in the URL."""
    given = parsed.query.get("options")
    own = [given] if isinstance(given, str) else []
    defaults = session_options(SESSION_SETTINGS)
    options = " ".join([defaults, *own] if settings is None else [*own, session_options(settings)])
    arguments = {"connect_timeout": connect_timeout, "application_name": "fastzero"}
    return {**{name: value for name, value in arguments.items() if name not in parsed.query}, "options": options}


def _watch(engine: Engine) -> None:
    event.listen(engine, "handle_error", _translate_in_engine)
    event.listen(engine, "before_execute", lambda connection, *_: refuse_if_lost(connection))


def refuse_if_lost(connection: Connection) -> None:
    """Raises ConnectionLostError, or RuntimeError behind the end of a block, where SQLAlchemy has errors of its own."""
    if connection.closed:
        raise RuntimeError("the block is over: call the operations inside of it")
    if connection.invalidated:
        raise errors.ConnectionLostError("the connection to the database was lost earlier in this block")


def _translate_in_engine(context: ExceptionContext) -> None:
    # A pool tests its connections and replaces those that are lost: no error of anybody's.
    if context.is_pre_ping or isinstance(context.original_exception, errors.FastZeroError):
        return
    error = context.sqlalchemy_exception or context.original_exception
    # A KeyboardInterrupt passes through here as well, and is no error of the database's.
    if isinstance(error, Exception):
        raise translate(error) from context.original_exception


def commits_by_itself(engine: Engine) -> bool:
    """Whether the engine was made so that every statement is a transaction of its own."""
    return bool(engine.get_execution_options().get("commits_by_itself"))


def connect(engine: Engine) -> Connection:
    """A connection of the engine's. Raises a FastZeroError too where the pool, not the driver, gives up."""
    try:
        return engine.connect()
    except SQLAlchemyError as error:
        raise translate(error) from error


@asynccontextmanager
async def connect_async(engine: "AsyncEngine") -> "AsyncIterator[AsyncConnection]":
    """A connection of the engine's for one block. Raises a FastZeroError as `connect` does."""
    try:
        connection = await engine.connect()
    except SQLAlchemyError as error:
        raise translate(error) from error
    try:
        yield connection
    finally:
        await connection.close()


async def driver_connection(connection: "AsyncConnection") -> "psycopg.AsyncConnection[Any]":
    """The driver's own connection under one of SQLAlchemy's."""
    found: psycopg.AsyncConnection[Any] | None = (await connection.get_raw_connection()).driver_connection
    assert found is not None
    return found


def connections_allowed(connection: Connection) -> int:
    """How many connections the server has for ordinary roles."""
    allowed = """
        SELECT current_setting('max_connections')::int - sum(setting::int) FROM pg_settings
        WHERE name IN ('superuser_reserved_connections', 'reserved_connections')
    """
    return int(connection.execute(text(allowed)).scalar_one())
