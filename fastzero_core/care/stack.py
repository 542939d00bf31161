"""A project's stack with the care of its database: it holds the project's lock, and starts a stopped database."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FastZeroError
from ..events import Listener, ignore
from ..project import Project
from ..settings import Settings
from ..stack import stack as stacks
from ..stack.plan import Action, Verb
from ..stack.spec import APP_SERVICE, DATABASE_SERVICE
from .database import DatabaseCare

if TYPE_CHECKING:
    from ..backup.shelf import Backup
    from ..backup.target import Target

DEFAULT_PROJECT = "fastzero"


class Stack(DatabaseCare, stacks.Stack):  # type: ignore[misc]
    """A project's stack, and the care of its database.

    `project` is a name, or Settings to go by instead of the usual sources. `with Stack("demo").up() as stack:` stops
    on leaving what this `up` started; what ran before goes on running. `on_event` hears of progress.
    """

    def __init__(self, project: str | Settings | None = None, *, on_event: Listener = ignore) -> None:
        super().__init__(project, on_event=on_event)
        self.project = _Project(self.project.name, self.project.home)
        self._on_event = on_event

    @property
    def target(self) -> "Target":
        return target_of_service(self.project, self._record().runtime, DATABASE_SERVICE, self.database_url)

    @property
    def folder(self) -> Path:
        from ..backup.target import backups_of_project

        return backups_of_project(self.project)

    @property
    def owner(self) -> str:
        return f" of project {self.project.name}"

    def serves(self, url: str) -> bool:
        """Return whether a URL leads to this stack's own database, as its own role, whatever its password."""
        from ..backup.target import address_of, user_of

        if not self._recorded_ports():
            return False
        own = self.database_url
        return (address_of(url), user_of(url)) == (address_of(own), user_of(own))

    def way_back(self, command: str) -> str:
        return f"To get back: fastzero {command}{self._project_option}"

    def destroy(self, *, no_backup: bool = False, timeout: float | None = None) -> list[Action]:
        """Destroy the project with its data, which is backed up first if there is any. Returns what was done.

        Before the backup the processes are stopped and writes are held, until the database is stopped as well.
        """
        with self.project.lock(timeout or self.settings.timeout, self._on_event):
            if no_backup or not self.has_data:
                return self.down(volumes=True, timeout=timeout)
            stopped = self._stop_processes("the project is destroyed")
            try:
                return self._back_up_and_destroy(timeout)
            except BaseException:
                with suppress(FastZeroError):  # what went wrong first is what to tell
                    self._start_processes(stopped, "the project was not destroyed")
                raise

    def _back_up_and_destroy(self, timeout: float | None) -> list[Action]:
        with ExitStack() as held:
            with self._served("it is backed up"):
                check = held.enter_context(self._writes_held())
                self._back_up_first(self._way_back_from_nothing)
                check()
            # A database that was stopped before is stopped again here, and nobody can start it.
            return self.down(volumes=True, timeout=timeout)

    def _way_back_from_nothing(self, backup: "Backup") -> str:
        record = self._record()
        own = record.image in ("", self.settings.postgres_image)
        image = "" if own else f"FASTZERO_POSTGRES_IMAGE={record.image} "
        project = f"-p {self.project.name}"
        ports = f" --port {record.ports[DATABASE_SERVICE]}"
        app = f" --app-port {record.ports[APP_SERVICE]}" if record.app else " --no-app"
        return (
            f"To get back: {image}fastzero up {project} --runtime {record.runtime}{ports}{app}"
            f" && fastzero db restore {backup.name} --yes {project}"
        )

    @property
    def _project_option(self) -> str:
        named = self.settings.is_flag("project") or self.project.name != DEFAULT_PROJECT
        return f" -p {self.project.name}" if named else ""

    def _target(self) -> "Target":
        return self.target

    def _served(self, cause: str) -> AbstractContextManager[None]:
        return self._database_running(cause)

    @contextmanager
    def _processes_stopped(self, cause: str) -> Iterator[None]:
        stopped = self._stop_processes(cause)
        try:
            yield
        finally:
            self._start_processes(stopped, "it ran before")

    def _stop_processes(self, cause: str) -> list[str]:
        """Stop what runs besides the database. Returns its names."""
        running = sorted(self.running() - {DATABASE_SERVICE})
        self._do([Action(Verb.STOP, name, cause) for name in running])
        return running

    def _start_processes(self, names: list[str], cause: str) -> None:
        self._do([Action(Verb.START, name, cause) for name in names])

    def _do(self, actions: list[Action]) -> None:
        if actions:
            self._apply(actions, self._whole_spec(self._record()), self.settings.timeout)

    def _others(self) -> list[str]:
        from ..backup import restore
        from ..backup.server import other_databases

        kept = {each.database for each in restore.kept_databases(self.target)}
        return [name for name in other_databases(self.target.url) if name not in kept]


class _Project(Project):
    """A project whose lock a command may take again while it holds it."""

    _holder: int | None = None

    @contextmanager
    def lock(self, timeout: float, on_event: Listener = ignore) -> Iterator[None]:
        if self._holder == threading.get_ident():
            yield
            return
        with super().lock(timeout, on_event):
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = None


def target_of_service(project: Project, runtime: str, service: str, url: str) -> "Target":
    """Return the database of a project's service, with the programs of the runtime that has it."""
    from ..backup.target import Target, backups_of_project

    if runtime != "docker":
        return Target.of_url(url, backups_of_project(project))
    from ..stack.docker.programs import container_programs

    return Target(url, backups_of_project(project), partial(container_programs, project, service))
