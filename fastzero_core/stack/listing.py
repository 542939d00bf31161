"""List the projects of this machine, each with the state of its database."""

from dataclasses import dataclass

from ..errors import NotAllowedError, RecordError, UnavailableError
from ..project import HOST
from ..settings import Settings
from .observed import ServiceState
from .spec import DATABASE_SERVICE
from .stack import RESTING as RESTING
from .stack import Stack


@dataclass(frozen=True)
class ProjectSummary:
    """One project of this machine."""

    project: str
    runtime: str
    state: ServiceState
    address: str
    folder: str


def list_projects(settings: Settings) -> list[ProjectSummary]:
    """Return the projects of this machine with the state of their database."""
    away: set[str] = set()
    return [_summary(stack, away) for stack in Stack.all(settings)]


def _summary(stack: Stack, away: set[str]) -> ProjectSummary:
    """Return one project, with an unknown state if the engine does not answer or the record cannot be read.

    `away` are the machines that did not answer, which are not asked again: it can take long to know.
    """
    runtime, address, state, machine = "", "", ServiceState.UNKNOWN, ""
    try:
        record = stack.project.record
        if record is not None:
            runtime, port = record.runtime, record.ports.get(DATABASE_SERVICE)
            address = f"{HOST}:{port}" if port else ""
            machine = record.host if runtime != "embedded" else ""
        if machine not in away:
            database = next(iter(stack.status()), None)
            state = database.state if database else ServiceState.ABSENT
    except UnavailableError:
        away.update({machine} - {""})
    except (NotAllowedError, RecordError):
        pass
    return ProjectSummary(stack.project.name, runtime, state, address, str(stack.project.folder))
