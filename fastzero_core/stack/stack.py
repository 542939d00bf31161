"""Stack: a project's services, and what is done to them as a whole. What library users and the command line call."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import (
    FastZeroError,
    InvalidInputError,
)
from ..events import Listener, Notice, ignore
from ..postgres.url import url_of, variables
from ..project import project_of, projects
from ..settings import Settings, load_settings
from . import commands
from .actions import Action
from .decide import Flags
from .extras import address_variables, with_data
from .lines import LogLine
from .observed import Observed, ObservedService, ServiceState
from .runtime import Finding
from .session import Session
from .spec import HEALTH, READINESS, StackSpec, asked_ports

if TYPE_CHECKING:
    import threading

ROTATION_MARGIN = 60  # seconds in which processes may still sign with the old key, or their clocks differ
SHOWN = 5  # changed files that are named
RESTING = (ServiceState.ABSENT, ServiceState.STOPPED)


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


class Stack:
    """A project's stack.

    `project` is a name, or Settings to go by instead of the usual sources. `with Stack("demo").up() as stack:` stops
    on leaving what this `up` started; what ran before goes on running. `on_event` hears of progress.
    """

    def __init__(self, project: str | Settings | None = None, *, on_event: Listener = ignore) -> None:
        self.settings = project if isinstance(project, Settings) else load_settings(project=project)
        self.project = project_of(self.settings)
        self._on_event = on_event
        self._started: set[str] = set()
        self._seen: list[ServiceStatus] | None = None  # by the last `up`, if it had nothing to do

    @classmethod
    def all(cls, settings: Settings, *, on_event: Listener = ignore) -> list[Self]:
        """Return the stacks of all projects of this machine."""
        return [
            cls(settings.model_copy(update={"project": project.name}), on_event=on_event)
            for project in projects(settings.home)
        ]

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
        adopt: bool = False,
        start_over: bool = False,
        install: bool = False,
        after_migrate: bool = True,
        without: Sequence[str] = (),
        timeout: float | None = None,
    ) -> Self:
        """Make the stack run, its database answer, its schema be at head and its app be ready; nothing if all is so.

        The first `up` chooses the runtime and the ports, later ones keep them; `port` is the database's. Without `app`
        the application does not run. `build` and `pull` renew the images. After a failure what this run made is undone,
        unless `keep`. `adopt` takes over containers and data of a home that is lost, `start_over` begins with an empty
        database where the data is gone. `install` first installs what an application of the user's own depends on,
        where it runs as local processes; without `after_migrate` it gets no first data. Extra services in `without` are
        not run. `timeout` is in seconds and bounds each wait.
        Raises LockedError, PortTakenError, VersionMismatchError, SchemaNewerError, DatabaseLoginError, ImageError,
        UnhealthyError, ForeignStackError, DataGoneError.
        """
        asked = asked_ports(self.settings, port=port, app_port=app_port)
        flags = Flags(runtime, asked, app, start_over, adopt, install, after_migrate, tuple(without))
        with self.session(timeout) as session:
            decision, observed, started = commands.up(session, flags, build=build, pull=pull, keep=keep)
            self._started |= started
            self._seen = _statuses(decision.spec, observed) if observed else None
        return self

    def plan(
        self,
        *,
        runtime: str | None = None,
        port: int | None = None,
        app_port: int | None = None,
        app: bool | None = None,
        build: bool = False,
        pull: bool = False,
        adopt: bool = False,
        start_over: bool = False,
        install: bool = False,
    ) -> list[Action]:
        """What `up` would do now, and why. Changes nothing. Raises as `up` does."""
        asked = asked_ports(self.settings, port=port, app_port=app_port)
        flags = Flags(runtime, asked, app, start_over, adopt, install)
        return commands.plan_up(self.look(), flags, build=build, pull=pull)

    def down(self, *, volumes: bool = False, timeout: float | None = None) -> list[Action]:
        """Stop what runs and keep the data; with `volumes` destroy the project with its data. Returns what was done.

        Nothing is destroyed unless everything can be: raises UnavailableError before it begins.
        """
        if not self.exists:
            return []
        with self.session(timeout) as session:
            return commands.down(session, volumes=volumes) if session.record else []

    def restart(self, service: str | None = None, *, timeout: float | None = None) -> Self:
        """Stop and start one service, or all. Raises InvalidInputError for an unknown one."""
        with self.session(timeout) as session:
            commands.restart(session, service)
        return self

    def reload_on_change(self, stop: "threading.Event") -> None:
        """Restart the processes whenever a file changes that the application watches, until `stop` is set.

        The database goes on. What keeps a process from running is told, and the next change tries again. Unless the
        description says what to watch, only sources count: an application may write files beside them. Raises
        InvalidInputError for an application in containers, whose image has its files.
        """
        application, record = self.look().application, self.project.record
        if application is None or record is None or record.runtime != "embedded":
            raise InvalidInputError("only an application that runs as local processes is reloaded", field="reload")
        from .watch import changes

        for changed in changes(application, stop):
            self._on_event(Notice(f"changed: {', '.join(changed[:SHOWN])}{' …' if len(changed) > SHOWN else ''}"))
            try:
                with self.session() as session:
                    commands.reload(session)
            except FastZeroError as error:
                self._on_event(Notice(f"{error.evidence}\n{error.message}".strip()))

    def execute(self, service: str, command: Sequence[str], *, interactive: bool = False) -> int:
        """Run a command where the service runs, with this process's streams. Returns its exit code."""
        session = self.look()
        session.require_trust()
        spec = session.spec()
        [name] = spec.named(service)
        return session.runtime.execute(spec.service(name), command, interactive=interactive)

    def run(self, command: Sequence[str], *, interactive: bool = False) -> int:
        """Run a command with what the application finds in its environment. Returns its exit code.

        It runs in the application's directory, or in a container of its. Raises UnhealthyError unless the stack runs.
        """
        session = self.look()
        session.require_trust()
        return session.runtime.run(session.spec(), command, interactive=interactive)

    def dockerfile(self) -> str:
        """The Dockerfile that fastzero makes for an application of the user's own. Raises InvalidInputError."""
        from ..application.dockerfile import dockerfile

        application = self.look().application
        if application is None:
            raise InvalidInputError("this folder describes no application", hint="Describe it: fastzero init")
        return dockerfile(application)

    def compose(self) -> str:
        """The stack as a compose.yaml. Raises InvalidInputError for one that does not run in containers."""
        session = self.look()
        if session.record is None or session.record.runtime != "docker":
            raise InvalidInputError(
                f"project {self.project.name} does not run in containers",
                hint="Make one that does: fastzero up --runtime docker -p NAME",
            )
        if self.settings.split_roles:
            raise InvalidInputError(
                "Docker Compose cannot run a stack with split roles: its app migrates, which the app's role may not",
                field="split_roles",
                hint="Unset FASTZERO_SPLIT_ROLES for the export",
            )
        from .docker.compose import compose_yaml

        return compose_yaml(session.spec(), self.project)

    def repair_password(self, *, timeout: float | None = None) -> bool:
        """Give the database's role the password that the project has. Returns whether it had another.

        A database that is stopped is started for it, and stopped again.
        """
        if not self.exists:
            return False
        with self.session(timeout) as session:
            return commands.repair_password(session)

    def rotate_signing_key(self, *, revoke: bool = False, timeout: float | None = None) -> datetime | None:
        """Sign tokens with a new key from now on. Running processes take it up without a restart.

        Returns until when tokens of the old key are accepted: for as long as a token lasts. With `revoke` none of them
        is accepted, so that every user has to log in again; returns None. Raises ProjectNotFoundError.
        """
        keep = 0 if revoke else self.settings.access_token_expire_minutes * 60 + ROTATION_MARGIN
        with self.session(timeout) as session:
            commands.rotate_signing_key(session, keep=keep)
        return None if revoke else datetime.now(UTC) + timedelta(seconds=keep)

    def rotate_database_passwords(self, *, timeout: float | None = None) -> None:
        """Give each role of the database a new password. The app goes on serving; who else uses one must read it again.

        Raises ProjectNotFoundError.
        """
        with self.session(timeout) as session:
            commands.rotate_passwords(session)

    def unite_roles(self, *, timeout: float | None = None) -> None:
        """Make the database one that older versions work with: its owner is its superuser. The app is stopped.

        It is the way back from what the first `up` of this version did; the next `up` does it again.
        """
        with self.session(timeout) as session:
            commands.unite_roles(session)

    # -- questions ---------------------------------------------------------------------------------------------

    def status(self, *, fresh: bool = True) -> list[ServiceStatus]:
        """Every service as it is now; not `fresh`, as this object's last `up` found it, where it found all well."""
        if self._seen is not None and not fresh:
            return self._seen
        session = self.look()
        if session.record is None or not session.record.ports:
            return []
        spec = session.spec()
        return _statuses(spec, session.observe(spec, session.known))

    @property
    def found_all_well(self) -> bool:
        """Whether this object's last `up` had nothing to do."""
        return self._seen is not None

    def running(self) -> set[str]:
        """The services that have a process or a running container, whether or not it answers."""
        session = self.look()
        if session.record is None or not session.record.ports:
            return set()
        observed = session.runtime.observe(session.spec(), session.known)
        return {name for name, service in observed.services.items() if service.state not in RESTING}

    def logs(
        self,
        service: str | None = None,
        *,
        tail: int | None = None,
        follow: bool = False,
        since: datetime | None = None,
    ) -> Iterator[LogLine]:
        """The services' log lines in the order of time, with `follow` also those to come. Raises InvalidInputError."""
        session = self.look()
        return session.runtime.logs(session.spec().named(service), tail=tail, follow=follow, since=since)

    @property
    def service_names(self) -> list[str]:
        """The names of its services, each after those that it depends on. Raises ProjectNotFoundError."""
        return list(self.look().spec().names)

    @property
    def health_paths(self) -> frozenset[str]:
        """The paths that health checks of its processes ask for."""
        return frozenset({HEALTH, READINESS, *(each.readiness or "" for each in self.look().spec().processes)} - {""})

    def examine(self) -> Iterator[Finding]:
        """What there is to know of the project's runtime, or of the one that a first `up` would choose.

        Raises, after all of it, VersionMismatchError where `up` would for the image that the settings name.
        """
        yield from commands.examine(self.look())

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

    @property
    def superuser_url(self) -> str:
        """The same database's URL for the server's superuser. Raises ProjectNotFoundError before the first `up`."""
        return self.project.superuser_url()

    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to use this stack, the password included.

        PGREQUIREAUTH is beside the URL, since not every driver knows it in there. Services beside the database are
        there as REDIS_HOST, REDIS_PORT, and MAILPIT_PORT_1025 for a port after the main one.
        """
        database = {"DATABASE_URL": url_of(self.database_url, require_auth=False), **variables(self.database_url)}
        record = self.project.record
        services = self.look().spec().extras if record and record.application else ()
        return {**database, **address_variables(services)}

    @property
    def services_with_data(self) -> tuple[str, ...]:
        """The services beside the database that keep data, which no backup has."""
        session = self.look()
        if session.record is None or session.application is None:
            return ()
        return with_data(session.application, session.record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._started and self.exists:
            with self.session() as session:
                commands.stop(session, self._started)

    # -- sessions ----------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, timeout: float | None = None) -> Iterator[Session]:
        """Hold the project for one command: others wait their turn. Raises LockedError after `timeout` seconds."""
        timeout = timeout or self.settings.timeout
        self._seen = None
        with self.project.lock(timeout, self._on_event):
            yield self.look(timeout)

    def look(self, timeout: float | None = None) -> Session:
        """Look at the project as it is now, without keeping others from it."""
        return Session(self.project, self.settings, self._on_event, timeout or self.settings.timeout)


def _statuses(spec: StackSpec, observed: Observed) -> list[ServiceStatus]:
    return [_status(spec, observed.service(name), observed) for name in spec.names]


def _status(spec: StackSpec, service: ObservedService, observed: Observed) -> ServiceStatus:
    wanted = spec.service(service.name)
    return ServiceStatus(
        service=service.name,
        state=service.state,
        address=", ".join(f"{wanted.host}:{port}" for port in (wanted.port, *wanted.more_ports.values()) if port),
        version=service.version,
        revision=observed.revision if wanted.is_database else None,
        pid=service.pid,
        started_at=service.started_at,
        detail=service.detail,
    )
