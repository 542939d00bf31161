"""The care of databases: backup, restore, reset and what else replaces or destroys one. The only door to these.

database   DatabaseCare: every operation, whoever runs the database
stack      Stack: a project's own; it holds the project's lock, starts a stopped database and stops it again
url        UrlDatabase: one that a URL names

What destroys backs up first, and holds writes meanwhile: nothing that was acknowledged is missing from the backup.
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
    """Return the database that the settings name: the one of DATABASE_URL, else that of the project's stack."""
    stack = Stack(settings, on_event=on_event)
    if settings.database_url is None:
        return stack
    url = settings.database_url.get_secret_value()
    return stack if stack.serves(url) else UrlDatabase(url, settings, on_event=on_event)


def database_to_destroy(settings: Settings, *, on_event: Listener = ignore) -> DatabaseCare:
    """Return the same, unless it is another than the project's own and no flag names it. Raises InvalidInputError.

    A DATABASE_URL that `-p` overrules counts here: whoever destroys must mean one database alone.
    """
    if not settings.is_flag("database_url"):
        refuse_two_databases(settings, overruled=True)
    return database_of(settings, on_event=on_event)


def stack_of(settings: Settings, *, destroys: bool = False, on_event: Listener = ignore) -> Stack:
    """Return the project's stack. Raises InvalidInputError where DATABASE_URL names another database than its own."""
    refuse_two_databases(settings, overruled=destroys)
    return Stack(settings, on_event=on_event)


def refuse_two_databases(settings: Settings, *, overruled: bool = False) -> None:
    """Raise InvalidInputError where DATABASE_URL names another database than the project has.

    With `overruled` also where `-p` has put that DATABASE_URL out of force.
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
        hint="Unset DATABASE_URL to go on with the project's own. Or say which one you mean: --database-url URL",
    )


def schema_of(settings: Settings, *, on_event: Listener = ignore) -> "Schema":
    """The schema that the database of the settings should have, of whichever application."""
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
