"""Recover the database of a stack from an archive: to a new place of its stack, or as a new stack.

A database with standbys is recovered to one server, which then moves to three as every database does.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import VersionMismatchError
from ..events import Notice
from ..project import Place, ProjectRecord
from . import commands, decide, in_swarm, plan, steps
from .actions import Action, Kind, Verb
from .archivist import archivist_of, runtime_for
from .copying import write
from .decide import Flags
from .execute import execute
from .pulling import plan_images
from .relocate import place_left, start_at_new_place
from .session import Session
from .spec import ServiceSpec, asked_ports, major_of, with_major

if TYPE_CHECKING:
    from ..archive.recovery import RecoveryPlan

MADE = ((Verb.CREATE, Kind.DATA), (Verb.CREATE, Kind.VOLUME))  # what is filled from the archive


class Recovering:
    """One recovery of a project's database."""

    def __init__(self, session: Session, found: "RecoveryPlan") -> None:
        self._session, self._found = session, found

    def run(self) -> Place | None:
        """Recover the database, and start the stack on it. Returns the old place, None without one."""
        session = self._session
        if session.record is None:
            self._create()
            return None
        left = self._replace()
        start_at_new_place(session)
        if left.members:
            from .resize import add_standbys  # databases without standbys are recovered without it

            add_standbys(session, "recovered")
        return left

    def _create(self) -> None:
        """Create the stack of a project that has none, with the recovered data instead of an empty database."""
        session = self._session
        flags = Flags(runtime_for(session), ports=asked_ports(session.settings))
        decision = commands.decided(session, flags)
        database = decision.spec.database
        self._refuse_other_major(database)
        _, first, actions = session.planned(decision, flags)
        for notice in decision.notices:
            session.on_event(Notice(notice))
        session.run(first)
        place = decide.place_of(session.settings, decision.record)
        execute(actions, lambda action: self._perform(action, database, place), session.on_event)

    def _refuse_other_major(self, database: ServiceSpec) -> None:
        major = self._found.backup.major
        if database.image and major_of(database.image) != major:
            raise VersionMismatchError(
                f"the archive is that of PostgreSQL {major}, and {database.image} is another version",
                hint=f"Nothing was changed. Set FASTZERO_POSTGRES_IMAGE={with_major(database.image, major)}",
            )

    def _replace(self) -> Place:
        """Recover to a new place, and write the record with it. Whatever runs serves the old place until then."""
        session = self._session
        before, left = session.known, place_left(session)
        place = self._new_place()
        after = before.moved(left, place, before.kept)
        if before.members:
            after = in_swarm.with_one_server(replace(after, node=session.machine.node()), session.machine)
        filling = replace(before, filling=place, node=after.node)
        if before.archive and before.archive.server != self._found.archive.server:
            # It is another server than the archived one.
            after = replace(after, archive=before.archive.of_next_server())
        there = session.spec(after)
        session.run(plan_images(there, session.observe_quickly(there, after)))
        made = steps.make_data(there.database, f"the database is recovered to the {place}")
        execute(
            [write(before, filling, f"{place} is not in service until it is filled"), made],
            lambda action: self._perform(action, there.database, place),
            session.on_event,
        )
        session.run([*self._stops(before), write(filling, after, "the database is there, whole and checked")])
        return left

    def _stops(self, before: ProjectRecord) -> Iterable[Action]:
        """Return the actions that stop what serves the old place, and whatever uses it."""
        session, cause = self._session, "its place changes"
        spec = session.whole_spec(before)
        if before.runtime == "swarm":
            from .resize import stops  # other databases are recovered without it

            return stops(spec, session.observe(spec, before), cause)
        return plan.plan_stop(spec, session.observe_quickly(spec, before), spec.names, cause)

    def _new_place(self) -> Place:
        """Return a new place in the project's runtime, for the version of PostgreSQL that wrote the archive."""
        session, major = self._session, self._found.backup.major
        image = session.place.image
        if image and major_of(image) != major:
            image = with_major(image, major)
        return replace(session.runtime.new_place(image), roles=session.known.roles)

    def _perform(self, action: Action, database: ServiceSpec, place: Place) -> None:
        """Perform one action. The data that one creates is what the archive has."""
        is_data = action.service == database.name
        if is_data and (action.verb, action.kind) == (Verb.REMOVE, Kind.DATA) and not Path(action.name).exists():
            return  # the recovery failed, and has left nothing
        if is_data and (action.verb, action.kind) in MADE:
            if action.kind is Kind.VOLUME:
                self._session.performer.perform(action)
            archivist = archivist_of(self._session, self._found.archive, self._found.credentials)
            archivist.recover(self._found, place)
            return
        self._session.performer.perform(action)
