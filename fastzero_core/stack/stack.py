"""Stack: a project's services, and the commands on them. The interface for library users and the command line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..errors import FastZeroError, InvalidInputError
from ..events import Listener, Notice, ignore
from ..postgres.url import same_database, url_of, variables
from ..project import project_of, projects
from ..settings import Settings, load_settings
from . import commands, rotating
from .actions import Action
from .archiver import described_extras
from .decide import Flags
from .lines import LogLine
from .observed import ServiceState
from .runtime import Finding
from .session import Session
from .spec import DATABASE_SERVICE, HEALTH, READINESS, asked_ports
from .status import ServiceStatus, statuses

if TYPE_CHECKING:
    import threading

    from ..application.description import Application

ROTATION_MARGIN = 60  # seconds, for processes that still sign with the old key, and for clocks that differ
SHOWN = 5  # maximum number of changed files to name
RESTING = (ServiceState.ABSENT, ServiceState.STOPPED)


class Stack:
    """A project's stack.

    `project` is a name, or Settings to use instead of the usual sources. `with Stack("demo").up() as stack:` stops at
    the end of the block what this `up` started; services that ran before keep running. `on_event` receives progress.
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
        host: str | None = None,
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
        replicas: int | None = None,
        ha: bool | None = None,
        timeout: float | None = None,
    ) -> Self:
        """Start or update the stack, until its database answers, its schema is at head, and its app is ready.

        Changes only what differs. The first `up` chooses the runtime and the ports, later ones keep them; `port` is the
        database's. `host`, such as `ssh://deploy@example.com`, is the machine whose engine runs the containers. `app`
        says whether the application runs, by default as in the settings. `build` and `pull` update the images. After a
        failure, what this run did is undone, unless `keep` is set. `adopt` takes over containers and data of a lost
        home; `start_over` creates an empty database if the data is gone. `install` first installs the dependencies of a
        user's application that runs as local processes; without `after_migrate`, its initial data is not added. Extra
        services in `without` are not run. `replicas` is the number of tasks of the process that answers HTTP, in a
        swarm. `ha` makes a database with standbys, on three nodes of a swarm. `timeout`, in seconds, limits each wait.
        Raises LockedError, PortTakenError, VersionMismatchError, SchemaNewerError, DatabaseLoginError, ImageError,
        UnhealthyError, ForeignStackError, DataGoneError.
        """
        asked = asked_ports(self.settings, port=port, app_port=app_port)
        flags = Flags(
            runtime, host, asked, app, start_over, adopt, install, after_migrate, tuple(without), replicas, ha
        )
        with self.session(timeout) as session:
            decision, observed, started = commands.up(session, flags, build=build, pull=pull, keep=keep)
            self._started |= started
            self._seen = statuses(decision.spec, observed) if observed else None
        return self

    def plan(
        self,
        *,
        runtime: str | None = None,
        host: str | None = None,
        port: int | None = None,
        app_port: int | None = None,
        app: bool | None = None,
        build: bool = False,
        pull: bool = False,
        adopt: bool = False,
        start_over: bool = False,
        install: bool = False,
        replicas: int | None = None,
        ha: bool | None = None,
    ) -> list[Action]:
        """Return the actions that `up` would perform now, with their causes. Changes nothing. Raises as `up` does."""
        asked = asked_ports(self.settings, port=port, app_port=app_port)
        flags = Flags(runtime, host, asked, app, start_over, adopt, install, replicas=replicas, ha=ha)
        return commands.plan_up(self.look(), flags, build=build, pull=pull)

    def down(self, *, volumes: bool = False, timeout: float | None = None) -> list[Action]:
        """Stop all services and keep the data; with `volumes`, destroy the project and its data. Returns what was done.

        If not all data can be destroyed, raises UnavailableError before anything is destroyed.
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
        """Restart the processes when a file that the application watches changes, until `stop` is set.

        The database keeps running. If a process fails, emits a notice, and tries again at the next change. Unless the
        description says what to watch, only sources count: an application may write files next to them. Raises
        InvalidInputError for an application in containers: its files are in the image.
        """
        from .watch import changes

        for changed in changes(self.reloadable(), stop):
            self._on_event(Notice(f"changed: {', '.join(changed[:SHOWN])}{' …' if len(changed) > SHOWN else ''}"))
            try:
                with self.session() as session:
                    commands.reload(session)
            except FastZeroError as error:
                self._on_event(Notice(f"{error.evidence}\n{error.message}".strip()))

    def reloadable(self, runtime: str | None = None) -> "Application":
        """Return the application whose processes can be reloaded.

        `runtime` is that of a first `up`. Raises InvalidInputError for the built-in application, and for one in
        containers: its files are in the image.
        """
        application, record = self.look().application, self.project.record
        if application is None or (record.runtime if record else runtime or self.settings.runtime) in (
            "docker",
            "swarm",
        ):
            what = "only your own application is reloaded, as local processes"
            hint = "In containers, fastzero up rebuilds the image when a file changed"
            raise InvalidInputError(what, field="reload", hint=hint)
        return application

    def execute(self, service: str, command: Sequence[str], *, interactive: bool = False) -> int:
        """Run a command where the service runs, with this process's streams. Returns its exit code."""
        session = self.look()
        session.require_trust()
        spec = session.spec()
        name, *_ = spec.named(service)
        return session.runtime.execute(spec.service(name), command, interactive=interactive)

    def run(self, command: Sequence[str], *, interactive: bool = False) -> int:
        """Run a command with the application's environment. Returns its exit code.

        It runs in the application's directory, or in one of its containers. Raises UnhealthyError if the stack does not
        run.
        """
        session = self.look()
        session.require_trust()
        return session.runtime.run(session.spec(), command, interactive=interactive)

    def dockerfile(self) -> str:
        """Return the Dockerfile that fastzero generates for a user's application. Raises InvalidInputError."""
        from ..application.dockerfile import dockerfile

        application = self.look().application
        if application is None:
            raise InvalidInputError("this folder describes no application", hint="Describe it: fastzero init")
        return dockerfile(application)

    def compose(self) -> str:
        """Return the stack as a compose.yaml. Raises InvalidInputError if it does not run in containers."""
        spec = commands.exported(self.look())
        from .docker.compose import compose_yaml

        return compose_yaml(spec, self.project)

    def kubernetes(self, *, registry: str = "", backup_to: str = "", secrets: bool = False) -> str:
        """Return the stack as manifests for Kubernetes, or the secrets that they refer to. Raises as `compose` does.

        `registry` is where the built images are pushed; `backup_to` is an `s3://` address for backups of the database.
        """
        spec = commands.exported(self.look())
        from .docker.kubernetes import kubernetes_yaml, secrets_yaml

        if secrets:
            return secrets_yaml(spec, self.project)
        return kubernetes_yaml(spec, registry=registry, backup_to=backup_to)

    def repair_password(self, *, timeout: float | None = None) -> bool:
        """Set the passwords of the database's roles to the project's. Returns whether one differed.

        A stopped database is started for this, and stopped again.
        """
        if not self.exists:
            return False
        with self.session(timeout) as session:
            return commands.repair_password(session)

    def rotate_signing_key(self, *, revoke: bool = False, timeout: float | None = None) -> datetime | None:
        """Replace the key that signs tokens. Running processes use the new key without a restart.

        Returns the time until which tokens of the old key are accepted, which is the lifetime of a token from now. With
        `revoke`, they are not accepted, so that all users must log in again, and returns None.
        Raises ProjectNotFoundError.
        """
        keep = 0 if revoke else self.settings.access_token_expire_minutes * 60 + ROTATION_MARGIN
        with self.session(timeout) as session:
            rotating.rotate_signing_key(session, keep=keep)
        return None if revoke else datetime.now(UTC) + timedelta(seconds=keep)

    def rotate_database_passwords(self, *, timeout: float | None = None) -> None:
        """Set a new password for each role of the database.

        The built-in app keeps running, and the user's own application is restarted. Other clients must read the
        password again. Raises ProjectNotFoundError.
        """
        with self.session(timeout) as session:
            rotating.rotate_passwords(session)

    def unite_roles(self, *, timeout: float | None = None) -> None:
        """Merge the database's roles, so that older versions can use it: its owner is its superuser. Stops the app.

        This undoes what the first `up` of this version did. The next `up` does it again.
        """
        with self.session(timeout) as session:
            commands.unite_roles(session)

    # -- queries -----------------------------------------------------------------------------------------------

    def status(self, *, fresh: bool = True) -> list[ServiceStatus]:
        """Return the status of every service now or, if not `fresh`, as found by an `up` with nothing to do."""
        if self._seen is not None and not fresh:
            return self._seen
        session = self.look()
        if session.record is None or not session.record.ports:
            return []
        spec = session.spec()
        found = statuses(spec, session.observe(spec, session.known))
        if session.known.archive is None:
            return found
        from .archivist import with_archiver

        return with_archiver(found, session, session.known.archive)

    @property
    def found_all_well(self) -> bool:
        """Whether this object's last `up` had nothing to do."""
        return self._seen is not None

    def running(self) -> set[str]:
        """Return the services that have a process or a running container, even if it does not answer."""
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
        """Yield the services' log lines, ordered by time; with `follow`, also new ones. Raises InvalidInputError."""
        session = self.look()
        return session.runtime.logs(session.spec().named(service), tail=tail, follow=follow, since=since)

    @property
    def service_names(self) -> list[str]:
        """The names of the services, each after those that it depends on. Raises ProjectNotFoundError."""
        return list(self.look().spec().names)

    @property
    def health_paths(self) -> frozenset[str]:
        """The paths that the health checks of its processes request."""
        return frozenset({HEALTH, READINESS, *(each.readiness or "" for each in self.look().spec().processes)} - {""})

    def examine(self) -> Iterator[Finding]:
        """Yield findings about the project's runtime, or about the runtime that the first `up` would choose.

        After all findings, raises VersionMismatchError if `up` would refuse the image that the settings name.
        """
        yield from commands.examine(self.look())

    @property
    def has_data(self) -> bool:
        """Whether its database has ever been ready, so that it may have data."""
        record = self.project.record
        return record is not None and record.initialised

    @property
    def exists(self) -> bool:
        """Whether the project has been started and was not destroyed since."""
        return self.project.record is not None

    @property
    def database_url(self) -> str:
        """The database's URL, password included. Raises ProjectNotFoundError before the first `up`."""
        return self.project.database_url()

    def serves(self, url: str) -> bool:
        """Return whether a URL names this stack's database and its role. Ignores the password."""
        record = self.project.record
        return record is not None and DATABASE_SERVICE in record.ports and same_database(url, self.database_url)

    @property
    def superuser_url(self) -> str:
        """The database's URL for the server's superuser. Raises ProjectNotFoundError before the first `up`."""
        return self.project.superuser_url()

    def environment(self) -> dict[str, str]:
        """Return the environment variables that a program needs to use this stack, including the password.

        PGREQUIREAUTH is a separate variable, since not every driver accepts it in the URL. Extra services have
        variables such as REDIS_HOST and REDIS_PORT, and MAILPIT_PORT_1025 for a port other than the main one.
        """
        from .extras import address_variables

        database = {"DATABASE_URL": url_of(self.database_url, require_auth=False), **variables(self.database_url)}
        record = self.project.record
        services = described_extras(self.look().spec()) if record else ()
        return {**database, **address_variables(services)}

    @property
    def services_with_data(self) -> tuple[str, ...]:
        """The extra services that keep data. Backups do not include it."""
        session = self.look()
        if session.record is None or session.application is None:
            return ()
        from .extras import with_data

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
        """Lock the project for one command; others wait. Raises LockedError after `timeout` seconds."""
        timeout = timeout or self.settings.timeout
        self._seen = None
        with self.project.lock(timeout, self._on_event):
            yield self.look(timeout)

    def look(self, timeout: float | None = None) -> Session:
        """Return a session on the project's current state, without a lock."""
        return Session(self.project, self.settings, self._on_event, timeout or self.settings.timeout)
