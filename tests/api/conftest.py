"""The app, served: `serve_app` in this process for what it answers, `fastzero_serve` as a command for how it lives."""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import pytest
import uvicorn

from fastzero_core import load_settings
from fastzero_core.api.app import create_app
from fastzero_core.stack.process import wait_until

PATIENCE = 30  # seconds until a server that hangs is given up


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def get(port: int, path: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read().decode("utf-8", "replace"))
    finally:
        connection.close()


def answers(port: int, path: str = "/healthz") -> bool:
    try:
        return get(port, path).status == 200
    except (OSError, http.client.HTTPException):
        return False


ServeApp = Callable[[str], int]


@pytest.fixture
def serve_app() -> Iterator[ServeApp]:
    """Serves the app over a database; returns the port."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(_served(url))


@contextmanager
def _served(url: str) -> Iterator[int]:
    app = create_app(load_settings(database_url=url))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert wait_until(lambda: server.started, PATIENCE)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


class Served:
    """`fastzero serve` as a process of its own, at the head of a group as under a shell."""

    def __init__(self, folder: Path, port: int, *options: str, url: str) -> None:
        self.port = port
        self._log = folder / f"serve-{port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fastzero_cli", "serve", "--port", str(port), *options],
                env={**os.environ, "DATABASE_URL": url},
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
        served = Served(folder, port or free_port(), *options, url=url)
        started.append(served)
        return served

    yield start
    for served in started:
        for process in _group(served.process.pid):
            process.kill()
        served.process.wait()
        assert wait_until(lambda served=served: not _group(served.process.pid), 10)


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


def free_port() -> int:
    from tests.stack.conftest import any_free_port

    return any_free_port()


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
