"""What a supervisor says of the process that it runs, and how one is started."""

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
    """A process as its supervisor knows it: `pid` is 0 while it rests, `ended` how it ended last, "" if never."""

    pid: int = 0
    restarts: int = 0
    ended: str = ""

    @property
    def detail(self) -> str:
        """What there is to say of it; empty for one that never ended."""
        if not self.ended:
            return ""
        times = f"{self.restarts} time{'' if self.restarts == 1 else 's'}"
        again = f", and was started again {times}" if self.restarts else ""
        return f"it ended with {self.ended}{again}"


def is_supervised(service: ServiceSpec) -> bool:
    """Return whether a local process is started again when it ends: the built-in application is not, nor a database."""
    return bool(service.programs or service.is_extra) and service.restart != "no"


def supervised(service: ServiceSpec, command: Sequence[str], state: Path) -> list[str]:
    """Return the command that runs another under supervision."""
    return [sys.executable, "-IS", str(PROGRAM), str(state), service.restart, str(service.retries), *command]


def observed_by(supervised: Supervised | None, running: ObservedService) -> ObservedService:
    """Return a process as its supervisor knows it, of which only the supervisor is known to run."""
    if supervised is None:
        return running
    seen = look_at(supervised.pid) if supervised.pid else None
    if seen is None:
        return replace(running, state=ServiceState.UNHEALTHY, pid=None, detail=supervised.detail)
    began = datetime.fromtimestamp(seen.created, UTC)
    return replace(running, pid=supervised.pid, started_at=began, detail=supervised.detail)


def read_state(path: Path) -> Supervised | None:
    """Return what a supervisor says; None where there is nothing to read."""
    try:
        told = json.loads(read_text(path, own=True))
        return Supervised(int(told["pid"]), int(told["restarts"]), str(told["ended"]))
    except (FileNotFoundError, InvalidInputError, ValueError, TypeError, KeyError):
        return None
