"""A database to take care of: how it is reached, which programs fit it, where its backups go."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..database import parse_url
from ..stack.project import Project, project_of
from .programs import Programs, find_programs

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


@dataclass(frozen=True)
class Progress:
    """How far a command is. `total` is None where it is not known; both are counted in `unit`, bytes or rows.

    A `notice` is a word to the person, and no step.
    """

    step: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""
    notice: str = ""


Listener = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """For those who do not want to hear of it."""


def backups_folder(project: Project) -> Path:
    """Where a project's backups are: beside its state, since they outlive it."""
    return project.home / "backups" / project.name


def target_of(settings: "Settings") -> Target:
    """The database that the settings name. Raises ProjectNotFoundError before the first `up`."""
    project = project_of(settings)
    if settings.database_url is not None:
        return Target.of_url(settings.database_url.get_secret_value(), backups_folder(project))
    return target_of_project(project)


def target_of_project(project: Project) -> Target:
    """The database of a project's stack. Raises ProjectNotFoundError before the first `up`."""
    target = Target.of_url(project.database_url(), backups_folder(project))
    record = project.record
    if record is not None and record.runtime == "docker":
        from .container import container_programs

        return Target(target.url, target.folder, partial(container_programs, project))
    return target
