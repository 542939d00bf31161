"""The swarm runtime: services of a Docker Swarm, through one of its managers.

The gateway and the database's volume are on the engine of that manager, which the docker runtime knows how to use.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

import docker
from docker.models.containers import Container

from ...archive.description import ARCHIVER
from ...errors import FastZeroError, InvalidInputError, UnavailableError, UnhealthyError
from ...events import Listener
from ...ha.configuration import SERVER, STORE
from ...ha.configuration import names as names_of
from ...project import Place, ProjectRecord
from ...tunnel import asked_host
from ..actions import Action, Kind, Verb
from ..deployed import NodeState
from ..deployment import trusting_proxy
from ..docker import containers, findings, images
from ..docker import observe as on_engine
from ..docker.engine import connect, engine_errors
from ..docker.logs import in_order
from ..docker.runtime import DockerRuntime
from ..ha import PROGRAMS
from ..lines import LogLine
from ..observed import DataState, Observed, Thing
from ..runtime import Finding
from ..spec import DATABASE_SERVICE, ServiceSpec, StackSpec
from ..steps import network_name
from . import logs, observe, places
from .engine import api_of
from .images import digest
from .observe import Found
from .operations import Operations as SwarmOperations
from .progress import GIVEN_UP, Progress
from .services import service_document

EVIDENCE_LINES = 20
DEFAULT_NETWORKS = ("10.0.0.0/8",)  # unless the swarm was created with others
IN_SWARM = (Kind.SERVICE, Kind.REPLICAS, Kind.MOUNTED_SECRET, Kind.CONFIG, Kind.CONTENT)


class SwarmRuntime(DockerRuntime):
    """One project's services in the swarm of an engine, which must be a manager."""

    name = "swarm"

    @cached_property
    def _host(self) -> str:
        """The machine of the manager: any of them will do, so the environment may name another than the record."""
        record = self._project.record
        return asked_host(None) or self._given_host or (record.host if record else "")

    @cached_property
    def _digests(self) -> dict[str, str]:
        """The digests of the images that this command pinned."""
        return {}

    @cached_property
    def _client(self) -> docker.DockerClient:
        client = connect(host=self._host)
        with engine_errors():
            self._swarm = client.info()["Swarm"]
        if not self._swarm.get("ControlAvailable"):
            raise InvalidInputError(
                "this engine is not a manager of a swarm",
                field="runtime",
                hint="Create one: docker swarm init. Or name a manager: --host ssh://USER@NAME, or DOCKER_HOST",
            )
        return client

    def node(self) -> str:
        """Return the id of the engine in its swarm. Raises InvalidInputError if it is not a manager."""
        return str(self._client and self._swarm["NodeID"])

    def all_nodes(self) -> dict[str, bool]:
        """Return the ids of all nodes, this engine's first, each with whether it takes tasks."""
        with engine_errors():
            return places.in_order(self._client, self.node())

    def _in_swarm(self, timeout: float = 0) -> SwarmOperations:
        return SwarmOperations(self._client, self._project, self._owner(), self._digests, timeout)

    # -- specification and observation -------------------------------------------------------------------------

    def completed(self, spec: StackSpec) -> StackSpec:
        spec = trusting_proxy(spec, self._networks)
        services = [replace(each, document=self._document(spec.project, each)) for each in spec.services]
        return replace(spec, services=tuple(services))

    @property
    def _networks(self) -> list[str]:
        """The ranges of addresses that the swarm gives its networks, and so the proxy."""
        self.node()  # connects
        return list(self._swarm.get("Cluster", {}).get("DefaultAddrPool") or DEFAULT_NETWORKS)

    def _document(self, project: str, service: ServiceSpec) -> Mapping[str, Any]:
        return service_document(project, service) if service.deploy else containers.document(project, service)

    def observe(self, spec: StackSpec, record: ProjectRecord, *, is_known: bool = True) -> Observed:
        on_this = tuple(each for each in spec.services if not each.deploy)
        has_data = self._has_data(record) and not record.members
        volume = spec.database.volume if has_data else ""
        with engine_errors():
            here = on_engine.find(self._client, spec.project, volume, record.owner, is_known=is_known)
            base = on_engine.observed(self._client, here, replace(spec, services=on_this), record)
            if not has_data:
                base = replace(base, data=DataState.THERE if record.initialised else DataState.ABSENT)
            found = observe.find(self._client, spec.project, record.owner)
            base = replace(base, networks=observe.further_networks(self._client, spec.project))
            observed = observe.observed(found, base, spec, self._project, self._digests)
            known = self._known_images(spec, found)
        self._reach(each for each in on_this if observed.service(each.name).runs)
        return replace(observed, images=(observed.images or frozenset()) | known)

    def _has_data(self, record: ProjectRecord) -> bool:
        """Return whether the engine of this manager has the database's volume."""
        return record.node in ("", self.node())

    def _known_images(self, spec: StackSpec, found: Found) -> frozenset[str]:
        """Return the images that nodes can run: those that run already, and built ones that are in their registry."""
        running = {observe.image_of(each.service["Spec"]).partition("@")[0] for each in found.services}
        built = {each.image for each in spec.services if each.deploy and each.is_built} - running
        return frozenset(
            {*running, *self._digests, *(name for name in built if self._is_there(name, len(found.nodes)))}
        )

    def _is_there(self, image: str, nodes: int) -> bool:
        if "/" in image:
            return bool(digest(self._client, image))
        return nodes == 1 and images.image_id(self._client, image) is not None

    # -- one operation on one thing ----------------------------------------------------------------------------

    def perform(self, action: Action, *, timeout: float, on_event: Listener) -> None:
        with engine_errors():
            is_image = action.verb in (Verb.PIN, Verb.PUSH)
            is_filled = action.kind is Kind.SECRETS and action.subject.deploy  # the gateway has none
            if action.kind in IN_SWARM or is_image or is_filled:
                self._in_swarm(timeout).perform(action, on_event)
                return
            if action.verb is Verb.BUILD:
                self._in_swarm().refuse_unreachable(action.subject)
            if (action.verb, action.kind) == (Verb.CREATE, Kind.NETWORK):
                self._create_network(action.name)
                return
            if (action.verb, action.kind) == (Verb.CREATE, Kind.VOLUME):
                self.refuse_elsewhere(f"volume {action.name} is")
        super().perform(action, timeout=timeout, on_event=on_event)

    def _create_network(self, name: str) -> None:
        """Create a network. Containers can join the project's own; a further one is closed, also to the outside."""
        labels = containers.owned(self._project.name, self._owner())
        is_closed = name != network_name(self._project.name)
        api = self._client.api
        api.create_network(
            name, driver="overlay", attachable=not is_closed, internal=is_closed, labels=labels, scope="swarm"
        )

    def remains(self, place: Place) -> list[Thing]:
        """Return the volume of a database with one server. Raises UnavailableError if it is on another running node."""
        record = self._project.record
        if record is None or self._has_data(record):
            return super().remains(place)
        with engine_errors():
            home = places.node_of(self._client, record)
        if home and home.state == "ready":
            self.refuse_elsewhere(f"volume {place.volume} is")
        return []  # `remaining` tells of it

    def remains_of(self, spec: StackSpec) -> list[Thing]:
        """Return the volumes of members that are on this engine, and the content of those on other running nodes."""
        with engine_errors():
            here = on_engine.volumes(self._client, containers.MEMBER, self._project.name)
            nodes = self.all_nodes()
        things = []
        for each in spec.members:
            assert each.deploy is not None, "it runs in a swarm"
            kind = Kind.VOLUME if each.deploy.node == self.node() else Kind.CONTENT
            if (each.volume in here) if kind is Kind.VOLUME else nodes.get(each.deploy.node):
                things.append(Thing(kind, each.volume, "a server or an etcd has its data in it", each.name, each))
        return things

    def serving(self) -> list[Thing]:
        with engine_errors():
            here = on_engine.find(self._client, self._project.name, "", self._owner())
            found = observe.find(self._client, self._project.name, self._owner())
            further = observe.further_networks(self._client, self._project.name)
        if here.foreign or found.foreign:
            return []
        cause = "the project runs elsewhere"
        networks = (Thing(Kind.NETWORK, each, cause) for each in sorted(further))
        return [*observe.things(found, found.names, cause), *self._on_engine(here, in_swarm=True), *networks]

    def serving_at(self, place: Place) -> list[Thing]:
        """Return what serves the database at a place: services, what they mount, and the network of the etcds."""
        of_members = (*names_of(SERVER), *names_of(STORE), *names_of(ARCHIVER))
        names = of_members if place.members else (DATABASE_SERVICE, ARCHIVER)
        cause = "the database is at another place"
        with engine_errors():
            found = observe.find(self._client, self._project.name, self._owner())
            networks = observe.further_networks(self._client, self._project.name) if place.members else ()
        return [*observe.things(found, names, cause), *(Thing(Kind.NETWORK, each, cause) for each in sorted(networks))]

    def refuse_elsewhere(self, what: str) -> None:
        """Raise UnavailableError if the node for the data of one server is not this manager. `what` begins the text."""
        record = self._project.record
        if record is None or self._has_data(record):
            return
        home = places.node_of(self._client, record)
        name = f"{home.node} ({home.address})" if home else record.node
        raise UnavailableError(f"{what} on node {name}, not on this manager", hint=places.THERE)

    def remaining(self, spec: StackSpec) -> list[tuple[str, str]]:
        """Return the volumes that cannot be removed from here, each with its nodes."""
        with engine_errors():
            return places.remaining(self._client, spec, self.node())

    def run_once(self, service: ServiceSpec, command: Sequence[str]) -> tuple[int, str]:
        with engine_errors():
            return self._in_swarm(self._patience).run_once(service, command)

    def run_alone(self, service: ServiceSpec, secrets: Mapping[str, str], write: Callable[[bytes], object]) -> str:
        """Run a service that is not part of the stack as a job on its node. Returns its stderr."""
        with engine_errors():
            return self._in_swarm(self._patience).run_alone(service, secrets, write)

    def images(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of the named images that nodes can run."""
        with engine_errors():
            nodes = len(api_of(self._client).nodes())
            return frozenset(name for name in names if self._is_there(name, nodes))

    @property
    def _patience(self) -> float:
        return 120  # seconds for a node to pull the image of a job

    def nodes(self, record: ProjectRecord) -> list[NodeState]:
        """Return the nodes of the swarm."""
        with engine_errors():
            return places.nodes(self._client, record)

    # -- queries -----------------------------------------------------------------------------------------------

    def _progress(self, service: str) -> Progress | None:
        return observe.find(self._client, self._project.name, self._owner()).service(service)

    def is_alive(self, service: str) -> bool:
        with engine_errors():
            progress = self._progress(service)
            return bool(progress and progress.wanted) or (progress is None and super().is_alive(service))

    def failed_check(self, service: ServiceSpec) -> str:
        """Return what a service lacks. Raises UnhealthyError, with evidence, once the swarm undid its update."""
        if not service.deploy:
            return super().failed_check(service)
        with engine_errors():
            progress = self._progress(service.name)
            if progress is None:
                return "it is gone"
            if progress.has_failed(service.config_hash):
                raise self._failure(service.name, progress)
            return progress.detail

    def _failure(self, service: str, progress: Progress) -> UnhealthyError:
        why = f"{service} does not start: {progress.detail}"
        if progress.is_reverted:
            why = f"the new version of {service} failed, and the swarm runs the one before again"
        elif progress.update in GIVEN_UP:
            why = f"the update of {service} failed, and the swarm gave up: {progress.message}"
        whole_log = f"The whole log: fastzero logs {service} -p {self._project.name}"
        return UnhealthyError(why, hint=whole_log, evidence=self._evidence(service, progress))

    def ask_inside(self, timeout: float, method: str, address: str, path: str, body: str | None) -> tuple[int, str]:
        """Send a request to a Patroni from a server's container on this node. Raises OSError."""
        command = ("python3", f"{PROGRAMS}/ask.py", f"{timeout:g}", method, address, path, *([body] if body else []))
        answer: list[bytes] = []
        try:
            code, said = self.pipe(DATABASE_SERVICE, command, write=answer.append)
        except FastZeroError as error:
            raise OSError(error.message) from error
        if code:
            raise OSError(said)
        status, text = json.loads(b"".join(answer))
        return int(status), str(text)

    def evidence(self, service: str) -> str:
        with engine_errors():
            progress = self._progress(service)
            return self._evidence(service, progress) if progress else super().evidence(service)

    def _evidence(self, service: str, progress: Progress) -> str:
        """Return the errors of the tasks that failed last, and the last lines of their logs."""
        failed = progress.failures[:3]
        names = {str(each["ID"]): progress.name(each) for each in failed}
        told = [f"{progress.name(each)} on {progress.node(each) or 'no node'}: {_error(each)}" for each in failed]
        lines = in_order(logs.lines_of(self._client.api, progress.service["ID"], names, 200, None, ""))
        chosen = [f"{line.service}: {line.text}" for line in lines if line.service][-EVIDENCE_LINES:]
        return "\n".join([*told, *chosen]) or f"{service}: {progress.detail or 'its tasks run'}"

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        with engine_errors():
            found = observe.find(self._client, self._project.name, self._owner())
            chosen = [(name, progress) for name in services if (progress := found.service(name))]
            asked = time.time()
            api = self._client.api
            if own := [name for name in services if not found.service(name)]:
                yield from super().logs(own, tail=tail, follow=False, since=since)
            yield from in_order(
                line
                for name, progress in chosen
                for line in in_order(logs.lines_of(api, progress.service["ID"], {}, tail, since, name))[-(tail or 0) :]
            )
            if follow:
                yield from logs.follow(api, [(each.service["ID"], {}, name) for name, each in chosen], asked)

    def examine(self, spec: StackSpec, record: ProjectRecord) -> Iterator[Finding]:
        """Yield findings about the engine, the nodes of its swarm, and the data if this manager has it."""
        with engine_errors():
            yield from findings.of_engine(self._client, self._host)
            yield from places.findings(self._client, record)
            if not self._has_data(record) or record.members:
                return
            database = replace(spec.database, document=containers.document(spec.project, spec.database))
            here = on_engine.find(self._client, spec.project, database.volume, record.owner)
            yield from findings.of_owner(here)
            yield from findings.of_data(self._client, here, database, record)

    def run(self, spec: StackSpec, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command in a task of the application, on the engine of this manager if one runs there."""
        with engine_errors():
            found = observe.find(self._client, spec.project, self._owner())
        active = {each.name: progress.active for each in spec.processes if (progress := found.service(each.name))}
        here = [name for name, tasks in active.items() if any(task["NodeID"] == self.node() for task in tasks)]
        running = [*here, *(name for name, tasks in active.items() if tasks)]
        if not running:
            raise UnhealthyError("no process of the application is running", hint="Start it: fastzero up")
        return self.execute_in(running[0], command, interactive=interactive)

    def _find(self, service: str) -> Container | None:
        """Return the container of a service: the gateway's, or that of a task whose engine can be reached.

        A database with standbys has three, and the nearest is returned.
        """
        found = observe.find(self._client, self._project.name, self._owner())
        names = (service, *(names_of(SERVER) if service == DATABASE_SERVICE else ()))
        some = [progress for name in names if (progress := found.service(name))]
        if not some:
            return super()._find(service)
        here = [each for progress in some for each in progress.active if each["NodeID"] == self.node()]
        if here:
            return self._client.containers.get(places.container_of(here[0]))
        running = next((progress for progress in some if progress.active), None)
        return places.elsewhere(running, running.active, self._host) if running else None

    def server_here(self) -> str:
        """Return the server of a database with standbys that runs on this engine, "" if none does."""
        with engine_errors():
            found = observe.find(self._client, self._project.name, self._owner())
        return next(
            (
                name
                for name in names_of(SERVER)
                if (progress := found.service(name)) and any(each["NodeID"] == self.node() for each in progress.active)
            ),
            "",
        )

    def _running(self, service: str) -> Container:
        container = self._find(service)
        if container is None or container.status != "running":
            raise UnhealthyError(f"{service} is not running", hint="Start it: fastzero up")
        return container


def _error(task: Mapping[str, Any]) -> str:
    status = task["Status"]
    return str(status.get("Err") or status.get("Message") or status["State"])
