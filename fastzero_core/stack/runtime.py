"""The interface of a runtime: single operations on single things. A runtime decides nothing."""

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

MOVING = "database-moving"  # the service of a database that is being moved to another place
PASSAGE = "gateway-moving"  # the gateway of a database that is being moved within a swarm
RELEASE = "release"  # the service that runs the migration commands of a user's application
LOW_DISK = 500 * 2**20  # bytes; PostgreSQL keeps up to a gigabyte of write-ahead log


@dataclass(frozen=True)
class Finding:
    """The result of one check of `fastzero doctor`.

    `result` is ok, fixed, warning or failed. A warning does not prevent anything yet.
    """

    code: str
    result: str
    found: str
    remedy: str = ""


def disk_finding(code: str, place: Path, remedy: str) -> Finding:
    """Return whether the disk has enough free space for PostgreSQL."""
    free = shutil.disk_usage(place).free
    found = f"{free / 2**30:.1f} GiB free at {place}"
    return Finding(code, "ok", found) if free > LOW_DISK else Finding(code, "failed", found, remedy)


def weak_finding(code: str, weak: folders.Weakness) -> Finding:
    """Return the finding for a folder that another user can change. It fails for root, which refuses to use it."""
    found = f"{weak.folder} can be changed by {weak.who}"
    result = "failed" if os.geteuid() == 0 else "warning"
    return Finding(code, result, found, "Set FASTZERO_HOME to a folder that only you can change")


def cannot_run(program: str, *, found: bool) -> FastZeroError:
    """Return the error for a command that could not be started; `found` says whether its program exists."""
    if found:
        return CommandNotExecutableError(f"command {program!r} cannot be executed")
    return CommandNotFoundError(f"command {program!r} not found")


def there_stays(volume: str, where: str, how: str = "stays") -> str:
    """Return what to tell about a volume that is `where` no engine is used."""
    return f"volume {volume} {where} {how}: no engine of its node is used. There: docker volume rm {volume}"


class Runtime(Protocol):
    """Runs a project's services."""

    name: str

    def completed(self, spec: StackSpec) -> StackSpec:
        """Return the specification, each service with the document that it is created from."""

    def observe(self, spec: StackSpec, record: ProjectRecord, *, is_known: bool = True) -> Observed:
        """Return the state of every service of the spec, without what only the service can answer. Changes nothing.

        `is_known` says that the project had a record before this command.
        """

    def perform(self, action: Action, *, timeout: float, on_event: Listener) -> None:
        """Perform one action.

        Raises PortTakenError, UnhealthyError, VersionMismatchError, ImageError, ConflictError.
        """

    def is_alive(self, service: str) -> bool:
        """Return whether the service still runs, or is still being started."""

    def evidence(self, service: str) -> str:
        """Return the state and the last log lines of a failed service."""

    def failed_check(self, service: ServiceSpec) -> str:
        """Run the health check of an extra service. Returns why it fails, "" if it succeeds."""

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        """Yield the lines of the services' logs."""

    def execute(self, service: ServiceSpec, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command where the service runs, with this process's streams. Returns its exit code.

        Raises UnhealthyError if the service does not run, CommandNotFoundError, CommandNotExecutableError.
        """

    def run(self, spec: StackSpec, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command with the application's environment, and with this process's streams. Returns its exit code.

        Raises UnhealthyError if what it needs does not run, and otherwise as `execute` does.
        """

    def run_once(self, service: ServiceSpec, command: Sequence[str]) -> tuple[int, str]:
        """Run a command to its end as a separate process, in the place and environment of the service.

        Returns its exit code and its output. If fastzero is killed, `observe` reports what it left as leftovers.
        """

    def new_place(self, image: str) -> Place:
        """Return a new place for a database. Creates nothing yet."""

    def remains(self, place: Place) -> list[Thing]:
        """Return what exists at a place that the project's database is not at: data, and what serves it.

        Raises ForeignStackError if it belongs to another home.
        """

    def serving(self) -> list[Thing]:
        """Return what the project has here to serve its database. It is not needed once the database runs elsewhere."""

    def extra_data(self) -> list[Thing]:
        """Return what extra services keep their data in, outside the project's folder. Raises ForeignStackError."""

    def extensions(self) -> frozenset[str] | None:
        """Return the extensions that its database can create, None if only the server knows."""

    def estate(self) -> Estate:
        """Return what has the project's name here, whichever home it belongs to. Changes nothing."""

    def examine(self, spec: StackSpec, record: ProjectRecord) -> Iterator[Finding]:
        """Yield findings about this runtime and the project's data in it. Changes nothing."""
