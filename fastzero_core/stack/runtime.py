"""What a runtime must do: single operations on single things, which somebody else has decided on."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from .. import folders
from ..errors import CommandNotExecutableError, CommandNotFoundError, FastZeroError
from ..events import Listener
from ..project import Place, ProjectRecord
from .actions import Action
from .lines import LogLine
from .observed import Estate, Observed, Thing
from .spec import ServiceSpec, StackSpec

MOVING = "database-moving"  # what serves a database that is being moved to another place
RELEASE = "release"  # what brings the schema of an application of the user's own to head
LOW_DISK = 500 * 2**20  # bytes; PostgreSQL keeps up to a gigabyte of write-ahead log


@dataclass(frozen=True)
class Finding:
    """One check of `fastzero doctor`. `result` is ok, fixed, warning or failed; a warning stops nothing yet."""

    code: str
    result: str
    found: str
    remedy: str = ""


def disk_finding(code: str, place: Path, remedy: str) -> Finding:
    """Whether there is room for what PostgreSQL writes."""
    free = shutil.disk_usage(place).free
    found = f"{free / 2**30:.1f} GiB free at {place}"
    return Finding(code, "ok", found) if free > LOW_DISK else Finding(code, "failed", found, remedy)


def weak_finding(code: str, weak: folders.Weakness) -> Finding:
    """What there is to say of a folder that another user can change: root refuses to work below it."""
    found = f"{weak.folder} can be changed by {weak.who}"
    result = "failed" if os.geteuid() == 0 else "warning"
    return Finding(code, result, found, "Set FASTZERO_HOME to a folder that only you can change")


def cannot_run(program: str, *, found: bool) -> FastZeroError:
    """Return the error of a command that could not be started."""
    if found:
        return CommandNotExecutableError(f"command {program!r} cannot be executed")
    return CommandNotFoundError(f"command {program!r} not found")


class Runtime(Protocol):
    """Where a project's services run."""

    name: str

    def completed(self, spec: StackSpec) -> StackSpec:
        """The specification, each service with the document that it is made from."""

    def observe(self, spec: StackSpec, record: ProjectRecord, *, is_known: bool = True) -> Observed:
        """Every service of the spec as it is now, but for what only it can tell. Changes nothing.

        `is_known` says that the project had a record before this command.
        """

    def perform(self, action: Action, *, timeout: float, on_event: Listener) -> None:
        """Do one action. Raises PortTakenError, UnhealthyError, VersionMismatchError, ImageError, ConflictError."""

    def is_alive(self, service: str) -> bool:
        """Whether there is still something to wait for."""

    def evidence(self, service: str) -> str:
        """What a failed service left behind: its state and last log lines."""

    def failed_check(self, service: ServiceSpec) -> str:
        """Why the check of an extra service's own fails; empty where it succeeds."""

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        """The services' logs, line by line."""

    def execute(self, service: ServiceSpec, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command where the service runs, with this process's streams. Returns its exit code.

        Raises UnhealthyError if the service does not run, CommandNotFoundError, CommandNotExecutableError.
        """

    def run(self, spec: StackSpec, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command with what the application finds in its environment, and with this process's streams.

        Returns its exit code. Raises UnhealthyError where it needs something that does not run, and as `execute` does.
        """

    def run_once(self, service: ServiceSpec, command: Sequence[str]) -> tuple[int, str]:
        """Run a command to its end as a process of its own, where and with what the service would run.

        Returns its exit code and all that it said. What a killed command leaves of it is observed as left over.
        """

    def new_place(self, image: str) -> Place:
        """A place that no database has been at. Nothing is made yet."""

    def remains(self, place: Place) -> list[Thing]:
        """What there is of a place where the project's database is not: its data, and what serves it.

        Raises ForeignStackError where that belongs to another home.
        """

    def serving(self) -> list[Thing]:
        """What the project has here to serve its database with: of use to nobody once it runs elsewhere."""

    def extra_data(self) -> list[Thing]:
        """What extra services have their data in, outside of the project's folder. Raises ForeignStackError."""

    def extensions(self) -> frozenset[str] | None:
        """The extensions that its database can create, None where only the server knows."""

    def estate(self) -> Estate:
        """What bears the project's name here, whichever home it belongs to. Changes nothing."""

    def examine(self, spec: StackSpec, record: ProjectRecord) -> Iterator[Finding]:
        """What there is to know of this runtime before it works. Changes nothing."""
