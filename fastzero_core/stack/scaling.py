"""Change how many tasks a swarm runs, and spread them over its nodes again."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import InvalidInputError
from . import commands, tasks
from .plan import RecordChange
from .session import Session
from .stack import Stack

if TYPE_CHECKING:
    from .deployed import NodeState

SWARM = "swarm"


class ScalableStack(Stack):
    """A stack whose processes can have several tasks, if it runs in a swarm."""

    def scale(self, counts: Mapping[str, int], *, timeout: float | None = None) -> None:
        """Run this number of tasks of each named process, from now on. Raises InvalidInputError outside of a swarm."""
        from .deployment import counts_of

        with self.session(timeout) as session:
            _require_swarm(session, "has one process of each service", "set `replicas` in fastzero.toml")
            session.require_trust()
            record = session.known
            replicas = {**record.replicas, **counts_of(counts, session.spec())}
            after = replace(record, replicas=replicas)
            change = RecordChange(record, after, "other numbers of tasks were asked for")
            spec = session.spec(after)
            observed = session.observe_quickly(spec, after)
            session.run(tasks.plan_scale(spec, observed, change, counts), keep=True)

    def rebalance(self, *, timeout: float | None = None) -> list[str]:
        """Spread the tasks over the nodes again, one after the other. Returns the services that were not spread evenly.

        A swarm does not do so by itself when a node comes back. Raises InvalidInputError outside of a swarm.
        """
        with self.session(timeout) as session:
            _require_swarm(session, "has no nodes", "start one in a swarm: fastzero up --runtime swarm -p NAME")
            spec = session.spec()
            observed = session.observe_quickly(spec, session.known)
            session.run(tasks.plan_rebalance(spec, observed))
            return [each.name for each in spec.processes if observed.service(each.name).uneven]

    def stack_file(self) -> str:
        """Return the stack as a stack.yml for `docker stack deploy`. Raises InvalidInputError outside of a swarm."""
        session = self.look()
        spec = commands.in_swarm(session)
        from .swarm.export import stack_yaml

        return stack_yaml(spec, self.project, session.known.owner)

    def nodes(self) -> "list[NodeState]":
        """Return the nodes of the project's swarm, [] if it does not run in one."""
        session = self.look()
        if session.record is None or session.record.runtime != SWARM:
            return []
        return session.performer.swarm().nodes(session.record)


def _require_swarm(session: Session, what: str, instead: str) -> None:
    runtime = session.known.runtime
    if runtime != SWARM:
        name = session.project.name
        raise InvalidInputError(
            f"project {name} runs {runtime}, and {what}", field="runtime", hint=f"Instead, {instead}"
        )
