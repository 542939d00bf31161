"""Perform operations on a project's things on the engine, one call each. Other projects' things are never changed."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import docker
import docker.errors
from docker.models.containers import Container

from ...errors import ConflictError, ImageError, PortTakenError, UnhealthyError
from ...events import Listener
from ...postgres.roles import OWNER, SUPERUSER
from ...project import PASSWORDS, Project
from .. import ports
from ..actions import Action, Kind, Verb
from ..plan import taken_error
from ..runtime import RELEASE
from ..spec import ServiceSpec, other_major
from ..steps import container_name, network_name
from . import containers, exec, files, images, networks, observe, sending
from .engine import GONE, is_port_conflict

EVIDENCE_LINES = 20
FIRST_START_STOPS = 5  # seconds
SERVER_ANSWERS = 60  # seconds for a started server to answer on its socket


# The superuser may still have the owner's name. Logins through the socket need no password.
_SET_PASSWORDS = rf"""
for _ in $(seq {SERVER_ANSWERS * 10}); do pg_isready -qd postgres && break; sleep 0.1; done
is_superuser='SELECT rolsuper FROM pg_roles WHERE rolname = current_user'
for user in {SUPERUSER} {OWNER}; do
    [ "$(psql -AtqXU "$user" -d postgres -c "$is_superuser" 2>/dev/null)" = t ] && break
done
export PGOPTIONS='-c log_statement=none -c log_min_error_statement=panic'
set_password() {{
    [ -r "{containers.SECRETS}/$2" ] || return 0
    psql -v ON_ERROR_STOP=1 -v role="$1" -qXU "$user" -d postgres <<SQL
\set password \`cat {containers.SECRETS}/$2\`
SELECT format('ALTER ROLE %I PASSWORD %L', rolname, :'password') FROM pg_roles WHERE rolname = :'role' \gexec
SQL
}}
"""  # noqa: S608


class Operations:
    """The operations on one project's things, which are labelled with `owner`.

    `is_elsewhere` says that the engine is on another machine.
    """

    def __init__(
        self, client: docker.DockerClient, project: Project, owner: str, *, is_elsewhere: bool = False
    ) -> None:
        self._client = client
        self._project = project
        self._owner = owner
        self._is_elsewhere = is_elsewhere

    def perform(self, action: Action, on_event: Listener) -> None:
        """Perform one action."""
        match action.verb, action.kind:
            case Verb.PULL, _:
                self._pull(action.name, action.subject, on_event)
            case Verb.BUILD, _:
                self._build(action.subject, on_event)
            case Verb.CREATE, Kind.NETWORK:
                self._create_network(action.name)
            case Verb.CREATE, Kind.VOLUME:
                self._create_volume(action.name, action.subject)
            case Verb.CREATE, Kind.CLAIM:
                self._create_claim(action.name)
            case Verb.CREATE, Kind.CONTAINER:
                self._create_container(action.name, action.subject)
            case Verb.FILL, _:
                self._fill(action.name, action.subject)
            case Verb.CHECK, Kind.DATABASE:
                self._check_whole(action.to, action.subject)
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
            case Verb.REMOVE, Kind.VOLUME | Kind.CLAIM:
                self._remove_volume(action.name)
            case Verb.REMOVE, Kind.NETWORK:
                self._remove_network(action.name)

    def _pull(self, name: str, service: ServiceSpec, on_event: Listener) -> None:
        try:
            images.pull(self._client, name, on_event, described_at=service.described_at)
        except ImageError:
            if not (self._is_elsewhere and sending.send(self._client, name, on_event)):
                raise

    def _build(self, service: ServiceSpec, on_event: Listener) -> None:
        """Build an image. For another machine, build it on this machine's engine, if there is one, and send it."""
        here = sending.engine_here(self._client) if self._is_elsewhere else None
        images.build(here or self._client, service, on_event)
        if here and not sending.send(self._client, service.image, on_event):
            raise ImageError(f"{service.image} was removed before it could be sent", hint="Try again")

    def _create_network(self, name: str) -> None:
        labels = containers.owned(self._project.name, self._owner)
        try:
            networks.create(self._client.api, name, labels)
        except docker.errors.APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
            # The engine may have created it just now, for a killed command.
            if not self._own_networks(name):
                raise taken_error("network", name) from error
        self._have_one_network(name)

    def _own_networks(self, name: str) -> list[dict[str, Any]]:
        labelled = {"label": [f"{containers.PROJECT}={self._project.name}", f"{containers.OWNER}={self._owner}"]}
        return list(self._client.api.networks(names=[name], filters=labelled))

    def _have_one_network(self, name: str) -> None:
        """Remove all but the newest network of this name: an engine may create two if it is asked twice at once."""
        for network in sorted(self._own_networks(name), key=lambda each: str(each["Created"]))[:-1]:
            with suppress(docker.errors.APIError):  # a network in use is not removed
                self._client.api.remove_network(network["Id"])

    def _create_volume(self, name: str, service: ServiceSpec) -> None:
        """Create a volume. Raises ConflictError if another one has this name, which the engine would return instead."""
        labels = containers.volume_labels(self._project.name, self._owner, service)
        made = self._client.api.create_volume(name, labels=labels)
        if made.get("Labels") != labels:
            raise taken_error("volume", name)

    def _create_claim(self, name: str) -> None:
        labels = {**containers.owned(self._project.name, self._owner), containers.CLAIM: "true"}
        self._client.api.create_volume(name, labels=labels)

    def _create_container(self, name: str, service: ServiceSpec) -> None:
        labels = containers.labels(self._project.name, self._owner, service)
        document = {**service.document, "Labels": labels}
        try:
            self._client.api.create_container_from_config(document, name)  # type: ignore[no-untyped-call]
        except docker.errors.APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
            made = self._own(name)
            if made.status != "created":
                raise taken_error("container", name) from error
            made.remove(force=True, v=True)  # the engine was still creating it, for a killed command
            self._client.api.create_container_from_config(document, name)  # type: ignore[no-untyped-call]

    def run_once(self, service: ServiceSpec, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in a new container, which is removed afterwards. Returns its exit code and its output."""
        once = replace(service, name=RELEASE, command=tuple(command), port=0, restart="no", health_command=())
        once = replace(once, document=containers.document(self._project.name, once))
        name = container_name(self._project.name, RELEASE)
        self._create_container(name, once)
        try:
            self._fill(name, once)
            container = self._own(name)
            container.start()
            code = int(container.wait()["StatusCode"])
            return code, container.logs().decode("utf-8", "replace")
        finally:
            self._remove_container(name)

    def run_alone(self, service: ServiceSpec, given: Mapping[str, str], write: Callable[[bytes], object]) -> str:
        """Run a service in a container of its own until it ends, and pass its output to `write`. Returns its stderr.

        The engine removes the container when it ends, also if this process is killed before.
        """
        name = f"{container_name(self._project.name, service.name)}-{secrets.token_hex(4)}"
        whole = containers.alone(containers.document(self._project.name, service))
        self._create_container(name, replace(service, document=whole))
        try:
            files.fill(self._client.api, name, service, given)
            return exec.run(self._client.api, name, write)
        finally:
            self._end(name)

    def _fill(self, name: str, service: ServiceSpec) -> None:
        files.fill(self._client.api, name, service, containers.secrets_inside(service, self._project))

    def _check_data(self, container: str, service: ServiceSpec) -> None:
        """Raise VersionMismatchError for data of another major version, before anything is stopped or started."""
        major = files.data_major(self._client.api, container, service)
        if major not in (None, service.major):
            raise other_major(service.volume, major, service.image)

    def _check_whole(self, container: str, service: ServiceSpec) -> None:
        """Raise ConflictError for data that was not initialised completely: what it lacks cannot be determined."""
        if not files.is_whole(self._client.api, container, service):
            raise ConflictError(
                f"volume {service.volume} holds no database that was initialised to its end",
                hint="Nothing was changed. Restore a backup into another project, -p NAME",
            )

    def _start(self, name: str, service: ServiceSpec) -> None:
        container = self._own(name)
        try:
            if container.status == "paused":
                container.unpause()
            else:
                self._start_in_network(container)
        except docker.errors.APIError as error:
            if is_port_conflict(error):
                raise _taken_error(service) from error
            raise

    def _start_in_network(self, container: Container) -> None:
        try:
            container.start()
        except docker.errors.APIError as error:
            if "ambiguous" not in str(error):
                raise
            self._have_one_network(network_name(self._project.name))
            container.start()

    def _stop(self, name: str, service: ServiceSpec | None) -> None:
        with suppress(GONE):
            self._own(name).stop(timeout=self._stop_timeout(service) if service else 0)

    def _stop_timeout(self, service: ServiceSpec) -> int:
        """Return how long a service may take to stop. While its data is made, the image ignores the signal."""
        record = self._project.record
        is_being_made = service.is_database and record is not None and not record.initialised
        return FIRST_START_STOPS if is_being_made else int(service.stop_timeout)

    def _set_password(self, service: str) -> None:
        """Set the passwords of the database's roles to the project's, through the container's socket."""
        setting = (f"set_password {role} {name} || exit 1" for role, name in PASSWORDS.items())
        script = "\n".join([_SET_PASSWORDS, *setting])
        output: Any
        container = self._own(container_name(self._project.name, service))
        try:
            code, output = container.exec_run(["sh", "-c", script], user="postgres")
        except docker.errors.APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
            code, output = None, container.logs(tail=EVIDENCE_LINES)  # it has stopped
        if code != 0:
            raise UnhealthyError("the password could not be set", evidence=str(output, "utf-8", "replace"))

    def _end(self, name: str) -> None:
        """Remove a container that the engine removes itself once it has ended."""
        try:
            self._remove_container(name)
        except docker.errors.APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:  # the engine is at it
                raise

    def _remove_container(self, name: str) -> None:
        with suppress(GONE):
            self._own(name).remove(force=True, v=True)  # with its anonymous volumes

    def _remove_volume(self, name: str) -> None:
        labels = observe.volume_labels(self._client, name) or {}
        if self._project.name in (labels.get(containers.PROJECT), labels.get(containers.MEMBER)):
            self._client.api.remove_volume(name, force=True)

    def _remove_network(self, name: str) -> None:
        with suppress(GONE):
            labels = self._client.api.inspect_network(name).get("Labels") or {}
            if labels.get(containers.PROJECT) == self._project.name:
                self._client.api.remove_network(name)

    def _own(self, name: str) -> Container:
        container = self._client.containers.get(name)
        if container.labels.get(containers.PROJECT) != self._project.name:
            raise taken_error("container", name)
        return container


def _taken_error(service: ServiceSpec) -> PortTakenError:
    """Return the error for the port that another process uses: the first of the service's ports that is not free."""
    every = (service.port, *service.more_ports.values())
    port = next((port for port in every if not ports.is_free(service.host, port)), service.port)
    return ports.taken_error(service.name, service.host, port, service.port_choice)
