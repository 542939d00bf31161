"""The status of each service, as commands and library users get it."""

from dataclasses import dataclass
from datetime import datetime

from .observed import Observed, ObservedService, ServiceState
from .spec import ServiceSpec, StackSpec


@dataclass(frozen=True)
class ServiceStatus:
    """The status of one service. `url` is "" if it is not a process of the application that listens."""

    service: str
    state: ServiceState
    address: str
    version: str
    revision: str | None
    pid: int | None
    started_at: datetime | None
    detail: str
    url: str


def statuses(spec: StackSpec, observed: Observed) -> list[ServiceStatus]:
    """Return the status of every service of a stack, in its order."""
    return [_status(spec, observed.service(name), observed) for name in spec.names]


def _status(spec: StackSpec, service: ObservedService, observed: Observed) -> ServiceStatus:
    wanted = spec.service(service.name)
    status = _basic(wanted, service, observed)
    if not spec.database.deploy:
        return status
    ready = [each for each in service.tasks if each.state == "running"]
    nodes = ", ".join(sorted({each.node for each in service.tasks if each.node}))
    running = f"{len(ready)}/{len(service.tasks)}" if wanted.deploy else ""
    from .deployed import DeployedStatus  # few stacks run in a swarm

    return DeployedStatus(**vars(status), running=running, nodes=nodes, update=service.update, tasks=service.tasks)


def _basic(wanted: ServiceSpec, service: ObservedService, observed: Observed) -> ServiceStatus:
    ports = (wanted.port, *(() if wanted.is_member else wanted.more_ports.values()))
    return ServiceStatus(
        service=service.name,
        state=service.state,
        address=", ".join(f"{wanted.host}:{port}" for port in ports if port),
        version=service.version,
        revision=observed.revision if wanted.is_database else None,
        pid=service.pid,
        started_at=service.started_at,
        detail=service.detail,
        url=wanted.url,
    )
