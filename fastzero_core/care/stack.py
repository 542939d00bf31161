"""A project's stack with the care of its database: it holds the project's lock, and starts a stopped database."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FastZeroError
from ..events import Notice
from ..postgres.roles import APP
from ..postgres.url import same_database
from ..stack import commands, plan
from ..stack.actions import Action, inverse
from ..stack.application import port_option
from ..stack.places import MovableStack
from ..stack.session import Session
from ..stack.spec import DATABASE_SERVICE
from ..stack.targets import target_of
from .database import DatabaseCare

if TYPE_CHECKING:
    from ..backup.shelf import Backup
    from ..backup.target import Target

DEFAULT_PROJECT = "fastzero"


class Stack(DatabaseCare, MovableStack):
    """A project's stack, and the care of its database.

    `project` is a name, or Settings to go by instead of the usual sources. `with Stack("demo").up() as stack:` stops
    on leaving what this `up` started; what ran before goes on running. `on_event` hears of progress.
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
        """The same as the server's superuser, who may do everything."""
        runtime = self.look().known.runtime
        return target_of(self.project, runtime, DATABASE_SERVICE, self.superuser_url, self.superuser_url)

    @property
    def folder(self) -> Path:
        from ..backup.target import backups_of_project

        return backups_of_project(self.project)

    @property
    def owner(self) -> str:
        return f" of project {self.project.name}"

    def serves(self, url: str) -> bool:
        """Return whether a URL leads to this stack's own database, as its own role, whatever its password."""
        record = self.project.record
        return record is not None and DATABASE_SERVICE in record.ports and same_database(url, self.database_url)

    def way_back(self, command: str) -> str:
        named = self.settings.is_flag("project") or self.project.name != DEFAULT_PROJECT
        return f"To get back: fastzero {command}{f' -p {self.project.name}' if named else ''}"

    def destroy(self, *, no_backup: bool = False, timeout: float | None = None) -> list[Action]:
        """Destroy the project with its data, which is backed up first if there is any. Returns what was done.

        Before the backup the processes are stopped and writes are held, until the database is stopped as well. Nothing
        is stopped unless everything can be destroyed: raises UnavailableError before it begins.
        """
        if no_backup or not self.has_data:
            return self.down(volumes=True, timeout=timeout)
        with self.session(timeout) as session:
            if session.data_is_gone:
                self._on_event(Notice("its data is gone: there is nothing to back up"))
                return commands.down(session, volumes=True)
            commands.at_every_place(session, session.known)
            stops = _stop_processes(session, "the project is destroyed")
            try:
                return self._back_up_and_destroy(session)
            except BaseException:
                with suppress(FastZeroError):  # what went wrong first is what to tell
                    _start_again(session, stops)
                raise

    def _back_up_and_destroy(self, session: Session) -> list[Action]:
        with ExitStack() as held:
            with session.database_running("it is backed up"):
                hold = held.enter_context(self._backed_up(self._way_back_from_nothing))
                hold.evict_others()
            # A database that was stopped before is stopped again here, and no command can start it.
            return commands.down(session, volumes=True)

    def _way_back_from_nothing(self, backup: "Backup") -> str:
        record = self.look().known
        own = record.image in ("", self.settings.postgres_image)
        image = "" if own else f"FASTZERO_POSTGRES_IMAGE={record.image} "
        project = f"-p {self.project.name}"
        served = [name for name in (DATABASE_SERVICE, *record.processes) if name in record.ports]
        ports = "".join(f" {port_option(name)} {record.ports[name]}" for name in served)
        no_app = "" if record.processes else " --no-app"
        return (
            f"To get back: {image}fastzero up {project} --runtime {record.runtime}{ports}{no_app}"
            f" && fastzero db restore {backup.name} --yes {project}"
        )

    @contextmanager
    def _served(self, cause: str, *, alone: bool = False) -> Iterator[None]:
        with self.session() as session, session.database_running(cause):
            stops = _stop_processes(session, cause) if alone else []
            try:
                yield
            finally:
                _start_again(session, stops)

    def _others(self) -> list[str]:
        from ..backup import restore
        from ..backup.server import other_databases

        kept = {each.database for each in restore.kept_databases(self.target)}
        return [name for name in other_databases(self.target.url) if name not in kept]


def _stop_processes(session: Session, cause: str) -> list[Action]:
    """Stop all services but the database. Returns what was done."""
    spec = session.whole_spec()
    names = [process.name for process in spec.processes]
    return session.run(plan.plan_stop(spec, session.observe_quickly(spec, session.known), names, cause))


def _start_again(session: Session, stops: list[Action]) -> None:
    session.run(start for stop in reversed(stops) if (start := inverse(stop)))
