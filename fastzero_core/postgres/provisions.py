"""What an application needs in its database besides its own tables: extensions, schemas, a superuser's rights.

Through psycopg alone. Each statement can be repeated: what is there already stays as it is.
"""

from dataclasses import dataclass

from ..errors import ExtensionMissingError
from .roles import MAINTENANCE, OWNER, SUPERUSER, Open, connected, execute, names
from .sql import quote

_TRUSTED = """
    SELECT v.name FROM pg_available_extensions e
    JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
    WHERE v.name = %s AND (v.trusted OR NOT v.superuser)
"""


@dataclass(frozen=True)
class DatabaseNeeds:
    """What the application needs in its database besides its own tables."""

    schemas: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    superuser: bool = False


@dataclass(frozen=True)
class Provisions:
    """What is in a database: the names of its schemas and extensions, and whether its owner is a superuser."""

    schemas: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()
    superuser: bool = False


def provisions(open_session: Open, database: str) -> Provisions:
    """Return what is in a database. Raises FastZeroError where it does not answer."""
    with connected(open_session, OWNER, database) as session:
        return Provisions(
            frozenset(names(session, "SELECT nspname FROM pg_namespace")),
            frozenset(names(session, "SELECT extname FROM pg_extension")),
            bool(names(session, "SELECT rolname FROM pg_roles WHERE rolname = %s AND rolsuper", OWNER)),
        )


def create_schema(open_session: Open, database: str, name: str) -> None:
    """Create a schema that belongs to the database's owner."""
    with connected(open_session, OWNER, database) as session:
        execute(session, f"CREATE SCHEMA IF NOT EXISTS {quote(name)}")


def create_extension(open_session: Open, database: str, name: str) -> None:
    """Create an extension and those that it requires, in the schema public unless it has one of its own.

    It belongs to the database's owner where an owner may create it, else to the superuser.
    Raises ExtensionMissingError where the server does not have it.
    """
    with connected(open_session, SUPERUSER, database) as session:
        if not names(session, "SELECT name FROM pg_available_extensions WHERE name = %s", name):
            raise ExtensionMissingError(f"this PostgreSQL does not have the extension {name!r}")
        role = OWNER if names(session, _TRUSTED, name) else SUPERUSER
    with connected(open_session, role, database) as session:
        execute(session, "SET search_path = public")
        execute(session, f"CREATE EXTENSION IF NOT EXISTS {quote(name)} CASCADE")


def set_superuser(open_session: Open, is_superuser: bool) -> None:
    """Give the database's owner a superuser's rights, or take them away."""
    with connected(open_session, SUPERUSER, MAINTENANCE) as session:
        execute(session, f"ALTER ROLE {OWNER} {'SUPERUSER' if is_superuser else 'NOSUPERUSER'}")
