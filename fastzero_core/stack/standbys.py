"""Observe and change the servers of a database with standbys.

They are reached through the gateway of the project or, on a manager that has none, through one of their containers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from ..errors import DatabaseLoginError, UnavailableError, UnhealthyError
from ..ha.cluster import SEE_STATE, Cluster, Node, State, directly
from ..ha.configuration import API_PASSWORD, API_PASSWORD_BEFORE, API_PORT
from ..ha.passwords import NOT_LOGGED, PSQL, script, set_first
from ..polling import wait_until
from ..postgres.roles import REPLICATION, REPLICATION_PASSWORD, SUPERUSER
from ..project import HOST, Project, ProjectRecord
from .actions import Action, Kind
from .in_swarm import API_PORTS
from .observed import Observed
from .roles import sessions
from .spec import GATEWAY, ServiceSpec, StackSpec
from .wait import Witness

EVERY = 0.5  # seconds between two looks


class Reach(Witness, Protocol):
    """The runtime of a swarm.

    `ask_inside` sends a request as `Cluster` does, from a container of a member. `server_here` is the server that runs
    on this engine, "" if none does; `pipe` runs a program in its container.
    """

    def server_here(self) -> str: ...
    def pipe(
        self,
        service: str,
        command: Sequence[str],
        *,
        read: Iterator[bytes] | None = None,
        write: Callable[[bytes], Any],
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]: ...
    def all_nodes(self) -> Mapping[str, bool]: ...
    def ask_inside(self, timeout: float, method: str, address: str, path: str, body: str | None) -> tuple[int, str]: ...


def cluster_of(project: Project, record: ProjectRecord, reach: Reach) -> Cluster:
    """Return the servers of a project. Raises ProjectNotFoundError without the secret of their interface."""
    if reach.is_alive(GATEWAY):
        addresses = {name: f"{HOST}:{record.ports[port]}" for name, port in API_PORTS.items()}
        return Cluster(addresses, directly(*_api_passwords(project)))
    return Cluster({name: f"{name}:{API_PORT}" for name in API_PORTS}, reach.ask_inside)


def _api_passwords(project: Project) -> list[str]:
    """Return the password of the servers' interface, and the one before while not all of them have the new one."""
    before = [project.secret(API_PASSWORD_BEFORE)] if project.has_secret(API_PASSWORD_BEFORE) else []
    return [project.secret(API_PASSWORD), *before]


def observed(spec: StackSpec, found: Observed, project: Project, record: ProjectRecord, reach: Reach) -> Observed:
    """Return what was found, with the state of the servers and their configuration if any of them answers."""
    if not any(found.service(each.name).runs for each in spec.servers) or not project.has_secret(API_PASSWORD):
        return found
    with suppress(UnavailableError):
        cluster = cluster_of(project, record, reach)
        state = cluster.state()
        found = replace(found, cluster=state, shared=cluster.configuration())
        for node in state.nodes:
            service = found.service(node.name)
            found = found.having(replace(service, detail=service.detail or _described(node)))
    return found


def _lost(record: ProjectRecord, reach: Reach) -> set[str]:
    """Return the servers whose nodes do not run: they follow the primary once the nodes are back."""
    nodes = reach.all_nodes()
    members = record.members or (record.filling.members if record.filling else ())
    return {server for server, node in zip(API_PORTS, members, strict=True) if not nodes.get(node)}


def _described(node: Node) -> str:
    """Return the role of a server, with what a standby lacks."""
    if not node.is_running:
        return node.state
    return f"{node.role}, lacks {node.lag} bytes" if node.lag else node.role


def perform(project: Project, record: ProjectRecord, action: Action, reach: Reach) -> None:
    """Perform an action on the running servers. Raises DatabaseLoginError, ConflictError, UnavailableError."""
    cluster = cluster_of(project, record, reach)
    match action.kind:
        case Kind.PASSWORD:
            port, first = action.subject.port, project.secret(API_PASSWORD)
            try:
                set_first(lambda known: sessions(project, port, {SUPERUSER: known}), project.passwords(), first)
            except DatabaseLoginError:  # the data is from before the project's passwords were changed
                _set_inside(project, cluster, reach)
        case Kind.SETTINGS:
            if cluster.configuration() != action.subject.shared:
                cluster.configure(action.subject.shared)
            cluster.restart_for_settings()
        case Kind.PRIMARY:
            primary = cluster.state().primary
            if primary and primary.name == action.name:
                cluster.switch_over()


def _set_inside(project: Project, cluster: Cluster, reach: Reach) -> None:
    """Set the passwords of the roles in the primary's container. It becomes the primary that runs on this engine.

    Raises UnavailableError if none runs here, ConflictError if it cannot be the primary.
    """
    here, output = reach.server_here(), list[bytes]()
    if not here:
        raise UnavailableError("no server of the database runs on this manager", hint="Try again on another manager")
    cluster.switch_over(here)
    text = script({**project.passwords(), REPLICATION: project.secret(REPLICATION_PASSWORD)})
    code, said = reach.pipe(here, PSQL, read=iter([text]), write=output.append, environment=NOT_LOGGED)
    if code:
        raise UnhealthyError("the passwords could not be set", evidence=said)


def wait(project: Project, record: ProjectRecord, server: ServiceSpec, reach: Reach, timeout: float) -> None:
    """Wait until a server runs as specified, and all that have a node follow the primary.

    Raises UnhealthyError with the evidence.
    """
    cluster, last = cluster_of(project, record, reach), State(())
    lacks = ""

    def is_reached() -> bool:
        nonlocal last, lacks
        lost = _lost(record, reach)
        lacks = "" if server.name in lost else reach.failed_check(server)
        with suppress(UnavailableError):
            last = cluster.state()
            waited_for = [node for node in last.standbys if node.name not in lost]
            return last.is_writable and all(node.confirms for node in waited_for) and not lacks
        return False

    if not wait_until(is_reached, timeout, every=EVERY):
        problem = last.problem or ("a standby does not follow the primary" if last.nodes else "no server answers")
        hint = SEE_STATE if last.nodes else f"The whole log: fastzero logs {server.name} -p {project.name}"
        why = f"{server.name}: {lacks}" if lacks else problem
        raise UnhealthyError(why, hint=hint, evidence=reach.evidence(server.name))
