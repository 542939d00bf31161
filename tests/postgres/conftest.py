"""Data directories and servers on them, of this machine's own PostgreSQL.

`cluster` is initialised once and stays as it is; `data` is a copy for one test; `serve` starts servers that end with
the test.
"""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastzero_core.polling import wait_until
from fastzero_core.postgres import server
from fastzero_core.postgres.account import ServiceUser, service_user
from fastzero_core.postgres.binaries import Binaries, find_binaries
from fastzero_core.postgres.cluster import initialise
from fastzero_core.postgres.sql import quote
from fastzero_core.postgres.url import database_url
from fastzero_core.testing import session_folder

NAME = "a b'c\"d%=é"
PASSWORD = "it's $ecret\\"
QUICK = {"fsync": "off", "shared_buffers": "16MB", "autovacuum": "off"}

Serve = Callable[[Path], "Served"]


class Served:
    """A server on a data directory, at its socket in there."""

    def __init__(self, data: Path, user: ServiceUser | None) -> None:
        options: dict[str, Any] = user.popen_options() if user else {}
        self.data = data
        self.process = subprocess.Popen(
            server.command(find_binaries(), data, "", 5432, QUICK),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **options,
        )
        assert wait_until(lambda: server.is_ready(data, self.process.pid), 20)

    def url(self, database: str = NAME, password: str = PASSWORD, role: str = "ana") -> str:
        return database_url(role, password, str(self.data), 5432, database)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def kill(self) -> None:
        """Kill every process of it, as a system without memory would."""
        for process in server.processes_on(self.data):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        assert wait_until(lambda: not server.processes_on(self.data), 10)


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    return find_binaries()


@pytest.fixture(scope="session")
def account() -> ServiceUser | None:
    return service_user()


@pytest.fixture(scope="session")
def cluster(binaries: Binaries, account: ServiceUser | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=session_folder()))
    folder.chmod(0o755)
    statements = [f"CREATE DATABASE {quote(NAME)}"]
    initialise(folder / "data", binaries, account, superuser="ana", password=PASSWORD, statements=statements)
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def data(cluster: Path, folder: Path) -> Path:
    subprocess.run(["cp", "-a", str(cluster), str(folder / "data")], check=True)
    return folder / "data"


@pytest.fixture
def serve(account: ServiceUser | None) -> Iterator[Serve]:
    started: list[Served] = []

    def start(data: Path) -> Served:
        started.append(Served(data, account))
        return started[-1]

    yield start
    for each in started:
        each.stop()
