"""Plan another number of tasks in a swarm, or another distribution over its nodes. Pure."""

from collections.abc import Iterable

from . import steps
from .actions import Action, Kind, Verb
from .observed import Observed
from .plan import RecordChange, write
from .spec import StackSpec


def plan_scale(spec: StackSpec, observed: Observed, change: RecordChange, names: Iterable[str]) -> list[Action]:
    """Return the actions that change the number of tasks of the named services, and nothing else about them."""
    cause = "another number of tasks was asked for"
    chosen = [service for service in spec.services if service.name in names and observed.service(service.name).thing]
    scaled = [
        Action(
            Verb.SET,
            Kind.REPLICAS,
            observed.service(each.name).thing,
            cause,
            each.name,
            to=str(each.deploy.replicas if each.deploy else 1),
            subject=each,
        )
        for each in chosen
    ]
    return [*write(change), *scaled, *map(steps.wait, chosen)]


def plan_rebalance(spec: StackSpec, observed: Observed) -> list[Action]:
    """Return the actions that replace the tasks of services which are not spread evenly, one after the other."""
    chosen = [(each, found.uneven) for each in spec.processes if (found := observed.service(each.name)).uneven]
    return [
        action
        for service, cause in chosen
        for action in (steps.roll(spec.project, service, cause), steps.wait(service))
    ]
