"""What a runtime must do. `Stack` knows no more of it than this."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from .plan import Action, ObservedService
from .process import LogLine
from .spec import StackSpec


class Runtime(Protocol):
    """Where a project's services run."""

    name: str

    def observe(self, spec: StackSpec) -> dict[str, ObservedService]:
        """Every service of the spec as it is now. Changes nothing."""

    def apply(self, action: Action, spec: StackSpec, *, timeout: float) -> None:
        """Do one action on one service. Raises PortTakenError, UnhealthyError, VersionMismatchError."""

    def is_alive(self, service: str) -> bool:
        """Whether there is still something to wait for."""

    def evidence(self, service: str) -> str:
        """What a failed service left behind: its last log lines."""

    def logs(self, services: Sequence[str], *, tail: int | None, follow: bool) -> Iterator[LogLine]:
        """The services' logs, line by line."""
