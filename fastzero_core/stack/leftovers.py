"""Find what a killed move left, and what stays of a project that is destroyed."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UnavailableError
from ..events import Notice
from ..folders import mark_of
from ..project import Place, ProjectRecord
from .actions import Kind
from .observed import Observed, Thing
from .plan import RecordChange
from .runtime import there_stays
from .spec import StackSpec

if TYPE_CHECKING:
    from .session import Session


def with_leftovers(session: "Session", observed: Observed, change: RecordChange) -> tuple[Observed, RecordChange]:
    """Return both arguments with the leftovers of a killed move: what it filled, and what served the old place."""
    things, after = list(observed.leftovers), change.after
    if mark_of(session.project.archive):
        things.append(Thing(Kind.ARCHIVE, str(session.project.archive)))
    try:
        if after.filling:
            things += [*_served_elsewhere(session, after.filling, after), *session.own_remains(after.filling)]
            after = replace(after, filling=None)
        if after.leaving:
            things += _served_elsewhere(session, after.leaving, after)
            after = replace(after, leaving=None)
    except UnavailableError as error:
        session.on_event(Notice(f"what a move left stays for now: {error.message}"))
    cause = "what a move left is gone" if after != change.after else change.cause
    return with_these_left(observed, things), RecordChange(change.before, after, cause)


def with_these_left(observed: Observed, things: Iterable[Thing]) -> Observed:
    """Return the state of a stack of which these things are left, and are removed first."""
    left: dict[tuple[Kind, str], Thing] = {}
    for thing in things:
        left.setdefault((thing.kind, thing.name), thing)
    networks = {thing.name for thing in left.values() if thing.kind is Kind.NETWORK}
    return replace(
        observed,
        leftovers=tuple(left.values()),
        orphans=tuple(each for each in observed.orphans if (each.kind, each.name) not in left),
        mounts=tuple(each for each in observed.mounts if (each.kind, each.name) not in left),
        networks=observed.networks - networks,
    )


def _served_elsewhere(session: "Session", place: Place, record: ProjectRecord) -> list[Thing]:
    """Return what the project still has to serve a place that it is not at: in a swarm, other services."""
    if place.runtime != record.runtime:
        return session.performer.runtime(place.runtime).serving()
    if record.runtime == "swarm" and bool(place.members) != bool(record.members):
        return session.performer.swarm().serving_at(place)
    return []


def tell_of_remaining(session: "Session", spec: StackSpec, things: Iterable[Thing]) -> None:
    """Emit a notice for each volume of a stack in a swarm that keeps its data when the things are removed."""
    emptied = {thing.name for thing in things if thing.kind is Kind.CONTENT}
    for name, where in session.performer.swarm().remaining(spec):
        if name not in emptied:
            session.on_event(Notice(there_stays(name, where)))


def specs_of(session: "Session", places: Iterable[Place]) -> Iterator[StackSpec]:
    """Yield the services that have the data of each place with standbys."""
    for place in places:
        if place.members:
            spec = session.spec(session.known.at(place))
            yield replace(spec, services=spec.members)
