"""What a runtime must do. `Stack` knows no more of it than this."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ..events import Listener
from ..project import Place
from .embedded.process import LogLine
from .plan import Action, Observed
from .spec import ServiceSpec, StackSpec

NEW_DATABASE = "database-moving"  # what serves a database that is being moved to another place
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


class Runtime(Protocol):
    """Where a project's services run."""

    name: str
    unfinished: bool
    """Whether the data that was started on may come from an initialisation that never ended."""

    def observe(self, spec: StackSpec) -> Observed:
        """Every service of the spec as it is now, but for the schema. Changes nothing."""

    def apply(self, action: Action, spec: StackSpec, *, timeout: float, on_event: Listener) -> None:
        """Do one action. Raises PortTakenError, UnhealthyError, VersionMismatchError, ImageError."""

    def settle(self) -> None:
        """All actions went well: let go of what was kept to go back to."""

    def roll_back(self, action: Action, spec: StackSpec) -> None:
        """Undo one action of a run that failed, as far as nothing that was there before is touched."""

    def finish_down(self) -> None:
        """Remove what is left once no service runs."""

    def is_alive(self, service: str) -> bool:
        """Whether there is still something to wait for."""

    def evidence(self, service: str) -> str:
        """What a failed service left behind: its state and last log lines."""

    def logs(
        self, services: Sequence[str], *, tail: int | None, follow: bool, since: datetime | None
    ) -> Iterator[LogLine]:
        """The services' logs, line by line."""

    def execute(self, service: str, command: Sequence[str], *, interactive: bool) -> int:
        """Run a command where the service runs, with this process's streams. Returns its exit code."""

    def repair_password(self) -> None:
        """Give the running database's role the password that the project has; it may be stopped afterwards."""

    def new_place(self, image: str) -> Place:
        """A place that no database has been at. Nothing is made yet."""

    def open_place(self, place: Place, service: ServiceSpec, timeout: float) -> None:
        """Make an empty database there, and begin to serve it beside the project's own, as NEW_DATABASE."""

    def close_place(self) -> None:
        """End in good order what `open_place` began to serve; the data stays."""

    def discard(self, place: Place) -> None:
        """Destroy the data at a place where the project's own is not, with what serves it; what is there of them."""

    def examine(self, spec: StackSpec) -> Iterator[Finding]:
        """What there is to know of this runtime before it works. Changes nothing."""
