"""The roles of a server that fastzero runs, and what each may do. Through psycopg alone.

postgres       the superuser, which the stack keeps for itself
fastzero       owns the database: migrations, commands, backups and, unless the roles are split, the app
fastzero_app   reads and writes rows and changes nothing else: the app, where the roles are split

Servers that older versions made have one role, the superuser fastzero, which owns everything. `separate` makes two of
it, `unite` one of two. Both take a transaction a database and can be repeated: one that was killed is completed by the
next call.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ConflictError
from . import ownership
from .driver_errors import translate
from .sql import literal, quote

if TYPE_CHECKING:
    import psycopg

SUPERUSER, OWNER, APP = "postgres", "fastzero", "fastzero_app"
TEMPORARY = "fastzero_separation"  # a superuser: one cannot rename itself
BOOTSTRAP = 10  # the oid of the superuser that every server begins with
OWNER_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEROLE CREATEDB NOREPLICATION NOBYPASSRLS"
APP_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS"
MAINTENANCE = "postgres"  # the database where sessions stand that rename or create others

Open = Callable[[str, str], "psycopg.Connection"]
"""Opens a session with OPTIONS that commits by itself, as a role in a database. Raises psycopg.OperationalError."""

# What the superuser does in a database of somebody else must run nothing of theirs: not even their operators, which a
# setting of their database could put before PostgreSQL's own until another setting is made.
OPTIONS = "-c search_path=pg_catalog,pg_temp"
# No log may have a password.
_SAFE = {
    "lock_timeout": "10s",
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "event_triggers": "off",
}
_SET = """
    SELECT set_config(name, %s, false) FROM pg_settings
    WHERE name = %s AND (context = 'user' OR current_setting('is_superuser') = 'on')
"""
_ROW_PRIVILEGES = {"TABLES": "SELECT, INSERT, UPDATE, DELETE", "SEQUENCES": "SELECT, UPDATE, USAGE"}


def creation(password: str, database: str) -> list[str]:
    """Return the statements that make the owner and its database on a new server, each a transaction of its own.

    `password` is as SQL writes it.
    """
    return [
        f"CREATE ROLE {OWNER} {OWNER_ATTRIBUTES} PASSWORD {password}",
        f"CREATE DATABASE {quote(database)} OWNER {OWNER}",
    ]


def set_password(open_session: Open, superuser: str, role: str, password: str) -> None:
    """Change the password of a role. Sessions that are open go on."""
    with opened(open_session, superuser, MAINTENANCE) as session:
        execute(session, f"ALTER ROLE {quote(role)} PASSWORD {literal(password)}")


# -- the app's role --------------------------------------------------------------------------------------------


def admit_app(open_session: Open, database: str, password: str) -> None:
    """Make the app's role, or make it again what it should be: rows of one database, and nothing else."""
    with opened(open_session, SUPERUSER, database) as session, session.transaction():
        verb = "CREATE" if _oid(session, APP) is None else "ALTER"
        execute(session, f"{verb} ROLE {APP} {APP_ATTRIBUTES} PASSWORD {literal(password)}")
        # So that a restore or a reset, which the owner does, can end the app's sessions.
        execute(session, f"GRANT {APP} TO {OWNER}")
        others = names(session, "SELECT datname FROM pg_database WHERE datname <> %s", database)
        for other in others:
            execute(session, f"REVOKE ALL ON DATABASE {quote(other)} FROM PUBLIC")
        execute(session, f"GRANT CONNECT ON DATABASE {MAINTENANCE} TO {OWNER}")
        execute(session, f"REVOKE TEMPORARY ON DATABASE {quote(database)} FROM PUBLIC")
        execute(session, f"GRANT CONNECT ON DATABASE {quote(database)} TO {APP}")
        for statement in row_privileges(names(session, ownership.SCHEMAS, OWNER)):
            execute(session, statement)


def row_privileges(schemas: list[str]) -> Iterator[str]:
    """Yield the statements that let the app use the rows in schemas, of tables that are there and that will be."""
    for schema in map(quote, schemas):
        yield f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
        yield f"GRANT USAGE ON SCHEMA {schema} TO {APP}"
        for kind, privileges in _ROW_PRIVILEGES.items():
            yield f"GRANT {privileges} ON ALL {kind} IN SCHEMA {schema} TO {APP}"
    for kind, privileges in _ROW_PRIVILEGES.items():
        yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT {privileges} ON {kind} TO {APP}"
    yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT USAGE ON SCHEMAS TO {APP}"


def dismiss_app(open_session: Open) -> None:
    """Remove the app's role with all that it was granted."""
    for database in _databases(open_session, SUPERUSER):
        with _allowed(open_session, database), opened(open_session, SUPERUSER, database) as session:
            if _oid(session, APP) is not None:
                execute(session, f"DROP OWNED BY {APP}")
    with opened(open_session, SUPERUSER, MAINTENANCE) as session:
        _end_sessions(session, APP)
        execute(session, f"DROP ROLE IF EXISTS {APP}")


# -- one role becomes two, and back ----------------------------------------------------------------------------


def separate(open_session: Open, database: str, passwords: Mapping[str, str]) -> None:
    """Make the superuser and owner of before into two roles; everything of the user's own is the owner's afterwards.

    The superuser gets another name, and a new role has its old one, with its password, settings, memberships and
    objects in `database`: in one transaction. What else it owned in other databases `hand_over_others` moves.
    Raises ConflictError where somebody else has the superuser's name, DatabaseLoginError.
    """
    if is_separated(open_session, database):  # a killed command has come as far, or the server was taken over
        with opened(open_session, SUPERUSER, database) as session, session.transaction():
            _give_all_to_owner(session)
    else:
        with opened(open_session, OWNER, database) as session:
            _refuse_taken_name(session)
            _make_temporary(session, passwords)
        with opened(open_session, TEMPORARY, database) as session, session.transaction():
            execute(session, f"ALTER ROLE {OWNER} RENAME TO {SUPERUSER}")
            execute(session, f"ALTER ROLE {SUPERUSER} PASSWORD {literal(passwords[SUPERUSER])}")
            execute(session, f"CREATE ROLE {OWNER} PASSWORD {literal(passwords[OWNER])}")
            _give_all_to_owner(session)
    with opened(open_session, SUPERUSER, MAINTENANCE) as session:
        execute(session, f"DROP ROLE IF EXISTS {TEMPORARY}")
        _end_sessions(session, SUPERUSER)  # one that began as the superuser of before would go on as one


def hand_over_others(open_session: Open, database: str) -> None:
    """Give the owner what is still the superuser's in the other databases that the owner has, a transaction each."""
    owned = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = %s AND datname <> %s ORDER BY 1"
    with opened(open_session, SUPERUSER, MAINTENANCE) as session:
        others = names(session, owned, OWNER, database)
    for other in others:
        with _allowed(open_session, other), opened(open_session, SUPERUSER, other) as session, session.transaction():
            ownership.hand_over(session, SUPERUSER, OWNER)


def unite(open_session: Open, database: str, passwords: Mapping[str, str]) -> None:
    """Make one role of two, as older versions have it: the superuser has the owner's name, password and objects."""
    if not is_separated(open_session, database):
        return
    for each in _databases(open_session, SUPERUSER):
        with _allowed(open_session, each), opened(open_session, SUPERUSER, each) as session, session.transaction():
            ownership.hand_over(session, OWNER, SUPERUSER)
            execute(session, f"DROP OWNED BY {OWNER}")  # what it was granted
    with opened(open_session, SUPERUSER, database) as session:
        _make_temporary(session, passwords)
    with opened(open_session, TEMPORARY, database) as session, session.transaction():
        ownership.hand_over_server(session, OWNER, SUPERUSER)
        execute(session, f"DROP ROLE {OWNER}")
        execute(session, f"ALTER ROLE {SUPERUSER} RENAME TO {OWNER}")
        execute(session, f"ALTER ROLE {OWNER} PASSWORD {literal(passwords[OWNER])}")
        _end_sessions(session, OWNER)
    with opened(open_session, OWNER, MAINTENANCE) as session:
        execute(session, f"DROP ROLE {TEMPORARY}")


def is_separated(open_session: Open, database: str) -> bool:
    """Return whether the superuser has a role of its own. Raises DatabaseLoginError."""
    with opened(open_session, OWNER, database) as session:
        return _oid(session, OWNER) != BOOTSTRAP


def _make_temporary(session: "psycopg.Connection", passwords: Mapping[str, str]) -> None:
    verb = "CREATE" if _oid(session, TEMPORARY) is None else "ALTER"
    execute(session, f"{verb} ROLE {TEMPORARY} LOGIN SUPERUSER PASSWORD {literal(passwords[SUPERUSER])}")


def _give_all_to_owner(session: "psycopg.Connection") -> None:
    execute(session, f"ALTER ROLE {OWNER} {OWNER_ATTRIBUTES}")
    ownership.hand_over_server(session, SUPERUSER, OWNER)
    ownership.hand_over(session, SUPERUSER, OWNER)


def _refuse_taken_name(session: "psycopg.Connection") -> None:
    if _oid(session, SUPERUSER) is not None:
        raise ConflictError(
            f"the database has a role {SUPERUSER}, whose name the superuser is to have",
            hint=f"Nothing was changed. Rename it: fastzero db shell, ALTER ROLE {SUPERUSER} RENAME TO another",
        )


def _end_sessions(session: "psycopg.Connection", role: str) -> None:
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()"
    session.execute(ended, (role,))


# -- sessions --------------------------------------------------------------------------------------------------


@contextmanager
def opened(open_session: Open, role: str, database: str) -> "Iterator[psycopg.Connection[tuple[object, ...]]]":
    """A session in which nothing runs but what is said here. Raises FastZeroError."""
    import psycopg

    try:
        with open_session(role, database) as session:
            for name, value in _SAFE.items():
                session.execute(_SET, (value, name))
            yield session
    except psycopg.Error as error:
        raise translate(error) from error


@contextmanager
def _allowed(open_session: Open, database: str) -> Iterator[None]:
    """Let sessions into a database for one block, if it is closed to all."""
    with opened(open_session, SUPERUSER, MAINTENANCE) as session:
        closed = not names(session, "SELECT datname FROM pg_database WHERE datname = %s AND datallowconn", database)
        if closed:
            execute(session, f"ALTER DATABASE {quote(database)} ALLOW_CONNECTIONS true")
        try:
            yield
        finally:
            if closed:
                execute(session, f"ALTER DATABASE {quote(database)} ALLOW_CONNECTIONS false")


def _databases(open_session: Open, role: str) -> list[str]:
    """The databases that may hold something of somebody's."""
    with opened(open_session, role, MAINTENANCE) as session:
        return names(session, "SELECT datname FROM pg_database WHERE datname <> 'template0' ORDER BY 1")


def _oid(session: "psycopg.Connection", role: str) -> object:
    row = session.execute("SELECT oid::int FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    return row and row[0]


def names(session: "psycopg.Connection", query: str, *parameters: str) -> list[str]:
    return [str(row[0]) for row in session.execute(query.encode(), parameters)]


def execute(session: "psycopg.Connection", statement: str) -> None:
    session.execute(statement.encode())
