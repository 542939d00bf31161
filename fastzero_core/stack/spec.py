"""What a project's stack should be. Pure: settings and the project's decisions in, specifications out."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .project import HOST

if TYPE_CHECKING:
    from ..settings import Settings

DATABASE_SERVICE = "database"


@dataclass(frozen=True)
class ServiceSpec:
    """One service: where it listens, how it is configured, which secrets it is handed, how it is stopped."""

    name: str
    port: int
    host: str = HOST
    configuration: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    stop_timeout: float = 60  # seconds; less can cut a checkpoint short

    def settings(self) -> dict[str, str]:
        """Everything whose change means that the service must be recreated, as flat text."""
        return {"host": self.host, "port": str(self.port), **self.configuration}

    @property
    def config_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class StackSpec:
    """All services of a project, each behind those it depends on."""

    project: str
    services: tuple[ServiceSpec, ...]

    def service(self, name: str) -> ServiceSpec:
        return next(service for service in self.services if service.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(service.name for service in self.services)


def stack_spec(settings: "Settings", ports: Mapping[str, int]) -> StackSpec:
    """The stack that the settings ask for, on the ports that the project was given."""
    database = ServiceSpec(
        name=DATABASE_SERVICE,
        port=ports[DATABASE_SERVICE],
        configuration=dict(settings.postgres_settings),
        secrets=("database_password",),
    )
    return StackSpec(settings.project, (database,))


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two `settings()`, as `port: 5432 → 5433`."""
    names = sorted(before.keys() | after.keys())
    parts = [
        f"{name}: {before.get(name, 'unset')} → {after.get(name, 'unset')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return ", ".join(parts)
