"""The nodes of a swarm: which one has the data, and how the engine of another one is reached."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import docker
from docker.models.containers import Container

from ...errors import FastZeroError, UnavailableError
from ...project import ProjectRecord
from ...tunnel import beside
from ..deployed import NodeState
from ..docker.engine import connect
from ..runtime import Finding
from ..spec import StackSpec
from .engine import api_of
from .progress import Progress, is_usable, node_name

THERE = "Nothing was changed. Run it with that node's engine: DOCKER_HOST=ssh://USER@NODE, or on the node itself"


def in_order(client: docker.DockerClient, first: str) -> dict[str, bool]:
    """Return the ids of all nodes, `first` and then by zone in turn, each with whether it takes tasks."""
    met: dict[str, int] = {}

    def turn(node: Mapping[str, Any]) -> tuple[bool, int, str]:
        zone = node["Spec"].get("Labels", {}).get("zone", "")
        met[zone] = met.get(zone, 0) + 1
        return node["ID"] != first, met[zone], node_name(node)

    nodes = sorted(api_of(client).nodes(), key=lambda each: (each["ID"] != first, node_name(each)))
    return {str(each["ID"]): is_usable(each) for each in sorted(nodes, key=turn)}


def container_of(task: Mapping[str, Any]) -> str:
    """Return the id of a running task's container."""
    return str(task["Status"]["ContainerStatus"]["ContainerID"])


def elsewhere(progress: Progress, tasks: Sequence[Mapping[str, Any]], host: str) -> Container:
    """Return the container of one of the tasks, on the engine of another node.

    The node is reached as the manager is: over SSH, by the same user, at the same port. Raises UnavailableError if none
    can be.
    """
    why = ""
    for task in tasks:
        address = address_of(progress.nodes[task["NodeID"]])
        if not host:
            break
        try:
            return connect(host=beside(host, address)).containers.get(container_of(task))
        except FastZeroError as error:
            why = f": {error.message}"
    where = ", ".join(f"{progress.name(each)} on {progress.node(each)}" for each in tasks)
    nearest = address_of(progress.nodes[tasks[0]["NodeID"]])
    raise UnavailableError(
        f"no task of this service runs on the engine that this command uses, but {where}{why}",
        hint=f"Run it with that node's engine, if it is a manager: DOCKER_HOST=ssh://USER@{nearest} fastzero exec …",
    )


def address_of(node: Mapping[str, Any]) -> str:
    return str(node["Status"].get("Addr", ""))


def nodes(client: docker.DockerClient, record: ProjectRecord) -> list[NodeState]:
    """Return the nodes of the swarm, by name."""
    found = [
        NodeState(
            node_name(each),
            str(each["Status"]["State"]),
            str(each["Spec"]["Availability"]),
            "leader" if each.get("ManagerStatus", {}).get("Leader") else str(each["Spec"]["Role"]),
            address_of(each),
            each["ID"] in (record.members or (record.node,)),
            str(each["Status"].get("Message", "")),
        )
        for each in api_of(client).nodes()
    ]
    return sorted(found, key=lambda each: each.node)


def node_of(client: docker.DockerClient, record: ProjectRecord) -> NodeState | None:
    """Return the node for the data of a project that is on one node alone, None if it left the swarm."""
    return next((each for each in nodes(client, replace(record, members=())) if each.has_data), None)


def remaining(client: docker.DockerClient, spec: StackSpec, here: str) -> list[tuple[str, str]]:
    """Return the volumes on nodes that are not `here`, each with `on NODE, NODE`."""
    names = {str(each["ID"]): node_name(each) for each in api_of(client).nodes()}
    found = dict[str, str]()
    for service in spec.services:
        for volume in service.volumes if service.deploy else ():
            pinned = service.deploy.node if service.deploy else ""
            there = [names.get(pinned, pinned)] if pinned not in ("", here) else [] if pinned else list(names.values())
            found |= {volume: f"on {', '.join(there)}"} if there else {}
    return list(found.items())


def findings(client: docker.DockerClient, record: ProjectRecord) -> Iterator[Finding]:
    """Yield whether all nodes take tasks, and whether the node that has the data does."""
    nodes = list(api_of(client).nodes())
    away = [node_name(each) for each in nodes if not is_usable(each)]
    if away:
        yield Finding(
            "nodes", "warning", f"{', '.join(away)} of {len(nodes)} nodes takes no tasks", "See: docker node ls"
        )
    else:
        yield Finding("nodes", "ok", f"{len(nodes)} nodes take tasks")
    managers = sum(each["Spec"]["Role"] == "manager" for each in nodes)
    if managers % 2 == 0:
        yield Finding(
            "managers",
            "warning",
            f"{managers} managers tolerate no more losses than {managers - 1}",
            "Have an odd number",
        )
    home = next((each for each in nodes if each["ID"] == record.node), None)
    if record.node and home is None:
        yield Finding("data_node", "failed", "the node that has the data is not in this swarm", "Let it join again")
