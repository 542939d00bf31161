"""From what should be and what is to what to do. Pure: the plan that `up --dry-run` prints is the plan `up` runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from .spec import DATABASE_SERVICE, ServiceSpec, StackSpec, changed


class ServiceState(StrEnum):
    ABSENT = "absent"  # nothing there, no data either
    STOPPED = "stopped"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"  # there is a process, and it does not answer
    UNKNOWN = "unknown"  # who could tell does not answer, as an engine that is stopped


class Verb(StrEnum):
    PULL = "pull"
    BUILD = "build"
    SWEEP = "sweep"
    CREATE = "create"
    START = "start"
    RECREATE = "recreate"
    STOP = "stop"
    MIGRATE = "migrate"
    DESTROY = "destroy"


@dataclass(frozen=True)
class ObservedService:
    """One service as a runtime found it. `settings` are those it runs with, None where that cannot be told.

    `outdated` says why it must be recreated although its settings are the same: its image is another one now.
    """

    name: str
    state: ServiceState
    detail: str = ""
    settings: Mapping[str, str] | None = None
    config_hash: str | None = None
    outdated: str = ""
    version: str = ""
    pid: int | None = None
    started_at: datetime | None = None

    @property
    def exists(self) -> bool:
        """Whether there is something made from a configuration: a process, or a container even if it is stopped."""
        return self.config_hash is not None


@dataclass(frozen=True)
class Observed:
    """A stack as it is. `revision` is the schema's, None while the database does not answer or has none.

    `images` are those at hand, None where services need none. `leftovers` are what an interrupted command left,
    `orphans` services of this project that the specification does not have.
    """

    services: Mapping[str, ObservedService] = field(default_factory=dict)
    revision: str | None = None
    images: frozenset[str] | None = None
    leftovers: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()

    def service(self, name: str) -> ObservedService:
        return self.services.get(name, ObservedService(name, ServiceState.ABSENT))

    def having(self, service: ObservedService) -> "Observed":
        """The same but for this service."""
        return replace(self, services={**self.services, service.name: service})


@dataclass(frozen=True)
class Action:
    """One thing to do, to one service, and why."""

    verb: Verb
    service: str
    cause: str


def plan_images(spec: StackSpec, observed: Observed, *, build: bool = False, pull: bool = False) -> list[Action]:
    """What brings the images here that the services need; with `build` and `pull` also those that are here."""
    if observed.images is None:
        return []
    actions = []
    for service in spec.services:
        verb, forced = (Verb.BUILD, build) if service.base_image else (Verb.PULL, pull)
        if service.image not in observed.images:
            actions.append(Action(verb, service.name, f"image {service.image} is not here yet"))
        elif forced:
            actions.append(Action(verb, service.name, f"it was asked for, though image {service.image} is here"))
    return actions


def plan_up(spec: StackSpec, observed: Observed, head: str) -> list[Action]:
    """What makes the stack as specified with its schema at `head`; nothing if it is."""
    sweeps = [Action(Verb.SWEEP, name, "an interrupted command left it") for name in observed.leftovers]
    services = [action for service in spec.services if (action := _converge(service, observed.service(service.name)))]
    database = next((action for action in services if action.service == DATABASE_SERVICE), None)
    return [*sweeps, *services, *_schema(database, observed, head)]


def plan_restart(spec: StackSpec, observed: Observed, names: tuple[str, ...]) -> list[Action]:
    """What stops and starts the named services."""
    return [
        Action(Verb.START, name, "it is not running")
        if observed.service(name).state in (ServiceState.STOPPED, ServiceState.ABSENT)
        else Action(Verb.RECREATE, name, "a restart was asked for")
        for name in spec.names
        if name in names
    ]


def plan_down(observed: Observed, *, volumes: bool) -> list[Action]:
    """What stops everything that runs, and with `volumes` destroys the data as well."""
    found = list(observed.services.values())[::-1]
    active = (ServiceState.RUNNING, ServiceState.UNHEALTHY)
    there = [service for service in found if service.exists or service.state in active]
    actions = [Action(Verb.SWEEP, name, "an interrupted command left it") for name in observed.leftovers]
    actions += [Action(Verb.STOP, service.name, f"it is {service.state}") for service in there]
    if volumes:
        # Also of one that is absent: an interrupted `up` may have begun it.
        actions.append(Action(Verb.DESTROY, DATABASE_SERVICE, "its data was asked to go"))
    return actions


def _converge(service: ServiceSpec, observed: ObservedService) -> Action | None:
    match observed.state:
        case ServiceState.ABSENT:
            return Action(Verb.CREATE, service.name, "it does not exist yet")
        case ServiceState.UNHEALTHY:
            return Action(Verb.RECREATE, service.name, observed.detail or "it does not answer")
    running = observed.state is ServiceState.RUNNING
    if (running or observed.exists) and observed.config_hash != service.config_hash:
        difference = changed(observed.settings or {}, service.settings())
        return Action(Verb.RECREATE, service.name, f"its configuration changed: {difference}")
    if observed.outdated:
        return Action(Verb.RECREATE, service.name, observed.outdated)
    if observed.state is ServiceState.STOPPED:
        return Action(Verb.START, service.name, observed.detail or "it is stopped")
    return None


def _schema(database: Action | None, observed: Observed, head: str) -> list[Action]:
    if database and database.verb is Verb.CREATE:
        return [Action(Verb.MIGRATE, DATABASE_SERVICE, f"the database is new; head is {head}")]
    if database:
        return [Action(Verb.MIGRATE, DATABASE_SERVICE, f"if its schema is not at head ({head}) once it answers")]
    if observed.revision != head:
        at = observed.revision or "base"
        return [Action(Verb.MIGRATE, DATABASE_SERVICE, f"its schema is at {at}; head is {head}")]
    return []
