"""Plan what is special to a database with standbys. Pure.

All of its members are created at once. They are changed one after the other, so that the database stays available: the
etcds, then the standbys, then the primary, once it is a standby itself.
"""

from collections.abc import Iterator, Sequence

from ..errors import ConflictError
from . import steps
from .actions import Action, Kind, Verb
from .built_in import LOG_WITHOUT_VALUES
from .observed import DataState, Observed
from .spec import ServiceSpec, StackSpec

CHANGES = (Verb.UPDATE, Verb.RESTART)


def one_by_one(spec: StackSpec, observed: Observed, work: Sequence[Action]) -> list[Action]:
    """Return the work, with changes of members one after the other, before what depends on the database is changed.

    One that does not run can be replaced alone, as on another node. Raises ConflictError if others should be replaced
    while it is away: without a second one, commits would wait.
    """
    members = {each.name for each in spec.members}
    changed = {action.service for action in work if action.verb in CHANGES} & members
    if not changed:
        return list(work)
    away = {node.name for node in observed.cluster.nodes if not node.is_running} if observed.cluster else set()
    if observed.cluster and away and changed.intersection(each.name for each in spec.servers) - away:
        raise ConflictError(
            f"{observed.cluster.problem}: servers are replaced only while all of them run",
            hint="Nothing was changed. Start the node, or remove it: docker node rm. Then: fastzero up",
        )
    others = [action for action in work if action.service not in changed]
    extras = {each.name for each in spec.extras}  # the gateway, through which is waited
    return [
        *(action for action in others if action.service in extras),
        *([] if away else [steps.wait(spec.database)]),
        *_in_order(spec, observed, work, changed),
        *(action for action in others if action.service not in extras),
    ]


def _in_order(spec: StackSpec, observed: Observed, work: Sequence[Action], changed: set[str]) -> Iterator[Action]:
    from ..ha.cluster import PRIMARY

    roles = {node.name: node.role for node in observed.cluster.nodes} if observed.cluster else {}
    for service in sorted(spec.members, key=lambda each: (each.is_database, roles.get(each.name) == PRIMARY)):
        if service.name in changed:
            if service.is_database and roles.get(service.name, PRIMARY) == PRIMARY:
                yield _hand_over(service)
            yield from (action for action in work if action.service == service.name)
            yield steps.wait(service)


def _hand_over(server: ServiceSpec) -> Action:
    cause = "another server becomes the primary first"
    return Action(Verb.SET, Kind.PRIMARY, server.name, cause, server.name, subject=server)


def first_passwords(spec: StackSpec, observed: Observed) -> list[Action]:
    """Return the actions that give the roles of new servers their passwords, once the servers run."""
    if not spec.shared or observed.data is not DataState.ABSENT:
        return []
    database = spec.database
    cause = "its roles have none of their own yet"
    return [
        steps.wait(database),
        Action(Verb.SET, Kind.PASSWORD, database.name, cause, database.name, subject=database),
    ]


def settings(spec: StackSpec, observed: Observed) -> list[Action]:
    """Return the action that gives the servers their settings, [] if they have them."""
    if not spec.shared:
        return []
    from ..ha.configuration import dynamic

    known = dynamic(LOG_WITHOUT_VALUES) if observed.data is DataState.ABSENT else observed.shared
    if spec.shared == known:
        return []
    cause = f"changed: {', '.join(_differing(spec.shared, known))}" if known else "if they are not these"
    return [Action(Verb.SET, Kind.SETTINGS, spec.database.name, cause, spec.database.name, subject=spec)]


def _differing(wanted: object, known: object, name: str = "") -> Iterator[str]:
    """Yield the names of the settings that differ, the innermost ones."""
    if not isinstance(wanted, dict) or not isinstance(known, dict):
        yield name
        return
    for key in sorted(wanted.keys() | known.keys()):
        if wanted.get(key) != known.get(key):
            yield from _differing(wanted.get(key), known.get(key), key)
