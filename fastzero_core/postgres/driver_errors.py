"""Translate psycopg and SQLAlchemy exceptions to FastZeroErrors.

Uses class names and SQLSTATEs, and the standard library only, so that a readiness check does not load SQLAlchemy.
"""

import re
from typing import Protocol

from .. import errors


def translate(error: BaseException) -> errors.FastZeroError:
    """Return the FastZeroError for a driver's exception, with that exception as its cause."""
    original = getattr(error, "orig", None) or error
    translated = _translate(error, original)
    translated.__cause__ = original
    return translated


class _Diagnostic(Protocol):
    constraint_name: str | None
    message_primary: str | None


_SHARD = re.compile(r"_\d{6,}$")  # Citus appends the number of a shard to the names of its constraints

_BY_CONSTRAINT: dict[str, tuple[type[errors.FastZeroError], str]] = {
    "uq_users_username": (errors.UsernameTakenError, "this username is taken"),
    "uq_users_email": (errors.EmailTakenError, "this e-mail address is taken"),
    # Of the functions of the history of todos.
    "history_is_current": (errors.ConflictError, "todo {} was changed in another way since"),
    "history_has_entries": (errors.NotFoundError, "{}"),
    "uq_lists_name": (errors.ListNameTakenError, "you have a list with this name"),
    "fk_todos_list": (errors.ListNotFoundError, "the list does not exist"),
    "fk_lists_user_id": (errors.UserNotFoundError, "the owner of this list does not exist"),
    "fk_list_members_list": (errors.ListNotFoundError, "the list does not exist"),
    "ck_todos_tags_few": (errors.ConflictError, "a todo may have at most 20 tags"),
    "uq_todos_external_id": (errors.ConflictError, "another import added the same todos at the same time"),
    "fk_todos_user_id": (errors.UserNotFoundError, "the owner of this todo does not exist"),
}

# SQLSTATE → class, most specific first: https://www.postgresql.org/docs/current/errcodes-appendix.html
_BY_SQLSTATE: tuple[tuple[str, type[errors.FastZeroError], str], ...] = (
    ("23", errors.ConflictError, "the database refused this: {}"),
    ("22", errors.InvalidInputError, "the database cannot store this: {}"),
    ("28", errors.DatabaseLoginError, "the database refused the login: {}"),
    ("3D000", errors.DatabaseUnreachableError, "the database does not exist: {}"),
    ("42501", errors.DatabasePrivilegeError, "this role may not do that: {}"),
    ("42P01", errors.SchemaOutdatedError, "the schema is out of date: {}"),
    ("42703", errors.SchemaOutdatedError, "the schema is out of date: {}"),
    ("3F000", errors.SchemaOutdatedError, "the schema is out of date: {}"),
    ("25006", errors.ReadOnlyDatabaseError, "the database is read-only: {}"),
    (
        "25P02",
        errors.ConflictError,
        "an earlier statement in this block failed, so the block cannot run further statements",
    ),
    ("25P03", errors.ConnectionLostError, "the transaction was idle for too long: {}"),
    ("25P04", errors.ConnectionLostError, "the transaction took too long: {}"),
    ("40", errors.DatabaseBusyError, "the transaction conflicted with another session: {}"),
    ("53100", errors.DatabaseFullError, "the database's disk is full: {}"),
    ("53300", errors.PoolExhaustedError, "the database does not accept more connections: {}"),
    ("53", errors.DatabaseBusyError, "the database is short of resources: {}"),
    ("55006", errors.DatabaseBusyError, "another session is using it: {}"),
    ("55P03", errors.DatabaseBusyError, "timed out waiting for a lock: {}"),
    ("57014", errors.StatementTimeoutError, "the statement took too long: {}"),
    ("57P03", errors.DatabaseUnreachableError, "the database is starting up or shutting down: {}"),
    ("57P", errors.ConnectionLostError, "the database ended the connection: {}"),
    ("08", errors.ConnectionLostError, "the connection to the database was lost: {}"),
)

# psycopg has no SQLSTATE for a refused connection, only libpq's message.
_BY_CONNECT_MESSAGE: tuple[tuple[str, type[errors.FastZeroError]], ...] = (
    ("password authentication failed", errors.DatabaseLoginError),
    ("no password supplied", errors.DatabaseLoginError),
    ("no pg_hba.conf entry", errors.DatabaseLoginError),
    ("authentication failed", errors.DatabaseLoginError),
    ("permission denied for database", errors.DatabasePrivilegeError),
    ("too many clients already", errors.PoolExhaustedError),
    ("remaining connection slots", errors.PoolExhaustedError),
    ("too many connections", errors.PoolExhaustedError),
)

# Messages for a server that does not prove by SCRAM that it knows the password.
_BY_WRONG_SERVER = ("authentication method requirement", "incorrect server signature")

# Messages for a server that cannot be used since `target_session_attrs` requires another.
_NOT_WRITABLE = ("session is read-only", "server is in hot standby mode")

# psycopg raises these before it connects.
_UNUSABLE_OPTIONS = ("invalid connection option", "bad value for")
URL_HINT = "Use the form postgresql://user:password@host:5432/database"


def _translate(error: BaseException, original: BaseException) -> errors.FastZeroError:
    if (
        type(error).__module__ == "sqlalchemy.exc"
        and isinstance(error, Exception)
        and type(error).__name__ == "TimeoutError"
    ):
        return errors.PoolExhaustedError("every connection of the pool is in use")
    sqlstate: str | None = getattr(original, "sqlstate", None)
    detail = _detail(original)
    if sqlstate:
        return _from_sqlstate(sqlstate, detail, getattr(original, "diag", None))
    if _is_connection_failure(error, original):
        if any(fragment in str(original) for fragment in _NOT_WRITABLE):  # of any of several servers
            return errors.ReadOnlyDatabaseError(
                "no server of the database accepts writes", hint="Try again: a standby may become the primary"
            )
        return connect_error(detail, lost=bool(getattr(error, "connection_invalidated", False)))
    if detail.startswith(_UNUSABLE_OPTIONS):
        return errors.InvalidInputError(
            f"the database URL cannot be used: {detail}", field="database_url", hint=URL_HINT
        )
    if isinstance(original, ValueError | OverflowError) or type(original).__name__ == "DataError":
        return errors.InvalidInputError(f"the database cannot store this: {detail}")
    return errors.DatabaseError(f"the database layer failed: {type(original).__name__}: {detail}")


def _from_sqlstate(sqlstate: str, detail: str, diagnostic: _Diagnostic | None) -> errors.FastZeroError:
    named = (diagnostic.constraint_name if diagnostic else None) or ""
    constraint = _SHARD.sub("", named)
    if constraint in _BY_CONSTRAINT:
        error_class, message = _BY_CONSTRAINT[constraint]
        return error_class(message.format(detail))
    if sqlstate == "23514":
        return errors.InvalidInputError(f"the database refused this value: {detail}")
    for prefix, error_class, message in _BY_SQLSTATE:
        if sqlstate.startswith(prefix):
            return error_class(message.format(detail))
    return errors.DatabaseError(f"the database failed with {sqlstate}: {detail}")


def _is_connection_failure(error: BaseException, original: BaseException) -> bool:
    names = {cls.__name__ for cls in type(original).__mro__}
    return "OperationalError" in names or bool(getattr(error, "connection_invalidated", False))


def connect_error(detail: str, *, lost: bool = False) -> errors.FastZeroError:
    """Return the error for a failed connection, from libpq's message. With `lost` it had been open before."""
    if any(fragment in detail for fragment in _BY_WRONG_SERVER):
        return errors.WrongServerError(f"the server did not prove that it knows the password: {detail}")
    for fragment, error_class in _BY_CONNECT_MESSAGE:
        if fragment in detail:
            return error_class(f"the database refused the connection: {detail}")
    if 'database "' in detail and "does not exist" in detail:
        return errors.DatabaseUnreachableError(detail)
    # A server that closes while libpq connects says the same, after libpq's own words for that.
    ended = "server closed the connection" in detail or "terminating connection" in detail
    if lost or (ended and not detail.startswith("connection to server")):
        return errors.ConnectionLostError(f"the connection to the database was lost: {detail}")
    return errors.DatabaseUnreachableError(f"the database does not answer: {detail}")


def _detail(original: BaseException) -> str:
    """Return the first line of the driver's message, without the position and the statement."""
    diagnostic = getattr(original, "diag", None)
    primary: str | None = getattr(diagnostic, "message_primary", None)
    lines = [line.strip() for line in (primary or str(original)).splitlines() if line.strip()]
    text = lines[0] if lines else type(original).__name__
    return text.replace("connection failed: ", "").replace("FATAL:  ", "")
