"""The docker runtime: the same services as containers, through the Docker SDK, which nothing else imports.

Everything is marked with the project's labels, and nothing without them is ever touched. A container is replaced by
creating the new one under another name first; what a crash leaves of that is swept by the next `up`.
"""

import io
import json
import os
import secrets
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import docker
import docker.errors
import requests
import urllib3.exceptions
from docker.context import ContextAPI
from docker.models.containers import Container
from docker.types import CancellableStream, Healthcheck, LogConfig, Mount, NetworkingConfig
from docker.utils.socket import frames_iter

from ... import __version__
from ...errors import (
    ConflictError,
    DockerNotInstalledError,
    DockerPermissionError,
    DockerUnavailableError,
    FastZeroError,
    ImageError,
    UnhealthyError,
)
from ...events import Listener, Notice
from ...project import ROLE, Place, Project, write_atomically
from .. import ports
from ..embedded.process import STREAMS, LogLine
from ..plan import Action, Observed, ObservedService, ServiceState, Verb
from ..runtime import NEW_DATABASE, Finding, disk_finding
from ..spec import (
    APP_SERVICE,
    DATABASE_SERVICE,
    STOP_TIMEOUT,
    ServiceSpec,
    StackSpec,
    data_mount,
    other_major,
    volume_name,
)
from . import image, terminal
from .hardening import APP_USER, DATABASE_SHM, TMPFS, app_cpus, app_memory, app_pids

LABEL = "fastzero."
PROJECT, SERVICE, HASH, SETTINGS, VERSION, OWNER = (
    LABEL + name for name in ("project", "service", "config-hash", "settings", "version", "owner")
)
TIMEOUT = 120  # seconds for one call of the engine's API
FIRST_TIMEOUT = 5  # seconds for an engine to show that it is there
EVIDENCE_LINES = 20
MAJORS = range(15, 31)
NEW, OLD = "-new", "-old"  # behind a container's name while it is being replaced
GONE = docker.errors.NotFound
UNREACHABLE = (
    docker.errors.DockerException,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,  # what the SDK lets through while it reads a stream
    OSError,
)


class DockerRuntime:
    """One project's services as containers."""

    name = "docker"
    unfinished: bool
    """Whether the data that was started on may come from an initialisation that never ended."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._prefix = f"fastzero-{project.name}"
        self.unfinished = False

    @cached_property
    def _client(self) -> docker.DockerClient:
        return connect()

    @property
    def volume(self) -> str:
        """The name of the database's volume."""
        record = self._project.record
        return record.volume if record and record.volume else volume_name(self._project.name)

    # -- observe -----------------------------------------------------------------------------------------------

    def observe(self, spec: StackSpec) -> Observed:
        with _engine_errors():
            found = self._labelled()
            containers = self._in_service(found)
            has_data = self._has_volume()
            images = {service.image: self._image_id(service.image) for service in spec.services}
            services = {
                service.name: self._observe(service, containers.get(service.name), has_data, images[service.image])
                for service in spec.services
            }
            return Observed(
                services,
                images=frozenset(name for name, present in images.items() if present),
                leftovers=tuple(
                    str(each.name) for each in found if each not in containers.values() and not self._fills(each)
                ),
                orphans=tuple(name for name in containers if name not in spec.names),
            )

    def _observe(
        self, service: ServiceSpec, container: Container | None, has_data: bool, image_id: str | None
    ) -> ObservedService:
        if container is None:
            if service.name == DATABASE_SERVICE and has_data:
                return ObservedService(service.name, ServiceState.STOPPED, "its container is gone, its data is there")
            return ObservedService(service.name, ServiceState.ABSENT)
        state, detail = _state(container)
        labels = container.labels
        return ObservedService(
            service.name,
            state,
            detail,
            settings=json.loads(labels.get(SETTINGS, "{}")),
            config_hash=labels.get(HASH),
            outdated=_outdated(service, container, image_id),
            version=container.attrs["Config"]["Image"],
            pid=container.attrs["State"].get("Pid") or None,
            started_at=_moment(container.attrs["State"].get("StartedAt")),
        )

    def _fills(self, container: Container) -> bool:
        """Whether it serves a place that the record knows of, so that it is not for the runtime to sweep."""
        record = self._project.record
        return bool(record and record.filling) and container.name == self._container_name(NEW_DATABASE)

    def _find(self, name: str) -> Container | None:
        return next((each for each in self._labelled() if each.name == name), None)

    def _containers(self) -> dict[str, Container]:
        return self._in_service(self._labelled())

    def _in_service(self, found: list[Container]) -> dict[str, Container]:
        """Those among the project's containers that are not being replaced, by the name of their service."""
        return {each.labels[SERVICE]: each for each in found if each.name == self._container_name(each.labels[SERVICE])}

    def _leftovers(self) -> list[Container]:
        return [each for each in self._labelled() if each.name != self._container_name(each.labels[SERVICE])]

    def _labelled(self) -> list[Container]:
        labels = [f"{PROJECT}={self._project.name}", SERVICE]
        return list(self._client.containers.list(all=True, filters={"label": labels}, ignore_removed=True))

    def _has_volume(self) -> bool:
        return self._volume_labels(self.volume).get(PROJECT) == self._project.name

    def _volume_labels(self, name: str) -> dict[str, str]:
        try:
            return self._client.volumes.get(name).attrs.get("Labels") or {}
        except GONE:
            return {}

    def _image_id(self, name: str) -> str | None:
        try:
            return str(self._client.images.get(name).id)
        except GONE:
            return None

    # -- apply -------------------------------------------------------------------------------------------------

    def apply(self, action: Action, spec: StackSpec, *, timeout: float, on_event: Listener) -> None:
        with _engine_errors():
            match action.verb:
                case Verb.PULL:
                    self._pull(spec.service(action.service).image, on_event)
                case Verb.BUILD:
                    self._build(spec.service(action.service), on_event)
                case Verb.SWEEP:
                    self._sweep(action.service)
                case Verb.CREATE | Verb.START:
                    self._start(spec.service(action.service))
                case Verb.RECREATE:
                    self._recreate(spec.service(action.service))
                case Verb.STOP:
                    self._stop(spec.service(action.service))
                case Verb.DESTROY:
                    self._destroy()

    def settle(self) -> None:
        """All is well: remove the containers that were replaced."""
        with _engine_errors():
            for leftover in self._leftovers():
                self._remove(leftover)

    def roll_back(self, action: Action, spec: StackSpec) -> None:
        """Undo an action of this run: what it made goes, what was there comes back."""
        with _engine_errors():
            current = self._containers().get(action.service)
            match action.verb:
                case Verb.RECREATE:
                    self._restore(self._container_name(action.service), current)
                case Verb.CREATE if current is not None:
                    self._remove(current)
                case Verb.START if current is not None:
                    self._halt(current, spec.service(action.service))
            if action.verb is Verb.CREATE and action.service == DATABASE_SERVICE and self._was_never_ready():
                self._destroy()
            self._remove_network()

    def _restore(self, name: str, current: Container | None) -> None:
        """Bring the container back that was to be replaced, however far that went."""
        self._sweep(f"{name}{NEW}")
        old = self._find(f"{name}{OLD}")
        if old is not None:
            if current is not None:
                self._remove(current)
            old.rename(name)
        back = old or current
        if back is not None:
            back.start()

    def finish_down(self) -> None:
        """Remove what has no service of its own: the network."""
        with _engine_errors():
            self._remove_network()

    def _remove_network(self) -> None:
        """Unless a container, if only a stopped one, is made for it."""
        if self._labelled():
            return
        for network in self._client.networks.list(names=[self._prefix], filters={"label": self._own_label}):
            with suppress(GONE):
                network.remove()

    @property
    def _own_label(self) -> str:
        return f"{PROJECT}={self._project.name}"

    def _was_never_ready(self) -> bool:
        """Whether the volume is one that this very folder made, and no `up` has seen ready: it holds nothing yet.

        A folder that was lost and made anew knows nothing of the data, which must not count as none.
        """
        record = self._project.record
        mine = self._volume_labels(self.volume).get(OWNER) == self._owner()
        return mine and not (record and record.initialised)

    def _owner(self) -> str:
        path = self._project.folder / "volume-owner"
        if not path.exists():
            write_atomically(path, secrets.token_hex(8))
        return path.read_text(encoding="utf-8")

    def _start(self, service: ServiceSpec) -> None:
        container = self._containers().get(service.name)
        if container is not None and not self._is_in_network(container):
            self._remove(container)
            container = None
        if container is None:
            container = self._create(service, self._container_name(service.name))
        elif service.name == DATABASE_SERVICE:
            self.unfinished = self._was_never_ready()
        self._run(container, service)

    def _is_in_network(self, container: Container) -> bool:
        """Whether the network that a stopped container was made for is still there."""
        joined = container.attrs["NetworkSettings"]["Networks"].get(self._prefix, {}).get("NetworkID")
        try:
            return bool(self._client.networks.get(self._prefix).id == joined)
        except GONE:
            return False

    def _recreate(self, service: ServiceSpec) -> None:
        """Replace the container. The old one is kept, stopped, until the new one has proved itself."""
        name = self._container_name(service.name)
        new = self._create(service, f"{name}{NEW}")
        old = self._containers().get(service.name)
        if old is not None:
            self._halt(old, service)
            old.rename(f"{name}{OLD}")
        new.rename(name)
        new.reload()
        self._run(new, service)

    def _run(self, container: Container, service: ServiceSpec) -> None:
        try:
            if container.status == "paused":
                container.unpause()
            container.start()
        except docker.errors.APIError as error:
            if _is_port_conflict(error):
                self._remove(container)
                raise ports.taken_error(service.name, service.host, service.port) from error
            raise

    def _create(self, service: ServiceSpec, name: str) -> Container:
        self._ensure_network()
        if service.name != DATABASE_SERVICE:
            return self._create_container(service, name)
        is_new = self._ensure_volume(service)
        container = self._create_container(service, name)
        if not is_new:
            self._check_data(container, service)
        self.unfinished = not is_new and self._was_never_ready()
        return container

    def _create_container(self, service: ServiceSpec, name: str) -> Container:
        api = self._client.api  # its big brother `containers.create` knows no stop_timeout
        endpoints: Any = {self._prefix: api.create_endpoint_config(aliases=[service.name])}
        try:
            made = api.create_container(
                service.image,
                _command(service),
                name=name,
                hostname=service.name,
                user=APP_USER if service.name == APP_SERVICE else None,
                environment=dict(service.variables),
                labels={
                    PROJECT: self._project.name,
                    SERVICE: service.name,
                    HASH: service.config_hash,
                    SETTINGS: json.dumps(service.settings()),
                    VERSION: __version__,
                },
                ports=[service.container_port],
                healthcheck=_healthcheck(service.health_command),
                stop_signal=service.stop_signal,
                stop_timeout=int(service.stop_timeout),
                host_config=self._host_config(service),
                networking_config=NetworkingConfig(endpoints),
            )
        except docker.errors.APIError as error:
            if error.status_code == HTTPStatus.CONFLICT:
                raise _foreign("container", name) from error
            raise
        return self._client.containers.get(made["Id"])

    def _host_config(self, service: ServiceSpec) -> dict[str, Any]:
        own = self._app_limits(service.workers) if service.name == APP_SERVICE else self._database_storage(service)
        return self._client.api.create_host_config(
            network_mode=self._prefix,
            port_bindings={service.container_port: (service.host, service.port)},
            mounts=[*own.pop("mounts", []), *self._secret_mounts(service)],
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
            security_opt=["no-new-privileges"],
            **own,
        )

    def _database_storage(self, service: ServiceSpec) -> dict[str, Any]:
        return {
            "mounts": [Mount(data_mount(service.major), service.volume, type="volume")],
            "shm_size": DATABASE_SHM,
            "restart_policy": {"Name": "no"},
        }

    def _app_limits(self, workers: int) -> dict[str, Any]:
        return {
            "read_only": True,
            "tmpfs": TMPFS,
            "cap_drop": ["ALL"],
            "init": True,
            "mem_limit": app_memory(workers),
            "nano_cpus": int(app_cpus(workers, self._client.info()["NCPU"]) * 1e9),
            "pids_limit": app_pids(workers),
            "restart_policy": {"Name": "on-failure", "MaximumRetryCount": 5},
        }

    def _secret_mounts(self, service: ServiceSpec) -> list[Mount]:
        return [
            Mount(f"/run/secrets/{name}", str(self._project.container_secret(name)), type="bind", read_only=True)
            for name in service.secrets
        ]

    def _ensure_network(self) -> None:
        try:
            labels = self._client.networks.get(self._prefix).attrs.get("Labels") or {}
        except GONE:
            self._client.networks.create(self._prefix, driver="bridge", labels={PROJECT: self._project.name})
            return
        if labels.get(PROJECT) != self._project.name:
            raise _foreign("network", self._prefix)

    def _ensure_volume(self, service: ServiceSpec) -> bool:
        """Whether the volume had to be made. The engine would hand out one of the same name, whoever made it."""
        if self._volume_labels(service.volume).get(PROJECT) == self._project.name:
            return False
        record = self._project.record
        if record and record.volume == service.volume:
            raise ConflictError(
                f"volume {service.volume}, into which the database was moved, is gone",
                hint="Nothing was changed. Bring it back; or, behind an upgrade: fastzero db upgrade --rollback",
            )
        labels = {PROJECT: self._project.name, SERVICE: service.name, OWNER: self._owner()}
        made = self._client.volumes.create(service.volume, labels=labels)
        if made.attrs.get("Labels") != labels:
            raise _foreign("volume", service.volume)
        return True

    def _stop(self, service: ServiceSpec) -> None:
        container = self._containers().get(service.name)
        if container is not None:
            self._halt(container, service)
            self._remove(container)

    def _halt(self, container: Container, service: ServiceSpec) -> None:
        """Stop a container in good order, but for a database in its first initialisation, whose shell hears nothing."""
        hopeless = service.name == DATABASE_SERVICE and self._was_never_ready()
        container.stop(timeout=0 if hopeless else int(service.stop_timeout))

    def _sweep(self, name: str) -> None:
        leftover = self._find(name)
        if leftover is not None:
            self._remove(leftover)

    def _remove_volume(self, name: str) -> None:
        """If it is the project's."""
        if self._volume_labels(name).get(PROJECT) == self._project.name:
            self._client.volumes.get(name).remove(force=True)

    def _remove(self, container: Container) -> None:
        with suppress(GONE):
            container.remove(force=True)

    def _destroy(self) -> None:
        """Remove the data, with the containers that a recreation which never ended left on it."""
        for suffix in (NEW, OLD):
            self._sweep(self._container_name(DATABASE_SERVICE) + suffix)
        self._remove_volume(self.volume)

    # -- another place -----------------------------------------------------------------------------------------

    def new_place(self, image: str) -> Place:
        return Place(self.name, image=image, volume=f"{volume_name(self._project.name)}-{secrets.token_hex(4)}")

    def open_place(self, place: Place, service: ServiceSpec, timeout: float) -> None:
        with _engine_errors():
            self._ensure_network()
            self._ensure_volume(service)
            self._run(self._create_container(service, self._container_name(NEW_DATABASE)), service)

    def close_place(self) -> None:
        with _engine_errors():
            container = self._running(NEW_DATABASE)
            container.stop(timeout=STOP_TIMEOUT)
            self._remove(container)

    def discard(self, place: Place) -> None:
        with _engine_errors():
            self._sweep(self._container_name(NEW_DATABASE))
            self._remove_volume(place.volume)
            self._remove_network()

    def _container_name(self, service: str) -> str:
        return f"{self._prefix}-{service}"

    # -- the data's version ------------------------------------------------------------------------------------

    def _data_major(self, container: Container, service: ServiceSpec) -> int | None:
        """The major version of what is in the volume, read through a container that need not run."""
        mount = data_mount(service.major)
        expected = f"{mount}/{service.major}/docker" if service.major >= 18 else mount
        others = [mount, *(f"{mount}/{major}/docker" for major in MAJORS)]
        for folder in dict.fromkeys([expected, *others]):
            content = _read_file(container, f"{folder}/PG_VERSION")
            if content:
                return int(content)
        return None

    def _check_data(self, container: Container, service: ServiceSpec) -> None:
        """Refuse data of another major version, before anything is stopped for it or started on it."""
        major = self._data_major(container, service)
        if major not in (None, service.major):
            self._remove(container)
            raise other_major(self.volume, major, service.image)

    # -- images ------------------------------------------------------------------------------------------------

    def _pull(self, name: str, on_event: Listener) -> None:
        """Pull an image; one that cannot be pulled but is there is used with a note."""
        try:
            for event in self._client.api.pull(name, stream=True, decode=True):
                if "error" in event:
                    raise ImageError(f"{name} cannot be pulled: {event['error']}")
                if event.get("status", "").startswith(("Pull complete", "Downloaded", "Status")):
                    on_event(Notice(f"{name}: {event['status']}"))
        except (*UNREACHABLE, ImageError) as error:
            reason = getattr(error, "explanation", None) or str(error)
            if self._image_id(name):
                on_event(Notice(f"{name} cannot be pulled ({reason}); the one that is here is used"))
                return
            raise ImageError(f"{name} cannot be pulled: {reason}") from error

    def _build(self, service: ServiceSpec, on_event: Listener) -> None:
        events = self._client.api.build(
            fileobj=image.context_archive(),
            custom_context=True,
            tag=service.image,
            buildargs=image.build_arguments(service.base_image),
            labels={VERSION: __version__},
            rm=True,
            decode=True,
        )
        said: list[str] = []
        for event in events:
            if "error" in event:
                raise ImageError(f"{service.image} cannot be built: {event['error']}", evidence="\n".join(said[-20:]))
            line = event.get("stream", "").strip()
            if line:
                said.append(line)
                if line.startswith("Step "):
                    on_event(Notice(line))
        if not self._image_id(service.image):
            raise ImageError(f"{service.image} was not built to the end", evidence="\n".join(said[-20:]))

    # -- after -------------------------------------------------------------------------------------------------

    def is_alive(self, service: str) -> bool:
        with _engine_errors():
            container = self._find(self._container_name(service))
            return container is not None and container.attrs["State"]["Status"] in ("running", "created", "restarting")

    def evidence(self, service: str) -> str:
        """State, exit code, health log and the last lines of the log."""
        with _engine_errors():
            container = self._find(self._container_name(service))
            if container is None:
                return ""
            state = container.attrs["State"]
            checks = (state.get("Health") or {}).get("Log") or []
            health = [output.splitlines()[-1] for check in checks[-3:] if (output := check["Output"].strip())]
            lines = [f"{service}: {_state_detail(state) or 'it is running'}", *(f"health: {line}" for line in health)]
            log = "\n".join(line.text for line in _log_lines(service, container, EVIDENCE_LINES, None))
            return "\n".join([*lines, log])

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        with _engine_errors():
            containers = self._containers()
            chosen = [(name, containers[name]) for name in services if name in containers]
            asked = time.time()
            for name, container in chosen:
                yield from _log_lines(name, container, tail, since, asked)
            if follow:
                yield from _follow(chosen, asked)

    def execute(self, service: str, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command in the service's container, this process's streams being its own. Returns its exit code."""
        with _engine_errors():
            return _execute(self._client.api, str(self._running(service).id), command, interactive=interactive)

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
        with _engine_errors():
            api = self._client.api
            made = api.exec_create(str(self._running(service).id), list(command), stdin=read is not None)["Id"]
            stream = api.exec_start(made, socket=True)
            with closing(getattr(stream, "_sock", stream)) as connection, closing(stream):
                frames = frames_iter(stream, False)  # type: ignore[no-untyped-call]
                said = terminal.exchange(connection, frames, read, write)
            return int(api.exec_inspect(made)["ExitCode"]), said

    def _running(self, service: str) -> Container:
        container = self._find(self._container_name(service))
        if container is None or container.status != "running":
            raise UnhealthyError(f"{service} is not running", hint="Start it: fastzero up")
        return container

    def repair_password(self) -> None:
        """Give the database's role the password that the project has, through the container's own socket."""
        script = (
            f"psql -v ON_ERROR_STOP=1 -qXU {ROLE} -d postgres <<'SQL'\n"
            "\\set password `cat /run/secrets/database_password`\n"
            f"ALTER ROLE {ROLE} PASSWORD :'password';\nSQL"
        )
        with _engine_errors():
            output: Any
            code, output = self._running(DATABASE_SERVICE).exec_run(["sh", "-c", script], user="postgres")
        if code != 0:
            raise UnhealthyError("the password could not be set", evidence=str(output, "utf-8", "replace"))

    def examine(self, spec: StackSpec) -> Iterator[Finding]:
        """The engine, its disk, the volume's data, and who can reach the published ports."""
        with _engine_errors():
            yield from _engine_findings(self._client)
            yield from self._data_findings(spec.service(DATABASE_SERVICE))
            yield from self._port_findings()

    def _data_findings(self, service: ServiceSpec) -> Iterator[Finding]:
        if not self._has_volume() or not self._image_id(service.image):
            return
        existing = self._containers().get(service.name)
        container = existing or self._create_container(service, f"{self._container_name(service.name)}{NEW}")
        try:
            major = self._data_major(container, service)
        finally:
            if existing is None:
                self._remove(container)
        if major not in (None, service.major):
            error = other_major(self.volume, major, service.image)
            yield Finding(error.code, "failed", error.message, error.hint)
        elif self._was_never_ready():
            found = f"the initialisation of volume {self.volume} never ended"
            yield Finding("initialisation", "warning", found, "Nothing to do: `up` starts it over")
        else:
            yield Finding("volume", "ok", f"volume {self.volume} has data of PostgreSQL {major}")

    def _port_findings(self) -> Iterator[Finding]:
        for name, container in self._containers().items():
            published = container.attrs["HostConfig"].get("PortBindings") or {}
            addresses = {binding.get("HostIp", "") for bindings in published.values() for binding in bindings or []}
            if any(not address.startswith("127.") and address != "::1" for address in addresses):
                found = f"{name} is published to the world, past most firewalls"
                yield Finding("exposed", "failed", found, "Make its container anew: fastzero down, then fastzero up")


def _execute(api: docker.APIClient, container: str, command: Sequence[str], *, interactive: bool) -> int:
    variables = terminal.variables() if interactive else {}
    made = api.exec_create(container, list(command), stdin=True, tty=interactive, environment=variables)["Id"]
    stream = api.exec_start(made, tty=interactive, socket=True)

    def resize(rows: int, columns: int) -> None:
        with suppress(docker.errors.APIError):  # a short command may have ended by now
            api.exec_resize(made, rows, columns)

    frames = frames_iter(stream, interactive)  # type: ignore[no-untyped-call]
    terminal.attach(getattr(stream, "_sock", stream), frames, resize if interactive else None)
    return int(api.exec_inspect(made)["ExitCode"])


def _engine_findings(client: docker.DockerClient) -> Iterator[Finding]:
    info = client.info()
    address = os.environ.get("DOCKER_HOST") or f"context {ContextAPI.get_current_context().name}"
    yield Finding("engine", "ok", f"Docker Engine {info['ServerVersion']} answers at {address}")
    root = Path(info["DockerRootDir"])
    if root.exists():  # else it is another machine's
        yield disk_finding("engine_disk", root, "Free some: docker system df, docker image prune")


def connect(timeout: int = TIMEOUT) -> docker.DockerClient:
    """The engine that DOCKER_HOST or the current context names.

    Raises DockerUnavailableError, DockerPermissionError or DockerNotInstalledError.
    """
    with _engine_errors():
        return docker.from_env(timeout=timeout)


def answers() -> bool:
    """Whether an engine is there for us."""
    try:
        connect(FIRST_TIMEOUT).close()
    except FastZeroError:
        return False
    return True


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except docker.errors.ImageNotFound as error:
        raise ImageError(f"image not found: {error.explanation}") from error
    except docker.errors.APIError as error:
        if "no space left" in str(error).lower():
            raise DockerUnavailableError(
                "the engine's disk is full", hint="Free some: docker system df, docker image prune"
            ) from error
        raise DockerUnavailableError(
            f"the Docker Engine refused: {error.explanation or error}", hint="See its log; then try again"
        ) from error
    except BrokenPipeError:
        raise  # nobody reads our output any more: that is no matter of the engine's
    except UNREACHABLE as error:
        raise _connection_error(error) from error


def _connection_error(error: BaseException) -> FastZeroError:
    """What is wrong with the connection; the SDK says the same DockerException for everything."""
    causes = list(_chain(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return DockerPermissionError("no permission on the Docker Engine's socket")
    no_socket = any(isinstance(cause, FileNotFoundError) for cause in causes)
    if no_socket and not any(shutil.which(program) for program in ("docker", "podman", "dockerd")):
        return DockerNotInstalledError("Docker is not installed")
    return DockerUnavailableError(f"no Docker Engine answers: {causes[-1]}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, what caused it, and what stands among their arguments."""
    yield error
    inner = [error.__cause__ or error.__context__, *(part for part in error.args if isinstance(part, BaseException))]
    for part in inner:
        if part is not None:
            yield from _chain(part)


def _foreign(kind: str, name: str) -> ConflictError:
    return ConflictError(
        f"there is a {kind} {name} already, and it is not this project's",
        hint=f"Nothing was changed. Use another project: -p NAME. Or remove it: docker {kind} rm {name}",
    )


def _state(container: Container) -> tuple[ServiceState, str]:
    """How a container is, and what is to be said of it."""
    state = container.attrs["State"]
    if state["Status"] == "restarting":
        return ServiceState.UNHEALTHY, _state_detail(state)
    if state["Status"] != "running":
        return ServiceState.STOPPED, _state_detail(state)
    # What the engine's own checks say is old: a service is asked itself.
    return ServiceState.RUNNING, ""


def _state_detail(state: dict[str, Any]) -> str:
    if state["Status"] == "running":
        return ""
    if state.get("OOMKilled"):
        return "it was killed for lack of memory"
    error = f": {state['Error']}" if state.get("Error") else ""
    return f"it is {state['Status']} with exit code {state.get('ExitCode')}{error}"


def _outdated(service: ServiceSpec, container: Container, image_id: str | None) -> str:
    if image_id and container.attrs["Image"] != image_id:
        return f"its image {service.image} is another one now"
    return ""


def _moment(text: str | None) -> datetime | None:
    if not text or text.startswith("0001"):
        return None
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00")


def _command(service: ServiceSpec) -> list[str]:
    """The app's own, or the server with its settings; without any, the image's."""
    settings = [part for name, value in service.configuration.items() for part in ("-c", f"{name}={value}")]
    return ["postgres", *settings] if settings else list(service.command)


def _healthcheck(command: Sequence[str]) -> Healthcheck:
    second = 1_000_000_000
    return Healthcheck(
        test=["CMD", *command], interval=5 * second, timeout=3 * second, retries=5, start_period=60 * second
    )


def _is_port_conflict(error: docker.errors.APIError) -> bool:
    text = str(error).lower()
    return "port is already allocated" in text or "address already in use" in text


def _read_file(container: Container, path: str) -> str | None:
    try:
        chunks, _ = container.get_archive(path)
    except GONE:
        return None
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        return file.read().decode() if file else None


def _log_lines(
    name: str, container: Container, tail: int | None, since: datetime | None, until: float | None = None
) -> list[LogLine]:
    """What a container has logged, its two streams merged by the time of each line."""
    started = since.timestamp() if since else None
    lines = [
        (moment, LogLine(name, stream, text))
        for stream in STREAMS
        for moment, text in _decoded(_stream(container, stream, tail=tail, since=started, until=until))
    ]
    ordered = [line for _, line in sorted(lines, key=lambda each: each[0])]
    return ordered if tail is None else ordered[max(0, len(ordered) - tail) :]


def _follow(chosen: Sequence[tuple[str, Container]], since: float) -> Iterator[LogLine]:
    """What is logged from then on, until the last of the containers ends."""
    queue: SimpleQueue[LogLine | None] = SimpleQueue()
    streams = [
        (name, stream, _stream(container, stream, since=since, follow=True))
        for name, container in chosen
        for stream in STREAMS
    ]
    try:
        for each in streams:
            threading.Thread(target=_feed, args=(queue, *each), daemon=True).start()
        open_streams = len(streams)
        while open_streams:
            line = queue.get()
            if line is None:
                open_streams -= 1
            else:
                yield line
    finally:
        for _, _, chunks in streams:
            chunks.close()
    # To the SDK a stream that breaks off is one that ends.
    for _, container in chosen:
        with suppress(GONE):
            container.reload()


def _feed(queue: "SimpleQueue[LogLine | None]", name: str, stream: str, chunks: "CancellableStream[bytes]") -> None:
    for _, text in _decoded(chunks):
        queue.put(LogLine(name, stream, text))
    queue.put(None)


def _stream(container: Container, stream: str, *, follow: bool = False, **limits: Any) -> "CancellableStream[bytes]":
    tail = limits.pop("tail", None)
    chunks: CancellableStream[bytes] = container.logs(
        stdout=stream == "stdout",
        stderr=stream == "stderr",
        stream=True,
        follow=follow,
        timestamps=True,
        tail="all" if tail is None else tail,
        **limits,
    )
    return chunks


def _decoded(chunks: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """Lines with their time. The engine splits a long one, in a character even, and puts a time before each part."""
    began, line = "", b""
    for chunk in chunks:
        moment, _, part = chunk.partition(b" ")
        began = began or moment.decode()
        line += part
        if line.endswith(b"\n"):
            yield began, line[:-1].decode("utf-8", "replace")
            began, line = "", b""
    if line:
        yield began, line.decode("utf-8", "replace")
