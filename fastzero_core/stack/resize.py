"""Move a database within a swarm: from one server to three with standbys, or back. One object per move.

The new servers run beside those in service, as they will run afterwards, and are filled through a gateway of their own.
One write of the record decides which are in service: the old ones are stopped before it. If a move fails or is killed,
the record still has what was being filled, and the next command removes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..errors import InvalidInputError, PortTakenError
from ..events import Notice
from ..project import DATABASE, HOST, Place, ProjectRecord, ports_of_others
from . import in_swarm, plan, ports, rolling, steps
from .actions import Action, Kind, Verb
from .archiver import archivers
from .archiving import following
from .copying import Copying, copy_database, write
from .decide import Flags
from .edge import gateway
from .execute import execute
from .in_swarm import API_PORTS
from .leftovers import with_these_left
from .observe import head_of, missing_secrets
from .observed import DataState, Observed, ObservedService, ServiceState, Thing
from .plan import RecordChange
from .pulling import plan_images
from .relocate import PORTS_FROM, place_left, refuse_other_node, start_at_new_place
from .runtime import PASSAGE
from .sealing import finish
from .session import PORT_RACES, Session
from .spec import DATABASE_SERVICE, GATEWAY, PROXY, ServiceSpec, StackSpec

LEFT = "the database is at another place"


def plan_resize(
    old: StackSpec,
    observed: Observed,
    new: StackSpec,
    there: Observed,
    passage: ServiceSpec,
    before: ProjectRecord,
    after: ProjectRecord,
) -> Iterator[Action]:
    """Yield the actions that move a database to other servers; the first and the last one write the record. Pure.

    `there` is the state of the stack `new`. `passage` is the gateway that leads to its servers until then.
    """
    filling = replace(before, ports=after.ports, node=after.node, filling=after.place)
    cause = f"the database moves to {after.place.name}"
    new_database = replace(new.database, port=passage.port)  # as it is reached through the passage
    yield write(before, filling, f"{after.place.name} is not in service until it is filled")
    yield from _made(new, there, passage, cause)
    yield steps.wait(new_database)
    yield from _prepared(new, new_database)
    yield Action(Verb.HOLD, Kind.WRITES, old.database.name, "nothing may be written that is not copied")
    yield Action(Verb.COPY, Kind.DATABASE, DATABASE, cause, new_database.name, subject=new_database)
    if not new.members:
        yield from _restarted(new, new_database)
    yield Action(Verb.CHECK, Kind.WRITES, old.database.name, "they must have been held until now")
    yield Action(Verb.STOP, Kind.SESSIONS, old.database.name, "sessions may not write once the hold ends")
    for service in stopped(old, observed):
        yield from steps.stop(service, observed.service(service.name), "its place changes")
    name = steps.container_name(new.project, passage.name)
    yield Action(Verb.REMOVE, Kind.CONTAINER, name, "the gateway leads to the new servers from now on", passage.name)
    yield write(filling, after, "the database is there, whole and compared")


def _made(new: StackSpec, there: Observed, passage: ServiceSpec, cause: str) -> Iterator[Action]:
    """Yield the actions that create the new servers, and the passage to them."""
    for secret in there.missing_secrets:
        yield Action(Verb.CREATE, Kind.SECRET, secret, "the project has none yet")
    for network in (steps.network_name(new.project, each) for each in new.networks):
        if network not in there.networks:
            yield Action(Verb.CREATE, Kind.NETWORK, network, "only its members meet in it")
    for service in created(new):
        yield from steps.create(new.project, service, there, cause)
    yield from steps.create(new.project, passage, there, "the new servers are filled through it")


def passage_to(new: StackSpec, image: str, port: int) -> ServiceSpec:
    """Return the gateway that leads to the new servers, on `port` to the one that accepts writes. Pure."""
    first, *others = new.servers
    return replace(gateway(image, (replace(first, port=port), *others)), name=PASSAGE)


def created(new: StackSpec) -> tuple[ServiceSpec, ...]:
    """Return the services of a stack that serve its database."""
    return new.members or (new.database,)


def _prepared(new: StackSpec, database: ServiceSpec) -> Iterator[Action]:
    """Yield the actions that give new servers with standbys their passwords and settings. A single one has them."""
    if new.members:
        cause = "its roles have none of their own yet"
        yield Action(Verb.SET, Kind.PASSWORD, database.name, cause, database.name, subject=database)
        yield from rolling.settings(new, Observed())


def _restarted(new: StackSpec, database: ServiceSpec) -> Iterator[Action]:
    """Yield the actions that restart the new server, to check that it starts with the copied settings."""
    cause, name = "it must start with the settings that were carried", steps.container_name(new.project, database.name)
    for verb in (Verb.STOP, Verb.START):
        yield Action(verb, Kind.SERVICE, name, cause, database.name, subject=new.database)
    yield steps.wait(database)


def stopped(old: StackSpec, observed: Observed) -> Sequence[ServiceSpec]:
    """Return the services that are stopped before the record is written, in their order. Pure.

    Whatever may write is first. The primary is the last of the servers, so that none takes over, and the gateway ends
    after it, since the hold on writes goes through it. Archivers are last, when the last segment is archived. The proxy
    stays, and answers 503.
    """
    primary = observed.cluster.primary if observed.cluster else None
    ends = archivers(old)
    own = {GATEWAY, PROXY, *(each.name for each in (*old.members, *ends))}
    writers = [each for each in (*old.extras, *old.processes) if each.name not in own]
    servers = sorted(old.servers, key=lambda each: primary is not None and each.name == primary.name)
    stores = [each for each in old.members if not each.is_database]
    return [*reversed(writers), *servers, *(each for each in old.extras if each.name == GATEWAY), *stores, *ends]


def stops(old: StackSpec, observed: Observed, cause: str) -> Iterator[Action]:
    """Yield the actions that stop what serves a place, if the next one is served by the services of the same names.

    The gateway stays: a node leaves the network of a swarm when it runs nothing in it, and it could not start again.
    """
    for service in stopped(old, observed):
        if service.name != GATEWAY:
            yield from steps.stop(service, observed.service(service.name), cause)


def as_moved(old: StackSpec, observed: Observed, new: StackSpec, there: Observed) -> Observed:
    """Return the state of the stack after a move, as far as it can be known before. Pure."""
    at_rest = {each.name for each in stopped(old, observed)}
    services = {
        name: replace(found, state=ServiceState.STOPPED) if name in at_rest and found.exists else found
        for name, found in there.services.items()
    }
    services |= {each.name: _running(new.project, each) for each in created(new)}
    networks = there.networks | {steps.network_name(new.project, each) for each in new.networks}
    state = replace(
        there,
        services=services,
        networks=networks,
        data=DataState.THERE,
        shared=new.shared or None,
        revision=None,
        missing_secrets=(),
    )
    return with_these_left(state, [*there.leftovers, *_left(old, observed)])


def _left(old: StackSpec, observed: Observed) -> Iterator[Thing]:
    """Yield what served the database before, in the order of `SwarmRuntime.serving_at`."""
    services = [*old.servers, *(each for each in old.members if not each.is_database), *archivers(old)]
    for each in services:
        yield Thing(Kind.SERVICE, steps.container_name(old.project, each.name), LEFT, each.name)
    names = {each.name for each in services}
    mounts = dict.fromkeys((*observed.mounts, *observed.stale))
    yield from (replace(each, cause=LEFT) for each in mounts if each.service in names)
    for network in old.networks:
        yield Thing(Kind.NETWORK, steps.network_name(old.project, network), LEFT)


def _running(project: str, service: ServiceSpec) -> ObservedService:
    thing = steps.container_name(project, service.name)
    return ObservedService(
        service.name, ServiceState.RUNNING, settings=service.settings(), config_hash=service.config_hash, thing=thing
    )


def _all_running(spec: StackSpec, observed: Observed) -> Observed:
    """Return the state of a stack once `up` has started it."""
    return replace(observed, services={each.name: _running(spec.project, each) for each in spec.services})


class Resizing:
    """One move of a project's database to three servers with `ha`, to one without; of another image if one is named."""

    def __init__(self, session: Session, *, ha: bool, image: str = "") -> None:
        self._session = session
        self._ha = ha
        self._image = image
        self._copying = Copying(session, self._copy)

    @property
    def is_done(self) -> bool:
        """Whether the database has that number of servers."""
        return bool(self._session.known.members) is self._ha

    def refuse(self) -> None:
        """Raise an error if the database cannot be moved: InvalidInputError, UnavailableError."""
        session, record = self._session, self._session.known
        if record.runtime != "swarm":
            raise InvalidInputError(
                f"standbys need a swarm, and project {session.project.name} runs {record.runtime}",
                field="ha",
                hint="Nothing was changed. Use a project in a swarm: fastzero up --runtime swarm --ha -p NAME",
            )
        refuse_other_node(session)
        self._after(record, session.place)

    def run(self) -> Place:
        """Move the database, and update the stack. Returns the old place.

        Raises InvalidInputError, ImageError, UnhealthyError, BackupMismatchError.
        """
        session = self._session
        self.refuse()
        session.ensure_up()
        if archive := session.known.archive:
            following(session, archive, "swarm")
            finish(session, is_last=True)  # until now it can be recovered to any time, also once it has moved
        left = place_left(session)
        if left.others:
            session.on_event(Notice(f"only database {DATABASE} moves: left is the {left}"))
        with self._copying.cleared_up():
            self._move(left)
        start_at_new_place(session)
        return left

    def planned(self) -> list[Action]:
        """Return the actions that `run` would perform now, with their causes. Raises as `refuse` does."""
        session = self._session
        self.refuse()
        if archive := session.known.archive:
            session.on_event(Notice(f"then {archive} ends, and the archive of the new database begins beside it"))
        _, images, first = session.planned(session.as_recorded(), Flags())
        before = session.known
        after = self._after(before, session.place)
        old, new, observed, there = self._looked_at(before, after)
        if first:
            observed = _all_running(old, observed)
            known = {name: found for name, found in observed.services.items() if name in new.names}
            there = replace(there, services={**there.services, **known})
        moved = plan_resize(old, observed, new, there, self._passage(new, after), before, after)
        last_record = replace(after, leaving=None)
        change = RecordChange(after, last_record, "what a move left is gone")
        archived = session.spec(after)
        last = plan.plan_up(archived, as_moved(old, observed, new, there), head_of(archived), change)
        return [*images, *first, *plan_images(new, there), *moved, *last]

    def _after(self, before: ProjectRecord, left: Place) -> ProjectRecord:
        """Return the record with the database at a new place. Ports that turned out to be taken are chosen again."""
        session, machine = self._session, self._session.machine
        kept_ports = {
            name: port
            for name, port in before.ports.items()
            if name not in API_PORTS.values() or port not in session.refused_ports
        }
        place = session.performer.swarm().new_place(self._image or left.image)
        if self._ha:
            place = replace(place, members=in_swarm.with_members(replace(before, members=()), machine).members)
        archive = before.archive and before.archive.of_next_server()
        after = replace(before.moved(left, place, before.kept), ports=kept_ports, archive=archive)
        return in_swarm.with_servers(after, machine)

    def _looked_at(
        self, before: ProjectRecord, after: ProjectRecord
    ) -> tuple[StackSpec, StackSpec, Observed, Observed]:
        """Return the stack before and after, and the current state of both. The new one is not archived yet."""
        session = self._session
        old, new = session.whole_spec(before), session.spec(replace(after, archive=None))
        there = session.observe_quickly(new, after)
        there = replace(there, missing_secrets=missing_secrets(new, session.project))
        return old, new, session.observe(old, before), there

    def _passage(self, new: StackSpec, after: ProjectRecord) -> ServiceSpec:
        session = self._session
        taken = {*ports_of_others(session.project), *session.refused_ports, *after.ports.values()}
        port = ports.next_free(HOST, PORTS_FROM, taken)
        alone = StackSpec(new.project, (passage_to(new, session.settings.python_image, port),))
        [passage] = session.performer.swarm().completed(alone).services
        return passage

    def _move(self, left: Place) -> None:
        """Execute the plan. Tries other ports if one is taken in the process."""
        session = self._session
        for _ in range(PORT_RACES):
            before = session.known
            after = self._after(before, left)
            old, new, observed, there = self._looked_at(before, after)
            images = plan_images(new, there)
            if images:
                session.run(images)
                old, new, observed, there = self._looked_at(before, after)
            passage = self._passage(new, after)
            first, *rest = plan_resize(old, observed, new, there, passage, before, after)
            session.run([first])  # not undone with the rest: what is filled is in the record until it is gone
            try:
                execute(rest, self._copying.perform, session.on_event)
                return
            except PortTakenError as error:
                if error.service != PASSAGE:
                    raise
                session.refused_ports |= passage.published
                session.ensure_up()
        raise PortTakenError("every port tried was taken before the database could have it", hint="Try again")

    def _copy(self, new_database: ServiceSpec) -> None:
        """Copy the database with the programs of the single server, which is on this node and reaches the others."""
        copy_database(self._session, "swarm", DATABASE_SERVICE, new_database.port, has_standbys=self._ha)


def add_standbys(session: Session, what: str) -> None:
    """Move a database to three servers. `what` has been done to it before, and stays if this fails."""
    try:
        Resizing(session, ha=True).run()
    except BaseException:
        session.on_event(Notice(f"the database is {what}, and has no standbys yet. Then: fastzero db move --ha"))
        raise
