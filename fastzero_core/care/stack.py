"""Operate a project's stack, and back up, restore and destroy its database under the project's lock."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FastZeroError
from ..events import Notice
from ..postgres.roles import APP
from ..stack import commands, plan
from ..stack.actions import Action, inverse
from ..stack.archives import ArchivedStack
from ..stack.names import service_names
from ..stack.session import Session
from ..stack.spec import APP_SERVICE, DATABASE_SERVICE
from ..stack.targets import target_of
from .database import DatabaseCare

if TYPE_CHECKING:
    from ..backup.repository import Backup
    from ..backup.target import Target

DEFAULT_PROJECT = "fastzero"


class Stack(DatabaseCare, ArchivedStack):
    """A project's stack and its database.

    `project` is a name, or Settings to use instead of the usual sources. `with Stack("demo").up() as stack:` stops at
    the end of the block what this `up` started; services that ran before keep running. `on_event` is called with
    progress events.
    """

    @property
    def target(self) -> "Target":
        from ..stack.own_schema import with_schema

        session = self.look()
        record = session.known
        target = target_of(self.project, record.runtime, DATABASE_SERVICE, self.database_url, self.superuser_url)
        return with_schema(replace(target, app_is_admitted=APP in record.roles), session)

    @property
    def superuser_target(self) -> "Target":
        """The same database with the login of the server's superuser."""
        runtime = self.look().known.runtime
        return target_of(self.project, runtime, DATABASE_SERVICE, self.superuser_url, self.superuser_url)

    @property
    def folder(self) -> Path:
        from ..backup.target import backups_of_project

        return backups_of_project(self.project)

    @property
    def owner(self) -> str:
        return f" of project {self.project.name}"

    def way_back(self, command: str) -> str:
        named = self.settings.is_flag("project") or self.project.name != DEFAULT_PROJECT
        return f"To undo: fastzero {command}{f' -p {self.project.name}' if named else ''}"

    def destroy(self, *, no_backup: bool = False, timeout: float | None = None) -> list[Action]:
        """Destroy the project and its data, after a backup if it has data. Returns the actions.

        Stops the processes and blocks writes before the backup, until the database is stopped too. Raises
        UnavailableError before it stops anything if a part of the project cannot be destroyed.
        """
        if no_backup or not self.has_data:
            return self.down(volumes=True, timeout=timeout)
        with self.session(timeout) as session:
            if session.data_is_gone:
                self._on_event(Notice("the data no longer exists: skipped the backup"))
                return commands.down(session, volumes=True)
            commands.at_every_place(session, session.known)
            if session.known.archive:
                from ..stack.sealing import finish

                finish(session, is_last=True)
            stops = _stop_processes(session, "the project is destroyed")
            try:
                return self._back_up_and_destroy(session)
            except BaseException:
                with suppress(FastZeroError):  # the first error is the one to report
                    _restart(session, stops)
                raise

    def _back_up_and_destroy(self, session: Session) -> list[Action]:
        with ExitStack() as held:
            with session.database_running("it is backed up"):
                hold = held.enter_context(self._backed_up_and_write_locked(self._undo_hint))
                hold.evict_others()
            # By now the block has stopped a database that was stopped before; the lock prevents that it is started.
            return commands.down(session, volumes=True)

    def _undo_hint(self, backup: "Backup") -> str:
        session = self.look()
        record, application = session.known, session.application
        processes = service_names(application) if application else (APP_SERVICE,)
        web = application.web.name if application and application.web else APP_SERVICE
        options = {DATABASE_SERVICE: "--port", web: "--app-port"}
        own = record.image in ("", self.settings.postgres_image)
        image = "" if own else f"FASTZERO_POSTGRES_IMAGE={record.image} "
        project = f"-p {self.project.name}"
        served = [name for name in (DATABASE_SERVICE, *record.processes) if name in record.ports and name in options]
        ports = "".join(f" {options[name]} {record.ports[name]}" for name in served)
        no_app = "" if set(processes) & set(record.processes) else " --no-app"
        return (
            f"To undo: {image}fastzero up {project} --runtime {record.runtime}{ports}{no_app}"
            f" && fastzero db restore {backup.name} --yes {project}"
        )

    @contextmanager
    def _locked(self, cause: str, *, stop_processes: bool = False) -> Iterator[None]:
        with self.session() as session, session.database_running(cause):
            if stop_processes:
                session.require_trust()  # they are started again
            stops = _stop_processes(session, cause) if stop_processes else []
            try:
                yield
            finally:
                _restart(session, stops)

    def _other_databases(self) -> list[str]:
        from ..backup import restore
        from ..backup.server import other_databases

        kept = {each.database for each in restore.kept_databases(self.target)}
        return [name for name in other_databases(self.target.url) if name not in kept]


def _stop_processes(session: Session, cause: str) -> list[Action]:
    """Stop all services except the database. Returns the actions."""
    spec = session.whole_spec()
    names = [process.name for process in spec.processes]
    return session.run(plan.plan_stop(spec, session.observe_quickly(spec, session.known), names, cause))


def _restart(session: Session, stops: list[Action]) -> None:
    """Start what was stopped. Raises UntrustedFolderError if it would not run as it did."""
    if stops:
        session.require_trust()
    session.run(start for stop in reversed(stops) if (start := inverse(stop)))
