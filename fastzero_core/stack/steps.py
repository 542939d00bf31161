"""How one service is made, started, replaced and stopped, as actions: in containers, and as a local process. Pure."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence

from ..postgres.provisions import Provisions
from ..postgres.roles import APP, OWNER, SUPERUSER
from ..project import ROLES_OF_BEFORE, ProjectRecord
from .actions import Action, Kind, Verb
from .observed import DataState, Observed, ObservedService, ServiceState, Thing
from .spec import ServiceSpec, StackSpec

NEW, OLD = "-new", "-old"  # after a container's name while it is being replaced
ONE_ROLE = "the database's owner is its superuser, as older versions made it"


def container_name(project: str, service: str) -> str:
    return f"{network_name(project)}-{service}"


def network_name(project: str) -> str:
    return f"fastzero-{project}"


def create(project: str, service: ServiceSpec, observed: Observed, cause: str) -> Iterator[Action]:
    """Make a service that is not there, with its data where it has none, and start it."""
    if service.is_database and observed.data is not DataState.THERE:
        yield make_data(service, cause)
    if not service.image:
        yield Action(Verb.START, Kind.PROCESS, service.name, cause, service.name, subject=service)
        return
    name = container_name(project, service.name)
    yield from make_container(service, name, observed, cause)
    yield Action(Verb.START, Kind.CONTAINER, name, cause, service.name, subject=service)


def make_data(service: ServiceSpec, cause: str) -> Action:
    """The one action that makes the place of a service's data."""
    kind, name = (Kind.VOLUME, service.volume) if service.image else (Kind.DATA, service.data)
    return Action(Verb.CREATE, kind, name, cause, service.name, subject=service)


def make_container(service: ServiceSpec, name: str, observed: Observed, cause: str) -> Iterator[Action]:
    """A container that is ready to be started; data that was there before is of the version that it can read."""
    if service.is_extra and service.volume and service.volume not in observed.volumes:
        yield make_data(service, "it has none yet")
    yield Action(Verb.CREATE, Kind.CONTAINER, name, cause, service.name, subject=service)
    if service.secrets or service.secret_variables:
        yield Action(Verb.FILL, Kind.SECRETS, name, "it reads its secrets from files", service.name, subject=service)
    if service.is_database and observed.data is DataState.THERE:
        cause = f"only PostgreSQL {service.major} can read what it wrote"
        yield Action(Verb.CHECK, Kind.VOLUME, service.volume, cause, service.name, to=name, subject=service)


def start(project: str, service: ServiceSpec, observed: Observed, cause: str) -> Iterator[Action]:
    """Start a service that is stopped, in its container if that is still of use."""
    found = observed.service(service.name)
    if not service.image or (found.thing and found.resumable):
        kind, name = (Kind.CONTAINER, found.thing) if service.image else (Kind.PROCESS, service.name)
        yield Action(Verb.START, kind, name, cause, service.name, subject=service)
        return
    if found.thing:
        yield Action(Verb.REMOVE, Kind.CONTAINER, found.thing, "it cannot be started as it is", service.name)
    yield from create(project, service, observed, cause)


def replace(project: str, service: ServiceSpec, observed: Observed, cause: str) -> Iterator[Action]:
    """Replace what runs. A container is kept, stopped, until the new one is ready."""
    found = observed.service(service.name)
    if not service.image:
        yield from stop(service, found, cause)
        yield Action(Verb.START, Kind.PROCESS, service.name, cause, service.name, subject=service)
        return
    name = container_name(project, service.name)
    yield from make_container(service, f"{name}{NEW}", observed, cause)
    if found.runs:
        yield Action(Verb.STOP, Kind.CONTAINER, name, cause, service.name, subject=service)
    yield Action(
        Verb.RENAME, Kind.CONTAINER, name, "it is kept until the new one is ready", service.name, f"{name}{OLD}"
    )
    yield Action(Verb.RENAME, Kind.CONTAINER, f"{name}{NEW}", "it takes the place", service.name, name)
    yield Action(Verb.START, Kind.CONTAINER, name, cause, service.name, subject=service)


def stop(service: ServiceSpec, found: ObservedService, cause: str) -> Iterator[Action]:
    """Stop what runs of a service, which may run with other settings than it should have."""
    if not found.runs:
        return
    if service.image:
        yield Action(Verb.STOP, Kind.CONTAINER, found.thing, cause, service.name, subject=service)
        return
    yield Action(Verb.STOP, Kind.PROCESS, service.name, cause, service.name, subject=_as_it_runs(service, found))


def take_away(service: ServiceSpec, found: ObservedService, cause: str) -> Iterator[Action]:
    """Stop a service and remove its container."""
    yield from stop(service, found, cause)
    if service.image and found.thing:
        yield Action(Verb.REMOVE, Kind.CONTAINER, found.thing, cause, service.name)


def take_away_orphan(thing: Thing) -> Iterator[Action]:
    """Stop a process or container of a service that is not described any more, and remove the container."""
    yield Action(Verb.STOP, thing.kind, thing.name, thing.cause, thing.service, subject=ServiceSpec(thing.service, 0))
    if thing.kind is Kind.CONTAINER:
        yield Action(Verb.REMOVE, Kind.CONTAINER, thing.name, thing.cause, thing.service)


def remove_data(service: ServiceSpec, cause: str) -> Action:
    kind, name = (Kind.VOLUME, service.volume) if service.image else (Kind.DATA, service.data)
    return Action(Verb.REMOVE, kind, name, cause, service.name)


def without_processes(spec: StackSpec, observed: Observed, record: ProjectRecord) -> tuple[list[Action], Observed]:
    """Stop processes that run as the superuser, while it is made two roles; and what is there without them."""
    if record.roles != ROLES_OF_BEFORE:
        return [], observed
    actions: list[Action] = []
    for process in reversed(spec.processes):
        found = observed.service(process.name)
        if found.runs:
            actions += stop(process, found, ONE_ROLE)
            observed = observed.having(dataclasses.replace(found, state=ServiceState.STOPPED))
    return actions, observed


def change_roles(database: ServiceSpec, roles: Sequence[str]) -> Iterator[Action]:
    """Make the roles that a running database should have, of those that it has."""
    if tuple(roles) == ROLES_OF_BEFORE:
        yield Action(Verb.RENAME, Kind.ROLE, OWNER, ONE_ROLE, database.name, SUPERUSER, subject=database)
        cause = "what the owner has in other databases must stay its own"
        yield Action(Verb.SET, Kind.OWNER, OWNER, cause, database.name, subject=database)
    if APP in database.roles and APP not in roles:
        cause = "the app is to read and write rows, and nothing else"
        yield Action(Verb.CREATE, Kind.ROLE, APP, cause, database.name, subject=database)


def provide(database: ServiceSpec, there: Provisions | None) -> Iterator[Action]:
    """Make what an application needs in its database and does not find there; None: nobody could look yet.

    A superuser's rights are taken away again once they are seen and not asked for.
    """
    needs, name = database.needs, database.name
    cause = "the application needs it" if there else "the application needs it; nothing is done if it is there"
    is_there = there or Provisions()
    for schema in needs.schemas:
        if schema not in is_there.schemas:
            yield Action(Verb.CREATE, Kind.SCHEMA, schema, cause, name, subject=database)
    for extension in needs.extensions:
        if extension not in is_there.extensions:
            yield Action(Verb.CREATE, Kind.EXTENSION, extension, cause, name, subject=database)
    if needs.superuser and not is_there.superuser:
        yield Action(Verb.SET, Kind.PRIVILEGE, "superuser", cause, name, subject=database)
    if is_there.superuser and not needs.superuser:
        cause = "the application does not ask for it any more"
        yield Action(Verb.REMOVE, Kind.PRIVILEGE, "superuser", cause, name, subject=database)


def unite_roles(database: ServiceSpec, roles: Sequence[str], cause: str) -> Iterator[Action]:
    """Make one role of those that a running database has."""
    if APP in roles:
        yield Action(Verb.REMOVE, Kind.ROLE, APP, cause, database.name, subject=database)
    yield Action(Verb.RENAME, Kind.ROLE, SUPERUSER, cause, database.name, OWNER, subject=database)


def surplus_roles(database: ServiceSpec, roles: Sequence[str]) -> tuple[str, ...]:
    """Return the roles that a database has and should not have."""
    return tuple(role for role in roles if role not in database.roles)


def remove_roles(database: ServiceSpec, roles: Sequence[str]) -> Iterator[Action]:
    """Remove roles that no process uses any more."""
    for role in roles:
        yield Action(Verb.REMOVE, Kind.ROLE, role, "no process uses it now", database.name, subject=database)


def _as_it_runs(service: ServiceSpec, found: ObservedService) -> ServiceSpec:
    """A local process with the settings that it runs with, by which it can be started again."""
    if not found.settings:
        return service
    return dataclasses.replace(service.having(found.settings), document=found.document)


def wait(service: ServiceSpec) -> Action:
    """The action that returns once a service is ready."""
    return Action(Verb.WAIT, Kind.SERVICE, service.name, f"until {_readiness(service)}", service.name, subject=service)


def shown(command: Sequence[str]) -> str:
    """Return a command as a person writes it."""
    match command:
        case ("sh", "-c", line):
            return line
    return shlex.join(command)


def _readiness(service: ServiceSpec) -> str:
    if service.is_database:
        return "a login answers a query"
    if service.is_extra and service.health_command:
        return f"`{shown(service.health_command)}` succeeds"
    if not service.port:
        return f"it has run for {service.grace:g} s"
    if service.readiness is None:
        return f"port {service.port} is open"
    if not service.readiness:
        return f"port {service.port} answers"
    return f"{service.readiness} answers{' 200' if service.interpreter else ''}"
