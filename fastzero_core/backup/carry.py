"""Copy roles, database properties and ALTER SYSTEM settings from one server to another, new one."""

import re
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Connection, text

from .. import parameters
from ..errors import DatabaseError, InvalidInputError
from ..events import Listener, Notice, ignore
from . import content, properties, roles
from .server import Server, open_server

# These settings name files in the old data directory, which is not copied. Without the files a server does not start.
_FILE_SETTING = re.compile(r"ssl|.*(file|_dir)")
_SYSTEM_SETTINGS = text(
    "SELECT lower(name), setting FROM pg_file_settings WHERE sourcefile ~ 'postgresql[.]auto[.]conf$' ORDER BY seqno"
)


def carry_roles(source: str, to: str, on_event: Listener = ignore) -> None:
    """Create the roles of one database's server on another's, with their passwords, settings and memberships.

    A membership keeps its options, and also its grantor if the new server allows it; a Notice reports each that does
    not. Requires a superuser on both servers.
    """
    with open_server(source, exclusive=False) as old, open_server(to, exclusive=False) as new:
        for statement in roles.creations(old.session, roles.names(new.session)):
            content.execute(new.session, statement)
        for membership in _memberships(old, new):
            content.execute(new.session, membership.grant(new.major))
            if membership.former:
                on_event(Notice(_another_grantor(membership)))
        for role, name, value in roles.settings(old.session):
            what = f"setting {name} of role {role}"
            _apply(new.session, f"ALTER ROLE {role} {properties.assignment(name, value)}", what, on_event)


def carry_properties(source: str, to: str) -> None:
    """Copy the connection limit, comment, grants and settings of a database to one of the same name elsewhere."""
    with open_server(source, exclusive=False) as old, open_server(to, exclusive=False) as new:
        for statement in properties.statements(old.session, old.name):
            content.execute(new.session, statement)


def carry_system_settings(source: str, to: str, on_event: Listener = ignore) -> None:
    """Copy the ALTER SYSTEM settings of one database's server to another's. They apply when the server next starts.

    Skips, with a Notice, settings that the new server does not know, libraries that it cannot load, and settings that
    need a file of the old data directory. Skips without a Notice what the stack sets. Requires a superuser.
    """
    with open_server(source, exclusive=False) as old, open_server(to, exclusive=False) as new:
        for name, value in _system_settings(old.session).items():
            what = f"ALTER SYSTEM setting {name}"
            if reason := _reason_to_skip(new.session, name, value):
                on_event(Notice(f"skipped {what}: {reason}"))
            else:
                _apply(new.session, f"ALTER SYSTEM {properties.assignment(name, value)}", what, on_event)


def system_settings(url: str) -> list[str]:
    """Return the names of the ALTER SYSTEM settings of a database's server, without those that the stack sets."""
    with open_server(url, exclusive=False) as server:
        return list(_system_settings(server.session))


def _memberships(old: Server, new: Server) -> Iterable[roles.Membership]:
    granted = roles.memberships(old.session)
    return granted if new.major < roles.OPTIONS_SINCE else roles.in_order(granted)


def _another_grantor(membership: roles.Membership) -> str:
    return (
        f"role {membership.member} is now a member of {membership.role} by a grant of the superuser: the previous "
        f"grantor {membership.former} does not have the ADMIN option on it"
    )


def _apply(session: Connection, statement: str, what: str, on_event: Listener) -> None:
    """Run a statement; if the new server's version rejects it, skip it with a Notice."""
    try:
        content.execute(session, statement)
    except (DatabaseError, InvalidInputError) as error:
        on_event(Notice(f"skipped {what}: {error.message}"))


def _system_settings(session: Connection) -> dict[str, str]:
    rows = session.execute(_SYSTEM_SETTINGS)
    return {name: value for name, value in rows if name not in parameters.DECIDED}


def _reason_to_skip(session: Connection, name: str, value: str) -> str:
    if _FILE_SETTING.fullmatch(name):
        return "the file that it needs stays in the old data directory"
    if not name.endswith("_preload_libraries"):
        return ""
    missing = sorted({Path(each).name.removesuffix(".so") for each in properties.elements(value)} - _libraries(session))
    return f"the new server does not have the library {', '.join(missing)}" if missing else ""


def _libraries(session: Connection) -> set[str]:
    found = session.execute(text("SELECT pg_ls_dir(setting) FROM pg_config WHERE name = 'PKGLIBDIR'")).scalars()
    return {Path(name).stem for name in found} | {""}
