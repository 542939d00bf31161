"""Change the roles of a project's database."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import DatabaseLoginError
from ..postgres import roles
from ..postgres.roles import APP, STAND_INS, SUPERUSER, TEMPORARY, Open
from ..postgres.url import parse, render
from ..project import DATABASE, PASSWORDS, Project
from .actions import Action, Kind, Verb
from .surroundings import STAND_IN_PASSWORD

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT = 5  # seconds
STANDS_FOR = {name: role for role, name in STAND_INS.items()}


def perform(project: Project, action: Action) -> None:
    """Perform an action on the roles of the running database. Raises FastZeroError."""
    if (action.verb, action.kind) == (Verb.SET, Kind.ROLE):
        _set_password(project, action)
        return
    open_session, passwords = sessions(project, action.subject.port), project.passwords()
    match action.verb, action.kind:
        case Verb.CREATE, _ if action.name in STANDS_FOR:
            roles.admit_stand_in(open_session, STANDS_FOR[action.name], project.secret(STAND_IN_PASSWORD))
        case Verb.REMOVE, _ if action.name in STANDS_FOR:
            roles.dismiss_stand_in(open_session, DATABASE, STANDS_FOR[action.name])
        case Verb.RENAME, _ if action.to == SUPERUSER:
            roles.separate(open_session, DATABASE, passwords)
        case Verb.RENAME, _:
            roles.unite(open_session, DATABASE, passwords)
        case Verb.SET, Kind.OWNER:
            roles.hand_over_others(open_session, DATABASE)
        case Verb.CREATE, _:
            roles.admit_app(open_session, DATABASE, passwords[APP])
        case Verb.REMOVE, _:
            roles.dismiss_app(open_session)


def _set_password(project: Project, action: Action) -> None:
    """Change a role's password on the running server, which may have been done already, by a command that was killed.

    The superuser's is changed by the superuser itself, with the password that the server still has, or has already.
    """
    service, before, after = action.subject
    record = project.record
    superuser = record.roles[0] if record else SUPERUSER
    known = (before, after) if action.name == superuser else (project.secret(PASSWORDS[superuser]),)
    for password in known:
        open_session = sessions(project, service.port, {superuser: password})
        try:
            roles.set_password(open_session, superuser, action.name, after)
            return
        except DatabaseLoginError:
            if password == known[-1]:
                raise


def sessions(project: Project, port: int, passwords: Mapping[str, str] | None = None) -> Open:
    """Return a function that opens sessions on the project's server.

    It uses the project's passwords, except for roles in `passwords`.
    """

    def open_session(role: str, database: str) -> "psycopg.Connection":
        import psycopg

        known = SUPERUSER if role == TEMPORARY else role
        options = {**parse(project.url(known, port)), "user": role, "dbname": database}
        options["password"] = (passwords or {}).get(role, options["password"])
        return psycopg.connect(
            render(options),
            connect_timeout=CONNECT_TIMEOUT,
            application_name="fastzero",
            options=roles.OPTIONS,
            autocommit=True,
        )

    return open_session
