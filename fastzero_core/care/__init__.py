"""Back up, restore, reset and destroy databases. Every such operation goes through this package.

database   DatabaseCare: all operations on a database
stack      Stack: the database of a project; locks the project, starts a stopped database and stops it again
url        UrlDatabase: a database in a URL

Before an operation destroys data it blocks writes and takes a backup, so the backup contains every acknowledged write.
"""

from typing import TYPE_CHECKING

from ..errors import InvalidInputError
from ..events import Listener, ignore
from ..settings import Settings, load_settings
from .database import DatabaseCare, Surplus
from .stack import Stack
from .url import UrlDatabase

if TYPE_CHECKING:
    from ..schema.interface import Schema

__all__ = [
    "DatabaseCare",
    "Stack",
    "Surplus",
    "UrlDatabase",
    "database_of",
    "database_to_destroy",
    "refuse_two_databases",
    "schema_of",
    "stack_of",
]


def database_of(settings: Settings, *, on_event: Listener = ignore) -> DatabaseCare:
    """Return the database in the settings: that of DATABASE_URL, else that of the project's stack."""
    stack = Stack(settings, on_event=on_event)
    if settings.database_url is None:
        return stack
    url = settings.database_url.get_secret_value()
    return stack if stack.serves(url) else UrlDatabase(url, settings, on_event=on_event)


def database_to_destroy(settings: Settings, *, on_event: Listener = ignore) -> DatabaseCare:
    """Return the database in the settings for an operation that destroys data. Raises InvalidInputError if ambiguous.

    It is ambiguous if DATABASE_URL names a database other than the project's, unless the flag --database-url is given.
    A DATABASE_URL that `-p` overrides counts too.
    """
    if not settings.is_flag("database_url"):
        refuse_two_databases(settings, overruled=True)
    return database_of(settings, on_event=on_event)


def stack_of(settings: Settings, *, destroys: bool = False, on_event: Listener = ignore) -> Stack:
    """Return the project's stack. Raises InvalidInputError if DATABASE_URL names another database."""
    refuse_two_databases(settings, overruled=destroys)
    return Stack(settings, on_event=on_event)


def refuse_two_databases(settings: Settings, *, overruled: bool = False) -> None:
    """Raise InvalidInputError if DATABASE_URL names a database other than the project's.

    With `overruled` also if `-p` overrides that DATABASE_URL.
    """
    stack = Stack(settings)
    named = settings.database_url or (load_settings().database_url if overruled else None)
    if named is None or not stack.has_data or stack.serves(named.get_secret_value()):
        return
    url = named.get_secret_value()
    from ..backup.target import address_of

    given, own = address_of(url), address_of(stack.database_url)
    name = "--database-url" if settings.is_flag("database_url") else "DATABASE_URL"
    raise InvalidInputError(
        f"{name} names database {given.database} at {given}, but project {stack.project.name} has its own database at"
        f" {own}",
        field="database_url",
        hint="Unset DATABASE_URL to use the project's database. Or choose a database: --database-url URL",
    )


def schema_of(settings: Settings, *, on_event: Listener = ignore) -> "Schema":
    """Return the schema of the application that uses the database in the settings."""
    from ..schema import migrate

    database = database_of(settings, on_event=on_event)
    if not isinstance(database, Stack):
        return migrate
    session = database.look()
    if session.record is None or session.application is None:
        return migrate
    session.require_trust()
    from ..stack.own_schema import ApplicationSchema

    return ApplicationSchema(session, session.application)
