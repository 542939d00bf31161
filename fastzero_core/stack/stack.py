"""Stack: observe, plan, apply, wait. What the command line and library users call."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from types import TracebackType
from typing import Self

from ..errors import (
    DatabaseLoginError,
    InvalidInputError,
    PortTakenError,
    ProjectNotFoundError,
    UnavailableError,
    UnhealthyError,
)
from ..revisions import head_revision
from ..settings import Settings, load_settings
from . import plan, ports, probe
from .embedded import EmbeddedRuntime
from .plan import Action, Observed, ObservedService, ServiceState, Verb
from .process import LogLine
from .project import DATABASE, HOST, ROLE, Project, ProjectRecord, project_of, projects, url
from .runtime import Runtime
from .spec import DATABASE_SERVICE, StackSpec, stack_spec

DEFAULT_PORTS = {DATABASE_SERVICE: 5432}
RUNTIMES: dict[str, Callable[[Project], Runtime]] = {"embedded": EmbeddedRuntime}
PORT_RACES = 5  # how often a port may be lost between the check and the start
POLL = 0.05  # seconds between two probes
PATIENCE = 10  # seconds for a process that runs and does not answer, before it is started anew
RECOVERING = ("starting up", "not yet accepting", "recovery")  # it works on its data: it gets all the time there is
STARTING_VERBS = (Verb.CREATE, Verb.START, Verb.RECREATE)


@dataclass(frozen=True)
class StackEvent:
    """Something that happens while a command works: a `notice`, or an action that has begun or is done."""

    text: str
    action: Action | None = None
    seconds: float | None = None


Listener = Callable[[StackEvent], None]


@dataclass(frozen=True)
class ServiceStatus:
    """One service of a running or resting stack, for people and programs."""

    service: str
    state: ServiceState
    address: str
    version: str
    revision: str | None
    pid: int | None
    started_at: datetime | None
    detail: str


@dataclass(frozen=True)
class ProjectSummary:
    """One project of this machine."""

    project: str
    runtime: str
    state: ServiceState
    address: str
    folder: str


class Stack:
    """A project's stack.

    `project` is a name, or Settings to go by instead of the usual sources. `with Stack("demo").up() as stack:` stops
    on leaving what this `up` started; what ran before goes on running. `on_event` hears of progress.
    """

    def __init__(self, project: str | Settings | None = None, *, on_event: Listener | None = None) -> None:
        self.settings = project if isinstance(project, Settings) else load_settings(project=project)
        self.project = project_of(self.settings)
        self._tell = on_event or (lambda event: None)
        self._started_here = False

    # -- commands ----------------------------------------------------------------------------------------------

    def up(self, *, runtime: str | None = None, port: int | None = None, timeout: float | None = None) -> Self:
        """Make the stack run, its database answer and its schema be at head; nothing happens if all that is so.

        The first `up` chooses the runtime and the ports, later ones keep them. `port` is the database's; `timeout`
        is in seconds and bounds each wait. Raises LockedError, PortTakenError, VersionMismatchError,
        SchemaNewerError, DatabaseLoginError, UnhealthyError.
        """
        timeout = timeout or self.settings.timeout
        with self.project.lock(timeout, self._notice):
            before = self._recorded_ports()
            for _ in range(PORT_RACES):
                spec = self._decide(runtime, port)
                try:
                    self._started_here = self._run(self._plan(spec, timeout), spec, timeout)
                    return self
                except PortTakenError:
                    self._record_ports(before)
                    if before or self._asked_port(port):
                        raise
            raise PortTakenError("every port tried was taken before PostgreSQL could have it", hint="Try again")

    def plan(self, *, runtime: str | None = None, port: int | None = None) -> list[Action]:
        """What `up` would do now, and why. Changes nothing."""
        record = self.project.record or ProjectRecord(self._choose_runtime(runtime))
        spec = stack_spec(self.settings, self._ports(record, port))
        return self._plan(spec, self.settings.timeout)

    def down(self, *, volumes: bool = False, timeout: float | None = None) -> list[Action]:
        """Stop what runs and keep the data; with `volumes` destroy the project with its data. Returns what was done."""
        timeout = timeout or self.settings.timeout
        if self.project.record is None:
            return []
        with self.project.lock(timeout, self._notice):
            record = self.project.record
            if record is None:
                return []  # another command took it down meanwhile
            spec = stack_spec(self.settings, self._ports(record, None))
            actions = plan.plan_down(Observed(self._runtime.observe(spec)), volumes=volumes)
            self._run(actions, spec, timeout)
            if volumes:
                self.project.remove()
            return actions

    def restart(self, service: str | None = None, *, timeout: float | None = None) -> Self:
        """Stop and start one service, or all. Raises InvalidInputError for an unknown one."""
        timeout = timeout or self.settings.timeout
        with self.project.lock(timeout, self._notice):
            spec = self._spec()
            names = self._named(spec, service)
            self._run(plan.plan_restart(spec, Observed(self._runtime.observe(spec)), names), spec, timeout)
        return self

    # -- questions ---------------------------------------------------------------------------------------------

    def status(self) -> list[ServiceStatus]:
        """Every service as it is now."""
        if not self._recorded_ports():
            return []
        spec = self._spec()
        observed = self._observe(spec)
        return [self._status_of(spec, observed.service(name), observed) for name in spec.names]

    def logs(self, service: str | None = None, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """The services' log lines, with `follow` also those to come. Raises InvalidInputError."""
        spec = self._spec()
        return self._runtime.logs(self._named(spec, service), tail=tail, follow=follow)

    @property
    def exists(self) -> bool:
        """Whether there has been an `up` that was not destroyed since."""
        return self.project.record is not None

    @property
    def database_url(self) -> str:
        """The database's URL, password included. Raises ProjectNotFoundError before the first `up`."""
        return self.project.database_url()

    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to use this stack, the password included."""
        return {
            "DATABASE_URL": self.database_url,
            "PGHOST": HOST,
            "PGPORT": str(self._spec().service(DATABASE_SERVICE).port),
            "PGUSER": ROLE,
            "PGPASSWORD": self.project.secret("database_password"),
            "PGDATABASE": DATABASE,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._started_here:
            self.down()

    # -- decisions ---------------------------------------------------------------------------------------------

    @property
    def _runtime(self) -> Runtime:
        record = self.project.record
        assert record is not None, "the runtime is decided first"
        return RUNTIMES[record.runtime](self.project)

    def _decide(self, runtime: str | None, port: int | None) -> StackSpec:
        """Write down what this first `up` chooses, or what a flag changes; then the spec follows from the record."""
        record = self.project.record
        if record is None:
            record = ProjectRecord(self._choose_runtime(runtime))
            self._notice(f"project {self.project.name} runs {record.runtime}, and will from now on")
        elif runtime not in (None, record.runtime):
            raise InvalidInputError(
                f"project {self.project.name} runs {record.runtime}, not {runtime}",
                field="runtime",
                hint="A project keeps its runtime; use another project: -p NAME",
            )
        chosen = self._ports(record, port)
        if record.ports != chosen:
            wanted = self._asked_port(port) or DEFAULT_PORTS[DATABASE_SERVICE]
            if chosen[DATABASE_SERVICE] != wanted:
                self._notice(f"port {wanted} is taken; the database gets {chosen[DATABASE_SERVICE]}")
            record = replace(record, ports=chosen)
        if record != self.project.record:
            self.project.save(record)
        return stack_spec(self.settings, chosen)

    def _choose_runtime(self, runtime: str | None) -> str:
        chosen = runtime or self.settings.runtime or "embedded"
        if chosen not in RUNTIMES:
            raise InvalidInputError(f"runtime {chosen!r} is not one of {', '.join(RUNTIMES)}", field="runtime")
        return chosen

    def _ports(self, record: ProjectRecord, port: int | None) -> dict[str, int]:
        asked = self._asked_port(port)
        if asked:
            return {**record.ports, DATABASE_SERVICE: asked}
        if DATABASE_SERVICE in record.ports:
            return record.ports
        others = [project.record for project in projects(self.project.home)]
        reserved = {taken for other in others if other for taken in other.ports.values()}
        return {DATABASE_SERVICE: ports.next_free(HOST, DEFAULT_PORTS[DATABASE_SERVICE], reserved)}

    def _asked_port(self, port: int | None) -> int | None:
        return port or self.settings.database_port

    def _recorded_ports(self) -> dict[str, int]:
        record = self.project.record
        return record.ports if record else {}

    def _record_ports(self, ports: dict[str, int]) -> None:
        record = self.project.record
        if record:
            self.project.save(replace(record, ports=ports))

    def _spec(self) -> StackSpec:
        record = self.project.record
        if record is None or not record.ports:
            raise ProjectNotFoundError(f"project {self.project.name} has no stack yet")
        return stack_spec(self.settings, record.ports)

    def _named(self, spec: StackSpec, service: str | None) -> tuple[str, ...]:
        if service is not None and service not in spec.names:
            raise InvalidInputError(f"service {service!r} is not one of {', '.join(spec.names)}", field="service")
        return spec.names if service is None else (service,)

    # -- observe, plan, apply, wait ----------------------------------------------------------------------------

    def _plan(self, spec: StackSpec, patience: float) -> list[Action]:
        return plan.plan_up(spec, self._observe(spec, patience), head_revision())

    def _observe(self, spec: StackSpec, patience: float = 0) -> Observed:
        """What is there. A database that runs and does not answer yet is given some time to."""
        if self.project.record is None:
            return Observed()
        services = self._runtime.observe(spec)
        database = services[DATABASE_SERVICE]
        if database.state is not ServiceState.RUNNING:
            return Observed(services)
        try:
            # Where it listens now, which need not be where it should.
            port = int((database.settings or spec.service(DATABASE_SERVICE).settings())["port"])
            return Observed(services, self._wait(patience, port, give_up_early=True))
        except (UnavailableError, UnhealthyError) as error:
            state = ServiceState.UNHEALTHY if self._runtime.is_alive(DATABASE_SERVICE) else ServiceState.STOPPED
            services[DATABASE_SERVICE] = replace(database, state=state, detail=error.message)
            return Observed(services)

    def _run(self, actions: list[Action], spec: StackSpec, timeout: float) -> bool:
        """Do the actions in their order. Returns whether a service was started that had not been running."""
        if any(action.verb is Verb.CREATE for action in actions):
            # initdb keeps one core busy for a second; Alembic takes that long to import.
            threading.Thread(target=import_module, args=("alembic.command",), daemon=True).start()
        for action in actions:
            began = time.monotonic()
            self._tell(StackEvent(action.cause, action))
            if action.verb is Verb.MIGRATE:
                self._migrate(timeout)
            else:
                self._runtime.apply(action, spec, timeout=timeout)
                if action.verb in STARTING_VERBS:
                    self._wait(timeout, spec.service(DATABASE_SERVICE).port)
            self._tell(StackEvent(action.cause, action, time.monotonic() - began))
        return any(action.verb in (Verb.CREATE, Verb.START) for action in actions)

    def _wait(self, timeout: float, port: int, *, give_up_early: bool = False) -> str | None:
        """The schema's revision as soon as the database answers. Raises what it answers instead, or UnhealthyError."""
        began = time.monotonic()
        while True:
            try:
                return probe.revision_of(url(self.project.secret("database_password"), port))
            except DatabaseLoginError as error:
                error.hint = f"The password in {self.project.folder}/secrets is not the one the database was made with"
                raise
            except UnavailableError as error:
                if not self._runtime.is_alive(DATABASE_SERVICE):
                    raise self._failure("ended before it answered") from error
                waited = time.monotonic() - began
                recovering = any(word in error.message for word in RECOVERING)
                if waited > timeout or (give_up_early and waited > PATIENCE and not recovering):
                    raise self._failure(f"does not answer: {error.message}") from error
            time.sleep(POLL)

    def _failure(self, what: str) -> UnhealthyError:
        return UnhealthyError(
            f"{DATABASE_SERVICE} {what}",
            hint=f"The whole log: fastzero logs -p {self.project.name}",
            evidence=self._runtime.evidence(DATABASE_SERVICE),
        )

    def _migrate(self, timeout: float) -> None:
        if probe.revision_of(self.database_url) == head_revision():
            return
        from .. import migrate

        migrate.up(
            self.database_url,
            timeout=timeout,
            on_applied=lambda applied: self._notice(f"{applied.revision} {applied.message} ({applied.seconds:.2f} s)"),
        )

    def _status_of(self, spec: StackSpec, service: ObservedService, observed: Observed) -> ServiceStatus:
        wanted = spec.service(service.name)
        return ServiceStatus(
            service=service.name,
            state=service.state,
            address=f"{wanted.host}:{wanted.port}",
            version=service.version,
            revision=observed.revision if service.name == DATABASE_SERVICE else None,
            pid=service.pid,
            started_at=service.started_at,
            detail=service.detail,
        )

    def _notice(self, text: str) -> None:
        self._tell(StackEvent(text))


def list_projects(settings: Settings) -> list[ProjectSummary]:
    """Every project of this machine with the state of its database."""
    return [_summary(project) for project in projects(settings.home)]


def _summary(project: Project) -> ProjectSummary:
    stack = Stack(load_settings(project=project.name, home=project.home))
    record = project.record
    assert record is not None, "projects() lists those that have one"
    database = next(iter(stack.status()), None)
    return ProjectSummary(
        project=project.name,
        runtime=record.runtime,
        state=database.state if database else ServiceState.ABSENT,
        address=database.address if database else "",
        folder=str(project.folder),
    )
