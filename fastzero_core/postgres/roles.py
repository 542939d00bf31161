"""Create and change the roles of a server that fastzero runs. Uses psycopg without SQLAlchemy.

postgres       the superuser, used only by the stack itself
fastzero       owns the database: used by migrations, commands, backups and, unless the roles are split, the app
fastzero_app   can only read and write rows: used by the app if the roles are split
fastzero_replication   belongs to a server and not to its data: used by standbys

Servers created by older versions have one role, the superuser fastzero, which owns everything. `separate` splits it
into two roles, `unite` merges them. Both use one transaction per database and can be repeated: the next call completes
one that was killed.
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
REPLICATION = "fastzero_replication"
REPLICATION_PASSWORD = "replication_password"  # noqa: S105 - the name of its secret
STAND_INS = {OWNER: "fastzero_stand_in", APP: "fastzero_app_stand_in"}
"""The role with which processes log in while the password of another role is changed: they have all of its rights."""
TEMPORARY = "fastzero_separation"  # a second superuser, since a role cannot rename itself
BOOTSTRAP = 10  # the oid of the superuser that initdb creates
OWNER_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEROLE CREATEDB NOREPLICATION NOBYPASSRLS"
APP_ATTRIBUTES = "LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS"
MAINTENANCE = "postgres"  # the database to connect to when others are renamed or created

Open = Callable[[str, str], "psycopg.Connection"]
"""Open an autocommit session with OPTIONS, as a role in a database. Raises psycopg.OperationalError."""

# The superuser must not run code of another role in that role's database. Its settings could put the role's operators
# before PostgreSQL's in the search path, so this is set when the session starts.
OPTIONS = "-c search_path=pg_catalog,pg_temp"
# Passwords must not be logged.
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
    """Return the statements that create the owner and its database on a new server, each for its own transaction.

    `password` is an SQL literal.
    """
    return [
        f"CREATE ROLE {OWNER} {OWNER_ATTRIBUTES} PASSWORD {password}",
        f"CREATE DATABASE {quote(database)} OWNER {OWNER}",
    ]


def set_password(open_session: Open, superuser: str, role: str, password: str) -> None:
    """Change the password of a role. Does not end open sessions."""
    with connected(open_session, superuser, MAINTENANCE) as session:
        execute(session, f"ALTER ROLE {quote(role)} PASSWORD {literal(password)}")


# -- the app's role --------------------------------------------------------------------------------------------


def admit_app(open_session: Open, database: str, password: str) -> None:
    """Create the app's role, or reset its privileges: it can use the rows of one database, and nothing else."""
    with connected(open_session, SUPERUSER, database) as session, session.transaction():
        verb = "CREATE" if _oid(session, APP) is None else "ALTER"
        execute(session, f"{verb} ROLE {APP} {APP_ATTRIBUTES} PASSWORD {literal(password)}")
        # The owner must be able to end the app's sessions in a restore or a reset.
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
    """Yield the statements that let the app use the rows of all existing and future tables in these schemas."""
    for schema in map(quote, schemas):
        yield f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
        yield f"GRANT USAGE ON SCHEMA {schema} TO {APP}"
        for kind, privileges in _ROW_PRIVILEGES.items():
            yield f"GRANT {privileges} ON ALL {kind} IN SCHEMA {schema} TO {APP}"
    for kind, privileges in _ROW_PRIVILEGES.items():
        yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT {privileges} ON {kind} TO {APP}"
    yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT USAGE ON SCHEMAS TO {APP}"


def dismiss_app(open_session: Open) -> None:
    """Drop the app's role and all its privileges."""
    for database in _databases(open_session, SUPERUSER):
        with _connections_allowed(open_session, database), connected(open_session, SUPERUSER, database) as session:
            if _oid(session, APP) is not None:
                execute(session, f"DROP OWNED BY {APP}")
    with connected(open_session, SUPERUSER, MAINTENANCE) as session:
        _end_sessions(session, APP)
        execute(session, f"DROP ROLE IF EXISTS {APP}")


# -- stand-ins -------------------------------------------------------------------------------------------------


def admit_stand_in(open_session: Open, role: str, password: str) -> None:
    """Create the stand-in of a role, or change its password: it logs in, and then acts as the role itself."""
    name = STAND_INS[role]
    with connected(open_session, SUPERUSER, MAINTENANCE) as session, session.transaction():
        if _oid(session, name) is None:
            execute(session, f"CREATE ROLE {name} LOGIN IN ROLE {role}")
        execute(session, f"ALTER ROLE {name} PASSWORD {literal(password)}")
        execute(session, f"ALTER ROLE {name} SET role = {role}")


def dismiss_stand_in(open_session: Open, database: str, role: str) -> None:
    """Drop the stand-in of a role. The role gets what a process may have created as the stand-in."""
    name = STAND_INS[role]
    with connected(open_session, SUPERUSER, database) as session:
        if _oid(session, name) is not None:
            _end_sessions(session, name)
            execute(session, f"REASSIGN OWNED BY {name} TO {role}")
            execute(session, f"DROP OWNED BY {name}")
            execute(session, f"DROP ROLE {name}")


# -- split one role into two, and merge them -------------------------------------------------------------------


def separate(open_session: Open, database: str, passwords: Mapping[str, str]) -> None:
    """Split the single role of older versions into a superuser and an owner. The owner gets all objects of the user.

    In one transaction, the superuser is renamed, and a new role gets its old name, password, settings, memberships and
    objects in `database`. `hand_over_others` reassigns its objects in other databases.
    Raises ConflictError if another role has the superuser's new name, DatabaseLoginError.
    """
    if is_separated(open_session, database):  # by a killed command, or before the server was taken over
        with connected(open_session, SUPERUSER, database) as session, session.transaction():
            _reassign_to_owner(session)
    else:
        with connected(open_session, OWNER, database) as session:
            _refuse_taken_name(session)
            _make_temporary(session, passwords)
        with connected(open_session, TEMPORARY, database) as session, session.transaction():
            execute(session, f"ALTER ROLE {OWNER} RENAME TO {SUPERUSER}")
            execute(session, f"ALTER ROLE {SUPERUSER} PASSWORD {literal(passwords[SUPERUSER])}")
            execute(session, f"CREATE ROLE {OWNER} PASSWORD {literal(passwords[OWNER])}")
            _reassign_to_owner(session)
    with connected(open_session, SUPERUSER, MAINTENANCE) as session:
        execute(session, f"DROP ROLE IF EXISTS {TEMPORARY}")
        _end_sessions(session, SUPERUSER)  # sessions of the old role would continue as a superuser


def hand_over_others(open_session: Open, database: str) -> None:
    """Reassign the superuser's objects in the owner's other databases to the owner, in one transaction each."""
    owned = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = %s AND datname <> %s ORDER BY 1"
    with connected(open_session, SUPERUSER, MAINTENANCE) as session:
        others = names(session, owned, OWNER, database)
    for other in others:
        with (
            _connections_allowed(open_session, other),
            connected(open_session, SUPERUSER, other) as session,
            session.transaction(),
        ):
            ownership.reassign_objects(session, SUPERUSER, OWNER)


def unite(open_session: Open, database: str, passwords: Mapping[str, str]) -> None:
    """Merge the two roles into one, as in older versions: a superuser with the owner's name, password and objects."""
    if not is_separated(open_session, database):
        return
    for each in _databases(open_session, SUPERUSER):
        with (
            _connections_allowed(open_session, each),
            connected(open_session, SUPERUSER, each) as session,
            session.transaction(),
        ):
            ownership.reassign_objects(session, OWNER, SUPERUSER)
            execute(session, f"DROP OWNED BY {OWNER}")  # revokes its privileges
    with connected(open_session, SUPERUSER, database) as session:
        _make_temporary(session, passwords)
    with connected(open_session, TEMPORARY, database) as session, session.transaction():
        ownership.reassign_server_objects(session, OWNER, SUPERUSER)
        execute(session, f"DROP ROLE {OWNER}")
        execute(session, f"ALTER ROLE {SUPERUSER} RENAME TO {OWNER}")
        execute(session, f"ALTER ROLE {OWNER} PASSWORD {literal(passwords[OWNER])}")
        _end_sessions(session, OWNER)
    with connected(open_session, OWNER, MAINTENANCE) as session:
        execute(session, f"DROP ROLE {TEMPORARY}")


def is_separated(open_session: Open, database: str) -> bool:
    """Return whether the superuser and the owner are separate roles. Raises DatabaseLoginError."""
    with connected(open_session, OWNER, database) as session:
        return _oid(session, OWNER) != BOOTSTRAP


def _make_temporary(session: "psycopg.Connection", passwords: Mapping[str, str]) -> None:
    verb = "CREATE" if _oid(session, TEMPORARY) is None else "ALTER"
    execute(session, f"{verb} ROLE {TEMPORARY} LOGIN SUPERUSER PASSWORD {literal(passwords[SUPERUSER])}")


def _reassign_to_owner(session: "psycopg.Connection") -> None:
    execute(session, f"ALTER ROLE {OWNER} {OWNER_ATTRIBUTES}")
    ownership.reassign_server_objects(session, SUPERUSER, OWNER)
    ownership.reassign_objects(session, SUPERUSER, OWNER)


def _refuse_taken_name(session: "psycopg.Connection") -> None:
    if _oid(session, SUPERUSER) is not None:
        raise ConflictError(
            f"role {SUPERUSER} already exists, but the superuser needs this name",
            hint=f"Nothing was changed. Rename it: fastzero db shell, ALTER ROLE {SUPERUSER} RENAME TO another",
        )


def _end_sessions(session: "psycopg.Connection", role: str) -> None:
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()"
    session.execute(ended, (role,))


# -- sessions --------------------------------------------------------------------------------------------------


@contextmanager
def connected(open_session: Open, role: str, database: str) -> "Iterator[psycopg.Connection[tuple[object, ...]]]":
    """Open a session that logs no statements and runs no event triggers. Raises FastZeroError."""
    import psycopg

    try:
        with open_session(role, database) as session:
            for name, value in _SAFE.items():
                session.execute(_SET, (value, name))
            yield session
    except psycopg.Error as error:
        raise translate(error) from error


@contextmanager
def _connections_allowed(open_session: Open, database: str) -> Iterator[None]:
    """Allow connections to a database for one block, if they are forbidden."""
    with connected(open_session, SUPERUSER, MAINTENANCE) as session:
        closed = not names(session, "SELECT datname FROM pg_database WHERE datname = %s AND datallowconn", database)
        if closed:
            execute(session, f"ALTER DATABASE {quote(database)} ALLOW_CONNECTIONS true")
        try:
            yield
        finally:
            if closed:
                execute(session, f"ALTER DATABASE {quote(database)} ALLOW_CONNECTIONS false")


def _databases(open_session: Open, role: str) -> list[str]:
    """Return all databases except template0, which cannot contain objects of users."""
    with connected(open_session, role, MAINTENANCE) as session:
        return names(session, "SELECT datname FROM pg_database WHERE datname <> 'template0' ORDER BY 1")


def _oid(session: "psycopg.Connection", role: str) -> object:
    row = session.execute("SELECT oid::int FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    return row and row[0]


def names(session: "psycopg.Connection", query: str, *parameters: str) -> list[str]:
    return [str(row[0]) for row in session.execute(query.encode(), parameters)]


def execute(session: "psycopg.Connection", statement: str) -> None:
    session.execute(statement.encode())
