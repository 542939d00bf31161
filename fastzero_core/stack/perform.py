"""Perform actions: those on the project's folder and its database here, all others in a runtime."""

import shlex
import time
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from .. import folders, marks
from ..errors import RevisionFailedError
from ..events import Listener, Notice
from ..project import ROLE, Project, ProjectRecord
from ..settings import Settings
from ..tunnel import asked_host
from . import provisions, roles, wait
from .actions import IN_CONTAINERS, LOCAL, MIGRATES, Action, Kind, Verb
from .observe import head_of
from .runtime import MOVING, Runtime
from .spec import SLOWEST_TASK, Release, ServiceSpec, StackSpec

if TYPE_CHECKING:
    from .swarm.runtime import SwarmRuntime

EVIDENCE_LINES = 30  # of the output of a failed migration command


class Performer:
    """Performs the actions of one command, each with one call of the runtime or of the project."""

    def __init__(self, project: Project, settings: Settings, on_event: Listener, timeout: float) -> None:
        self._project = project
        self._settings = settings
        self.first_host = asked_host(settings.host)  # the machine of the engine, for a project without a record
        self._on_event = on_event
        self._timeout = timeout
        self._runtimes: dict[str, Runtime] = {}
        self._started: dict[str, float] = {}  # when each service was started here
        self._ready: dict[str, str | None] = {}  # the schema's revision of a database that has become ready

    @cached_property
    def _read(self) -> list[ProjectRecord | None]:
        return [self._project.record]

    @property
    def record(self) -> ProjectRecord | None:
        """The record in the project's file, which is read only once."""
        return self._read[-1]

    def runtime(self, name: str) -> Runtime:
        """Return a runtime of this project, created when it is first needed."""
        if name not in self._runtimes:
            self._runtimes[name] = _make_runtime(name, self._project, self._owner, self._host())
        return self._runtimes[name]

    def _owner(self) -> str:
        return self.record.owner if self.record else ""

    def _host(self) -> str:
        return self.record.host if self.record else self.first_host

    def swarm(self) -> "SwarmRuntime":
        """Return the runtime of services in a swarm."""
        from .swarm.runtime import SwarmRuntime

        runtime = self.runtime("swarm")
        assert isinstance(runtime, SwarmRuntime)
        return runtime

    def perform(self, action: Action) -> None:
        """Perform one action."""
        match action.kind:
            case Kind.RECORD:
                self._write(action.subject[1])
            case Kind.SECRET if action.verb is Verb.SET:
                self._project.replace_secret(action.name, action.subject[1])
            case Kind.SECRET if action.verb is Verb.REMOVE:
                self._project.remove_secret(action.name)
            case Kind.SECRET:
                self._project.ensure_secret(action.name)
            case Kind.ARCHIVE:
                self._project.remove_archive()
            case Kind.MARK:
                self._mark(Path(action.name))
            case Kind.PROJECT:
                self._remove_project()
            case Kind.SERVICE if action.verb is Verb.WAIT:
                self.wait(action.subject)
            case Kind.PRIMARY | Kind.SETTINGS:
                self._change_servers(action)
            case Kind.PASSWORD if action.subject.is_member:
                self._change_servers(action)
            case Kind.ROLE | Kind.OWNER:
                roles.perform(self._project, action)
            case Kind.SCHEMA if action.verb is Verb.MIGRATE:
                self._migrate(action.subject)
            case Kind.SCHEMA | Kind.EXTENSION | Kind.PRIVILEGE:
                provisions.perform(self._project, action)
            case _:
                runtime = self.runtime(self._runtime_name(action))
                if action.verb is Verb.START:
                    self._started[action.service] = time.monotonic()
                runtime.perform(action, timeout=self._timeout, on_event=self._on_event)

    def _change_servers(self, action: Action) -> None:
        from . import standbys

        standbys.perform(self._project, self._known, action, self.swarm())

    def wait(self, service: ServiceSpec) -> None:
        """Wait until the service is ready. Raises UnhealthyError with its evidence, DatabaseLoginError."""
        whole_log = f"The whole log: fastzero logs {service.name} -p {self._project.name}"
        hint = "The data stays where it was" if service.name == MOVING else whole_log
        url = self._project.url(ROLE, service.port) if service.is_database else ""
        witness = self.runtime(self._containers(service.name) if service.image else "embedded")
        if service.is_database and service.is_member:
            from . import standbys

            patience = self._timeout + SLOWEST_TASK
            standbys.wait(self._project, self._known, service, self.swarm(), patience)
            return
        ran = time.monotonic() - self._started.get(service.name, time.monotonic())
        answer = wait.until_ready(service, witness, url, self._timeout, hint, ran=ran)
        self._ready[service.name] = answer.revision

    @property
    def _known(self) -> ProjectRecord:
        assert self.record is not None, "it is written before a service is started"
        return self.record

    def _mark(self, folder: Path) -> None:
        own = self._project.folder
        if folder == own:
            marks.give(own, self._project.name)
        else:
            folders.write_mark(folder, folders.mark_of(own) or "")

    def _remove_project(self) -> None:
        if not self._project.remove():
            folder = self._project.folder
            self._on_event(Notice(f"{folder} stays: it is not marked as made by fastzero. Delete it yourself"))

    def _write(self, record: ProjectRecord | None) -> None:
        if record is None:
            self._project.forget()
        else:
            self._project.save(record)
        self._read.append(record)

    def _migrate(self, spec: StackSpec) -> None:
        head = head_of(spec)
        if head and self._ready.get(spec.database.name) == head:
            return  # the database has become ready at head
        import_module(MIGRATES)  # first, as in the thread of `execute`: another order could see a half-loaded package
        from ..schema import migrate

        url = self._project.database_url()
        if spec.release and spec.release.locks:
            self._release(spec.release)
        elif spec.release is None:
            migrate.up(url, timeout=self._timeout, on_event=self._on_event)
        else:
            with migrate.only_runner(url, self._timeout):
                self._release(spec.release)

    def _release(self, release: Release) -> None:
        """Run the commands that migrate the schema of a user's application. Raises RevisionFailedError."""
        from ..application.causes import probable_cause

        runtime = self.runtime(self._containers() if release.service.image else "embedded")
        for command in release.commands:
            code, said = runtime.run_once(release.service, command)
            if code != 0:
                evidence = "\n".join(said.splitlines()[-EVIDENCE_LINES:])
                cause = probable_cause(evidence)
                left = "The application's processes were left as they were. Mend the migration, then: fastzero up"
                raise RevisionFailedError(
                    f"`{shlex.join(command)}` failed with exit code {code}",
                    hint=f"Probably {cause}. {left}" if cause else left,
                    evidence=evidence,
                )

    def _runtime_name(self, action: Action) -> str:
        if getattr(action.subject, "deploy", None):
            return "swarm"  # there may be no record yet
        if action.kind in IN_CONTAINERS:
            return self._containers(action.service)
        if action.kind in LOCAL:
            return "embedded"
        return self._containers(action.service) if action.subject.image else "embedded"

    def _containers(self, service: str = "") -> str:
        """Return the runtime of a service's container: a database that moves gets one of the engine itself."""
        return "swarm" if self.record and self.record.runtime == "swarm" and service != MOVING else "docker"


def engine_answers() -> bool:
    """Return whether a Docker Engine answers."""
    from .docker.engine import answers

    return answers()


def _make_runtime(name: str, project: Project, owner: Callable[[], str], host: str) -> Runtime:
    if name == "docker":
        from .docker.runtime import DockerRuntime

        return DockerRuntime(project, owner, host)
    if name == "swarm":
        from .swarm.runtime import SwarmRuntime

        return SwarmRuntime(project, owner, host)
    from .embedded.runtime import EmbeddedRuntime

    return EmbeddedRuntime(project)
