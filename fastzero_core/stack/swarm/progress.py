"""How far a swarm is with a service: its tasks, its update, and what failed. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..deployed import TaskState
from ..docker.containers import HASH
from ..lines import moment_of
from .services import TASK

Attributes = Mapping[str, Any]
FAILED = ("failed", "rejected", "orphaned")
ENDED = (*FAILED, "complete", "shutdown", "remove")
UPDATED = ("", "completed", "rollback_completed")
GIVEN_UP = ("rollback_paused", "paused")
ATTEMPTS = 3  # failed tasks of a new service, after which waiting is of no use


@dataclass(frozen=True)
class Progress:
    """A service, its tasks that should run, and the nodes of the swarm.

    `service` is what the engine says about it, `tasks` are all of its tasks, `nodes` all nodes by id.
    """

    service: Attributes
    tasks: Sequence[Attributes]
    nodes: Mapping[str, Attributes]

    @property
    def wanted(self) -> int:
        """The number of tasks that should run."""
        mode = self.service["Spec"]["Mode"]
        if "Replicated" in mode:
            return int(mode["Replicated"]["Replicas"])
        return sum(is_usable(node) for node in self.nodes.values())

    @property
    def template(self) -> str:
        return task_hash(self.service["Spec"]["TaskTemplate"])

    @property
    def update(self) -> str:
        """The state of its last update, as the engine calls it, "" without one."""
        return str((self.service.get("UpdateStatus") or {}).get("State", ""))

    @property
    def message(self) -> str:
        return str((self.service.get("UpdateStatus") or {}).get("Message", ""))

    @property
    def active(self) -> list[Attributes]:
        """The tasks that run and should, also those of before an update."""
        return [each for each in self.tasks if is_running(each) and self._is_reachable(each)]

    @property
    def ready(self) -> list[Attributes]:
        """The tasks that run as the service is specified now."""
        return [each for each in self.active if task_hash(each["Spec"]) == self.template]

    @property
    def failures(self) -> list[Attributes]:
        """The tasks that failed, the latest first."""
        failed = [each for each in self.tasks if each["Status"]["State"] in FAILED]
        return sorted(failed, key=lambda each: str(each["Status"]["Timestamp"]), reverse=True)

    @property
    def is_complete(self) -> bool:
        """Whether all tasks are ready, and none of before the update runs."""
        return len(self.ready) == self.wanted == len(self.active) and self.update in UPDATED

    @property
    def is_reverted(self) -> bool:
        """Whether the swarm undid its last update."""
        return self.update == "rollback_completed"

    def has_failed(self, config_hash: str) -> bool:
        """Return whether it will not run as specified: the swarm went back, gave up, or starts it in vain."""
        runs = self.service["Spec"]["Labels"].get(HASH)
        return self.update in GIVEN_UP or self.is_hopeless or (self.is_reverted and runs != config_hash)

    @property
    def is_hopeless(self) -> bool:
        """Whether a service that never ran fails again and again."""
        failed = [each for each in self.failures if task_hash(each["Spec"]) == self.template]
        return not self.ready and len(failed) >= ATTEMPTS

    @property
    def detail(self) -> str:
        """What it lacks, "" if it is complete."""
        if self.is_complete:
            return ""
        parts = [f"{len(self.ready)} of {self.wanted} tasks ready"]
        if self.update not in UPDATED:
            parts.append(f"update {self.update.replace('_', ' ')}")
        waiting = [why for each in self.tasks if is_wanted(each) and not is_running(each) if (why := reason(each))]
        failed = [why for each in self.failures[:1] if (why := reason(each))]
        return ": ".join([", ".join(parts), *(waiting or failed)[:1]])

    def states(self) -> tuple[TaskState, ...]:
        """Return the state of each task that should run, in their order."""
        chosen = [each for each in self.tasks if is_wanted(each)]
        return tuple(sorted(map(self._state, chosen), key=lambda each: each.task))

    def name(self, task: Attributes) -> str:
        """Return a task's name, as `app.1`; tasks with one on each node are named after it."""
        service = self.service["Spec"]["Labels"].get("fastzero.service", self.service["Spec"]["Name"])
        return f"{service}.{task.get('Slot') or self.node(task)}"

    def node(self, task: Attributes) -> str:
        return node_name(self.nodes.get(task.get("NodeID", ""), {}))

    def _state(self, task: Attributes) -> TaskState:
        state = str(task["Status"]["State"])
        is_lost = state == "running" and not self._is_reachable(task)
        since = moment_of(task["Status"].get("Timestamp"))
        return TaskState(self.name(task), "lost" if is_lost else state, self.node(task), since, reason(task))

    def _is_reachable(self, task: Attributes) -> bool:
        node = self.nodes.get(task.get("NodeID", ""), {})
        return bool(node.get("Status", {}).get("State") == "ready")


def task_hash(template: Attributes) -> str:
    """Return what tells the tasks of one specification from those of another: a label, and forced updates."""
    labels = template.get("ContainerSpec", {}).get("Labels") or {}
    return f"{labels.get(TASK, '')} {template.get('ForceUpdate', 0)}"


def is_usable(node: Attributes) -> bool:
    """Return whether a node takes tasks."""
    return bool(node["Status"]["State"] == "ready" and node["Spec"]["Availability"] == "active")


def node_name(node: Attributes) -> str:
    return str(node.get("Description", {}).get("Hostname", ""))


def is_wanted(task: Attributes) -> bool:
    return bool(task["DesiredState"] in ("running", "ready") and task["Status"]["State"] not in ENDED)


def is_running(task: Attributes) -> bool:
    return bool(task["DesiredState"] == "running" and task["Status"]["State"] == "running")


def reason(task: Attributes) -> str:
    """Return why a task does not run, in the engine's words."""
    return str(task["Status"].get("Err", ""))


def uneven(progress: Progress) -> str:
    """Return why the tasks of a service should be distributed again, "" if they are spread evenly."""
    if "Replicated" not in progress.service["Spec"]["Mode"] or progress.wanted < 2:
        return ""
    if progress.service["Spec"]["TaskTemplate"].get("Placement", {}).get("Constraints"):
        return ""
    counts = {name: 0 for name, node in progress.nodes.items() if is_usable(node)}
    for task in progress.active:
        if task["NodeID"] in counts:
            counts[task["NodeID"]] += 1
    if not counts or max(counts.values()) - min(counts.values()) < 2:
        return ""
    return ", ".join(f"{node_name(progress.nodes[node])} runs {count}" for node, count in sorted(counts.items()))


def of_services(
    services: Iterable[Attributes], tasks: Sequence[Attributes], nodes: Iterable[Attributes]
) -> list[Progress]:
    """Return the progress of each service."""
    by_id = {str(node["ID"]): node for node in nodes}
    return [Progress(each, [task for task in tasks if task["ServiceID"] == each["ID"]], by_id) for each in services]
