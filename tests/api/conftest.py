"""The app, served: in this process for what it answers, as a command for how it lives.

- `api`: a Client of one app over one database, shared by all tests of a process: each makes users of its own.
- `ana`, `bob`: Accounts of that app, logged in, new for each test.
- `serve_app`: serves an app over another database, or with other settings.
- `fastzero_serve`: `fastzero serve`, a process of its own.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import pytest
import uvicorn

from fastzero_core import load_settings
from fastzero_core.polling import wait_until
from fastzero_core.testing import Databases
from fastzero_core.todo_app.api.app import create_app
from fastzero_core.todo_app.api.connection import Connection
from tests import forked
from tests.ports import any_free_port

from .client import PATIENCE, Account, Answer, Client, answers, get

__all__ = ["Account", "Answer", "Client", "answers", "get"]

SECRET_KEY = "the key of the tests, which is long enough"
CHEAP_HASHES = {"FASTZERO_ARGON2_TIME": "2", "FASTZERO_ARGON2_MEMORY": "19456", "FASTZERO_ARGON2_PARALLELISM": "1"}


@pytest.fixture(scope="session")
def api(fastzero_databases: Databases) -> Iterator[Client]:
    with fastzero_databases.temporary() as url, served(url) as client:
        yield client


@pytest.fixture
def ana(api: Client) -> Account:
    return api.sign_up()


@pytest.fixture
def bob(api: Client) -> Account:
    return api.sign_up()


ServeApp = Callable[..., Client]


@pytest.fixture
def serve_app() -> Iterator[ServeApp]:
    """Serves an app over a database, with the settings given."""
    with ExitStack() as stack:
        yield lambda url, **settings: stack.enter_context(served(url, **settings))


@contextmanager
def served(url: str, **settings: Any) -> Iterator[Client]:
    app = create_app(load_settings(**{"database_url": url, "secret_key": SECRET_KEY, **settings}))
    config = uvicorn.Config(
        app, http=Connection, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert wait_until(lambda: server.started, PATIENCE)
        (listening,) = server.servers
        yield Client(listening.sockets[0].getsockname()[1], app, listening.get_loop())
    finally:
        server.should_exit = True
        thread.join()


class Served:
    """`fastzero serve` as a process of its own, at the head of a group as under a shell."""

    def __init__(self, folder: Path, port: int, *options: str, url: str, **variables: str) -> None:
        self.port = port
        self._log = folder / f"serve-{port}.log"
        with self._log.open("wb") as log:
            self.process = forked.Popen(
                [sys.executable, "-m", "fastzero_cli", "serve", "--port", str(port), *options],
                env={"SECRET_KEY": SECRET_KEY, **CHEAP_HASHES, **os.environ, "DATABASE_URL": url, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until_it_answers(self) -> Self:
        assert wait_until(lambda: answers(self.port) or self.process.poll() is not None, PATIENCE)
        assert self.process.poll() is None, self.log
        return self

    def kill(self) -> None:
        """End it with all that it has started."""
        for process in _group(self.process.pid):
            process.kill()
        self.process.wait()
        assert wait_until(lambda: not _group(self.process.pid), PATIENCE)

    def workers(self) -> list[psutil.Process]:
        """Those that serve; multiprocessing has a helper of its own beside them."""
        children = psutil.Process(self.process.pid).children()
        return [each for each in children if not _is_zombie(each) and "spawn_main" in " ".join(each.cmdline())]


FastzeroServe = Callable[..., Served]


@pytest.fixture
def fastzero_serve(folder: Path) -> Iterator[FastzeroServe]:
    """Starts `fastzero serve` with these options; nothing of it is left after the test."""
    started: list[Served] = []

    def start(*options: str, url: str, port: int | None = None) -> Served:
        served = Served(folder, port or any_free_port(), *options, url=url)
        started.append(served)
        return served

    yield start
    for served in started:
        served.kill()


def _group(leader: int) -> list[psutil.Process]:
    return [each for each in psutil.process_iter() if _session(each.pid) == leader and not _is_zombie(each)]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def schema_lock(database_url: str) -> Iterator[psycopg.Connection]:
    """Keeps everybody from reading the schema's revision until it is released: `/readyz` waits for so long."""
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE alembic_version")
        yield connection


def is_waiting(connection: psycopg.Connection) -> bool:
    """Whether somebody waits for a lock in this connection's database."""
    # Not pg_stat_activity, which a transaction sees as it was when it first looked.
    query = """
        SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE datname = current_database() AND NOT granted
    """
    row = connection.execute(query).fetchone()
    return bool(row and row[0])
