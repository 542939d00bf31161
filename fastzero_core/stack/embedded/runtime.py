"""The embedded runtime: PostgreSQL from a wheel, or an installed one, as a local process without Docker."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import psutil

from ... import __version__
from ...errors import InvalidInputError, ProjectNotFoundError, UnhealthyError
from ...events import Listener
from ...polling import wait_until
from ...postgres.account import ServiceUser, service_user
from ...postgres.binaries import Binaries, find_binaries, reachable_by
from ...project import DATABASE, HOST, ROLE, Place, Project, make_folder
from ..plan import Action, Observed, ObservedService, ServiceState, Verb
from ..ports import is_free, taken_error
from ..runtime import NEW_DATABASE, Finding
from ..spec import DATABASE_SERVICE, STOP_TIMEOUT, ServiceSpec, StackSpec
from .process import LogLine, Processes, ProcessRecord

# As root, what PostgreSQL's own user must reach and the project's folder does not let it.
SHARED_HOME = Path("/var/lib/fastzero")
EVIDENCE_LINES = 20
GOING_BACK = 60  # seconds for a service to start that ran before
LAST_GASP = 10  # seconds for a killed command's initdb to notice that nobody listens
NO_PROCESS = 2**31 - 1  # beyond every system's largest pid
STILL_IN_USE = "shared memory block"
PORT_IN_USE = "could not bind"
KILLED_BY = 128  # a shell's exit code is this and the signal's number
NOT_THE_STACKS = ("DATABASE_URL", "SECRET_KEY", "PGPASSWORD")  # what may mean another database, and other secrets


class EmbeddedRuntime:
    """One project's services as local processes."""

    name = "embedded"
    unfinished = False  # a data directory is whole, or it does not exist

    def __init__(self, project: Project) -> None:
        self._project = project
        self._processes = Processes(project.folder)
        self._replaced: dict[str, ServiceSpec] = {}  # as they were, to go back to

    def observe(self, spec: StackSpec) -> Observed:
        return Observed({service.name: self._observe(service) for service in spec.services})

    def apply(self, action: Action, spec: StackSpec, *, timeout: float, on_event: Listener) -> None:
        service = spec.service(action.service)
        match action.verb:
            case Verb.CREATE if service.name == DATABASE_SERVICE:
                user = service_user()
                self._initialise(self._place_data(user), user)
                self._start(service, timeout)
            case Verb.CREATE | Verb.START:
                self._start(service, timeout)
            case Verb.RECREATE:
                before = self._processes.find(service.name)
                if before:
                    self._replaced[service.name] = service.having(before.settings)
                self._stop(service)
                self._start(service, timeout)
            case Verb.STOP:
                self._stop(service)
            case Verb.DESTROY:
                self._destroy()

    def settle(self) -> None:
        """All is well: forget what was replaced."""
        self._replaced.clear()

    def roll_back(self, action: Action, spec: StackSpec) -> None:
        """Stop what was started, and start what it replaced; a data directory that is whole stays."""
        self._stop(spec.service(action.service))
        before = self._replaced.pop(action.service, None)
        if before:
            self._start(before, GOING_BACK)

    def finish_down(self) -> None:
        """Nothing is left behind the processes."""

    def is_alive(self, service: str) -> bool:
        return self._processes.find(service) is not None

    def evidence(self, service: str) -> str:
        return "\n".join(line.text for line in self._processes.logs([service], tail=EVIDENCE_LINES))

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        return self._processes.logs(services, tail=tail, follow=follow, since=since)

    def execute(self, service: str, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command beside the service, with the stack's database and the programs of both at hand."""
        if not self.is_alive(service):
            raise UnhealthyError(f"{service} is not running", hint="Start it: fastzero up")
        programs = [str(Path(sys.executable).parent), str(self.binaries().folder), os.environ.get("PATH", "")]
        environment = {**self._environment(), **self._client_variables(), "PATH": os.pathsep.join(programs)}
        # Ctrl-C reaches the command as well, and what comes of it is the command's to say.
        handler = signal.signal(signal.SIGINT, lambda *_: None) if interactive else None
        try:
            code = subprocess.run(command, env=environment).returncode
        except (FileNotFoundError, PermissionError) as error:
            raise InvalidInputError(f"cannot run {command[0]!r}: {error.strerror}", field="command") from error
        finally:
            if interactive:
                signal.signal(signal.SIGINT, handler)
        return code if code >= 0 else KILLED_BY - code

    def repair_password(self) -> None:
        """Set the role's password on the data itself, while no server has it."""
        record = self._processes.find(DATABASE_SERVICE)
        if record:
            self._processes.stop(DATABASE_SERVICE, stop_signal=signal.SIGINT, timeout=STOP_TIMEOUT)
        password = self._project.secret("database_password")
        statement = f"ALTER ROLE {ROLE} PASSWORD '{password}'\n"
        _run(_single_user(self.binaries(), self._existing_data()), service_user(), statement)

    def new_place(self, image: str) -> Place:
        return Place(self.name, data=str(self._free_data_directory(service_user())))

    def open_place(self, place: Place, service: ServiceSpec, timeout: float) -> None:
        data = Path(place.data)
        self._initialise(data, service_user())
        self._start_database(replace(service, name=NEW_DATABASE), data, timeout)

    def close_place(self) -> None:
        self._processes.stop(NEW_DATABASE, stop_signal=signal.SIGINT, timeout=STOP_TIMEOUT)

    def discard(self, place: Place) -> None:
        self._processes.stop(NEW_DATABASE, stop_signal=signal.SIGQUIT)
        data = Path(place.data)
        _remove_unfinished(data)
        if data.exists():
            shutil.rmtree(data)

    def examine(self, spec: StackSpec) -> Iterator[Finding]:
        """The account and the binaries that PostgreSQL runs with, and what a killed initialisation left."""
        user = service_user()
        yield Finding("account", "ok", f"PostgreSQL runs as {user.name}" if user else "PostgreSQL runs as you")
        binaries = find_binaries(self._data_major())
        yield Finding("postgres", "ok", f"PostgreSQL {binaries.version} in {binaries.folder}")
        if self.data and (unfinished := _unfinished(self.data)):
            yield Finding(
                "initialisation",
                "warning",
                f"an initialisation did not end, and left {unfinished[0]}",
                "Nothing to do: `up` removes it",
            )

    @property
    def data(self) -> Path | None:
        """The data directory; None before it is decided where it lies."""
        record = self._project.record
        return Path(record.data) if record and record.data else None

    def binaries(self) -> Binaries:
        """The PostgreSQL that this project's data needs."""
        return self._binaries_for(self.data)

    def _binaries_for(self, data: Path | None) -> Binaries:
        binaries = find_binaries(_major_of(data) if data else None)
        user = service_user()
        return reachable_by(binaries, user, SHARED_HOME) if user else binaries

    def _observe(self, service: ServiceSpec) -> ObservedService:
        record = self._processes.find(service.name)
        if record:
            return ObservedService(
                service.name,
                ServiceState.RUNNING,
                settings=record.settings,
                config_hash=record.config_hash,
                pid=record.pid,
                started_at=record.started_at,
                version=self._version(service),
            )
        crashed = self._processes.recorded(service.name) is not None
        has_data = service.name == DATABASE_SERVICE and self._data_major() is not None
        if not has_data and not crashed:
            return ObservedService(service.name, ServiceState.ABSENT)
        detail = "its process is gone without having been stopped" if crashed else "it is stopped"
        return ObservedService(service.name, ServiceState.STOPPED, detail, version=self._version(service))

    def _version(self, service: ServiceSpec) -> str:
        return f"PostgreSQL {self._data_major()}" if service.name == DATABASE_SERVICE else f"fastzero {__version__}"

    def _data_major(self) -> int | None:
        return _major_of(self.data) if self.data else None

    def _initialise(self, data: Path, user: ServiceUser | None) -> None:
        """Make the data directory under another name and rename it once it is whole: it exists, or it does not."""
        _remove_unfinished(data)
        work = data.with_name(f".{data.name}.init-{secrets.token_hex(4)}")
        make_folder(work, 0o700)
        try:
            self._make_cluster(work, user).rename(data)
        finally:
            _remove_unfinished(data)

    def _make_cluster(self, work: Path, user: ServiceUser | None) -> Path:
        password_file = work / "password"
        self._project.ensure_secret("database_password")
        password_file.touch(0o600)
        password_file.write_text(self._project.secret("database_password") + "\n")
        if user:
            for path in (work, password_file):
                os.chown(path, user.uid, user.gid)
        binaries = self._binaries_for(None)
        cluster = work / "cluster"
        _run(_initdb(binaries, cluster, password_file), user)
        _run(_single_user(binaries, cluster), user, f"CREATE DATABASE {DATABASE}\n")
        return cluster

    def _place_data(self, user: ServiceUser | None) -> Path:
        record = self._project.record
        assert record is not None, "the project is recorded before anything is created"
        if record.data:
            make_folder(Path(record.data).parent, 0o711)
            return Path(record.data)
        data = self._free_data_directory(user)
        self._project.save(replace(record, data=str(data)))
        return data

    def _free_data_directory(self, user: ServiceUser | None) -> Path:
        """One that does not exist yet, where PostgreSQL's user can enter."""
        make_folder(self._project.folder, 0o711)
        unique = secrets.token_hex(4)
        if user and not user.can_enter(self._project.folder):
            data = SHARED_HOME / "clusters" / f"{self._project.name}-{unique}"
            make_folder(data.parent, 0o711)
            return data
        data = self._project.folder / "data"
        return data.with_name(f"data-{unique}") if data.exists() else data

    def _start(self, service: ServiceSpec, timeout: float) -> None:
        # The workers of a parent that was killed are a moment behind it.
        crashed = self._processes.recorded(service.name) is not None
        if not wait_until(lambda: is_free(service.host, service.port), LAST_GASP if crashed else 0):
            raise taken_error(service.name, service.host, service.port)
        if service.name == DATABASE_SERVICE:
            self._start_database(service, self._existing_data(), timeout)
        else:
            self._launch(service, [sys.executable, "-m", "fastzero_cli", *service.command], None)

    def _start_database(self, service: ServiceSpec, data: Path, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        user = service_user()
        binaries = self._binaries_for(data)
        _remove_unfinished(data)
        _disown_reused_pids(data)
        log = self._processes.log_file(service.name, "stderr")
        while True:
            written = log.stat().st_size if log.exists() else 0
            started = self._launch(service, _postgres(binaries, data, service), user)
            self._wait_for(service.name, data, started, deadline)
            if self.is_alive(service.name):
                return
            self._processes.forget(service.name)
            said = _written_since(log, written)
            # The server that had the data was killed. Its backends notice when they next wait, which may be never.
            if STILL_IN_USE in said and time.monotonic() < deadline:
                for orphan in _processes_on(data):
                    with suppress(psutil.NoSuchProcess):
                        orphan.kill()
                time.sleep(0.1)
                continue
            if PORT_IN_USE in said:
                raise taken_error(service.name, service.host, service.port)
            raise UnhealthyError(
                f"{service.name} ended while it was starting",
                hint=f"Its log says why: fastzero logs -p {self._project.name}",
                evidence="\n".join(said.splitlines()[-EVIDENCE_LINES:]),
            )

    def _launch(self, service: ServiceSpec, command: Sequence[str], user: ServiceUser | None) -> ProcessRecord:
        environment = None if user else {**self._environment(), **service.variables}
        return self._processes.start(
            service.name,
            command,
            config_hash=service.config_hash,
            settings=service.settings(),
            environment=environment,
            user=user,
        )

    def _environment(self) -> dict[str, str]:
        """The environment, in which fastzero finds this project; the secrets stay in the project's files."""
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_THE_STACKS}
        return {**inherited, "FASTZERO_PROJECT": self._project.name, "FASTZERO_HOME": str(self._project.home)}

    def _client_variables(self) -> dict[str, str]:
        """By what PostgreSQL's own programs find the database; in a container it is on their socket."""
        record = self._project.record
        assert record is not None, "nothing runs before there is a record"
        return {
            "PGHOST": HOST,
            "PGPORT": str(record.ports[DATABASE_SERVICE]),
            "PGUSER": ROLE,
            "PGDATABASE": DATABASE,
            "PGPASSWORD": self._project.secret("database_password"),
        }

    def _wait_for(self, name: str, data: Path, started: ProcessRecord, deadline: float) -> None:
        wait_until(lambda: _is_ready(data, started) or not self.is_alive(name), deadline - time.monotonic())

    def _existing_data(self) -> Path:
        data = self.data
        if data is None or self._data_major() is None:
            raise ProjectNotFoundError(f"project {self._project.name} has no database yet")
        return data

    def _stop(self, service: ServiceSpec) -> None:
        stop_signal = signal.Signals[service.stop_signal]
        self._processes.stop(service.name, stop_signal=stop_signal, timeout=service.stop_timeout)

    def _destroy(self) -> None:
        if self.data:
            self.discard(Place(self.name, data=str(self.data)))


def _major_of(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def _initdb(binaries: Binaries, cluster: Path, password_file: Path) -> list[str]:
    # The builtin locale depends on no C library, whose next version would sort differently; it came with 17.
    locale = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if binaries.major >= 17
        else ["--locale=C.UTF-8"]
    )
    return [
        binaries.program("initdb"),
        f"--pgdata={cluster}",
        f"--username={ROLE}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        *locale,
        "--lc-messages=C",
        "--data-checksums",
        "--no-instructions",
    ]


def _single_user(binaries: Binaries, data: Path) -> list[str]:
    return [binaries.program("postgres"), "--single", "-c", "exit_on_error=on", "-D", str(data), "postgres"]


def _postgres(binaries: Binaries, data: Path, service: ServiceSpec) -> list[str]:
    settings = {
        "listen_addresses": service.host,
        "port": str(service.port),
        # Relative to the data directory: a socket's path may have 107 bytes only, and a project's folder may be deep.
        "unix_socket_directories": ".",
        "log_timezone": "UTC",
        **service.configuration,
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [binaries.program("postgres"), "-D", str(data), *options]


def _run(command: list[str], user: ServiceUser | None, text: str | None = None) -> None:
    """Run one of PostgreSQL's programs to its end, out of reach of the terminal's Ctrl-C."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        start_new_session=True,
        **(user.popen_options() if user else {}),
    )
    with process:
        try:
            said, _ = process.communicate(text)
        except BaseException:
            # initdb has servers of its own at work; all may have ended by themselves just now.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode != 0:
        raise UnhealthyError(f"{Path(command[0]).name} failed", evidence=said.strip(), hint="See its own words above")


def _is_ready(data: Path, process: ProcessRecord) -> bool:
    """What the server says of itself: https://www.postgresql.org/docs/current/storage-file-layout.html"""
    lines = _pid_file(data)
    return len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready"


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []


def _disown_reused_pids(data: Path) -> None:
    """After a reboot the pid in leftover lock files may be anybody's, and PostgreSQL would refuse to start.

    The files stay, since PostgreSQL must still see whether shared memory is in use; only their pid is replaced, and
    only if that process is no PostgreSQL of this data directory. An empty one was left by a crash as it was made.
    """
    files = [path for path in (data / "postmaster.pid", *data.glob(".s.PGSQL.*.lock")) if path.exists()]
    owners = {str(process.pid) for process in _processes_on(data)} if files else set()
    for path in files:
        pid, _, rest = path.read_text().partition("\n")
        if pid not in owners and (pid or not owners):
            with path.open("r+") as file:  # in place: no crash leaves it empty
                file.write(f"{NO_PROCESS}\n{rest}")


def _processes_on(data: Path) -> list[psutil.Process]:
    """Every PostgreSQL process that works on this data directory."""
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] in ("postgres", "postmaster") and process.info["cwd"] == str(data.resolve())
    ]


def _written_since(log: Path, offset: int) -> str:
    """What a log has got since it was `offset` bytes long, or set aside for having been too long."""
    text = log.read_bytes()
    return text[offset if offset <= len(text) else 0 :].decode("utf-8", "replace")


def _remove_unfinished(data: Path) -> None:
    """Remove what a killed initialisation left; its initdb may live on for a moment and write."""
    for leftover in _unfinished(data):
        wait_until(partial(_is_removed, leftover), LAST_GASP)


def _unfinished(data: Path) -> list[Path]:
    return list(data.parent.glob(f".{data.name}.init-*"))


def _is_removed(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()
