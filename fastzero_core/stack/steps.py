"""Plan the actions that create, start, replace and stop one service, as a container or as a local process. Pure."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence

from ..postgres.provisions import Provisions
from ..postgres.roles import APP, OWNER, SUPERUSER
from ..project import ROLES_OF_BEFORE, ProjectRecord
from .actions import NEW, OLD, Action, Kind, Verb
from .observed import DataState, Observed, ObservedService, ServiceState, Thing
from .spec import ServiceSpec, StackSpec

ONE_ROLE = "the database's owner is its superuser, as older versions made it"


def container_name(project: str, service: str) -> str:
    return f"{network_name(project)}-{service}"


def network_name(project: str, which: str = "") -> str:
    """Return the name of the network in which a project's services meet, or of a further one."""
    return f"fastzero-{project}{f'-{which}' if which else ''}"


def create(project: str, service: ServiceSpec, observed: Observed, cause: str) -> Iterator[Action]:
    """Yield the actions that create a service, and its data if it has none, and start it."""
    if service.is_database and observed.data is not DataState.THERE and not service.is_member:
        yield make_data(service, cause)
    if not service.image:
        yield Action(Verb.START, Kind.PROCESS, service.name, cause, service.name, subject=service)
        return
    if service.deploy:
        yield from deploy(project, service, observed, cause, Verb.CREATE)
        return
    name = container_name(project, service.name)
    yield from make_container(service, name, observed, cause)
    yield Action(Verb.START, Kind.CONTAINER, name, cause, service.name, subject=service)


def deploy(
    project: str, service: ServiceSpec, observed: Observed, cause: str, verb: Verb = Verb.UPDATE
) -> Iterator[Action]:
    """Yield the actions that create or update a service of a swarm, with the secrets and configs that it lacks."""
    is_pinned = service.deploy is not None and bool(service.deploy.node)
    has_data = service.is_extra and bool(service.volume) and is_pinned and not service.is_member
    if verb is Verb.CREATE and has_data and service.volume not in observed.volumes:
        yield make_data(service, "it has none yet")
    for thing in observed.lacking:
        if thing.service == service.name:
            yield Action(Verb.CREATE, thing.kind, thing.name, thing.cause, service.name, subject=service)
    name = container_name(project, service.name)
    yield Action(verb, Kind.SERVICE, name, cause, service.name, subject=service)


def roll(project: str, service: ServiceSpec, cause: str) -> Action:
    """Return the action that replaces each task of a service in a swarm, one after the other."""
    return Action(
        Verb.RESTART, Kind.SERVICE, container_name(project, service.name), cause, service.name, subject=service
    )


def make_data(service: ServiceSpec, cause: str) -> Action:
    """Return the action that creates the volume or directory of a service's data."""
    kind, name = (Kind.VOLUME, service.volume) if service.image else (Kind.DATA, service.data)
    return Action(Verb.CREATE, kind, name, cause, service.name, subject=service)


def make_container(service: ServiceSpec, name: str, observed: Observed, cause: str) -> Iterator[Action]:
    """Yield the actions that create a container ready to start, and check that a database can read existing data."""
    if service.is_extra and service.volume and service.volume not in observed.volumes:
        yield make_data(service, "it has none yet")
    yield Action(Verb.CREATE, Kind.CONTAINER, name, cause, service.name, subject=service)
    if service.secrets or service.secret_variables:
        yield Action(Verb.FILL, Kind.SECRETS, name, "it reads its secrets from files", service.name, subject=service)
    if service.is_database and observed.data is DataState.THERE:
        cause = f"only PostgreSQL {service.major} can read what it wrote"
        yield Action(Verb.CHECK, Kind.VOLUME, service.volume, cause, service.name, to=name, subject=service)


def start(project: str, service: ServiceSpec, observed: Observed, cause: str) -> Iterator[Action]:
    """Yield the actions that start a stopped service, in its container if that can still be used, else in a new one."""
    found = observed.service(service.name)
    if not service.image or (found.thing and found.resumable):
        kind, name = (_kind(service), found.thing) if service.image else (Kind.PROCESS, service.name)
        yield Action(Verb.START, kind, name, cause, service.name, subject=service)
        return
    if found.thing:
        yield Action(Verb.REMOVE, Kind.CONTAINER, found.thing, "it cannot be started as it is", service.name)
    yield from create(project, service, observed, cause)


def replace(project: str, service: ServiceSpec, observed: Observed, cause: str) -> Iterator[Action]:
    """Yield the actions that replace a service. The old container is stopped, and kept until the new one is ready."""
    found = observed.service(service.name)
    if not service.image:
        yield from stop(service, found, cause)
        yield Action(Verb.START, Kind.PROCESS, service.name, cause, service.name, subject=service)
        return
    if service.deploy:
        yield from deploy(project, service, observed, cause)
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
    """Yield the action that stops a service if it runs. Its current settings may differ from its specification."""
    if not found.runs:
        return
    if service.image:
        yield Action(Verb.STOP, _kind(service), found.thing, cause, service.name, subject=service)
        return
    yield Action(Verb.STOP, Kind.PROCESS, service.name, cause, service.name, subject=_as_it_runs(service, found))


def take_away(service: ServiceSpec, found: ObservedService, cause: str) -> Iterator[Action]:
    """Yield the actions that stop a service and remove its container."""
    if not service.deploy:
        yield from stop(service, found, cause)
    if service.image and found.thing:
        yield Action(Verb.REMOVE, _kind(service), found.thing, cause, service.name, subject=service)


def _kind(service: ServiceSpec) -> Kind:
    return Kind.SERVICE if service.deploy else Kind.CONTAINER


def take_away_orphan(thing: Thing) -> Iterator[Action]:
    """Yield the actions that stop a service that is no longer described, and remove its container."""
    if thing.kind is Kind.SERVICE:
        yield Action(Verb.REMOVE, thing.kind, thing.name, thing.cause, thing.service)
        return
    yield Action(Verb.STOP, thing.kind, thing.name, thing.cause, thing.service, subject=ServiceSpec(thing.service, 0))
    if thing.kind is Kind.CONTAINER:
        yield Action(Verb.REMOVE, Kind.CONTAINER, thing.name, thing.cause, thing.service)


def remove_data(service: ServiceSpec, cause: str) -> Action:
    kind, name = (Kind.VOLUME, service.volume) if service.image else (Kind.DATA, service.data)
    return Action(Verb.REMOVE, kind, name, cause, service.name)


def without_processes(spec: StackSpec, observed: Observed, record: ProjectRecord) -> tuple[list[Action], Observed]:
    """Return the actions that stop processes which log in as the superuser, before it is split into two roles.

    Also returns the state of the stack after them.
    """
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
    """Yield the actions that change the `roles` of a running database into those that it should have."""
    if tuple(roles) == ROLES_OF_BEFORE:
        yield Action(Verb.RENAME, Kind.ROLE, OWNER, ONE_ROLE, database.name, SUPERUSER, subject=database)
        cause = "what the owner has in other databases must stay its own"
        yield Action(Verb.SET, Kind.OWNER, OWNER, cause, database.name, subject=database)
    if APP in database.roles and APP not in roles:
        cause = "the app is to read and write rows, and nothing else"
        yield Action(Verb.CREATE, Kind.ROLE, APP, cause, database.name, subject=database)


def provide(database: ServiceSpec, there: Provisions | None) -> Iterator[Action]:
    """Yield the actions that create what an application needs and its database does not have.

    `there` is what the database has, None if it is not known yet. The superuser privilege is revoked if it is known to
    be granted and the application does not need it.
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
    """Yield the actions that merge the roles of a running database into one."""
    if APP in roles:
        yield Action(Verb.REMOVE, Kind.ROLE, APP, cause, database.name, subject=database)
    yield Action(Verb.RENAME, Kind.ROLE, SUPERUSER, cause, database.name, OWNER, subject=database)


def surplus_roles(database: ServiceSpec, roles: Sequence[str]) -> tuple[str, ...]:
    """Return the roles that a database has but should not have."""
    return tuple(role for role in roles if role not in database.roles)


def remove_roles(database: ServiceSpec, roles: Sequence[str]) -> Iterator[Action]:
    """Yield the actions that remove roles which processes no longer use."""
    for role in roles:
        yield Action(Verb.REMOVE, Kind.ROLE, role, "no process uses it now", database.name, subject=database)


def _as_it_runs(service: ServiceSpec, found: ObservedService) -> ServiceSpec:
    """Return a local process with its current settings, with which it can be started again."""
    if not found.settings:
        return service
    return dataclasses.replace(service.having(found.settings), document=found.document)


def wait(service: ServiceSpec) -> Action:
    """Return the action that waits until a service is ready."""
    return Action(Verb.WAIT, Kind.SERVICE, service.name, f"until {_readiness(service)}", service.name, subject=service)


def shown(command: Sequence[str]) -> str:
    """Return a command as a user would type it."""
    match command:
        case ("sh", "-c", line):
            return line
    return shlex.join(command)


def _readiness(service: ServiceSpec) -> str:
    if service.is_database:
        return "its standbys follow the primary" if service.is_member else "a login answers a query"
    if service.deploy:
        tasks = f"each of {service.deploy.replicas} tasks" if service.deploy.replicas else "a task on each node"
        return f"{tasks} {service.deploy.readiness}"
    if service.is_extra and service.health_command:
        return f"`{shown(service.health_command)}` succeeds"
    if not service.port:
        return f"it has run for {service.grace:g} s"
    if service.readiness is None:
        return f"port {service.port} is open"
    if not service.readiness:
        return f"port {service.port} answers"
    return f"{service.readiness} answers{' 200' if service.interpreter else ''}"
