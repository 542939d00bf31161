"""Create what a user's application needs in its database: for an action of a plan, or in another database."""

from ..errors import ExtensionMissingError
from ..postgres import provisions
from ..postgres.provisions import DatabaseNeeds
from ..postgres.url import parse
from ..project import DATABASE, Project, ProjectRecord
from .actions import Action, Kind, Verb
from .roles import sessions
from .runtime import Runtime
from .spec import StackSpec


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


def refuse_lacking(runtime: Runtime, spec: StackSpec, record: ProjectRecord) -> None:
    """Raise ExtensionMissingError for an extension that the application needs and the runtime does not have."""
    wanted = spec.database.needs.extensions
    available = runtime.extensions() if wanted else None
    lacking = sorted(set(wanted) - (available or set(wanted)))
    if lacking:
        use = "fastzero db move --to docker" if record.initialised else "fastzero up --runtime docker"
        raise ExtensionMissingError(
            f"the embedded PostgreSQL does not have the extension {', '.join(lacking)},"
            " which [application.database] needs",
            hint=f"Use containers: {use}",
        )
