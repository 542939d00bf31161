"""What is there, as a runtime and the services themselves tell it. Pure data: a plan is made from it alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from ..postgres.provisions import Provisions
from ..project import Place
from .actions import Kind

WITHOUT_DATA = (
    "Restore a backup: fastzero up --start-over, then fastzero db restore NAME."
    " Or start with an empty database: fastzero up --start-over"
)
"""What to do about a database whose data is gone."""


class ServiceState(StrEnum):
    ABSENT = "absent"  # nothing there, no data either
    STOPPED = "stopped"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"  # there is a process, and it does not answer
    UNKNOWN = "unknown"  # who could tell does not answer, as an engine that is stopped


class DataState(StrEnum):
    ABSENT = "absent"
    UNFINISHED = "unfinished"  # of a first initialisation that nobody has seen end
    THERE = "there"


@dataclass(frozen=True)
class ObservedService:
    """One service as a runtime found it. `settings` are those it runs with, None where that cannot be told.

    `thing` is the name of its container or process, "" where there is none; `resumable` whether it can be started as
    it is, `document` what a local process was started from. `outdated` says why it must be recreated although its
    settings are the same.
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
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether there is something made from a configuration: a process, or a container even if it is stopped."""
        return self.config_hash is not None

    @property
    def runs(self) -> bool:
        return self.state in (ServiceState.RUNNING, ServiceState.UNHEALTHY)


@dataclass(frozen=True)
class Thing:
    """Something that an interrupted command left, or that belongs to a place where the database is not."""

    kind: Kind
    name: str
    cause: str = "an interrupted command left it"
    service: str = ""


@dataclass(frozen=True)
class Estate:
    """What a project has on an engine, whichever home it belongs to.

    `place` is where the database in service is, None where nothing tells; `volumes` are all that hold its data, by the
    image that can serve each, which is "" where nothing tells.
    """

    place: Place | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """A stack as it is. `revision` is the schema's, None while the database does not answer or has none.

    `images` are those at hand, None where services need none; `network` whether there is one, None where none is
    needed. `provisions` are what the database has of what an application can need, None where nobody could look. `data`
    is that of the database's place, `volumes` are those of extra services. `orphans` are of services that the
    specification does not have, `foreign` is what has the project's name and belongs to another home. `taken` are the
    names, as `container NAME`, that something has which is no project's. `claims` say whose the project is, where it
    was taken over.
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

    def service(self, name: str) -> ObservedService:
        return self.services.get(name, ObservedService(name, ServiceState.ABSENT))

    def having(self, service: ObservedService) -> Self:
        """The same but for this service."""
        return replace(self, services={**self.services, service.name: service})
