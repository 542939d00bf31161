"""What a driver's error means: psycopg's and SQLAlchemy's exceptions as FastZeroErrors.

Standard library only, by names and SQLSTATEs, so that a readiness check need not load SQLAlchemy.
"""

from typing import Protocol

from .. import errors


def translate(error: BaseException) -> errors.FastZeroError:
    """The FastZeroError that says what a driver's exception means; the exception becomes its cause."""
    original = getattr(error, "orig", None) or error
    translated = _translate(error, original)
    translated.__cause__ = original
    return translated


class _Diagnostic(Protocol):
    constraint_name: str | None
    message_primary: str | None


_BY_CONSTRAINT: dict[str | None, tuple[type[errors.FastZeroError], str]] = {
    "uq_users_username": (errors.UsernameTakenError, "this username is taken"),
    "uq_users_email": (errors.EmailTakenError, "this e-mail address is taken"),
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
        "an earlier statement of this block failed, so that nothing more can be done in it",
    ),
    ("25P03", errors.ConnectionLostError, "the transaction was idle for too long: {}"),
    ("25P04", errors.ConnectionLostError, "the transaction took too long: {}"),
    ("40", errors.DatabaseBusyError, "another session was in the way: {}"),
    ("53100", errors.DatabaseFullError, "the database's disk is full: {}"),
    ("53300", errors.PoolExhaustedError, "the database takes no more connections: {}"),
    ("53", errors.DatabaseBusyError, "the database is short of resources: {}"),
    ("55006", errors.DatabaseBusyError, "another session uses it: {}"),
    ("55P03", errors.DatabaseBusyError, "a lock was not to be had in time: {}"),
    ("57014", errors.StatementTimeoutError, "the statement took too long: {}"),
    ("57P03", errors.DatabaseUnreachableError, "the database is starting up or shutting down: {}"),
    ("57P", errors.ConnectionLostError, "the database ended the connection: {}"),
    ("08", errors.ConnectionLostError, "the connection to the database was lost: {}"),
)

# A refused connection has no SQLSTATE in psycopg: libpq only hands its text on.
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

# Of a server that does not prove, as SCRAM has it, that it knows the password.
_BY_ANOTHER_SERVER = ("authentication method requirement", "incorrect server signature")

# psycopg refuses these before it connects.
_UNUSABLE_OPTIONS = ("invalid connection option", "bad value for")
URL_HINT = "It looks like postgresql://user:password@host:5432/database"


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
        return connect_error(detail, lost=bool(getattr(error, "connection_invalidated", False)))
    if detail.startswith(_UNUSABLE_OPTIONS):
        return errors.InvalidInputError(
            f"the database URL cannot be used: {detail}", field="database_url", hint=URL_HINT
        )
    if isinstance(original, ValueError | OverflowError) or type(original).__name__ == "DataError":
        return errors.InvalidInputError(f"the database cannot store this: {detail}")
    return errors.DatabaseError(f"the database layer failed: {type(original).__name__}: {detail}")


def _from_sqlstate(sqlstate: str, detail: str, diagnostic: _Diagnostic | None) -> errors.FastZeroError:
    constraint = diagnostic.constraint_name if diagnostic else None
    if constraint in _BY_CONSTRAINT:
        error_class, message = _BY_CONSTRAINT[constraint]
        return error_class(message)
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
    """What a failed connection means, from libpq's text. `lost`: it had been open before."""
    if any(fragment in detail for fragment in _BY_ANOTHER_SERVER):
        return errors.WrongServerError(f"this is not the database that was meant: {detail}")
    for fragment, error_class in _BY_CONNECT_MESSAGE:
        if fragment in detail:
            return error_class(f"the database refused the connection: {detail}")
    if 'database "' in detail and "does not exist" in detail:
        return errors.DatabaseUnreachableError(detail)
    if lost or "server closed the connection" in detail or "terminating connection" in detail:
        return errors.ConnectionLostError(f"the connection to the database was lost: {detail}")
    return errors.DatabaseUnreachableError(f"the database does not answer: {detail}")


def _detail(original: BaseException) -> str:
    """One line of the driver's own words: the server's message without position or statement."""
    diagnostic = getattr(original, "diag", None)
    primary: str | None = getattr(diagnostic, "message_primary", None)
    lines = [line.strip() for line in (primary or str(original)).splitlines() if line.strip()]
    text = lines[0] if lines else type(original).__name__
    return text.replace("connection failed: ", "").replace("FATAL:  ", "")
