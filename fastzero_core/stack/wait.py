"""Waiting until a service is ready: one poller, which says what it saw where the service does not become so."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from ..errors import DatabaseLoginError, UnavailableError, UnhealthyError
from ..polling import wait_until
from . import probe
from .spec import ServiceSpec

POLL = 0.05  # seconds between two probes that a service did not hear
SLOWER, SLOWEST = 1.6, 1.0  # by how much, and to how many seconds, grows the time between those that it logs
UNHEARD = ("ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected", "connection refused")
PATIENCE = 10  # seconds for a process that runs and does not answer, before it is restarted
UNREACHED = ("Connection", "RemoteDisconnected", "port ")  # in the reason where nobody answers at all
RECOVERING = ("starting up", "not yet accepting", "recovery")  # it works on its data: it gets all the time there is


@dataclass(frozen=True)
class Answer:
    """What a service says: `reason` is empty where it is ready. `ended` means that nothing is left to ask."""

    reason: str = ""
    revision: str | None = None
    ended: bool = False

    @property
    def is_ready(self) -> bool:
        return not self.reason

    @property
    def is_unheard(self) -> bool:
        """Whether the service knows nothing of the question, and so writes nothing of it into its log."""
        return any(word in self.reason for word in UNHEARD)

    @property
    def is_recovering(self) -> bool:
        return any(word in self.reason for word in RECOVERING)


class Witness(Protocol):
    """Who knows whether a service still runs, and what it left behind."""

    def is_alive(self, service: str) -> bool: ...
    def evidence(self, service: str) -> str: ...
    def failed_check(self, service: ServiceSpec) -> str: ...


def ask(service: ServiceSpec, url: str, witness: Witness) -> Answer:
    """What a service says now; a database is asked by its URL. Raises DatabaseLoginError, which no waiting changes."""
    if not service.is_database:
        return Answer(_not_ready(service, witness))
    try:
        return Answer(revision=probe.revision_of(url, service.version_table))
    except DatabaseLoginError as error:
        error.hint = "The database was made with another password than the project has: fastzero doctor --fix"
        raise
    except UnavailableError as error:
        return Answer(error.message)


def _not_ready(service: ServiceSpec, witness: Witness) -> str:
    """Why it is not ready; empty if it is, or nothing can be asked. An extra service's check comes before its port."""
    if service.is_extra and service.health_command:
        return witness.failed_check(service)
    if not service.port:
        return ""
    if service.readiness is None:
        return probe.not_listening(service.host, service.port, is_proxied=bool(service.image))
    # One of the user's own may ask for a login, or refuse to answer under the name of this machine.
    below = HTTPStatus.BAD_REQUEST if service.interpreter else HTTPStatus.INTERNAL_SERVER_ERROR
    return probe.not_ready(service.host, service.port, service.readiness, below=below)


def poll(question: Callable[[], Answer], is_alive: Callable[[], bool], timeout: float, patience: float) -> Answer:
    """Ask until the answer is that it is ready, or the end of the service, or of the time. Returns the last answer.

    One that works on its data gets `timeout` seconds, any other `patience`.
    """
    began, pause = time.monotonic(), POLL
    while True:
        answer = question()
        if answer.is_ready:
            return answer
        if not is_alive():
            return Answer(answer.reason, ended=True)
        waited = time.monotonic() - began
        if waited > timeout or (waited > patience and not answer.is_recovering):
            return answer
        if not answer.is_unheard:
            pause = min(SLOWEST, pause * SLOWER)
        time.sleep(pause)


def until_ready(
    service: ServiceSpec, witness: Witness, url: str, timeout: float, hint: str, *, ran: float = 0
) -> Answer:
    """The answer of a service that is ready, and has run for `ran` seconds.

    Raises UnhealthyError with its evidence, DatabaseLoginError.
    """
    is_alive = lambda: witness.is_alive(service.name)  # noqa: E731
    answer = poll(lambda: ask(service, url, witness), is_alive, timeout, timeout)
    if service.grace:
        answer = _still_runs(is_alive, service.grace, ran)
    if answer.is_ready:
        return answer
    words = ("answered", "does not answer") if service.is_database else ("was ready", "is not ready")
    what = f"ended before it {words[0]}" if answer.ended else f"{words[1]}: {answer.reason}"
    evidence = witness.evidence(service.name)
    cause = "" if service.is_database or service.interpreter else _cause(service, answer, evidence)
    raise UnhealthyError(f"{service.name} {what}", hint=f"{cause}{hint}", evidence=evidence)


def _cause(service: ServiceSpec, answer: Answer, evidence: str) -> str:
    """What most probably keeps a process of the user's own from being ready, as the beginning of a hint."""
    from ..application.causes import probable_cause

    is_unreached = not answer.ended and any(word in answer.reason for word in UNREACHED)
    port = (service.container_port or service.port) if is_unreached else 0
    cause = probable_cause(evidence, port, in_container=bool(service.image))
    return f"Probably {cause}. " if cause else ""


def _still_runs(is_alive: Callable[[], bool], grace: float, ran: float) -> Answer:
    """What there is to say of a process that nothing can ask: it has run for a while, or it has not."""
    ended = wait_until(lambda: not is_alive(), max(0, grace - ran))
    return Answer(f"it had run for {grace:g} s", ended=True) if ended else Answer()
