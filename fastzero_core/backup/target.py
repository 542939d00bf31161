"""A database to take care of: how it is reached, which programs fit it, where its backups go."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..postgres.database import parse_url
from ..postgres.programs import Programs, find_programs
from ..project import Project, database_url, project_of
from ..stack.spec import DATABASE_SERVICE

if TYPE_CHECKING:
    from ..settings import Settings


@dataclass(frozen=True)
class Target:
    """`programs` finds PostgreSQL's programs for a server of some major version; `folder` is where backups go."""

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
        """Any database, with the programs of this machine."""
        return cls(url, folder, partial(find_programs, url))


def backups_folder(project: Project) -> Path:
    """Where a project's backups are: beside its state, since they outlive it."""
    return project.home / "backups" / project.name


def target_of(settings: "Settings") -> Target:
    """The database that the settings name. Raises ProjectNotFoundError before the first `up`."""
    project = project_of(settings)
    record = project.record
    if settings.database_url is None and record is not None:
        return service_target(project, record.runtime, DATABASE_SERVICE, project.database_url())
    return Target.of_url(database_url(settings), backups_folder(project))


def service_target(project: Project, runtime: str, service: str, url: str) -> Target:
    """The database of a project's service, with the programs of the runtime that has it."""
    if runtime == "docker":
        from .container import container_programs

        return Target(url, backups_folder(project), partial(container_programs, project, service))
    return Target.of_url(url, backups_folder(project))
