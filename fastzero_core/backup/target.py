"""A database to back up or restore: where it is, the programs that fit it, the folder of its backups.

Backups of a project's own database are in <home>/backups/<project>. Those of any other are in a folder of the database:
<home>/backups/<host>-<port>-<database>.<hash>; the dot keeps it apart from every project's.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..postgres.database import parse_url
from ..postgres.programs import Programs, find_programs
from ..project import Project

LOCAL = ("localhost", "::1")
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
    """`programs` finds PostgreSQL's programs for a server of some major version; `folder` holds the backups."""

    url: str
    folder: Path
    programs: Callable[[int], Programs]

    @property
    def database(self) -> str:
        """The database's name."""
        parsed = parse_url(self.url)
        return parsed.database or parsed.username or ""

    @classmethod
    def of_url(cls, url: str, folder: Path) -> "Target":
        """Make the target of any database, with the programs of this machine."""
        return cls(url, folder, partial(find_programs, url))


def address_of(url: str) -> Address:
    """Return where a URL leads, with libpq's defaults for what it leaves out; all names of this machine are one."""
    parsed = parse_url(url)
    host = parsed.host or _first(parsed.query.get("host")) or os.environ.get("PGHOST", "localhost")
    port = parsed.port or _first(parsed.query.get("port")) or os.environ.get("PGPORT", "5432")
    database = parsed.database or os.environ.get("PGDATABASE") or user_of(url)
    return Address("127.0.0.1" if host.lower() in LOCAL else host.lower(), str(port), database)


def user_of(url: str) -> str:
    """Return the role that a URL logs in as."""
    parsed = parse_url(url)
    return parsed.username or _first(parsed.query.get("user")) or os.environ.get("PGUSER", "")


def backups_of_project(project: Project) -> Path:
    """Return where a project's backups are: beside its state, since they outlive it."""
    return project.home / "backups" / project.name


def backups_of_url(home: Path, url: str) -> Path:
    """Return where the backups of a database are that a URL names."""
    parts = astuple(address_of(url))
    readable = "-".join(re.sub(r"[^A-Za-z0-9_-]", "_", part)[:PART_MAX] for part in parts)
    return home / "backups" / f"{readable}.{hashlib.sha256(repr(parts).encode()).hexdigest()[:8]}"


def service_target(project: Project, runtime: str, service: str, url: str) -> Target:
    """Return the target of a service. Only for the move of a stack, until it is handed its targets from above."""
    from ..care.stack import target_of_service

    return target_of_service(project, runtime, service, url)


def _first(value: Any) -> str:
    """Return a parameter of a URL, which may be given several times."""
    return str(value[0] if isinstance(value, tuple) and value else value or "")
