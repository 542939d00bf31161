"""Copy a project's database, and the roles and settings of its server, to the server at another place."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from ..errors import FastZeroError
from ..events import Notice
from ..ha.configuration import SERVER, names
from ..postgres.roles import OWNER, SUPERUSER
from ..project import Project, ProjectRecord
from .actions import Action, Kind, Verb
from .own_schema import with_schema
from .session import Session
from .spec import DATABASE_SERVICE, ServiceSpec
from .targets import target_of

if TYPE_CHECKING:
    from ..backup.content import Hold

HOLD_PATIENCE = 60  # seconds to get the hold on writes: what was done for a move until then took longer


class Copying:
    """Performs the actions of one move. `copy` copies the database to the server that it is given."""

    def __init__(self, session: Session, copy: Callable[[ServiceSpec], None]) -> None:
        self._session = session
        self._copy = copy
        self._held = ExitStack()
        self._hold: Hold | None = None

    def perform(self, action: Action) -> None:
        """Perform one action: those that only a move has here, others by the session's performer."""
        match action.verb, action.kind:
            case Verb.HOLD, Kind.WRITES:
                self._hold_writes()
            case Verb.RELEASE, Kind.WRITES:
                self._held.close()
            case Verb.CHECK, Kind.WRITES if self._hold:
                self._hold.check()
            case Verb.STOP, Kind.SESSIONS if self._hold:
                self._hold.evict_others()
            case Verb.COPY, _:
                self._copy(action.subject)
            case _:
                self._session.performer.perform(action)

    def _hold_writes(self) -> None:
        from ..backup import content

        held = content.writes_held(self._session.project.superuser_url(), HOLD_PATIENCE)
        self._hold = self._held.enter_context(held)

    @contextmanager
    def cleared_up(self) -> Iterator[None]:
        """Let writes go and remove the dump after one block. If it fails, start again what the record says."""
        try:
            yield
        except BaseException:
            with suppress(FastZeroError):  # the first error is the one to report
                self._session.ensure_up()
            raise
        finally:
            self._held.close()
            self._session.project.remove_archive()


def write(before: ProjectRecord, after: ProjectRecord, cause: str) -> Action:
    """Return the action that writes the record."""
    return Action(Verb.WRITE, Kind.RECORD, "project.json", cause, subject=(before, after))


def copy_database(session: Session, runtime: str, service: str, port: int, *, has_standbys: bool = False) -> None:
    """Copy the database to the empty one at `port`, and compare them.

    The programs of `service` in `runtime` restore it. If the new database `has_standbys`, settings of ALTER SYSTEM are
    not copied: each server would have its own. Raises BackupMismatchError.
    """
    from ..backup import dump, restore
    from ..backup.carry import carry_properties, carry_roles, carry_system_settings

    project = session.project
    # Dump as the superuser: any role may own the objects.
    source, to = project.superuser_url(), project.url(SUPERUSER, port)
    archive = project.new_archive() / "database.dump"
    old = with_schema(target_of(project, session.known.runtime, _old_service(session), source, source), session)
    manifest = dump.backup(old, archive, on_event=session.on_event)
    carry_roles(source, to, session.on_event)
    # The restore runs code of the dump, so it uses the owner's role unless other roles own objects too.
    is_owners_alone = {*manifest.owners} <= {OWNER}
    filler = project.url(OWNER, port) if is_owners_alone else to
    new = with_schema(target_of(project, runtime, service, filler, to, has_standbys=has_standbys), session)
    restore.restore_into_empty(new, archive, trusted=True, on_event=session.on_event)
    carry_properties(source, to)
    if has_standbys:
        _tell_of_system_settings(project, session)
    else:
        carry_system_settings(source, to, session.on_event)


def _old_service(session: Session) -> str:
    """Return the service whose programs dump the database: its own, as those of a newer version may not know all."""
    if not session.known.members:
        return DATABASE_SERVICE
    return session.performer.swarm().server_here() or names(SERVER)[0]


def _tell_of_system_settings(project: Project, session: Session) -> None:
    from ..backup.carry import system_settings

    for name in system_settings(project.superuser_url()):
        why = "with standbys, settings are those of all servers: FASTZERO_POSTGRES_SETTINGS"
        session.on_event(Notice(f"skipped ALTER SYSTEM setting {name}: {why}"))
