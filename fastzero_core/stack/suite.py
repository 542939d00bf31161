"""Run an application's test suite in its own environment, on temporary databases.

A local server keeps its data in memory. The application's own migrations create one database, and every process of the
suite gets a copy of it. fastzero does not have to be installed in the application's environment: one file without
dependencies (`suite_plugin.py`) gives a database to each worker of pytest-xdist.
"""

import os
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ..application.description import Application
from ..errors import DependenciesMissingError, InvalidInputError
from ..events import Listener, Notice
from ..postgres.configuration import THROW_AWAY
from ..postgres.sql import quote
from ..postgres.url import url_of
from ..project import DATABASE, Project
from ..settings import Settings, load_settings
from .application import programs_of, refuse_missing, surrounded
from .described import described_in
from .embedded.runtime import EmbeddedRuntime
from .extras import without_program
from .ports import free_port
from .runtime import cannot_run
from .stack import Stack
from .surroundings import Surroundings

MEMORY = Path("/dev/shm")  # noqa: S108 - in a new folder, whose name cannot be guessed
PROJECT = "tests"
PLUGIN = "fastzero_suite"
ROOM = 2**30  # bytes: containers have 64 MiB of memory for files, too little for copies of a database


def run_suite(settings: Settings, command: Sequence[str], *, on_event: Listener) -> int:
    """Run a command that tests the application of this folder, by default that of fastzero.toml. Returns its exit code.

    Raises InvalidInputError if the folder does not describe an application, DependenciesMissingError,
    RevisionFailedError, CommandNotFoundError.
    """
    application = described_in(Path.cwd(), to_run=True)
    if application is None:
        raise InvalidInputError("this folder describes no application", hint="Describe it: fastzero init")
    refuse_missing(application)
    words = list(command) or shlex.split(application.test)
    if words[0] == "pytest" and not Path(programs_of(application), "pytest").exists():
        # one of another environment cannot import the application
        what = f"the environment of the application in {application.folder} has no pytest"
        raise DependenciesMissingError(what, hint="Install it there. Or set another command: fastzero.toml, key test")
    with _server(settings, application, on_event) as stack, closing(Copies(stack.project)) as copies:
        return _run(application, words, stack.project, copies)


def _roomy(memory: Path) -> Path:
    """Return the folder in memory if it has room for databases, else the system's folder for temporary files."""
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM
    return memory if has_room else Path(tempfile.gettempdir())


@contextmanager
def _server(settings: Settings, application: Application, on_event: Listener) -> Iterator[Stack]:
    """Run a stack with the migrated database in memory for one block. Yields the stack.

    Initial data is not added: tests create the rows that they need. Extra services that have a program on this machine
    run as well.
    """
    home = Path(tempfile.mkdtemp(prefix="fastzero-suite-", dir=_roomy(MEMORY)))
    home.chmod(0o711)  # PostgreSQL's own user must be able to enter it
    flags = {"project": PROJECT, "home": home, "runtime": "embedded", "app": False, "timeout": settings.timeout}
    stack = Stack(load_settings(**flags, postgres_settings=THROW_AWAY), on_event=on_event)
    missing = without_program(application, programs_of(application))
    for name in missing:
        on_event(Notice(f"the tests run without {name}: no program on this machine runs it without Docker"))
    try:
        yield stack.up(port=free_port(), after_migrate=False, without=missing)
    finally:
        stack.down(volumes=True)
        shutil.rmtree(home, ignore_errors=True)


def _run(application: Application, words: list[str], project: Project, copies: "Copies") -> int:
    name = copies.make()
    record = project.record
    assert record is not None, "it runs"
    where = Surroundings(record.ports, programs=programs_of(application), database=name, test_database=name)
    given = EmbeddedRuntime(project).environment_of(surrounded(application, where))
    program = shutil.which(words[0], path=given["PATH"])
    if program is None:
        raise cannot_run(words[0], found=False)
    with tempfile.TemporaryDirectory(prefix="fastzero-suite-") as folder:
        shutil.copy(Path(__file__).with_name("suite_plugin.py"), Path(folder) / f"{PLUGIN}.py")
        address = Path(folder) / "socket"
        with _answering(address, copies):
            environment = {**given, **_additions(given, name, folder, address)}
            with subprocess.Popen([program, *words[1:]], env=environment, cwd=application.root) as process:
                return _ended(process)


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the process. Returns its exit code. Ctrl-C also reaches the process, which decides what to do."""
    while True:
        with suppress(KeyboardInterrupt):
            return process.wait()


def _additions(given: Mapping[str, str], database: str, folder: str, address: Path) -> dict[str, str]:
    """Return the variables that the suite gets in addition to the application's."""
    return {
        "PYTHONPATH": os.pathsep.join([folder, given["PYTHONPATH"]]),
        "PYTEST_ADDOPTS": f"{given.get('PYTEST_ADDOPTS', '')} -p {PLUGIN}".strip(),
        "FASTZERO_SUITE_SOCKET": str(address),
        "FASTZERO_SUITE_DATABASE": database,
        "FASTZERO_SUITE_VARIABLES": ",".join(name for name, value in given.items() if database in value),
    }


class Copies:
    """Creates databases: copies of the migrated one, or empty ones."""

    def __init__(self, project: Project) -> None:
        import psycopg

        self._connection = psycopg.connect(url_of(project.database_url(), "postgres"), autocommit=True)
        self._lock = threading.Lock()

    def make(self, kind: str = "copy") -> str:
        """Create a database, a `copy` or an `empty` one. Returns its name."""
        name = f"suite_{secrets.token_hex(8)}"
        template = "template0" if kind == "empty" else DATABASE
        with self._lock:
            self._connection.execute(f"CREATE DATABASE {quote(name)} TEMPLATE {quote(template)}".encode())
        return name

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _answering(address: Path, copies: Copies) -> Iterator[None]:
    """Create a database for each process of the suite that requests one, for one block."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen()
        threading.Thread(target=_answer_all, args=(server, copies), daemon=True).start()
        yield


def _answer_all(server: socket.socket, copies: Copies) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return  # the suite has ended
        with connection, connection.makefile("rw") as stream:
            try:
                stream.write(f"{copies.make(stream.readline().strip())}\n")
            except Exception as error:
                stream.write(f"!{error}\n")
            stream.flush()
