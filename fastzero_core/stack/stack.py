"""Stack: observe, plan, apply, wait. What the command line and library users call."""

import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import (
    DatabaseLoginError,
    FastZeroError,
    InvalidInputError,
    NotAllowedError,
    PortTakenError,
    ProjectNotFoundError,
    UnavailableError,
    UnhealthyError,
    VersionMismatchError,
)
from ..events import ActionDone, ActionStarted, Listener, Notice, ignore
from ..project import DATABASE, HOST, ROLE, SECRETS, Place, Project, ProjectRecord, project_of, projects, url
from ..schema.revisions import head_revision
from ..settings import Settings, load_settings
from . import plan, ports, probe
from .embedded.process import LogLine
from .plan import Action, Observed, ObservedService, ServiceState, Verb
from .runtime import NEW_DATABASE, Finding, Runtime
from .spec import (
    APP_SERVICE,
    DATABASE_SERVICE,
    DEFAULT_PORTS,
    ServiceSpec,
    StackSpec,
    major_of,
    other_major,
    stack_spec,
    volume_name,
    with_major,
)

if TYPE_CHECKING:
    from ..backup.restore import Restored, Verified
    from ..backup.shelf import Backup
    from ..backup.target import Target

ALL_SERVICES = (DATABASE_SERVICE, APP_SERVICE)
RUNTIMES = ("embedded", "docker")
PLACES_FROM = 55432  # the first port that a database may have while it is being moved
PORT_RACES = 5  # how often a port may be lost between the check and the start
POLL = 0.05  # seconds between two probes
PATIENCE = 10  # seconds for a process that runs and does not answer, before it is started anew
RECOVERING = ("starting up", "not yet accepting", "recovery")  # it works on its data: it gets all the time there is
STARTING_VERBS = (Verb.CREATE, Verb.START, Verb.RECREATE)


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

    def __init__(self, project: str | Settings | None = None, *, on_event: Listener = ignore) -> None:
        self.settings = project if isinstance(project, Settings) else load_settings(project=project)
        self.project = project_of(self.settings)
        self._tell = on_event
        self._started_here = False
        self._made: Runtime | None = None
        self._seen: list[ServiceStatus] | None = None  # by the last `up`, if it had nothing to do

    # -- commands ----------------------------------------------------------------------------------------------

    def up(
        self,
        *,
        runtime: str | None = None,
        port: int | None = None,
        app_port: int | None = None,
        app: bool | None = None,
        build: bool = False,
        pull: bool = False,
        keep: bool = False,
        timeout: float | None = None,
    ) -> Self:
        """Make the stack run, its database answer, its schema be at head and its app be ready; nothing if all is so.

        The first `up` chooses the runtime and the ports, later ones keep them; `port` is the database's. Without `app`
        only the database runs. `build` and `pull` renew the images. After a failure what this run made is undone,
        unless `keep`. `timeout` is in seconds and bounds each wait.
        Raises LockedError, PortTakenError, VersionMismatchError, SchemaNewerError, DatabaseLoginError, ImageError,
        UnhealthyError.
        """
        timeout = timeout or self.settings.timeout
        asked = self._asked_ports(port, app_port)
        with self.project.lock(timeout, self._tell):
            before = self.project.record
            for _ in range(PORT_RACES):
                spec = self._decide(runtime, asked, self._services(app))
                try:
                    self._started_here = self._converge(spec, timeout, build=build, pull=pull, keep=keep)
                    return self
                except PortTakenError as error:
                    self._undecide(before)
                    if (before and error.service in before.ports) or error.service in asked:
                        raise
            raise PortTakenError("every port tried was taken before the service could have it", hint="Try again")

    def plan(
        self,
        *,
        runtime: str | None = None,
        port: int | None = None,
        app_port: int | None = None,
        app: bool | None = None,
        build: bool = False,
        pull: bool = False,
    ) -> list[Action]:
        """What `up` would do now, and why. Changes nothing."""
        record = self.project.record or ProjectRecord(self._choose_runtime(runtime))
        self._refuse_what_does_not_fit(record, runtime)
        wanted = self._services(app)
        spec = self._spec_of(record, wanted, self._asked_ports(port, app_port))
        observed = self._observe(spec, self._runtime_of(record), self.settings.timeout)
        images = plan.plan_images(spec, observed, build=build, pull=pull)
        return [*images, *plan.plan_up(spec, observed, head_revision())]

    def down(self, *, volumes: bool = False, timeout: float | None = None) -> list[Action]:
        """Stop what runs and keep the data; with `volumes` destroy the project with its data. Returns what was done."""
        timeout = timeout or self.settings.timeout
        if self.project.record is None:
            return []
        with self.project.lock(timeout, self._tell):
            record = self.project.record
            if record is None:
                return []  # another command took it down meanwhile
            if volumes:
                self._abandon_move()
            else:
                self._abandon_move_if_reachable()
            actions = self._take_down(self._whole_spec(record), timeout, volumes=volumes)
            if volumes:
                self._discard_kept(record)
                self.project.remove()
            return actions

    def restart(self, service: str | None = None, *, timeout: float | None = None) -> Self:
        """Stop and start one service, or all. Raises InvalidInputError for an unknown one."""
        timeout = timeout or self.settings.timeout
        with self.project.lock(timeout, self._tell):
            spec = self._spec()
            actions = plan.plan_restart(spec, self._runtime.observe(spec), self._named(spec, service))
            self._apply(actions, spec, timeout)
            self._wait_for_all(spec, timeout)
            self._runtime.settle()
        return self

    def execute(self, service: str, command: Sequence[str], *, interactive: bool = False) -> int:
        """Run a command where the service runs, with this process's streams. Returns its exit code."""
        return self._runtime.execute(self._named(self._spec(), service)[0], command, interactive=interactive)

    def compose(self) -> str:
        """The stack as a compose.yaml. Raises InvalidInputError for one that does not run in containers."""
        record = self.project.record
        if record is None or record.runtime != "docker":
            raise InvalidInputError(
                f"project {self.project.name} does not run in containers",
                hint="Make one that does: fastzero up --runtime docker -p NAME",
            )
        from .docker.compose import compose_yaml

        return compose_yaml(self._spec(), self.project)

    def repair_password(self, *, timeout: float | None = None) -> bool:
        """Give the database's role the password that the project has. Returns whether it had another.

        A database that is stopped is started for it, and stopped again.
        """
        timeout = timeout or self.settings.timeout
        with self.project.lock(timeout, self._tell):
            record = self.project.record
            if record is None:
                return False
            spec = self._database_spec(record)
            if self._runtime.observe(spec).service(DATABASE_SERVICE).state is ServiceState.ABSENT:
                return False
            with self._stopped_again(spec, timeout):
                return self._repair_password(spec, timeout)

    def examine(self) -> Iterator[Finding]:
        """What there is to know of the project's runtime, or of the one that a first `up` would choose.

        Raises, behind all of it, VersionMismatchError where `up` would for the image that the settings name.
        """
        record = self.project.record or ProjectRecord(self._choose_runtime(None))
        yield from self._runtime_of(record).examine(self._spec_of(record, self._services(None)))
        self._refuse_other_major(record)

    # -- care of the database ----------------------------------------------------------------------------------

    def backup(self, file: Path | None = None, *, name: str | None = None, on_event: Listener = ignore) -> "Backup":
        """Write a backup to `file`, or to the project's backups under `name` or the time. Returns what lies there.

        A database that is stopped is started for it, and stopped again. `tell` hears how far it is.
        Raises as `fastzero_core.backup.dump.backup` does.
        """
        from ..backup import dump, shelf
        from ..backup.server import other_databases

        target = self._target()
        path = file or shelf.new_path(target.folder, target.database, name)
        with self._database_running("it is backed up"):
            others = other_databases(target.url)
            if others:
                self._notice(f"only database {target.database} is backed up, not {', '.join(others)}")
            dump.backup(target, path, on_event=on_event)
        return shelf.described(path)

    def verify(self, backup: str | Path, *, on_event: Listener = ignore) -> "Verified":
        """Prove that a backup, a file or one of the project's by its name, can be restored.

        Raises as `fastzero_core.backup.restore.verify` does.
        """
        from ..backup import restore, shelf

        target = self._target()
        archive = shelf.find(target.folder, str(backup))
        with self._database_running("a backup is tried on it"):
            return restore.verify(target, archive, on_event=on_event)

    def restore(self, backup: str | Path, *, upgrade: bool = False, on_event: Listener = ignore) -> "Restored":
        """Put what a backup holds into service; the database before it is kept. With `upgrade` migrate an older one.

        Raises as `fastzero_core.backup.restore.restore` does.
        """
        from ..backup import restore, shelf

        target = self._target()
        archive = shelf.find(target.folder, str(backup))
        with self._database_running("a backup is restored to it"):
            return restore.restore(target, archive, upgrade=upgrade, on_event=on_event)

    def _target(self) -> "Target":
        from ..backup.target import service_target

        return service_target(self.project, self._record().runtime, DATABASE_SERVICE, self.database_url)

    # -- the database at another place -------------------------------------------------------------------------

    def upgrade(self, major: int, *, timeout: float | None = None, on_event: Listener = ignore) -> Place | None:
        """Bring the database to a newer major version of PostgreSQL, in a volume of its own; the one before is kept.

        Its content is dumped, restored and compared; while that goes on, it can be read but not written. `tell` hears
        how far it is. Returns where the database was; of one that has that version already None, and it is started as
        `up` does. Raises InvalidInputError unless it runs in containers, or for an older version. Whatever fails or is
        killed, the data stays in service where it was, or will with the next `up` or when this is called again.
        """
        timeout = timeout or self.settings.timeout
        with self.project.lock(timeout, self._tell):
            record = self._record()
            if record.runtime != "docker":
                raise InvalidInputError(
                    f"project {self.project.name} runs {record.runtime}: its PostgreSQL is the one that is installed",
                    field="to",
                    hint="Move it into containers first: fastzero db move --to docker",
                )
            wanted, image = self.settings.postgres_image, self._place(record).image
            if major < major_of(image):
                raise InvalidInputError(f"the database is of PostgreSQL {major_of(image)} already", field="to")
            if major == major_of(image):
                self._converge(self._spec(), timeout)
                return None
            new = wanted if major_of(wanted) == major else with_major(image, major)
            return self._relocate("docker", new, timeout, on_event)

    def roll_back_upgrade(self, *, timeout: float | None = None) -> Place:
        """Go back to the database as it was before the last `upgrade`, in its volume. Returns where it was until now.

        What was written since stays in the volume that is left, which is kept. Raises InvalidInputError.
        """
        timeout = timeout or self.settings.timeout
        with self.project.lock(timeout, self._tell):
            self._abandon_move()
            record, last = self._record(), self.kept_before_upgrade
            before = self._place_left(record)
            self._take_down(self._whole_spec(record), timeout)
            self.project.save(record.moved(before, last, record.kept[:-1]))
            self._converge(self._spec(), timeout)
            return before

    @property
    def kept_before_upgrade(self) -> Place:
        """Where `roll_back_upgrade` would go back to. Raises InvalidInputError if that is nowhere."""
        record = self._record()
        now = self._place(record)
        for last in record.kept[-1:]:
            if now.runtime == last.runtime == "docker" and major_of(last.image) < major_of(now.image):
                return last
        raise InvalidInputError("there is no upgrade to go back from", field="rollback")

    def move(self, runtime: str, *, timeout: float | None = None, on_event: Listener = ignore) -> Place | None:
        """Bring the project to the other runtime with all of its data, as `upgrade` does; the place before is kept.

        Returns where the database was; of one that has that runtime already None, and it is started as `up` does.
        Raises InvalidInputError for an unknown runtime, VersionMismatchError for a PostgreSQL older than the data's.
        """
        timeout = timeout or self.settings.timeout
        with self.project.lock(timeout, self._tell):
            record = self._record()
            if self._choose_runtime(runtime) == record.runtime:
                self._converge(self._spec(), timeout)
                return None
            return self._relocate(runtime, self.settings.postgres_image, timeout, on_event)

    @property
    def kept(self) -> tuple[Place, ...]:
        """The places that the database was moved from, the latest last: their data is as it was."""
        record = self.project.record
        return record.kept if record else ()

    def discard_kept(self, *, timeout: float | None = None) -> tuple[Place, ...]:
        """Destroy the data at those places. Returns them."""
        with self.project.lock(timeout or self.settings.timeout, self._tell):
            record = self._record()
            self._discard_kept(record)
            self.project.save(replace(record, kept=()))
            return record.kept

    # -- questions ---------------------------------------------------------------------------------------------

    def status(self, *, fresh: bool = True) -> list[ServiceStatus]:
        """Every service as it is now; not `fresh`, as this object's last `up` found it, where it found all well."""
        if self._seen is not None and not fresh:
            return self._seen
        if not self._recorded_ports():
            return []
        spec = self._spec()
        return self._statuses(spec, self._observe(spec, self._runtime))

    def running(self) -> set[str]:
        """The services that have a process or a running container, whether or not it answers."""
        if not self._recorded_ports():
            return set()
        observed = self._runtime.observe(self._spec())
        resting = (ServiceState.ABSENT, ServiceState.STOPPED)
        return {name for name, service in observed.services.items() if service.state not in resting}

    def logs(
        self,
        service: str | None = None,
        *,
        tail: int | None = None,
        follow: bool = False,
        since: datetime | None = None,
    ) -> Iterator[LogLine]:
        """The services' log lines, with `follow` also those to come. Raises InvalidInputError."""
        return self._runtime.logs(self._named(self._spec(), service), tail=tail, follow=follow, since=since)

    @property
    def has_data(self) -> bool:
        """Whether its database has ever been ready, so that there is something to lose."""
        record = self.project.record
        return record is not None and record.initialised

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
        if record is None:
            raise self._no_stack()
        return self._runtime_of(record)

    def _runtime_of(self, record: ProjectRecord) -> Runtime:
        if self._made is None or self._made.name != record.runtime:
            self._made = _make_runtime(record.runtime, self.project)
        return self._made

    def _decide(self, runtime: str | None, asked: Mapping[str, int], wanted: tuple[str, ...]) -> StackSpec:
        """Write down what this first `up` chooses, or what a flag changes; then the spec follows from the record."""
        record = self.project.record
        if record is None:
            record = ProjectRecord(self._choose_runtime(runtime))
            self._notice(f"project {self.project.name} runs {record.runtime}, and will from now on")
        self._refuse_what_does_not_fit(record, runtime)
        chosen = self._ports(record, asked, wanted)
        for service, port in chosen.items():
            first = asked.get(service, DEFAULT_PORTS[service])
            if service not in record.ports and port != first:
                self._notice(f"port {first} is taken; the {service} gets {port}")
        record = replace(record, ports=chosen, app=APP_SERVICE in wanted)
        if record != self.project.record:
            self.project.save(record)
        for name in SECRETS:
            self.project.ensure_secret(name)
        return self._spec_of(record, wanted)

    def _refuse_other_major(self, record: ProjectRecord) -> None:
        wanted = self.settings.postgres_image
        if self._is_of_another_major(record) and wanted not in {place.image for place in record.kept}:
            raise other_major(self._place(record).volume, major_of(record.image), wanted)

    def _refuse_what_does_not_fit(self, record: ProjectRecord, runtime: str | None) -> None:
        self._refuse_other_major(record)
        if runtime not in (None, record.runtime):
            raise InvalidInputError(
                f"project {self.project.name} runs {record.runtime}, not {runtime}",
                field="runtime",
                hint="A project keeps its runtime; use another project: -p NAME",
            )

    def _choose_runtime(self, runtime: str | None) -> str:
        chosen = runtime or self.settings.runtime
        if chosen is None:
            return "docker" if _docker_answers() else "embedded"
        if chosen not in RUNTIMES:
            raise InvalidInputError(f"runtime {chosen!r} is not one of {', '.join(RUNTIMES)}", field="runtime")
        return chosen

    def _ports(self, record: ProjectRecord, asked: Mapping[str, int], wanted: tuple[str, ...]) -> dict[str, int]:
        """Each service's port: the one asked for, else the one it has, else the next that is free."""
        others = [project.record for project in projects(self.project.home) if project.name != self.project.name]
        reserved = {taken for other in others if other for taken in other.ports.values()}
        chosen = {**record.ports, **asked}
        for service in wanted:
            if service not in chosen:
                taken = reserved | set(chosen.values())
                chosen[service] = ports.next_free(HOST, DEFAULT_PORTS[service], taken)
        return chosen

    def _asked_ports(self, port: int | None, app_port: int | None) -> dict[str, int]:
        asked = {
            DATABASE_SERVICE: port or self.settings.database_port,
            APP_SERVICE: app_port or self.settings.app_port,
        }
        return {service: number for service, number in asked.items() if number is not None}

    def _recorded_ports(self) -> dict[str, int]:
        record = self.project.record
        return record.ports if record else {}

    def _undecide(self, before: ProjectRecord | None) -> None:
        """Forget the ports that this `up` chose, and whether there is an app."""
        record = self.project.record
        if record:
            before = before or replace(record, ports={})
            self.project.save(replace(record, ports=before.ports, app=before.app))

    def _spec(self, record: ProjectRecord | None = None) -> StackSpec:
        """The stack as the record has it, or as it would with another, whatever of it runs."""
        record = record or self._record()
        return self._spec_of(record, self._services(record.app))

    def _database_spec(self, record: ProjectRecord) -> StackSpec:
        """The database alone, as the record has it."""
        return self._spec_of(record, (DATABASE_SERVICE,))

    def _whole_spec(self, record: ProjectRecord) -> StackSpec:
        """All that may run of it."""
        return self._spec_of(record, ALL_SERVICES)

    def _no_stack(self) -> ProjectNotFoundError:
        return ProjectNotFoundError(f"project {self.project.name} has no stack yet")

    def _services(self, app: bool | None) -> tuple[str, ...]:
        """The services wanted: the app only if the settings or the caller say so."""
        wants_app = self.settings.app if app is None else app
        return ALL_SERVICES if wants_app else (DATABASE_SERVICE,)

    def _spec_of(
        self, record: ProjectRecord, wanted: tuple[str, ...], asked: Mapping[str, int] | None = None
    ) -> StackSpec:
        app, chosen = APP_SERVICE in wanted, self._ports(record, asked or {}, wanted)
        if record.runtime != "docker":
            return stack_spec(self.settings, chosen, app=app)
        from .docker.image import image_name

        app_image = image_name(self.settings.python_image)
        return stack_spec(self.settings, chosen, app_image=app_image, app=app, place=self._place(record))

    def _place(self, record: ProjectRecord) -> Place:
        """Where the database is. The setting for its image may be of before an upgrade, or ahead of the data."""
        if record.runtime != "docker":
            return Place(record.runtime, data=record.data)
        image = record.image if self._is_of_another_major(record) else self.settings.postgres_image
        return Place(record.runtime, image=image, volume=record.volume or volume_name(self.project.name))

    def _is_of_another_major(self, record: ProjectRecord) -> bool:
        """Whether the data was served by another major version last than the setting for its image has."""
        return bool(record.image) and major_of(record.image) != major_of(self.settings.postgres_image)

    def _record(self) -> ProjectRecord:
        record = self.project.record
        if record is None or not record.ports:
            raise self._no_stack()
        return record

    def _named(self, spec: StackSpec, service: str | None) -> tuple[str, ...]:
        if service is not None and service not in spec.names:
            raise InvalidInputError(f"service {service!r} is not one of {', '.join(spec.names)}", field="service")
        return spec.names if service is None else (service,)

    # -- observe, plan, apply, wait ----------------------------------------------------------------------------

    def _observe(self, spec: StackSpec, runtime: Runtime, patience: float | None = None) -> Observed:
        """What is there. With `patience`, in seconds, what runs and does not answer yet is given some time to."""
        # It takes as long to import as an engine or a file system to answer.
        threading.Thread(target=import_module, args=("psycopg",), daemon=True).start()
        observed = runtime.observe(spec)
        record = self.project.record
        if record and record.filling:
            observed = replace(observed, leftovers=(*observed.leftovers, NEW_DATABASE))
        if observed.service(DATABASE_SERVICE).state is ServiceState.RUNNING:
            observed = self._ask_database(spec, observed, runtime, patience or 0)
        app = observed.service(APP_SERVICE)
        if app.state is ServiceState.RUNNING and (patience is None or _has_no_excuse(spec, observed)):
            address = _address(spec, app)
            observed = observed.having(_ask_app(app, *address, min(patience or 0, PATIENCE)))
        return observed

    def _ask_database(self, spec: StackSpec, observed: Observed, runtime: Runtime, patience: float) -> Observed:
        database = observed.service(DATABASE_SERVICE)
        _, port = _address(spec, database)
        try:
            return replace(observed, revision=self._wait(patience, port, give_up_early=True))
        except (UnavailableError, UnhealthyError) as error:
            state = ServiceState.UNHEALTHY if runtime.is_alive(DATABASE_SERVICE) else ServiceState.STOPPED
            return observed.having(replace(database, state=state, detail=error.message))

    def _converge(
        self, spec: StackSpec, timeout: float, *, build: bool = False, pull: bool = False, keep: bool = False
    ) -> bool:
        """Observe, plan, apply and wait. Returns whether a service was started that had not been running."""
        self._seen = None
        observed = self._observe(spec, self._runtime, timeout)
        images = plan.plan_images(spec, observed, build=build, pull=pull)
        if images:
            self._apply(images, spec, timeout)
            observed = self._observe(spec, self._runtime, timeout)
        for orphan in observed.orphans:
            self._notice(f"{orphan} is not part of this stack now, and stays as it is")
        actions = plan.plan_up(spec, observed, head_revision())
        if not actions:
            self._note_ready(spec)
            self._seen = self._statuses(spec, observed)
            return False
        done: list[Action] = []
        try:
            self._apply(actions, spec, timeout, done)
            self._wait_for_all(spec, timeout)
        except BaseException as error:
            if self._starts_over(error, spec):
                return self._converge(spec, timeout, keep=keep)
            if not keep:
                self._roll_back(done, spec)
            raise
        self._runtime.settle()
        return any(action.verb in (Verb.CREATE, Verb.START) for action in actions)

    def _apply(
        self,
        actions: list[Action],
        spec: StackSpec,
        timeout: float,
        done: list[Action] | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """Do the actions in their order, and note in `done` those that have begun."""
        runtime = runtime or self._runtime
        if any(action.verb is Verb.CREATE for action in actions):
            # initdb keeps one core busy for a second; Alembic takes that long to import.
            threading.Thread(target=import_module, args=("alembic.command",), daemon=True).start()
        for action in actions:
            began = time.monotonic()
            self._tell(ActionStarted(action))
            if done is not None:
                done.append(action)
            if action.verb is Verb.MIGRATE:
                self._migrate(timeout)
            elif action.service == NEW_DATABASE:
                self._abandon_move_if_reachable()
            else:
                runtime.apply(action, spec, timeout=timeout, on_event=self._tell)
            self._tell(ActionDone(action, time.monotonic() - began))

    def _take_down(self, spec: StackSpec, timeout: float, *, volumes: bool = False) -> list[Action]:
        actions = plan.plan_down(self._runtime.observe(spec), volumes=volumes)
        self._apply(actions, spec, timeout)
        self._runtime.finish_down()
        return actions

    def _relocate(self, runtime: str, image: str, timeout: float, on_event: Listener) -> Place:
        """Bring the database to a new place: dump, restore beside it, compare, stop, write down, start.

        The record decides which of the two is in service, and tells which is only being filled. Before it is written
        the one that serves is stopped, after it the new one is started: whenever this is killed, the next `up` starts
        the one that has everything.
        """
        from ..backup import content, dump, restore
        from ..backup.server import carry_properties, carry_roles, server_major
        from ..backup.target import service_target

        self._converge(self._spec(), timeout)
        record, major = self._record(), server_major(self.database_url)
        if runtime == "docker" and major_of(image) < major:
            raise VersionMismatchError(
                f"the database is of PostgreSQL {major}, too new for image {image}",
                hint=f"Nothing was changed. Set FASTZERO_POSTGRES_IMAGE=postgres:{major}",
            )
        before, to = self._place_left(record), _make_runtime(runtime, self.project)
        place = to.new_place(image)
        moved = record.moved(before, place, record.kept)
        spec = self._spec(moved)
        self._apply(plan.plan_images(spec, to.observe(spec)), spec, timeout, runtime=to)
        if before.others:
            self._notice(f"only database {DATABASE} moves: left is the {before}")
        work = self.project.folder / "moving"
        shutil.rmtree(work, ignore_errors=True)  # of one that was killed
        self.project.save(replace(record, filling=place))
        filled = False
        try:
            with content.writes_held(self.database_url) as refuse_unless_held:
                archive = work / "database.dump"
                dump.backup(self._target(), archive, on_event=on_event)
                address = self._open(to, place, spec.service(DATABASE_SERVICE), timeout)
                target = service_target(self.project, runtime, NEW_DATABASE, address)
                carry_roles(self.database_url, address)
                restore.restore_into_empty(target, archive, on_event=on_event)
                carry_properties(self.database_url, address)
                to.close_place()
                refuse_unless_held()
                filled = True
                self._take_down(self._whole_spec(record), timeout)
            self.project.save(moved)
        except BaseException:
            self._abandon_move_if_reachable()
            if filled:  # what serves may be stopped already
                self._converge(self._spec(), timeout)
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
        try:
            self._converge(spec, timeout)
        except KeyboardInterrupt:
            self._notice("too late to interrupt: the database is at its new place")
            self._converge(spec, timeout)
        return before

    def _place_left(self, record: ProjectRecord) -> Place:
        """Where the database is now, and the others that would stay there, if it answers."""
        from ..backup.server import other_databases

        place = self._place(record)
        if not self._runtime.is_alive(DATABASE_SERVICE):
            return place
        try:
            return replace(place, others=tuple(other_databases(self.database_url)))
        except FastZeroError as error:
            self._notice(f"which other databases stay in the {place} cannot be told: {error.message}")
            return place

    def _open(self, runtime: Runtime, place: Place, service: ServiceSpec, timeout: float) -> str:
        """Begin to serve an empty database at a new place, on a port of its own. Returns its URL."""
        taken = set(self._recorded_ports().values())
        for _ in range(PORT_RACES):
            port = ports.next_free(HOST, PLACES_FROM, taken)
            try:
                runtime.open_place(place, replace(service, port=port), timeout)
            except PortTakenError:
                runtime.discard(place)
                taken.add(port)
                continue
            self._wait(timeout, port, NEW_DATABASE, runtime=runtime)
            return url(self.project.secret("database_password"), port)
        raise PortTakenError("every port tried was taken before the database could have it", hint="Try again")

    def _abandon_move(self) -> None:
        """Destroy what a move that never ended had begun to fill, if there is any."""
        record = self.project.record
        if record and record.filling:
            _make_runtime(record.filling.runtime, self.project).discard(record.filling)
            self.project.save(replace(record, filling=None))

    def _abandon_move_if_reachable(self) -> None:
        """The same, but an engine that is away now keeps nobody from going on without it."""
        try:
            self._abandon_move()
        except UnavailableError as error:
            self._notice(f"what a move left stays for now: {error.message}")

    def _discard_kept(self, record: ProjectRecord) -> None:
        for place in record.kept:
            _make_runtime(place.runtime, self.project).discard(place)

    def _starts_over(self, error: BaseException, spec: StackSpec) -> bool:
        """Whether the database failed on data that no `up` has ever seen ready: then nothing is lost by a new start."""
        if not self._runtime.unfinished or not isinstance(error, UnhealthyError | DatabaseLoginError):
            return False
        self._notice("the first initialisation of the database was interrupted; it starts over")
        self._runtime.roll_back(Action(Verb.CREATE, DATABASE_SERVICE, "its initialisation never ended"), spec)
        return True

    def _roll_back(self, done: list[Action], spec: StackSpec) -> None:
        undone = [action for action in reversed(done) if action.verb in STARTING_VERBS]
        for action in undone:
            self._runtime.roll_back(action, spec)
        if undone:
            self._notice(f"undone: {', '.join(f'{action.verb} {action.service}' for action in undone)}")

    def _wait_for_all(self, spec: StackSpec, timeout: float) -> None:
        self._wait(timeout, spec.service(DATABASE_SERVICE).port)
        self._note_ready(spec)
        if APP_SERVICE in spec.names:
            self._wait_for_app(spec.service(APP_SERVICE), timeout)

    def _note_ready(self, spec: StackSpec) -> None:
        record = self.project.record
        if record is not None:
            noted = replace(record, initialised=True, image=spec.service(DATABASE_SERVICE).image)
            if noted != record:
                self.project.save(noted)

    def _wait_for_app(self, app: ServiceSpec, timeout: float) -> None:
        """Return once `/readyz` says so."""
        deadline = time.monotonic() + timeout
        while reason := probe.not_ready(app.host, app.port):
            if not self._runtime.is_alive(APP_SERVICE):
                raise self._failure(APP_SERVICE, "ended before it was ready")
            if time.monotonic() > deadline:
                raise self._failure(APP_SERVICE, f"is not ready: {reason}")
            time.sleep(POLL)

    def _wait(
        self,
        timeout: float,
        port: int,
        service: str = DATABASE_SERVICE,
        *,
        runtime: Runtime | None = None,
        give_up_early: bool = False,
    ) -> str | None:
        """The schema's revision as soon as the database answers. Raises what it answers instead, or UnhealthyError."""
        runtime = runtime or self._runtime
        began = time.monotonic()
        while True:
            try:
                return probe.revision_of(url(self.project.secret("database_password"), port))
            except DatabaseLoginError as error:
                error.hint = "The database was made with another password than the project has: fastzero doctor --fix"
                raise
            except UnavailableError as error:
                if not runtime.is_alive(service):
                    raise self._failure(service, "ended before it answered", runtime) from error
                waited = time.monotonic() - began
                recovering = any(word in error.message for word in RECOVERING)
                hopeless = runtime.unfinished and "does not exist" in error.message
                if waited > timeout or hopeless or (give_up_early and waited > PATIENCE and not recovering):
                    raise self._failure(service, f"does not answer: {error.message}", runtime) from error
            time.sleep(POLL)

    def _failure(self, service: str, what: str, runtime: Runtime | None = None) -> UnhealthyError:
        whole_log = f"The whole log: fastzero logs {service} -p {self.project.name}"
        return UnhealthyError(
            f"{service} {what}",
            hint="The data stays where it was" if service == NEW_DATABASE else whole_log,
            evidence=(runtime or self._runtime).evidence(service),
        )

    def _repair_password(self, spec: StackSpec, timeout: float) -> bool:
        port = spec.service(DATABASE_SERVICE).port
        self._ensure_running(spec, timeout, "its password is looked at")
        try:
            self._wait(timeout, port)
        except DatabaseLoginError:
            self._runtime.repair_password()
            self._ensure_running(spec, timeout, "its password was set")
            self._wait(timeout, port)
            return True
        return False

    @contextmanager
    def _database_running(self, cause: str) -> Iterator[None]:
        """Have the database run for one block, in which no other command stops it, and rest again if it did before."""
        timeout = self.settings.timeout
        with self.project.lock(timeout, self._tell):
            spec = self._database_spec(self._record())
            if self._runtime.observe(spec).service(DATABASE_SERVICE).state is ServiceState.ABSENT:
                raise self._no_stack()
            with self._stopped_again(spec, timeout):
                self._ensure_running(spec, timeout, cause)
                self._wait(timeout, spec.service(DATABASE_SERVICE).port)
                yield

    @contextmanager
    def _stopped_again(self, spec: StackSpec, timeout: float) -> Iterator[None]:
        was_stopped = self._runtime.observe(spec).service(DATABASE_SERVICE).state is ServiceState.STOPPED
        try:
            yield
        finally:
            if was_stopped:
                stop = Action(Verb.STOP, DATABASE_SERVICE, "it was stopped before")
                self._runtime.apply(stop, spec, timeout=timeout, on_event=self._tell)
                self._runtime.finish_down()

    def _ensure_running(self, spec: StackSpec, timeout: float, cause: str) -> None:
        if not self._runtime.is_alive(DATABASE_SERVICE):
            start = Action(Verb.START, DATABASE_SERVICE, cause)
            self._runtime.apply(start, spec, timeout=timeout, on_event=self._tell)

    def _migrate(self, timeout: float) -> None:
        if self._wait(timeout, self._recorded_ports()[DATABASE_SERVICE]) == head_revision():
            return
        from ..schema import migrate

        migrate.up(
            self.database_url,
            timeout=timeout,
            on_event=self._tell,
        )

    def _statuses(self, spec: StackSpec, observed: Observed) -> list[ServiceStatus]:
        return [self._status_of(spec.service(name), observed.service(name), observed) for name in spec.names]

    def _status_of(self, wanted: ServiceSpec, service: ObservedService, observed: Observed) -> ServiceStatus:
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
        self._tell(Notice(text))


def _has_no_excuse(spec: StackSpec, observed: Observed) -> bool:
    """Whether the app has all it needs to be ready, and will not be made anew anyway."""
    settled = observed.service(APP_SERVICE).config_hash == spec.service(APP_SERVICE).config_hash
    healthy = observed.service(DATABASE_SERVICE).state is ServiceState.RUNNING
    return settled and healthy and observed.revision == head_revision()


def _address(spec: StackSpec, service: ObservedService) -> tuple[str, int]:
    """Where a service listens now, which need not be where it should."""
    settings = service.settings or spec.service(service.name).settings()
    return settings["host"], int(settings["port"])


def _ask_app(app: ObservedService, host: str, port: int, patience: float) -> ObservedService:
    """The app as it says it is itself: a process that never becomes ready is no running service."""
    deadline = time.monotonic() + patience
    while reason := probe.not_ready(host, port):
        if time.monotonic() > deadline:
            return replace(app, state=ServiceState.UNHEALTHY, detail=reason)
        time.sleep(POLL)
    return app


def _make_runtime(name: str, project: Project) -> Runtime:
    if name == "docker":
        from .docker.runtime import DockerRuntime

        return DockerRuntime(project)
    from .embedded.runtime import EmbeddedRuntime

    return EmbeddedRuntime(project)


def _docker_answers() -> bool:
    from .docker.runtime import answers

    return answers()


def every_stack(settings: Settings, *, on_event: Listener = ignore) -> list[Stack]:
    """The stacks of all projects of this machine."""
    return [
        Stack(settings.model_copy(update={"project": project.name}), on_event=on_event)
        for project in projects(settings.home)
    ]


def list_projects(settings: Settings, *, all: bool = True) -> list[ProjectSummary]:
    """The projects of this machine with the state of their database; without `all` only those that run."""
    summaries = [_summary(stack) for stack in every_stack(settings)]
    resting = (ServiceState.ABSENT, ServiceState.STOPPED)
    return [summary for summary in summaries if all or summary.state not in resting]


def _summary(stack: Stack) -> ProjectSummary:
    record = stack.project.record
    assert record is not None, "projects() lists those that have one"
    try:
        database = next(iter(stack.status()), None)
        state = database.state if database else ServiceState.ABSENT
    except (UnavailableError, NotAllowedError):
        state = ServiceState.UNKNOWN  # one project's engine that is away must not hide the others
    port = record.ports.get(DATABASE_SERVICE)
    return ProjectSummary(
        project=stack.project.name,
        runtime=record.runtime,
        state=state,
        address=f"{HOST}:{port}" if port else "",
        folder=str(stack.project.folder),
    )
