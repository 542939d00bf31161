"""A database to back up or restore: where it is, the programs that fit it, the folder of its backups.

Backups of a project's own database are in <home>/backups/<project>. Those of any other are in a folder of the database:
<home>/backups/<host>-<port>-<database>.<hash>; the dot keeps it apart from every project's.
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
from ..postgres.url import DEFAULT_PORT, LOOPBACK, parse
from ..project import Project
from ..schema.revisions import VERSION_TABLE

if TYPE_CHECKING:
    from ..schema.interface import Schema

PART_MAX = 60  # characters of a host or a database in a folder's name


@dataclass(frozen=True)
class Address:
    """Where a database is, by the parts of its URL that name it."""

    host: str
    port: str
    database: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Target:
    """`programs` finds PostgreSQL's programs for a server of some major version; `folder` holds the backups.

    `superuser_url` is the same database for the server's superuser; None where only the URL's own role is known.
    `app_is_admitted` says that the app has a role of its own, which must be able to use the rows of what is restored.
    `schema` is that of an application of the user's own, None where it is the built-in one's; `version_table` is where
    its revision is written.
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
        """The URL by which the server's databases are made, renamed and dropped."""
        return self.superuser_url or self.url

    @property
    def database(self) -> str:
        """The database's name."""
        return address_of(self.url).database

    @classmethod
    def of_url(cls, url: str, folder: Path, *, superuser_url: str | None = None) -> "Target":
        """Make the target of any database, with the programs of this machine."""
        return cls(url, folder, partial(find_programs, url), superuser_url)


def address_of(url: str) -> Address:
    """Return where a URL leads; all names of this machine are one. Raises InvalidInputError."""
    options = parse(url)
    host = options.get("host", "localhost").lower()
    database = options.get("dbname") or options.get("user", "")
    return Address("127.0.0.1" if host in LOOPBACK else host, options.get("port", DEFAULT_PORT), database)


def backups_of_project(project: Project) -> Path:
    """Return where a project's backups are: beside its state, since they outlive it."""
    folders.refuse_weak(project.home)
    return project.home / "backups" / project.name


def backups_of_url(home: Path, url: str) -> Path:
    """Return where the backups of a database are that a URL names."""
    folders.refuse_weak(home)
    parts = astuple(address_of(url))
    readable = "-".join(re.sub(r"[^A-Za-z0-9_-]", "_", part)[:PART_MAX] for part in parts)
    return home / "backups" / f"{readable}.{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"
