"""The observed state of a stack, from the runtime and the services themselves. Pure data, from which plans are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from ..postgres.provisions import Provisions
from ..project import Place
from .actions import Kind

if TYPE_CHECKING:
    from ..ha.cluster import State
    from .deployed import TaskState

WITHOUT_DATA = (
    "Restore a backup: fastzero up --start-over, then fastzero db restore NAME."
    " Or start with an empty database: fastzero up --start-over"
)
"""What to do about a database whose data is gone."""


class ServiceState(StrEnum):
    ABSENT = "absent"  # no process or container, and no data
    STOPPED = "stopped"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"  # its process does not answer
    UNKNOWN = "unknown"  # it cannot be determined, for example because the engine is stopped


class DataState(StrEnum):
    ABSENT = "absent"
    UNFINISHED = "unfinished"  # the first initialisation is not known to have ended
    THERE = "there"


@dataclass(frozen=True)
class ObservedService:
    """One service as a runtime found it.

    `settings` are its current settings, None if they are unknown. `thing` is the name of its container or process, ""
    without one. `resumable` says whether it can be started unchanged. `document` is what a local process was started
    from. `outdated` is the reason why it must be recreated although its settings are the same, or "". `tasks` are those
    of a service of a swarm, `update` is the state of its last update, and `uneven` says why its tasks should be spread
    again.
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
    thing: str = ""
    resumable: bool = True
    tasks: "tuple[TaskState, ...]" = ()
    update: str = ""
    uneven: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether it has a process, or a container, running or stopped, that was created from a configuration."""
        return self.config_hash is not None

    @property
    def runs(self) -> bool:
        return self.state in (ServiceState.RUNNING, ServiceState.UNHEALTHY)


@dataclass(frozen=True)
class Thing:
    """A leftover of an interrupted command, or a part of a place that the database is not at.

    `subject` is the argument of the operation that removes it, None if its name is enough.
    """

    kind: Kind
    name: str
    cause: str = "an interrupted command left it"
    service: str = ""
    subject: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Estate:
    """What a project has on an engine, whichever home it belongs to.

    `place` is the place of the database in service, None if it is unknown. `volumes` are the names of all volumes with
    its data, each with the image that can serve it, "" if that is unknown.
    """

    place: Place | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """The current state of a stack.

    `revision` is that of the schema, None while the database does not answer or has none. `images` are the images that
    exist locally, None if services need none. `network` says whether the network exists, None if none is needed.
    `provisions` are the schemas, extensions and privileges that the database has, None if they are not known yet.
    `data` is the state of the data at the database's place, `volumes` are those of extra services. `orphans` belong to
    services that the specification does not have. `foreign` are the things with the project's name that belong to
    another home. `taken` are the names, as `container NAME`, of things that do not belong to the project. `claims` are
    the volumes that record the owner of a project that was taken over. `mounts` are the secrets and configs that the
    project has in a swarm, `stale` those of them that a service mounts and should not, and `lacking` those that
    services should mount and that are missing, by their names without a hash. `networks` are those besides the
    project's own. Of a database with standbys, `cluster` is the state of its servers and `shared` their configuration,
    None if they are not known.
    """

    services: Mapping[str, ObservedService] = field(default_factory=dict)
    revision: str | None = None
    images: frozenset[str] | None = None
    network: bool | None = None
    provisions: Provisions | None = None
    data: DataState = DataState.ABSENT
    volumes: frozenset[str] = frozenset()
    missing_secrets: tuple[str, ...] = ()
    leftovers: tuple[Thing, ...] = ()
    orphans: tuple[Thing, ...] = ()
    foreign: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    mounts: tuple[Thing, ...] = ()
    stale: tuple[Thing, ...] = ()
    lacking: tuple[Thing, ...] = ()
    networks: frozenset[str] = frozenset()
    cluster: "State | None" = None
    shared: Mapping[str, Any] | None = None

    def service(self, name: str) -> ObservedService:
        return self.services.get(name, ObservedService(name, ServiceState.ABSENT))

    def having(self, service: ObservedService) -> Self:
        """Return a copy with this service replaced."""
        return replace(self, services={**self.services, service.name: service})
