"""Move a database to another place: to a newer PostgreSQL, or to another runtime. One object per move.

The content is dumped, restored at the new place and compared, while writes are held. One write of the record decides
which of the two places is in service: the old server is stopped before it, and the new one is started after it. If a
move is killed at any time, the next `up` starts the place that has everything. A new server in a swarm is filled as a
container of this manager's engine, which is not part of the swarm.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..errors import (
    ConflictError,
    DatabaseLoginError,
    DataGoneError,
    FastZeroError,
    InvalidInputError,
    NotFoundError,
    PortTakenError,
    RevisionFailedError,
    VersionMismatchError,
)
from ..events import Notice
from ..project import DATABASE, HOST, Place, ProjectRecord, ports_of_others
from . import plan, ports, steps
from .actions import Action, Kind, Verb
from .archiver import described_extras
from .archiving import begin, following
from .commands import repair_password
from .copying import Copying, copy_database, write
from .execute import execute
from .leftovers import specs_of, tell_of_remaining
from .names import as_run_in, of_same_processes
from .observed import DataState, Observed
from .pulling import plan_images
from .runtime import MOVING
from .sealing import finish
from .session import PORT_RACES, Session
from .spec import ServiceSpec, StackSpec, major_of

PORTS_FROM = 55432  # the first port to try for the new server during a move


def plan_move(
    old: StackSpec,
    observed: Observed,
    moving: ServiceSpec,
    there: Observed,
    before: ProjectRecord,
    after: ProjectRecord,
) -> Iterator[Action]:
    """Yield the actions that move a database to another place; the last one writes the record. Pure.

    `moving` is the server at the new place, `there` the current state of its runtime.
    """
    filling = replace(before, filling=after.place, owner=after.owner)
    yield write(before, filling, f"{after.place} is not in service until it is filled")
    cause = f"the database moves to {after.place}"
    made = list(steps.create(old.project, moving, there, cause))
    network, makes_network = steps.network_name(old.project), moving.image and not there.network
    if makes_network:
        yield Action(Verb.CREATE, Kind.NETWORK, network, cause)
    yield from made
    yield Action(Verb.WAIT, Kind.SERVICE, moving.name, "a login answers a query", moving.name, subject=moving)
    yield Action(Verb.HOLD, Kind.WRITES, old.database.name, "nothing may be written that is not copied")
    yield Action(Verb.COPY, Kind.DATABASE, DATABASE, cause, moving.name, subject=moving)
    yield from _end(old.project, moving)
    if makes_network and after.runtime == "swarm":
        yield Action(Verb.REMOVE, Kind.NETWORK, network, "those of a swarm reach all its nodes")
    yield Action(Verb.CHECK, Kind.WRITES, old.database.name, "they must have been held until now")
    yield Action(Verb.STOP, Kind.SESSIONS, old.database.name, "sessions may not write once the hold ends")
    yield from _stops(old, observed, before.runtime, after.runtime)
    yield write(filling, after, "the database is there, whole and compared")


def _end(project: str, moving: ServiceSpec) -> Iterator[Action]:
    """Yield the actions that restart the new server, to check that it starts with the copied settings, and stop it."""
    kind, name = Kind.PROCESS, moving.name
    if moving.image:
        kind, name = Kind.CONTAINER, steps.container_name(project, moving.name)
    cause = "it must start with the settings that were carried"
    stop = Action(Verb.STOP, kind, name, "all is copied", moving.name, subject=moving)
    yield stop
    yield Action(Verb.START, kind, name, cause, moving.name, subject=moving)
    yield Action(Verb.WAIT, Kind.SERVICE, moving.name, cause, moving.name, subject=moving)
    yield stop
    if moving.image:
        yield Action(Verb.REMOVE, Kind.CONTAINER, name, "all is copied", moving.name)


def _stops(old: StackSpec, observed: Observed, runtime: str, then: str) -> Iterator[Action]:
    """Yield the actions that stop what serves the old place.

    Between a swarm and another runtime it is removed too: services and containers would have the same names.
    """
    cause = "its place changes"
    if runtime == then == "swarm":
        from .resize import stops  # other moves do not need it

        yield from stops(old, observed, cause)
    elif "swarm" in (runtime, then):
        yield from plan.plan_down(old, observed)
    else:
        yield from plan.plan_stop(old, observed, old.names, cause)


class Relocation:
    """One move of a project's database to another place."""

    def __init__(self, session: Session, runtime: str, image: str) -> None:
        self._session = session
        self._runtime = session.performer.runtime(runtime)
        self._filler = session.performer.runtime("docker" if runtime == "swarm" else runtime)
        self._image = image
        self._copying = Copying(session, self._copy)

    def run(self) -> Place:
        """Move the database, and start the stack at the new place. Returns the old place.

        Raises VersionMismatchError for an image that is too old, ImageError, UnhealthyError, BackupMismatchError,
        UnavailableError if the data is on another node than this manager.
        """
        session = self._session
        refuse_other_node(session)
        session.ensure_up()
        self._refuse_older()
        before, left = session.known, place_left(session)
        after = self._after(before, left)
        session.refuse_what_cannot_run(after)
        if before.archive:
            finish(session, is_last=True)  # until now it can be recovered to any time, also once it has moved
            after = replace(after, archive=following(session, before.archive, after.runtime))
        spec = session.spec(after)
        there = self._runtime.observe(spec, after)
        plan.refuse_foreign(spec.project, there.foreign)
        session.run(plan_images(spec, there))
        if left.others:
            session.on_event(Notice(f"only database {DATABASE} moves: left is the {left}"))
        names = ", ".join(extra.name for extra in described_extras(spec))
        if names and before.runtime != after.runtime and "embedded" in (before.runtime, after.runtime):
            session.on_event(Notice(f"only the database moves: what {names} has written stays with {before.runtime}"))
        with self._copying.cleared_up():
            self._move(before, after, spec)
        start_at_new_place(session)
        return left

    def _after(self, before: ProjectRecord, left: Place) -> ProjectRecord:
        """Return the record with the database at a new place."""
        place = self._runtime.new_place(self._image)
        after = _moved(self._session, left, place, before.kept)
        return replace(after, owner=before.owner or self._session.machine.new_owner())

    def _refuse_older(self) -> None:
        """Raise VersionMismatchError for an image with an older PostgreSQL; emit a notice for a newer version."""
        from ..backup.server import server_major

        major = server_major(self._session.project.database_url())
        in_container = self._runtime.name != "embedded"
        target = major_of(self._image) if in_container else self._embedded_major()
        if target > major:
            self._session.on_event(Notice(f"the move also upgrades the database: PostgreSQL {major} to {target}"))
        if in_container and target < major:
            raise VersionMismatchError(
                f"the database is of PostgreSQL {major}, too new for image {self._image}",
                hint=f"Nothing was changed. Set FASTZERO_POSTGRES_IMAGE=postgres:{major}",
            )

    def _embedded_major(self) -> int:
        from ..postgres.binaries import find_binaries

        return find_binaries().major

    def _move(self, before: ProjectRecord, after: ProjectRecord, spec: StackSpec) -> None:
        """Execute the plan. Tries another port if one is taken in the process."""
        session = self._session
        taken = set(ports_of_others(session.project)) | set(before.ports.values())
        for _ in range(PORT_RACES):
            port = ports.next_free(HOST, PORTS_FROM, taken)
            moving = self._moving(replace(after, runtime=self._filler.name, archive=None), port)
            old = session.whole_spec(before)
            observed = session.runtime_of(before).observe(old, before)
            there = self._runtime.observe(spec, after)
            try:
                actions = plan_move(old, observed, moving, there, before, after)
                execute(actions, self._copying.perform, session.on_event)
                return
            except PortTakenError as error:
                if error.service != MOVING:
                    raise
                taken.add(port)
        raise PortTakenError("every port tried was taken before the database could have it", hint="Try again")

    def _moving(self, record: ProjectRecord, port: int) -> ServiceSpec:
        """Return the server at the new place, as it is while it is filled."""
        spec = self._session.spec(record)
        alone = StackSpec(spec.project, (replace(spec.database, name=MOVING, port=port),))
        return self._filler.completed(alone).database

    def _copy(self, moving: ServiceSpec) -> None:
        copy_database(self._session, self._filler.name, MOVING, moving.port)


def _moved(session: Session, left: Place, place: Place, kept: tuple[Place, ...]) -> ProjectRecord:
    """Return the record with the database at another place, and with what its runtime needs besides."""
    before, application = session.known, as_run_in(place.runtime, session.described)
    processes = of_same_processes(before.processes, application) if application else before.processes
    after = replace(before.moved(left, place, kept), processes=processes)
    if place.runtime != "swarm":
        return after
    from .in_swarm import with_servers  # other runtimes start faster without it

    return with_servers(after, session.machine)


def refuse_other_node(session: Session) -> None:
    """Raise UnavailableError if the database of a project in a swarm belongs to another node than this manager."""
    if session.known.runtime == "swarm" and session.known.node in session.machine.nodes():
        session.performer.swarm().refuse_elsewhere("a database with one server belongs")


def place_left(session: Session) -> Place:
    """Return the current place of the database, with the other databases that would stay there, if it answers."""
    from ..backup.server import other_databases

    place = session.place
    if not session.runtime.is_alive(session.spec().database.name):
        return place
    try:
        return replace(place, others=tuple(other_databases(session.project.database_url())))
    except FastZeroError as error:
        session.on_event(Notice(f"which other databases stay in the {place} cannot be told: {error.message}"))
        return place


@dataclass(frozen=True)
class PlaceStatus:
    """A place of a project's database: the current one, or a kept one that it was moved from."""

    name: str
    runtime: str
    image: str
    volume: str
    data: str
    current: bool
    others: tuple[str, ...]
    servers: int


def places(session: Session) -> list[PlaceStatus]:
    """Return the current place of the database, and then the kept places, the latest last."""
    now = session.place
    return [
        PlaceStatus(
            each.name,
            each.runtime,
            each.image,
            each.volume,
            each.data,
            current=each is now,
            others=each.others,
            servers=len(each.members) or 1,
        )
        for each in (now, *session.known.kept)
    ]


def kept_place(record: ProjectRecord, name: str) -> Place:
    """Return a kept place by its name. Raises NotFoundError."""
    for place in record.kept:
        if place.name == name:
            return place
    raise NotFoundError(f"no place {name} is kept", hint="See which there are: fastzero db place list")


def before_upgrade(session: Session) -> Place:
    """Return the place before the last upgrade. Raises InvalidInputError if the last move was not an upgrade."""
    now = session.place
    for last in session.known.kept[-1:]:
        if now.runtime == last.runtime != "embedded" and major_of(last.image) < major_of(now.image):
            return last
    raise InvalidInputError("no upgrade to roll back", field="rollback")


def refuse_gone(session: Session, place: Place) -> None:
    """Raise DataGoneError if a kept place no longer has data."""
    if not session.remains(place):
        raise DataGoneError(f"the {place} is gone", hint="Nothing was changed: the database stays where it is")


def use(session: Session, place: Place) -> Place:
    """Use a kept place again. Returns the place used until now, which keeps what was written there.

    Raises DataGoneError, without changing anything, if the kept place has lost its data.
    """
    refuse_gone(session, place)
    session.require_trust()
    before, left = session.known, place_left(session)
    kept = tuple(each for each in before.kept if each != place)
    old = session.whole_spec(before)
    observed = session.observe_quickly(old, before)
    after = replace(_moved(session, left, place, kept), filling=before.filling)  # what a killed move left is removed
    session.refuse_what_cannot_run(after)
    if before.archive:
        finish(session, is_last=False)
        after = replace(after, archive=before.archive.of_next_server())
    if observed.data is DataState.ABSENT:
        after = replace(after, kept=kept)
    cause = f"the database is to be the one in the {place}"
    session.run([*plan.plan_down(old, observed, old.names), write(before, after, cause)])
    refused: FastZeroError | None = None
    try:
        session.ensure_up()
    except (DatabaseLoginError, RevisionFailedError) as error:  # in a swarm, the migration is what logs in first
        refused = error
    if repair_password(session):  # the place is from before the project's passwords were changed
        session.ensure_up()
    elif refused:
        raise refused
    begin(session)
    return left


def discard(session: Session, chosen: tuple[Place, ...]) -> tuple[Place, ...]:
    """Destroy the data at kept places. Returns the places.

    Raises UnavailableError, ForeignStackError or ConflictError before it destroys anything.
    """
    before = session.known
    if in_service := [place for place in chosen if place.name == session.place.name]:
        raise ConflictError(f"the {in_service[0]} is in service", hint="Nothing was changed")
    things = [thing for place in chosen for thing in session.removable(place)]
    for spec in specs_of(session, chosen):
        tell_of_remaining(session, spec, things)
    after = replace(before, kept=tuple(each for each in before.kept if each not in chosen))
    marks = plan.plan_marks(session.unmarked())
    session.run([*marks, *plan.plan_discard(things), write(before, after, "what was kept is destroyed")], keep=True)
    return chosen


def start_at_new_place(session: Session) -> None:
    """Start the stack once the record has the database's new place, after which nothing is undone."""
    try:
        session.ensure_up()
    except KeyboardInterrupt:
        session.on_event(Notice("too late to interrupt: the database is at its new place"))
        session.ensure_up()
    begin(session)
