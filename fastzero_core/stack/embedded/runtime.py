"""The embedded runtime: services as local processes. Each action starts, stops, creates or removes one thing."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from errno import ENOENT, ENOTDIR
from pathlib import Path

from ... import __version__, folders, marks
from ...archive.description import state_folder
from ...errors import FastZeroError, ProjectNotFoundError, UnhealthyError
from ...events import Listener
from ...files import HOME, make_folder, writing
from ...polling import wait_until
from ...postgres import account, cluster, roles, server
from ...postgres.account import ServiceUser, service_user
from ...postgres.binaries import Binaries, find_binaries, reachable_by
from ...postgres.sql import literal
from ...postgres.url import variables
from ...project import DATABASE, PASSWORDS, Place, Project, ProjectRecord
from ..actions import Action, Kind, Verb
from ..lines import STREAMS, LogLine
from ..observed import WITHOUT_DATA, DataState, Estate, Observed, ObservedService, ServiceState, Thing
from ..ports import is_free, taken_error
from ..runtime import MOVING, RELEASE, Finding, cannot_run, weak_finding
from ..spec import STOP_TIMEOUT, ServiceSpec, StackSpec
from . import logs
from .credentials import handed_over, secret_values
from .data import CLUSTERS, EXIT_GRACE, SHARED_HOME, begun, end_backends
from .install import install
from .process import UNKNOWN, Processes, ProcessRecord, is_alive
from .supervision import is_supervised, observed_by, supervised

EVIDENCE_LINES = 20
PORT_IN_USE = "could not bind"
KILLED_BY = 128  # a shell's exit code is this and the signal's number
NOT_THE_STACKS = (
    "DATABASE_URL",
    "SECRET_KEY",
    "SECRET_KEY_PREVIOUS",
    "PGPASSWORD",
)  # variables that may name another database, or hold other secrets


class EmbeddedRuntime:
    """One project's services as local processes."""

    name = "embedded"

    def __init__(self, project: Project) -> None:
        self._project = project
        self._processes = Processes(project.folder)
        self._restarts: dict[str, int] = {}  # of each supervised process, when it was first checked

    # -- specification and observation -------------------------------------------------------------------------

    def completed(self, spec: StackSpec) -> StackSpec:
        services = [replace(service, document=_document(service)) for service in spec.services]
        return replace(spec, services=tuple(services))

    def observe(self, spec: StackSpec, record: ProjectRecord, *, is_known: bool = True) -> Observed:
        data = Path(record.data) if record.data else None
        major = cluster.major_of(data) if data else None
        services = {service.name: self._observe(service, major) for service in spec.services}
        return Observed(
            services,
            data=DataState.ABSENT if major is None else DataState.THERE,
            leftovers=tuple(self._leftovers(data, spec, services[spec.database.name])),
            orphans=tuple(self._orphans(spec)),
        )

    def remains(self, place: Place) -> list[Thing]:
        """Return the data directory, the process that serves it, and unfinished data directories."""
        data = Path(place.data)
        moving = [Thing(Kind.PROCESS, MOVING, service=MOVING)] if self._processes.recorded(MOVING) else []
        there = [Thing(Kind.DATA, place.data, "the database is not in it")] if data.exists() else []
        return [*moving, *begun(data), *there]

    def serving(self) -> list[Thing]:
        """Return an empty list: a stopped process leaves nothing to remove."""
        return []

    def extensions(self) -> frozenset[str] | None:
        return find_binaries(cluster.major_of(self._data) if self._data else None).extensions()

    def estate(self) -> Estate:
        """Return an empty estate: everything that a home has here is in its own folder."""
        return Estate()

    def extra_data(self) -> list[Thing]:
        """Return an empty list: extra services keep their data in the project's folder."""
        return []

    def new_place(self, image: str) -> Place:
        """Return a place in a new directory that PostgreSQL's user can enter."""
        user, unique = service_user(), secrets.token_hex(4)
        if user and not user.can_enter(_existing(self._project.folder)):
            return Place(self.name, data=str(SHARED_HOME / CLUSTERS / f"{self._project.name}-{unique}"))
        data = self._project.folder / "data"
        return Place(self.name, data=str(data.with_name(f"data-{unique}") if data.exists() else data))

    def _observe(self, service: ServiceSpec, data_major: int | None) -> ObservedService:
        ours = f"fastzero {__version__}" if service.interpreter else ""
        version = f"PostgreSQL {data_major}" if service.is_database else ours
        record = self._find(service)
        if record:
            running = ObservedService(
                service.name,
                ServiceState.RUNNING,
                settings=record.document.get("settings", {}),
                config_hash=record.config_hash,
                pid=record.pid,
                started_at=record.started_at,
                version=version,
                thing=service.name,
                document=record.document,
            )
            return observed_by(self._processes.supervised(service.name), running)
        crashed = self._processes.recorded(service.name) is not None
        if not crashed and not (service.is_database and data_major is not None):
            return ObservedService(service.name, ServiceState.ABSENT)
        gone = "its process is gone without having been stopped"
        detail = (self._said(service.name) or gone) if crashed else "it is stopped"
        return ObservedService(service.name, ServiceState.STOPPED, detail, version=version)

    def _find(self, service: ServiceSpec) -> ProcessRecord | None:
        """Return the process of a service. Searches all processes if its record is damaged, or its port is taken."""
        recorded = self._processes.recorded(service.name)
        is_lost = recorded is None and service.port and not is_free(service.host, service.port)
        if recorded == UNKNOWN or is_lost:
            return self._processes.find_lost(service.name)
        return recorded if recorded and is_alive(recorded) else None

    def _orphans(self, spec: StackSpec) -> Iterator[Thing]:
        for name in self._processes.names():
            if name not in (*spec.names, MOVING, RELEASE) and self._processes.find(name):
                yield Thing(Kind.PROCESS, name, "it is not part of this stack", name)

    def _said(self, name: str) -> str:
        """Return the detail that a supervisor wrote when it gave up, "" without one, or if it was killed itself."""
        last = self._processes.supervised(name)
        return last.detail if last and not last.pid else ""

    def _leftovers(self, data: Path | None, spec: StackSpec, database: ObservedService) -> Iterator[Thing]:
        """Yield what a killed initialisation left, and processes that still run but are not in a record."""
        for service in spec.services:
            if is_supervised(service) and self._processes.orphans(service.name):
                yield Thing(Kind.PROCESS, service.name, "what supervised it was killed", service.name)
        for name in (MOVING, RELEASE):
            if self._processes.recorded(name):
                yield Thing(Kind.PROCESS, name, service=name)
        if data is None:
            return
        yield from begun(data)
        # A server removes this file when it shuts down, and then no search is needed.
        is_unknown = database.state is not ServiceState.RUNNING and server.has_pid_file(data)
        if is_unknown and server.processes_on(data):
            yield Thing(Kind.BACKENDS, str(data), "the server that it belongs to was killed", database.name)

    # -- one operation on one thing ----------------------------------------------------------------------------

    def perform(self, action: Action, *, timeout: float, on_event: Listener) -> None:
        match action.verb, action.kind:
            case Verb.CREATE, Kind.DATA:
                self._create_data(Path(action.name))
            case Verb.REMOVE, Kind.DATA:
                self._remove_data(Path(action.name))
            case Verb.REMOVE, Kind.STAGING:
                cluster.remove_unfinished(Path(action.name))
            case Verb.STOP, Kind.BACKENDS:
                end_backends(Path(action.name))
            case Verb.START, Kind.PROCESS:
                self._start(action.subject, timeout)
            case Verb.STOP, Kind.PROCESS:
                self._stop(action.name, action.subject)
            case Verb.SET, Kind.PASSWORD:
                self._set_password(Path(action.subject.data))
            case Verb.INSTALL, _:
                install(Path(action.name), action.to, on_event)

    def _create_data(self, data: Path) -> None:
        make_folder(data.parent, 0o711)
        passwords = self._project.passwords()
        cluster.initialise(
            data,
            self._binaries_for(None),
            service_user(),
            superuser=roles.SUPERUSER,
            password=passwords[roles.SUPERUSER],
            statements=roles.creation(literal(passwords[roles.OWNER]), DATABASE),
            mark=folders.mark_of(self._project.folder) or "",
        )

    def _remove_data(self, data: Path) -> None:
        marks.refuse_unmarked(data, self._project.folder)
        if server.has_pid_file(data):
            with suppress(FastZeroError):  # without a matching PostgreSQL version its shared memory stays
                server.remove_shared_memory(data, self._binaries_for(data), service_user())
        with writing(data, HOME):
            for folder in filter(Path.exists, (data, state_folder(data))):
                folders.remove(folder)

    def _start(self, service: ServiceSpec, timeout: float) -> None:
        # The workers of a killed process end a moment after it, and only then free its port.
        crashed = self._processes.recorded(service.name) is not None
        patience = EXIT_GRACE if crashed else 0
        if service.port and not wait_until(lambda: is_free(service.host, service.port), patience):
            raise taken_error(service.name, service.host, service.port, service.port_choice)
        if service.is_database:
            self._start_database(service, Path(service.data), timeout)
        else:
            if service.is_extra:
                make_folder(Path(service.directory), 0o700)
            self._start_process(service)

    def _start_process(self, service: ServiceSpec) -> None:
        command, state = [*service.interpreter, *service.command], self._processes.state_file(service.name)
        state.unlink(missing_ok=True)
        self._restarts[service.name] = 0
        self._launch(service, supervised(service, command, state) if is_supervised(service) else command, None)

    def _start_database(self, service: ServiceSpec, data: Path, timeout: float) -> None:
        """Start a server, and return once it accepts connections, or after `timeout` seconds if it still recovers."""
        if cluster.major_of(data) is None:
            raise ProjectNotFoundError(f"project {self._project.name} has no database yet")
        binaries = self._binaries_for(data)
        server.disown_reused_pids(data)
        log = self._processes.log_file(service.name, "stderr")
        written = logs.size_of(log)
        command = server.command(binaries, data, service.host, service.port, service.configuration)
        started = self._launch(service, command, service_user())
        wait_until(lambda: server.is_ready(data, started.pid) or not self.is_alive(service.name), timeout)
        if not self.is_alive(service.name):
            self._processes.forget(service.name)
            raise self._start_failure(service, logs.written_since(log, written))

    def _start_failure(self, service: ServiceSpec, said: str) -> FastZeroError:
        if PORT_IN_USE in said:
            return taken_error(service.name, service.host, service.port, service.port_choice)
        return UnhealthyError(
            f"{service.name} ended while it was starting",
            hint=f"Its log says why: fastzero logs -p {self._project.name}",
            evidence="\n".join(said.splitlines()[-EVIDENCE_LINES:]),
        )

    def _launch(self, service: ServiceSpec, command: Sequence[str], user: ServiceUser | None) -> ProcessRecord:
        return self._processes.start(
            service.name,
            command,
            config_hash=service.config_hash,
            document=dict(service.document),
            environment={**self.environment_of(service), **handed_over(self._project, service)},
            user=user,
            directory=service.directory,
        )

    def environment_of(self, service: ServiceSpec) -> dict[str, str]:
        """Return the environment of a process; the application's own programs come first in PATH."""
        inherited = account.environment() if service.is_database else self._environment()
        path = os.pathsep.join([*service.programs, inherited.get("PATH", os.defpath)])
        secret = secret_values(self._project, service)
        return {**inherited, **service.variables, **secret, **({"PATH": path} if service.programs else {})}

    def run_once(self, service: ServiceSpec, command: Sequence[str]) -> tuple[int, str]:
        written = {stream: logs.size_of(self._processes.log_file(RELEASE, stream)) for stream in STREAMS}
        self._launch(replace(service, name=RELEASE), [*service.interpreter, *command], None)
        code = self._processes.wait(RELEASE)
        said = [
            logs.written_since(self._processes.log_file(RELEASE, stream), start) for stream, start in written.items()
        ]
        return code, "".join(said)

    def _stop(self, name: str, service: ServiceSpec | None) -> None:
        """Stop a process. One without a service serves data that is no longer needed, so it is shut down at once."""
        stop_signal = signal.Signals[service.stop_signal] if service else signal.SIGQUIT
        self._processes.stop(name, stop_signal=stop_signal, timeout=service.stop_timeout if service else STOP_TIMEOUT)

    def _set_password(self, data: Path) -> None:
        """Set the roles' passwords to the project's, directly in the data: no server may use it at the same time."""
        record = self._project.record
        passwords = {role: self._project.secret(PASSWORDS[role]) for role in (record.roles if record else ())}
        cluster.set_passwords(data, self._binaries_for(data), service_user(), passwords)

    # -- queries -----------------------------------------------------------------------------------------------

    def is_alive(self, service: str) -> bool:
        """Return whether a process runs. One that ended while a command waits for it has failed, even if restarted."""
        found = self._processes.supervised(service)
        restarts = found.restarts if found else 0
        return self._runs(service) and restarts <= self._restarts.setdefault(service, restarts)

    def _runs(self, service: str) -> bool:
        return (self._processes.find(service) or self._processes.find_lost(service)) is not None

    def failed_check(self, service: ServiceSpec) -> str:
        """Return "": such a check runs in a container, and a local service has none."""
        return ""

    def evidence(self, service: str) -> str:
        return "\n".join(line.text for line in self._processes.logs([service], tail=EVIDENCE_LINES))

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        return self._processes.logs(services, tail=tail, follow=follow, since=since)

    def execute(self, service: ServiceSpec, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command with the environment of the service, the stack's database, and the programs of both."""
        if not self._runs(service.name):
            raise UnhealthyError(f"{service.name} is not running", hint="Start it: fastzero up")
        return self._run(service, command, interactive)

    def run(self, spec: StackSpec, command: Sequence[str], *, interactive: bool) -> int:
        if not self.is_alive(spec.database.name):
            raise UnhealthyError(f"{spec.database.name} is not running", hint="Start it: fastzero up")
        return self._run(spec.release.service if spec.release else spec.database, command, interactive)

    def _run(self, service: ServiceSpec, command: Sequence[str], interactive: bool) -> int:
        """Run a command with a service's environment and this process's streams. Returns its exit code."""
        if service.secret_variables or service.is_extra:
            environment = {**self.environment_of(service), **handed_over(self._project, service)}
        else:
            environment = {**self._environment(), **variables(self._project.database_url())}
        programs = [*service.programs, str(Path(sys.executable).parent), str(self._binaries_for(self._data).folder)]
        environment["PATH"] = os.pathsep.join([*programs, os.environ.get("PATH", os.defpath)])
        directory = service.directory if service.programs or service.is_extra else None
        # Ctrl-C also reaches the command, which decides what to do.
        handler = signal.signal(signal.SIGINT, lambda *_: None) if interactive else None
        try:
            code = subprocess.run(_found(command, environment), env=environment, cwd=directory).returncode
        except OSError as error:
            raise cannot_run(command[0], found=error.errno not in (ENOENT, ENOTDIR)) from error
        finally:
            if interactive:
                signal.signal(signal.SIGINT, handler)
        return code if code >= 0 else KILLED_BY - code

    def examine(self, spec: StackSpec, record: ProjectRecord) -> Iterator[Finding]:
        """Yield findings about PostgreSQL's account, programs and data, and about what a killed initialisation left."""
        user = service_user()
        for place in (record.data and Path(record.data).parent, user and SHARED_HOME):
            if place and (weak := folders.weakness(place)):
                yield weak_finding("data", weak)
        yield Finding("account", "ok", f"PostgreSQL runs as {user.name}" if user else "PostgreSQL runs as you")
        data = Path(record.data) if record.data else None
        major = cluster.major_of(data) if data else None
        binaries = find_binaries(major)
        yield Finding("postgres", "ok", f"PostgreSQL {binaries.version} in {binaries.folder}")
        if record.initialised and major is None:
            gone = f"data directory {record.data}, which holds the database, is gone"
            yield Finding("data", "failed", gone, WITHOUT_DATA)
        for left in begun(data) if data else ():
            told = f"an initialisation did not end, and left {left.name}"
            yield Finding("initialisation", "warning", told, "Nothing to do: `up` removes it")

    # -- internals ---------------------------------------------------------------------------------------------

    def _binaries_for(self, data: Path | None) -> Binaries:
        """Return the PostgreSQL version that the data needs, in a folder that its user can reach."""
        binaries = find_binaries(cluster.major_of(data) if data else None)
        user = service_user()
        return reachable_by(binaries, user, SHARED_HOME) if user else binaries

    @property
    def _data(self) -> Path | None:
        record = self._project.record
        return Path(record.data) if record and record.data else None

    def _environment(self) -> dict[str, str]:
        """Return this process's environment, with this project's name and home and without secrets."""
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_THE_STACKS}
        return {**inherited, "FASTZERO_PROJECT": self._project.name, "FASTZERO_HOME": str(self._project.home)}


def _document(service: ServiceSpec) -> dict[str, object]:
    """Return the document that a local process is started from."""
    if service.is_database:
        return {"settings": service.settings(), "interpreter": []}
    own = {}
    if service.programs or service.is_extra:
        own = {"directory": service.directory, "programs": list(service.programs), "restart": service.restart}
    return {"settings": service.settings(), "interpreter": list(service.interpreter), **own}


def _found(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return the command with its program found in the PATH of its own environment, not in this process's PATH."""
    return [shutil.which(command[0], path=environment["PATH"]) or command[0], *command[1:]]


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
