"""Create SQLAlchemy engines that raise every driver error as a FastZeroError. All database access goes through here.

The engines have timeouts for connecting, statements and locks, and an error handler, so that SQLAlchemy and psycopg
exceptions do not leave the core.
"""

import asyncio
import select
from collections.abc import AsyncIterator, Callable, Sequence
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
from .url import CONNECT_TIMEOUT_OF_EACH, POSTGRES_DRIVERS, invalid_url, session_options
from .url import url_of as url_of

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

CONNECT_TIMEOUT = 5  # seconds; libpq by default waits until the kernel gives up
# Notice within about 20 seconds that the server's machine is gone. The kernel's default is two hours for a connection
# that waits for a result, and a quarter of an hour for one with unacknowledged data.
KEEPALIVES = {
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,  # seconds
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,  # milliseconds
}
DRIVER = "postgresql+psycopg"
READ_ONLY = "25006"  # SQLSTATE of a refused write
REFUSED_PASSWORD = "password authentication failed"  # noqa: S105 - part of the server's message
ROTATION_DELAYS = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds to wait before a rotated password is read again

_POOL = {"pool_pre_ping": True, "pool_use_lifo": True, "pool_timeout": CONNECT_TIMEOUT, "max_overflow": 0}

# A connection in autocommit mode needs no rollback when it returns to the pool.
_AUTOCOMMIT: dict[str, Any] = {
    "isolation_level": "AUTOCOMMIT",
    "execution_options": {"commits_by_itself": True},
    "skip_autocommit_rollback": True,
    "pool_reset_on_return": None,
}

# The option of a statement that the driver does not prepare: the server plans each run for its values.
UNPREPARED = "unprepared"

SESSION_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",  # of times that PostgreSQL writes as text
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "5min",
}
# Unqualified names must not resolve to functions, operators or tables of the database's owner.
CATALOG_PATH = {"search_path": "pg_catalog,pg_temp"}
CATALOG_SETTINGS = {**SESSION_SETTINGS, **CATALOG_PATH}


def parse_url(url: str | URL) -> URL:
    """Parse any form of PostgreSQL URL into one for psycopg 3. Raises InvalidInputError for other URLs."""
    try:
        parsed = make_url(url_of(url) if isinstance(url, str) else url)
    except (ArgumentError, ValueError):
        raise invalid_url("the database URL cannot be read") from None
    if any("\0" in str(part) for part in parsed):
        raise invalid_url("the database URL must not contain a NUL character")
    if parsed.drivername not in POSTGRES_DRIVERS:
        raise invalid_url(f"the database URL begins with {parsed.drivername!r}; fastzero needs PostgreSQL")
    return parsed.set(drivername=DRIVER)


def create_engine(
    url: str | URL,
    *,
    pooled: bool = False,
    settings: dict[str, str] | None = None,
    connect_timeout: int = CONNECT_TIMEOUT,
) -> Engine:
    """Return a psycopg 3 engine that raises FastZeroErrors. Does not connect yet.

    `pooled` keeps up to five connections, last in first out, and tests each before use; without it each block opens its
    own connection. `settings` are PostgreSQL settings of the session, which override those in the URL; the default,
    SESSION_SETTINGS, does not override them. `connect_timeout` is in seconds.
    """
    parsed = parse_url(url)
    pool: dict[str, Any] = _POOL if pooled else {"poolclass": NullPool}
    arguments = _connect_arguments(parsed, settings, connect_timeout)
    engine = sqlalchemy.create_engine(parsed, connect_args=arguments, use_native_hstore=False, **pool)
    _install(engine)
    return engine


def create_async_engine(
    url: str | URL,
    *,
    pool_size: int = 5,
    pool_timeout: float = CONNECT_TIMEOUT,
    autocommit: bool = False,
    settings: dict[str, str] | None = None,
    connect_timeout: int = CONNECT_TIMEOUT,
    read_passwords: Callable[[], Sequence[str]] | None = None,
) -> "AsyncEngine":
    """Return an asyncio engine with a pool of up to `pool_size` connections. Does not connect yet.

    A task waits up to `pool_timeout` seconds for a connection. With `autocommit` every statement is its own
    transaction: one round trip instead of three. `read_passwords` returns the passwords to try for each login, instead
    of the URL's. If the server refuses them all, it is called again: they may be rotated at that moment.
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
    _install(engine.sync_engine)
    event.listen(engine.sync_engine, "checkout", _replace_if_unusable)
    if read_passwords:
        event.listen(engine.sync_engine, "do_connect", partial(_log_in, read_passwords))
    return engine


def _install(engine: Engine) -> None:
    """Change what SQLAlchemy does by itself."""
    _replace_first_queries(engine)
    event.listen(engine, "handle_error", _translate_in_engine)
    event.listen(engine, "before_execute", lambda connection, *_: refuse_if_lost(connection))
    event.listen(engine, "do_execute", _execute_unprepared)


def _replace_first_queries(engine: Engine) -> None:
    """Replace the queries that SQLAlchemy runs when it first connects, where the server has already told the answer.

    The one for the schema is qualified: a database's owner may have put a schema before pg_catalog in the search path.
    `use_native_hstore` is off for the same reason.
    """
    dialect: Any = engine.dialect

    def version(connection: Connection) -> tuple[int, int]:
        number: int = _told(connection).server_version
        return divmod(number, 10_000)

    def schema(connection: Connection) -> Any:
        return connection.exec_driver_sql("SELECT pg_catalog.current_schema()").scalar()

    def set_escapes(connection: Connection) -> None:
        dialect._backslash_escapes = _told(connection).parameter_status("standard_conforming_strings") == "off"

    dialect._get_server_version_info = version
    dialect._get_default_schema_name = schema
    dialect._set_backslash_escapes = set_escapes


def _told(connection: Connection) -> Any:
    """Return what the driver knows of a connection without asking the server."""
    driver_connection: Any = connection.connection.driver_connection
    return driver_connection.info


def writes_utc(connection: Connection) -> bool:
    """Return whether the session writes times in UTC and as ISO. A URL may have other settings."""
    told = _told(connection)
    return bool(told.parameter_status("TimeZone") == "UTC" and told.parameter_status("DateStyle").startswith("ISO"))


def _log_in(
    read_passwords: Callable[[], Sequence[str]], dialect: Any, record: object, positional: Any, named: Any
) -> Any:
    """Connect with one of the passwords. If all are refused, read them again a few times: they may be rotated."""
    from sqlalchemy.util import await_only

    refused: Exception | None = None
    for wait in (0, *ROTATION_DELAYS):
        if refused:
            await_only(asyncio.sleep(wait))
        for password in read_passwords():
            try:
                return dialect.connect(*positional, **{**named, "password": password})
            except dialect.loaded_dbapi.OperationalError as error:
                if REFUSED_PASSWORD not in str(error):
                    raise
                refused = error
    assert refused, "there is a password, and the server refused it"
    raise refused


def _replace_if_unusable(connection: Any, *_: object) -> None:
    """Make the pool replace a connection that is closed or still busy. Needs no round trip, unlike a ping.

    An idle connection is readable only if the server sent its last message or the network connection was closed. It is
    busy if its last command was given up, and could not be cancelled in time: it would refuse every other one.
    """
    from psycopg.pq import TransactionStatus

    driver_connection: Any = connection.driver_connection
    readable = select.poll()
    readable.register(driver_connection, select.POLLIN)
    if driver_connection.info.transaction_status == TransactionStatus.ACTIVE or readable.poll(0):
        raise DisconnectionError


def _connect_arguments(parsed: URL, settings: dict[str, str] | None, connect_timeout: int) -> dict[str, Any]:
    """Return the arguments for libpq besides the URL, which overrides them. `settings` override those in the URL."""
    given = parsed.query.get("options")
    own = [given] if isinstance(given, str) else []
    defaults = session_options(SESSION_SETTINGS)
    options = " ".join([defaults, *own] if settings is None else [*own, session_options(settings)])
    if "," in str(parsed.query.get("host", "")):
        connect_timeout = min(connect_timeout, CONNECT_TIMEOUT_OF_EACH)
    arguments = {"connect_timeout": connect_timeout, "application_name": "fastzero", **KEEPALIVES}
    return {**{name: value for name, value in arguments.items() if name not in parsed.query}, "options": options}


def _execute_unprepared(cursor: Any, statement: str, values: Any, context: Any) -> bool:
    """Run a statement if it has the option UNPREPARED. Return whether it did."""
    if not context.execution_options.get(UNPREPARED):
        return False
    driver = context.root_connection.connection.driver_connection
    threshold, driver.prepare_threshold = driver.prepare_threshold, None
    try:
        cursor.execute(statement, values)
    finally:
        driver.prepare_threshold = threshold
    return True


def refuse_if_lost(connection: Connection) -> None:
    """Raise ConnectionLostError for a lost connection, RuntimeError after the end of a block.

    SQLAlchemy would raise its own errors in both cases.
    """
    if connection.closed:
        raise RuntimeError("the block is over: call the operations inside of it")
    if connection.invalidated:
        raise errors.ConnectionLostError("the connection to the database was lost earlier in this block")


def _translate_in_engine(context: ExceptionContext) -> None:
    # The pool tests its connections and replaces lost ones: that is not an error for the caller.
    if context.is_pre_ping or isinstance(context.original_exception, errors.FastZeroError):
        return
    error = context.sqlalchemy_exception or context.original_exception
    # The server was the primary when the pool connected, and is now a standby: the pool has to connect again.
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True
    # A KeyboardInterrupt also arrives here and is not a database error.
    if isinstance(error, Exception):
        raise translate(error) from context.original_exception


def commits_by_itself(engine: Engine) -> bool:
    """Return whether the engine was created with `autocommit`: every statement is its own transaction."""
    return bool(engine.get_execution_options().get("commits_by_itself"))


def connect(engine: Engine) -> Connection:
    """Return a connection. Raises a FastZeroError also if the pool, not the driver, times out."""
    try:
        return engine.connect()
    except SQLAlchemyError as error:
        raise translate(error) from error


@asynccontextmanager
async def connect_async(engine: "AsyncEngine") -> "AsyncIterator[AsyncConnection]":
    """Open a connection for one block. Raises a FastZeroError like `connect`."""
    try:
        connection = await engine.connect()
    except SQLAlchemyError as error:
        raise translate(error) from error
    try:
        yield connection
    finally:
        await connection.close()


async def driver_connection(connection: "AsyncConnection") -> "psycopg.AsyncConnection[Any]":
    """Return the psycopg connection of a SQLAlchemy connection."""
    found: psycopg.AsyncConnection[Any] | None = (await connection.get_raw_connection()).driver_connection
    assert found is not None
    return found


def connections_allowed(connection: Connection) -> int:
    """Return the number of connections that the server allows for ordinary roles."""
    allowed = """
        SELECT current_setting('max_connections')::int - sum(setting::int) FROM pg_settings
        WHERE name IN ('superuser_reserved_connections', 'reserved_connections')
    """
    return int(connection.execute(text(allowed)).scalar_one())
