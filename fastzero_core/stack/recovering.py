"""Recover the database of a stack from an archive: to a new place of its stack, or as a new stack."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import folders
from ..errors import InvalidInputError
from ..events import Notice
from ..postgres.account import service_user
from ..postgres.binaries import Binaries, find_binaries, reachable_by
from ..project import ROLES, Place, ProjectRecord
from . import commands, plan
from .actions import Action, Kind, Verb
from .decide import Flags
from .execute import execute
from .relocate import place_left, start_at_new_place
from .session import Session

if TYPE_CHECKING:
    from ..archive.recovery import Recovery


def programs_for(major: int) -> Binaries:
    """Return the programs of that version, in a folder that the server's account can reach."""
    from .embedded.data import SHARED_HOME

    binaries, user = find_binaries(major), service_user()
    return reachable_by(binaries, user, SHARED_HOME) if user else binaries


class Recovering:
    """One recovery of a project's database."""

    def __init__(self, session: Session, recovery: "Recovery", name: str) -> None:
        self._session, self._recovery, self._name = session, recovery, name

    def run(self) -> Place | None:
        """Recover the database, and start the stack on it. Returns the old place, None without one."""
        session = self._session
        if session.record is None:
            self._create()
            return None
        if session.known.runtime != "embedded":
            raise InvalidInputError(
                f"project {session.project.name} runs in containers: an archive is recovered without them",
                field="runtime",
                hint="Recover it as another project: -p NAME",
            )
        left = self._replace()
        start_at_new_place(session)
        return left

    def _create(self) -> None:
        """Create the stack of a project that has none, with the recovered data instead of an empty database."""
        session, flags = self._session, Flags("embedded")
        decision = commands.decided(session, flags)
        _, first, actions = session.planned(decision, flags)
        for notice in decision.notices:
            session.on_event(Notice(notice))
        session.run(first)
        execute(actions, self._perform, session.on_event)

    def _replace(self) -> Place:
        """Recover to a new place, and write the record with it. Whatever runs serves the old place until then."""
        session = self._session
        before, left = session.known, place_left(session)
        place = replace(session.runtime.new_place(""), roles=before.roles)
        filling, after = replace(before, filling=place), before.moved(left, place, before.kept)
        cause = f"the database is recovered to the {place}"
        spec = session.whole_spec(before)
        execute(
            [
                _write(before, filling, f"{place} is not in service until it is filled"),
                Action(Verb.CREATE, Kind.DATA, place.data, cause, spec.database.name, subject=spec.database),
            ],
            self._perform,
            session.on_event,
        )
        observed = session.observe_quickly(spec, before)
        stops = plan.plan_stop(spec, observed, spec.names, "its place changes")
        session.run([*stops, _write(filling, after, "the database is there, whole and checked")])
        return left

    def _perform(self, action: Action) -> None:
        if (action.verb, action.kind) == (Verb.CREATE, Kind.DATA):
            self._recover(Path(action.name))
        elif (action.verb, action.kind) == (Verb.REMOVE, Kind.DATA) and not Path(action.name).exists():
            return  # the recovery failed, and has left nothing
        else:
            self._session.performer.perform(action)

    def _recover(self, data: Path) -> None:
        from ..archive.recover import recover

        session = self._session
        roles = session.record.roles if session.record else ROLES
        passwords = session.project.passwords()
        recover(
            self._recovery,
            data,
            programs_for(self._recovery.backup.major),
            service_user(),
            passwords={role: passwords[role] for role in roles},
            mark=folders.mark_of(session.project.folder) or "",
            name=self._name,
            on_event=session.on_event,
        )


def _write(before: ProjectRecord, after: ProjectRecord, cause: str) -> Action:
    return Action(Verb.WRITE, Kind.RECORD, "project.json", cause, subject=(before, after))
