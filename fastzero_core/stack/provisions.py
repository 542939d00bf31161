"""Create what a user's application needs in its database: for an action of a plan, or in another database."""

from ..postgres import provisions
from ..postgres.provisions import DatabaseNeeds
from ..postgres.url import parse
from ..project import DATABASE, Project
from .actions import Action, Kind, Verb
from .roles import sessions


def perform(project: Project, action: Action) -> None:
    """Perform an action on the running database: create a schema or an extension, or set the superuser privilege.

    Raises ExtensionMissingError.
    """
    open_session = sessions(project, action.subject.port)
    match action.kind:
        case Kind.SCHEMA:
            provisions.create_schema(open_session, DATABASE, action.name)
        case Kind.EXTENSION:
            provisions.create_extension(open_session, DATABASE, action.name)
        case _:
            provisions.set_superuser(open_session, action.verb is Verb.SET)


def provide(project: Project, database: str, needs: DatabaseNeeds) -> None:
    """Create schemas and extensions in a database of the project's server. Raises ExtensionMissingError."""
    open_session = sessions(project, int(parse(project.database_url())["port"]))
    for name in needs.schemas:
        provisions.create_schema(open_session, database, name)
    for name in needs.extensions:
        provisions.create_extension(open_session, database, name)
