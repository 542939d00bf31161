"""The pytest plugin of `fastzero test`. It runs in the application's environment, without fastzero, on older Pythons.

Each worker of pytest-xdist gets its own database. A suite that starts PostgreSQL with testcontainers gets an empty
database of fastzero instead of a container, unless FASTZERO_SUITE_CONTAINERS is set.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import socket
import sys
from typing import Any


def _database(kind: str) -> str:
    """Request a new database, a `copy` of the migrated one or an `empty` one. Returns its name."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["FASTZERO_SUITE_SOCKET"])
        connection.sendall(kind.encode() + b"\n")
        answer = connection.makefile().readline().strip()
    if answer.startswith("!"):
        raise RuntimeError(answer[1:])
    return answer


def _take_a_database_of_its_own() -> None:
    shared = os.environ["FASTZERO_SUITE_DATABASE"]
    own = _database("copy")
    for name in os.environ["FASTZERO_SUITE_VARIABLES"].split(","):
        os.environ[name] = os.environ[name].replace(shared, own)
    os.environ["FASTZERO_SUITE_DATABASE"] = own


class _Container:
    """Replaces testcontainers' PostgresContainer by a database of fastzero."""

    def __init__(self, image: str = "", port: int = 5432, *_: Any, driver: str | None = "psycopg2", **__: Any) -> None:
        self.port = port
        self.driver = driver
        self.username, self.password = os.environ["PGUSER"], os.environ["PGPASSWORD"]
        self.dbname = ""

    def start(self) -> _Container:
        self.dbname = self.dbname or _database("empty")
        return self

    def stop(self, *_: Any, **__: Any) -> None:
        """Do nothing: the server ends with the suite."""

    def __enter__(self) -> _Container:
        return self.start()

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("with_"):
            return lambda *_, **__: self
        raise AttributeError(
            f"fastzero's PostgresContainer has no {name}; for real containers set FASTZERO_SUITE_CONTAINERS=1"
        )

    def get_container_host_ip(self) -> str:
        return os.environ["PGHOST"]

    def get_exposed_port(self, port: int | None = None) -> int:
        return int(os.environ["PGPORT"])

    def get_connection_url(self, host: str | None = None, driver: str | None = "") -> str:
        chosen = self.driver if driver == "" else driver
        scheme = f"postgresql+{chosen}" if chosen else "postgresql"
        login = f"{self.username}:{self.password}"
        return f"{scheme}://{login}@{self.get_container_host_ip()}:{self.get_exposed_port()}/{self.dbname}"


# The modules of PostgresContainer in older and newer versions of testcontainers.
_MODULES = {"testcontainers.postgres", "testcontainers.community.postgres"}


class _Finder(importlib.abc.MetaPathFinder):
    """Replaces PostgresContainer in testcontainers' modules when a suite imports them."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname not in _MODULES:
            return None
        _MODULES.remove(fullname)  # otherwise the next line would call this method again
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            module.PostgresContainer = _Container

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if os.environ.get("FASTZERO_SUITE_SOCKET"):
    if os.environ.get("PYTEST_XDIST_WORKER"):
        _take_a_database_of_its_own()
    if not os.environ.get("FASTZERO_SUITE_CONTAINERS"):
        sys.meta_path.insert(0, _Finder())
