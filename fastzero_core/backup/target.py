"""Describe a database to back up or restore: its URL, the programs that fit its server, the folder of its backups.

Backups of a project's database are in <home>/backups/<project>. Backups of any other database are in
<home>/backups/<host>-<port>-<database>.<hash>; the name of a project cannot contain a dot.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import folders
from ..postgres.programs import Programs, find_programs
from ..postgres.url import LOOPBACK, hosts, parse
from ..project import Project
from ..schema.revisions import VERSION_TABLE

if TYPE_CHECKING:
    from ..schema.interface import Schema

PART_MAX = 60  # characters of a host or a database in a folder's name


@dataclass(frozen=True)
class Address:
    """The host, port and name of a database; several hosts and ports are separated by commas."""

    host: str
    port: str
    database: str

    def __str__(self) -> str:
        pairs = zip(self.host.split(","), self.port.split(","), strict=True)
        return ",".join(f"{host}:{port}" for host, port in pairs)


@dataclass(frozen=True)
class Target:
    """A database to back up or restore. `programs` finds the client programs for a major version of the server.

    `folder` contains the backups. `superuser_url` is the URL of the same database for the server's superuser, None if
    only the role of `url` is known. With `app_is_admitted` the app has its own role, which needs access to the rows of
    a restored database. `schema` is that of the user's own application, None for the built-in one; `version_table` is
    the table with its revision.
    """

    url: str
    folder: Path
    programs: Callable[[int], Programs]
    superuser_url: str | None = None
    app_is_admitted: bool = False
    schema: "Schema | None" = None
    version_table: str = VERSION_TABLE

    @property
    def server_url(self) -> str:
        """The URL to create, rename and drop databases of the server with."""
        return self.superuser_url or self.url

    @property
    def database(self) -> str:
        """The name of the database."""
        return address_of(self.url).database

    @classmethod
    def of_url(cls, url: str, folder: Path, *, superuser_url: str | None = None) -> "Target":
        """Return the target for any database, with the programs of this machine."""
        return cls(url, folder, partial(find_programs, url), superuser_url)


def address_of(url: str) -> Address:
    """Return the address in a URL; loopback names become 127.0.0.1, hosts are sorted. Raises InvalidInputError."""
    options = parse(url)
    where = sorted(("127.0.0.1" if host in LOOPBACK else host.lower(), port) for host, port in hosts(options))
    database = options.get("dbname") or options.get("user", "")
    return Address(",".join(host for host, _ in where), ",".join(port for _, port in where), database)


def backups_of_project(project: Project) -> Path:
    """Return the folder of a project's backups: not in the project's own folder, since backups outlive the project."""
    folders.refuse_weak(project.home)
    return project.home / "backups" / project.name


def backups_of_url(home: Path, url: str) -> Path:
    """Return the folder for the backups of the database in a URL."""
    folders.refuse_weak(home)
    parts = astuple(address_of(url))
    readable = "-".join(re.sub(r"[^A-Za-z0-9_-]", "_", part)[:PART_MAX] for part in parts)
    return home / "backups" / f"{readable}.{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"
