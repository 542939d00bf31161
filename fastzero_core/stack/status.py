"""The status of each service, as commands and library users get it."""

from dataclasses import dataclass
from datetime import datetime

from .observed import Observed, ObservedService, ServiceState
from .spec import StackSpec


@dataclass(frozen=True)
class ServiceStatus:
    """The status of one service."""

    service: str
    state: ServiceState
    address: str
    version: str
    revision: str | None
    pid: int | None
    started_at: datetime | None
    detail: str


def statuses(spec: StackSpec, observed: Observed) -> list[ServiceStatus]:
    """Return the status of every service of a stack, in its order."""
    return [_status(spec, observed.service(name), observed) for name in spec.names]


def _status(spec: StackSpec, service: ObservedService, observed: Observed) -> ServiceStatus:
    wanted = spec.service(service.name)
    return ServiceStatus(
        service=service.name,
        state=service.state,
        address=", ".join(f"{wanted.host}:{port}" for port in (wanted.port, *wanted.more_ports.values()) if port),
        version=service.version,
        revision=observed.revision if wanted.is_database else None,
        pid=service.pid,
        started_at=service.started_at,
        detail=service.detail,
    )
