"""From what should be and what is to what to do. Pure: the plan that `up --dry-run` prints is the plan `up` runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from .spec import DATABASE_SERVICE, ServiceSpec, StackSpec, changed


class ServiceState(StrEnum):
    ABSENT = "absent"  # nothing there, no data either
    STOPPED = "stopped"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"  # there is a process, and it does not answer


class Verb(StrEnum):
    CREATE = "create"
    START = "start"
    RECREATE = "recreate"
    STOP = "stop"
    MIGRATE = "migrate"
    DESTROY = "destroy"


@dataclass(frozen=True)
class ObservedService:
    """One service as a runtime found it. `settings` are those it runs with, None where that cannot be told."""

    name: str
    state: ServiceState
    detail: str = ""
    settings: Mapping[str, str] | None = None
    config_hash: str | None = None
    version: str = ""
    pid: int | None = None
    started_at: datetime | None = None


@dataclass(frozen=True)
class Observed:
    """A stack as it is. `revision` is the schema's, None while the database does not answer or has none."""

    services: Mapping[str, ObservedService] = field(default_factory=dict)
    revision: str | None = None

    def service(self, name: str) -> ObservedService:
        return self.services.get(name, ObservedService(name, ServiceState.ABSENT))


@dataclass(frozen=True)
class Action:
    """One thing to do, to one service, and why."""

    verb: Verb
    service: str
    cause: str


def plan_up(spec: StackSpec, observed: Observed, head: str) -> list[Action]:
    """What makes the stack as specified with its schema at `head`; nothing if it is."""
    actions: list[Action] = []
    for service in spec.services:
        action = _converge(service, observed.service(service.name))
        if action:
            actions.append(action)
        if service.name == DATABASE_SERVICE:
            actions += _schema(action, observed, head)
    return actions


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
    running = [service for service in found if service.state in (ServiceState.RUNNING, ServiceState.UNHEALTHY)]
    actions = [Action(Verb.STOP, service.name, f"it is {service.state}") for service in running]
    if volumes:
        # Also of one that is absent: an interrupted `up` may have begun it.
        actions += [Action(Verb.DESTROY, service.name, "its data was asked to go") for service in found]
    return actions


def _converge(service: ServiceSpec, observed: ObservedService) -> Action | None:
    match observed.state:
        case ServiceState.ABSENT:
            return Action(Verb.CREATE, service.name, "it does not exist yet")
        case ServiceState.STOPPED:
            return Action(Verb.START, service.name, observed.detail or "it is stopped")
        case ServiceState.UNHEALTHY:
            return Action(Verb.RECREATE, service.name, observed.detail or "it does not answer")
    if observed.config_hash != service.config_hash:
        difference = changed(observed.settings or {}, service.settings())
        return Action(Verb.RECREATE, service.name, f"its configuration changed: {difference}")
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
