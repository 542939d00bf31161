"""What a swarm adds to a stack: how it runs a service, and the states of services, tasks and nodes. Pure.

Apart from `spec` and `observed`, since other runtimes start faster without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .spec import SLOWEST_TASK
from .status import ServiceStatus


@dataclass(frozen=True)
class Deployment:
    """How a swarm runs a service.

    It runs `replicas` tasks, spread over the nodes, or one on each node if that is 0. With `node`, only this node runs
    it, since its data is there. `start_first` starts the new task of an update before it stops the old one. `ports` are
    published on each node that runs a task, each with the port inside. `files` are mounted, by their path inside.
    `readiness` says what makes a task ready. `networks` are those that it joins, "" for the project's own.
    """

    replicas: int = 1
    node: str = ""
    start_first: bool = False
    ports: Mapping[int, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    readiness: str = "runs"
    networks: tuple[str, ...] = ("",)

    @property
    def patience(self) -> float:
        """How many seconds more than other services it may take: its tasks are replaced one by one."""
        return SLOWEST_TASK * max(1, self.replicas)

    def settings(self) -> dict[str, str]:
        """Return what users can change, as flat text."""
        return {"replicas": str(self.replicas or "one per node"), **({"node": self.node} if self.node else {})}


@dataclass(frozen=True)
class TaskState:
    """One task of a service in a swarm, as `app.1`, with the node that runs it, and the engine's words if it failed."""

    task: str
    state: str
    node: str
    since: datetime | None
    detail: str = ""


@dataclass(frozen=True)
class NodeState:
    """One node of a swarm. `has_data` says that the project's database is on its disk."""

    node: str
    state: str
    availability: str
    role: str
    address: str
    has_data: bool
    detail: str = ""


@dataclass(frozen=True)
class DeployedStatus(ServiceStatus):
    """The status of one service of a swarm: how many of its tasks run, where, and the state of its last update."""

    running: str
    nodes: str
    update: str
    tasks: tuple[TaskState, ...]
