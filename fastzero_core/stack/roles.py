"""The roles of a project's database: what a plan does to them, as what it was handed over says."""

from typing import TYPE_CHECKING

from ..postgres import roles
from ..postgres.roles import APP, SUPERUSER, TEMPORARY, Open
from ..postgres.url import url_of
from ..project import DATABASE, HOST, Project
from .actions import Action, Kind, Verb

if TYPE_CHECKING:
    import psycopg

CONNECT_TIMEOUT = 5  # seconds


def perform(project: Project, action: Action) -> None:
    """Change the roles of the database that an action is about, which answers. Raises FastZeroError."""
    open_session, passwords = sessions(project, action.subject.port), project.passwords()
    match action.verb, action.kind:
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


def sessions(project: Project, port: int) -> Open:
    """Return what opens sessions on the project's server."""

    def open_session(role: str, database: str) -> "psycopg.Connection":
        import psycopg

        known = SUPERUSER if role == TEMPORARY else role
        url = url_of(project.url(known, port, host=HOST), database)
        return psycopg.connect(
            url, user=role, connect_timeout=CONNECT_TIMEOUT, application_name="fastzero", autocommit=True
        )

    return open_session
