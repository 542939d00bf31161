"""The docker runtime: services as containers, through the Docker SDK. Each action is one call of the engine.

Everything is marked with the project's labels and its owner, and nothing without them is ever touched.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any

import docker
import docker.errors
from docker.models.containers import Container

from ...errors import UnhealthyError
from ...events import Listener
from ...project import ROLE, Place, Project, ProjectRecord
from .. import ports
from ..actions import Action, Kind, Verb
from ..lines import LogLine
from ..observed import Observed, Thing
from ..runtime import Finding
from ..spec import ServiceSpec, StackSpec, other_major, volume_name
from ..steps import container_name, network_name
from . import containers, exec, files, findings, images, logs, observe
from .engine import GONE, connect, engine_errors, foreign_error, is_port_conflict

EVIDENCE_LINES = 20
ALIVE = ("running", "created", "restarting")


class DockerRuntime:
    """One project's services as containers. `owner` says what its things are labelled with."""

    name = "docker"

    def __init__(self, project: Project, owner: Callable[[], str] = str) -> None:
        self._project = project
        self._owner = owner

    @cached_property
    def _client(self) -> docker.DockerClient:
        return connect()

    # -- what should be, and what is ---------------------------------------------------------------------------

    def completed(self, spec: StackSpec) -> StackSpec:
        # An engine need only be asked where a limit could be beyond what it has.
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
            return observe.observed(self._client, found, spec, record)

    def owner_of(self, place: Place) -> str:
        with engine_errors():
            return (observe.volume_labels(self._client, place.volume) or {}).get(containers.OWNER, "")

    def remains(self, place: Place) -> list[Thing]:
        """The volume; a container that fills it is found as what an interrupted command left."""
        with engine_errors():
            labels = observe.volume_labels(self._client, place.volume) or {}
        is_ours = labels.get(containers.PROJECT) == self._project.name
        return [Thing(Kind.VOLUME, place.volume, "the database is not in it")] if is_ours else []

    def serving(self) -> list[Thing]:
        with engine_errors():
            found = observe.find(self._client, self._project.name, "", self._owner())
        cause = "the project runs elsewhere"
        things = [Thing(Kind.CONTAINER, str(each.name), cause) for each in found.containers]
        network = Thing(Kind.NETWORK, network_name(self._project.name), cause)
        return [*things, *([network] if found.network_labels.get(containers.PROJECT) == found.project else [])]

    def new_place(self, image: str) -> Place:
        name = volume_name(self._project.name)
        return Place(self.name, image=image, volume=f"{name}-{secrets.token_hex(4)}")

    # -- one operation on one thing ----------------------------------------------------------------------------

    def perform(self, action: Action, *, timeout: float, on_event: Listener) -> None:
        with engine_errors():
            match action.verb, action.kind:
                case Verb.PULL, _:
                    images.pull(self._client, action.name, on_event)
                case Verb.BUILD, _:
                    images.build(self._client, action.subject, on_event)
                case Verb.CREATE, Kind.NETWORK:
                    self._create_network(action.name)
                case Verb.CREATE, Kind.VOLUME:
                    self._create_volume(action.name, action.service)
                case Verb.CREATE, Kind.CONTAINER:
                    self._create_container(action.name, action.subject)
                case Verb.FILL, _:
                    self._fill(action.name, action.subject)
                case Verb.CHECK, _:
                    self._check_data(action.to, action.subject)
                case Verb.START, _:
                    self._start(action.name, action.subject)
                case Verb.STOP, _:
                    self._stop(action.name, action.subject)
                case Verb.RENAME, _:
                    self._own(action.name).rename(action.to)
                case Verb.SET, Kind.PASSWORD:
                    self._set_password(action.service)
                case Verb.REMOVE, Kind.CONTAINER:
                    self._remove_container(action.name)
                case Verb.REMOVE, Kind.VOLUME:
                    self._remove_volume(action.name)
                case Verb.REMOVE, Kind.NETWORK:
                    self._remove_network(action.name)

    def _create_network(self, name: str) -> None:
        try:
            self._client.api.inspect_network(name)
        except GONE:
            labels = containers.owned(self._project.name, self._owner())
            self._client.api.create_network(name, driver="bridge", labels=labels)
            return
        raise foreign_error("network", name)

    def _create_volume(self, name: str, service: str) -> None:
        """The engine would hand out one of the same name, whoever made it."""
        labels = {**containers.owned(self._project.name, self._owner()), containers.SERVICE: service}
        made = self._client.api.create_volume(name, labels=labels)
        if made.get("Labels") != labels:
            raise foreign_error("volume", name)

    def _create_container(self, name: str, service: ServiceSpec) -> None:
        labels = containers.labels(self._project.name, self._owner(), service)
        try:
            document = {**service.document, "Labels": labels}
            self._client.api.create_container_from_config(document, name)  # type: ignore[no-untyped-call]
        except docker.errors.APIError as error:
            if error.status_code == HTTPStatus.CONFLICT:
                raise foreign_error("container", name) from error
            raise

    def _fill(self, name: str, service: ServiceSpec) -> None:
        secrets_of_service = {each: self._project.secret_inside(each) for each in service.secrets}
        files.fill(self._client.api, name, service, secrets_of_service)

    def _check_data(self, container: str, service: ServiceSpec) -> None:
        """Refuse data of another major version, before anything is stopped for it or started on it."""
        major = files.data_major(self._client.api, container, service)
        if major not in (None, service.major):
            raise other_major(service.volume, major, service.image)

    def _start(self, name: str, service: ServiceSpec) -> None:
        container = self._own(name)
        try:
            if container.status == "paused":
                container.unpause()
            else:
                container.start()
        except docker.errors.APIError as error:
            if is_port_conflict(error):
                flag = f"fastzero up {service.port_option}"
                raise ports.taken_error(service.name, service.host, service.port, flag) from error
            raise

    def _stop(self, name: str, service: ServiceSpec | None) -> None:
        with suppress(GONE):
            self._own(name).stop(timeout=int(service.stop_timeout) if service else 0)

    def _set_password(self, service: str) -> None:
        """Give the database's role the password that the project has, through the container's own socket."""
        script = (
            f"psql -v ON_ERROR_STOP=1 -qXU {ROLE} -d postgres <<'SQL'\n"
            "\\set password `cat /run/secrets/database_password`\n"
            f"ALTER ROLE {ROLE} PASSWORD :'password';\nSQL"
        )
        output: Any
        code, output = self._running(service).exec_run(["sh", "-c", script], user="postgres")
        if code != 0:
            raise UnhealthyError("the password could not be set", evidence=str(output, "utf-8", "replace"))

    def _remove_container(self, name: str) -> None:
        with suppress(GONE):
            self._own(name).remove(force=True, v=True)  # of its volumes those without a name

    def _remove_volume(self, name: str) -> None:
        labels = observe.volume_labels(self._client, name) or {}
        if labels.get(containers.PROJECT) == self._project.name:
            self._client.api.remove_volume(name, force=True)

    def _remove_network(self, name: str) -> None:
        with suppress(GONE):
            labels = self._client.api.inspect_network(name).get("Labels") or {}
            if labels.get(containers.PROJECT) == self._project.name:
                self._client.api.remove_network(name)

    # -- containers --------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Container | None:
        try:
            container = self._client.containers.get(name)
        except GONE:
            return None
        return container if container.labels.get(containers.PROJECT) == self._project.name else None

    def _own(self, name: str) -> Container:
        container = self._client.containers.get(name)
        if container.labels.get(containers.PROJECT) != self._project.name:
            raise foreign_error("container", name)
        return container

    def _running(self, service: str) -> Container:
        container = self._find(container_name(self._project.name, service))
        if container is None or container.status != "running":
            raise UnhealthyError(f"{service} is not running", hint="Start it: fastzero up")
        return container

    # -- questions ---------------------------------------------------------------------------------------------

    def is_alive(self, service: str) -> bool:
        with engine_errors():
            container = self._find(container_name(self._project.name, service))
            return container is not None and container.status in ALIVE

    def evidence(self, service: str) -> str:
        """State, exit code, health log and the last lines of the log."""
        with engine_errors():
            container = self._find(container_name(self._project.name, service))
            return findings.evidence(service, container, EVIDENCE_LINES) if container else ""

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        with engine_errors():
            found = {name: self._find(container_name(self._project.name, name)) for name in services}
            chosen = [(name, container) for name, container in found.items() if container is not None]
            asked = time.time()
            for name, container in chosen:
                yield from logs.lines_of(name, container, tail, since, asked)
            if follow:
                yield from logs.follow(chosen, asked)

    def execute(self, service: str, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command in the service's container, this process's streams being its own. Returns its exit code."""
        with engine_errors():
            container = str(self._running(service).id)
            return exec.execute(self._client.api, container, command, interactive=interactive)

    def pipe(
        self,
        service: str,
        command: Sequence[str],
        *,
        read: Iterator[bytes] | None = None,
        write: Callable[[bytes], Any],
    ) -> tuple[int, str]:
        """Run a command in the service's container: it reads the chunks of `read`, and `write` is handed its output.

        Returns its exit code and what it said on stderr. Raises UnhealthyError if the service does not run.
        """
        with engine_errors():
            return exec.pipe(self._client.api, str(self._running(service).id), command, read, write)

    def examine(self, spec: StackSpec, record: ProjectRecord) -> Iterator[Finding]:
        """The engine, its disk, the volume's data, and who can reach the published ports."""
        with engine_errors():
            yield from findings.of_engine(self._client)
            found = observe.find(self._client, spec.project, spec.database.volume, record.owner)
            yield from findings.of_owner(found)
            yield from findings.of_data(self._client, found, spec.database, record)
            yield from findings.of_ports(found)
