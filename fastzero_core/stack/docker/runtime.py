"""The docker runtime: services as containers, through the Docker SDK. Each action is one call of the engine.

Everything that it creates has labels with the project and its owner, and it changes nothing without these labels.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

import docker
import docker.errors
from docker.models.containers import Container

from ...errors import PortTakenError, UnhealthyError
from ...events import Listener
from ...project import Place, Project, ProjectRecord
from ...tunnel import forward_ports, release_ports
from ..actions import Action, Kind, Verb
from ..lines import LogLine
from ..observe import as_it_runs
from ..observed import Estate, Observed, Thing
from ..plan import refuse_foreign
from ..runtime import PASSAGE, Finding
from ..spec import GATEWAY, ServiceSpec, StackSpec, volume_name
from ..steps import container_name, network_name
from . import containers, exec, findings, images, logs, observe
from .engine import GONE, connect, engine_errors
from .observe import Found
from .operations import Operations

EVIDENCE_LINES = 20
OF_SWARM = (GATEWAY, PASSAGE)  # the services of a swarm that are containers of an engine
ALIVE = ("running", "created", "restarting")


class DockerRuntime:
    """One project's services as containers, on this machine or on `host`.

    `owner` returns the owner for labels, by default the one in the record.
    """

    name = "docker"

    def __init__(self, project: Project, owner: Callable[[], str] | None = None, host: str | None = None) -> None:
        self._project = project
        self._given_host = host
        self._owner = owner or self._owner_in_record

    def _owner_in_record(self) -> str:
        record = self._project.record
        return record.owner if record else ""

    @cached_property
    def _host(self) -> str:
        if self._given_host is not None:
            return self._given_host
        record = self._project.record
        return record.host if record else ""

    @cached_property
    def _client(self) -> docker.DockerClient:
        return connect(host=self._host)

    @property
    def _operations(self) -> Operations:
        return Operations(self._client, self._project, self._owner(), is_elsewhere=bool(self._host))

    # -- specification and observation -------------------------------------------------------------------------

    def completed(self, spec: StackSpec) -> StackSpec:
        # Ask the engine only if a limit could be more than it has.
        cpus = self._cpus if any(service.cpus > 1 for service in spec.services) else None
        services = [
            replace(service, document=containers.document(spec.project, service, cpus)) for service in spec.services
        ]
        return replace(spec, services=tuple(services))

    @cached_property
    def _cpus(self) -> int:
        with engine_errors():
            return int(self._client.info()["NCPU"])

    def observe(self, spec: StackSpec, record: ProjectRecord, *, is_known: bool = True) -> Observed:
        with engine_errors():
            found = observe.find(self._client, spec.project, spec.database.volume, record.owner, is_known=is_known)
            observed = observe.observed(self._client, found, spec, record)
        running = [each for each in spec.services if observed.service(each.name).runs]
        with suppress(PortTakenError):  # a project must be able to stop, and to start with other ports
            self._reach(as_it_runs(each, observed.service(each.name)) for each in running)
        return observed

    def _reach(self, services: Iterable[ServiceSpec]) -> None:
        """Make the ports of services on another machine reachable on this one."""
        if self._host:
            forward_ports(self._host, [port for service in services for port in service.published])

    def extensions(self) -> frozenset[str] | None:
        return None

    def estate(self) -> Estate:
        with engine_errors():
            return observe.estate(self._client, self._project.name)

    def remains(self, place: Place) -> list[Thing]:
        """Return the place's volume. A container that fills it is reported by `observe`, as a leftover."""
        with engine_errors():
            found = observe.find(self._client, self._project.name, place.volume, self._owner())
        refuse_foreign(self._project.name, found.foreign)
        return [Thing(Kind.VOLUME, place.volume, "the database is not in it")] if found.has_volume else []

    def serving(self) -> list[Thing]:
        with engine_errors():
            found = observe.find(self._client, self._project.name, "", self._owner())
        return [] if found.foreign else self._on_engine(found, in_swarm=False)

    def _on_engine(self, found: Found, *, in_swarm: bool) -> list[Thing]:
        """Return the containers and the network of the project in a swarm, or those of its stack of containers."""
        cause = "the project runs elsewhere"
        chosen = [each for each in found.containers if (each.labels[containers.SERVICE] in OF_SWARM) is in_swarm]
        things = [Thing(Kind.CONTAINER, str(each.name), cause) for each in chosen]
        has_network = found.has_network and (found.network_scope == "swarm") is in_swarm
        return [*things, *([Thing(Kind.NETWORK, network_name(self._project.name), cause)] if has_network else [])]

    def extra_data(self) -> list[Thing]:
        with engine_errors():
            found = observe.find(self._client, self._project.name, "", self._owner())
        refuse_foreign(self._project.name, found.foreign)
        cause = "an extra service has its data in it"
        volumes = found.extra_volumes.items()
        return [Thing(Kind.VOLUME, name, cause, labels.get(containers.SERVICE, "")) for name, labels in volumes]

    def new_place(self, image: str) -> Place:
        name = volume_name(self._project.name)
        return Place(self.name, image=image, volume=f"{name}-{secrets.token_hex(4)}")

    # -- one operation on one thing ----------------------------------------------------------------------------

    def perform(self, action: Action, *, timeout: float, on_event: Listener) -> None:
        with engine_errors():
            self._operations.perform(action, on_event)
        if action.verb is Verb.START:
            self._reach([action.subject])
        elif action.verb is Verb.STOP and self._host:
            release_ports(self._host, action.subject.published)

    # -- queries -----------------------------------------------------------------------------------------------

    def is_alive(self, service: str) -> bool:
        with engine_errors():
            container = self._find(service)
            return container is not None and container.status in ALIVE

    def evidence(self, service: str) -> str:
        """Return a container's state, exit code, health log and the last lines of its log."""
        with engine_errors():
            container = self._find(service)
            return findings.evidence(service, container, EVIDENCE_LINES) if container else ""

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        with engine_errors():
            found = {name: self._find(name) for name in services}
            chosen = [(name, container) for name, container in found.items() if container is not None]
            asked = time.time()
            yield from logs.in_order(
                line for name, container in chosen for line in logs.lines_of(name, container, tail, since, asked)
            )
            if follow:
                yield from logs.follow(chosen, asked)

    def execute(self, service: ServiceSpec, command: Sequence[str], *, interactive: bool) -> int:
        return self.execute_in(service.name, command, interactive=interactive)

    def run(self, spec: StackSpec, command: Sequence[str], *, interactive: bool) -> int:
        names = [process.name for process in spec.processes]
        running = next((name for name in names if self.is_alive(name)), None)
        if running is None:
            raise UnhealthyError("no process of the application is running", hint="Start it: fastzero up")
        return self.execute_in(running, command, interactive=interactive)

    def execute_in(
        self,
        service: str,
        command: Sequence[str],
        *,
        interactive: bool,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command in a service's container with this process's streams. Returns its exit code."""
        with engine_errors():
            container = self._running(service)
            entrypoint = tuple(container.attrs["Config"].get("Entrypoint") or ())
            if entrypoint == containers.WITH_VARIABLES:
                command = [*entrypoint, *command]  # adds the secret variables of the process to its environment
            api, name = _api_of(container), str(container.id)
            return exec.execute(api, name, command, interactive=interactive, environment=environment)

    def failed_check(self, service: ServiceSpec) -> str:
        """Run the check that the container was created with: the engine's own result may be five seconds old."""
        with engine_errors():
            container = self._find(service.name)
            if container is None:
                return "it is gone"
            match (container.attrs["Config"].get("Healthcheck") or {}).get("Test"):
                case ["CMD", *command]:
                    return exec.failure(_api_of(container), container, command)
            return ""

    def run_once(self, service: ServiceSpec, command: Sequence[str]) -> tuple[int, str]:
        with engine_errors():
            return self._operations.run_once(service, command)

    def run_alone(self, service: ServiceSpec, secrets: Mapping[str, str], write: Callable[[bytes], object]) -> str:
        """Run a service that is not part of the stack to its end, with these secrets. Returns its stderr."""
        with engine_errors():
            return self._operations.run_alone(service, secrets, write)

    def images(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of the named images that the engine has."""
        with engine_errors():
            return frozenset(name for name in names if images.image_id(self._client, name))

    def pipe(
        self,
        service: str,
        command: Sequence[str],
        *,
        read: Iterator[bytes] | None = None,
        write: Callable[[bytes], Any],
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a command in the service's container, with the chunks of `read` as input, and pass its output to `write`.

        `environment` is added to its own. Returns its exit code and its stderr. Raises UnhealthyError if the service
        does not run.
        """
        with engine_errors():
            container = self._running(service)
            return exec.pipe(_api_of(container), str(container.id), command, read, write, environment)

    def examine(self, spec: StackSpec, record: ProjectRecord) -> Iterator[Finding]:
        """Yield findings about the engine, its disk, the volume's data, and who can reach the published ports."""
        with engine_errors():
            yield from findings.of_engine(self._client, self._host)
            found = observe.find(self._client, spec.project, spec.database.volume, record.owner)
            yield from findings.of_owner(found)
            yield from findings.of_data(self._client, found, spec.database, record)
            yield from findings.of_ports(found)
        self._reach(each for each in spec.services if self.is_alive(each.name))

    def _find(self, service: str) -> Container | None:
        """Return the container of a service, None if it does not exist or is not the project's."""
        try:
            container = self._client.containers.get(container_name(self._project.name, service))
        except GONE:
            return None
        return container if container.labels.get(containers.PROJECT) == self._project.name else None

    def _running(self, service: str) -> Container:
        container = self._find(service)
        if container is None or container.status != "running":
            raise UnhealthyError(f"{service} is not running", hint="Start it: fastzero up")
        if container.labels.get(containers.OWNER, self._owner()) != self._owner():
            refuse_foreign(self._project.name, [f"container {container.name}"])
        return container


def _api_of(container: Container) -> docker.APIClient:
    """Return the API of the engine that has a container: in a swarm it can be another one."""
    assert container.client is not None, "an engine returned it"
    return container.client.api
