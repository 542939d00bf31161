"""Start the supervisor of a local process, and read the state that it writes."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ...errors import InvalidInputError
from ...files import read_text
from ..observed import ObservedService, ServiceState
from ..spec import ServiceSpec
from .identity import look_at

PROGRAM = Path(__file__).with_name("supervisor.py")


@dataclass(frozen=True)
class Supervised:
    """The state of a process that its supervisor writes.

    `pid` is 0 while the process does not run; `ended` is how it last ended, "" if it never ended.
    """

    pid: int = 0
    restarts: int = 0
    ended: str = ""

    @property
    def detail(self) -> str:
        """How it last ended and how often it was restarted, "" if it never ended."""
        if not self.ended:
            return ""
        times = f"{self.restarts} time{'' if self.restarts == 1 else 's'}"
        again = f", and was started again {times}" if self.restarts else ""
        return f"it ended with {self.ended}{again}"


def is_supervised(service: ServiceSpec) -> bool:
    """Return whether a local process is restarted when it ends. The database and the built-in application are not."""
    return bool(service.programs or service.is_extra) and service.restart != "no"


def supervised(service: ServiceSpec, command: Sequence[str], state: Path) -> list[str]:
    """Return the command that runs another one under a supervisor."""
    return [sys.executable, "-IS", str(PROGRAM), str(state), service.restart, str(service.retries), *command]


def observed_by(supervised: Supervised | None, running: ObservedService) -> ObservedService:
    """Return the state of a supervised process, given that its supervisor runs."""
    if supervised is None:
        return running
    seen = look_at(supervised.pid) if supervised.pid else None
    if seen is None:
        return replace(running, state=ServiceState.UNHEALTHY, pid=None, detail=supervised.detail)
    began = datetime.fromtimestamp(seen.created, UTC)
    return replace(running, pid=supervised.pid, started_at=began, detail=supervised.detail)


def read_state(path: Path) -> Supervised | None:
    """Return the state that a supervisor wrote, None if it does not exist or cannot be read."""
    try:
        told = json.loads(read_text(path, own=True))
        return Supervised(int(told["pid"]), int(told["restarts"]), str(told["ended"]))
    except (FileNotFoundError, InvalidInputError, ValueError, TypeError, KeyError):
        return None
