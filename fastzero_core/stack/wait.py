"""Wait until a service is ready, and report why if it does not become ready."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from ..errors import DatabaseLoginError, UnavailableError, UnhealthyError
from ..polling import wait_until
from . import probe
from .spec import ServiceSpec

POLL = 0.05  # seconds between two probes that did not reach the service
# The delay after a probe that the service logs is multiplied by SLOWER, up to SLOWEST seconds, to keep its log short.
SLOWER, SLOWEST = 1.6, 1.0
UNHEARD = ("ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected", "connection refused")
PATIENCE = 10  # seconds for a process that runs and does not answer, before it is restarted
UNREACHED = ("Connection", "RemoteDisconnected", "port ")  # in the reason if the service does not answer at all
RECOVERING = ("starting up", "not yet accepting", "recovery")  # such a database gets the whole timeout


@dataclass(frozen=True)
class Answer:
    """The result of a probe: `reason` says why the service is not ready, "" if it is; `ended`, whether it has ended."""

    reason: str = ""
    revision: str | None = None
    ended: bool = False

    @property
    def is_ready(self) -> bool:
        return not self.reason

    @property
    def is_unheard(self) -> bool:
        """Whether the probe did not reach the service, so that the service did not log it."""
        return any(word in self.reason for word in UNHEARD)

    @property
    def is_recovering(self) -> bool:
        return any(word in self.reason for word in RECOVERING)


class Witness(Protocol):
    """Tells whether a service still runs, and returns the evidence of a failed one. A runtime is one."""

    def is_alive(self, service: str) -> bool: ...
    def evidence(self, service: str) -> str: ...
    def failed_check(self, service: ServiceSpec) -> str: ...


def ask(service: ServiceSpec, url: str, witness: Witness) -> Answer:
    """Probe a service once, a database by its URL. Raises DatabaseLoginError, since waiting would not help."""
    if not service.is_database:
        return Answer(_not_ready(service, witness))
    if service.deploy and (lacks := witness.failed_check(service)):
        return Answer(lacks)  # the one who answers may be the task before an update
    try:
        return Answer(revision=probe.revision_of(url, service.version_table))
    except DatabaseLoginError as error:
        error.hint = "The database was made with another password than the project has: fastzero doctor --fix"
        raise
    except UnavailableError as error:
        return Answer(error.message)


def _not_ready(service: ServiceSpec, witness: Witness) -> str:
    """Return why a service is not ready, "" if it is or cannot be probed. An extra service's check is used first.

    A swarm checks its tasks itself.
    """
    if service.deploy or (service.is_extra and service.health_command):
        return witness.failed_check(service)
    if not service.port:
        return ""
    if service.readiness is None:
        return probe.not_listening(service.host, service.port, is_proxied=bool(service.image))
    # A user's application may require a login, or refuse requests for this machine's host name.
    below = HTTPStatus.BAD_REQUEST if service.interpreter else HTTPStatus.INTERNAL_SERVER_ERROR
    return probe.not_ready(service.host, service.port, service.readiness, below=below)


def poll(question: Callable[[], Answer], is_alive: Callable[[], bool], timeout: float, patience: float) -> Answer:
    """Probe a service until it is ready, has ended, or the time is up. Returns the last answer.

    A database that recovers gets `timeout` seconds, any other service `patience` seconds.
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
    """Wait at most `timeout` seconds until a service is ready. Returns its answer.

    `ran` is the number of seconds that it has already run, which counts for its grace period. Raises UnhealthyError
    with its evidence and `hint`, DatabaseLoginError.
    """
    is_alive = lambda: witness.is_alive(service.name)  # noqa: E731
    timeout += service.deploy.patience if service.deploy else 0
    answer = poll(lambda: ask(service, url, witness), is_alive, timeout, timeout)
    if service.grace and not service.deploy:
        answer = _still_runs(is_alive, service.grace, ran)
    if answer.is_ready:
        return answer
    words = ("answered", "does not answer") if service.is_database else ("was ready", "is not ready")
    what = f"ended before it {words[0]}" if answer.ended else f"{words[1]}: {answer.reason}"
    evidence = witness.evidence(service.name)
    cause = "" if service.is_database or service.interpreter else _cause(service, answer, evidence)
    raise UnhealthyError(f"{service.name} {what}", hint=f"{cause}{hint}", evidence=evidence)


def _cause(service: ServiceSpec, answer: Answer, evidence: str) -> str:
    """Return the most probable reason why a user's process is not ready, as the beginning of a hint."""
    from ..application.causes import probable_cause

    is_unreached = not answer.ended and any(word in answer.reason for word in UNREACHED)
    port = (service.container_port or service.port) if is_unreached else 0
    cause = probable_cause(evidence, port, in_container=bool(service.image))
    return f"Probably {cause}. " if cause else ""


def _still_runs(is_alive: Callable[[], bool], grace: float, ran: float) -> Answer:
    """Return the answer for a process that cannot be probed: it is ready once it has run for `grace` seconds."""
    ended = wait_until(lambda: not is_alive(), max(0, grace - ran))
    return Answer(f"it had run for {grace:g} s", ended=True) if ended else Answer()
