"""Observe and change a database with standbys, through the interfaces of its Patronis. Standard library only.

https://patroni.readthedocs.io/en/latest/rest_api.html
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ..errors import ConflictError, DatabaseLoginError, FastZeroError, NotFoundError, UnavailableError, UnhealthyError
from ..polling import wait_until
from .ask import FAILURES, ask
from .configuration import TIMES

TIMEOUT = 2  # seconds for an answer
BETWEEN = 0.2  # seconds between two looks at the state
CANDIDATE = 30  # seconds for a standby to answer the primary that it can take over: until then that one serves
LONG_TIMEOUT = 60  # seconds for an operation
PRIMARY, STANDBY = "primary", "standby"  # roles
STREAMING = "streaming"  # the state of a standby that receives from the primary
RUNNING = ("running", STREAMING, "in archive recovery")  # states of a server that answers
NO_ANSWER = "no answer"
SEE_STATE = "See the state of every node: fastzero db status"
NOTICED = 5 * TIMES["loop_wait"]  # seconds in which every member reads new settings, and PostgreSQL too

Ask = Callable[[float, str, str, str, str | None], tuple[int, str]]
"""Send a request, as `ask.ask` does with a password: timeout, method, address, path, body. Raises one of FAILURES."""


@dataclass(frozen=True)
class Node:
    """One server of a database. `lag` is what it has not received of the primary's write-ahead log, in bytes.

    A commit waits for one of the `is_synchronous` standbys, which alone can become the primary. `timeline` and `lag`
    are None if they are not known.
    """

    name: str
    role: str
    state: str
    timeline: int | None = None
    lag: int | None = None
    is_synchronous: bool = False
    needs_restart: bool = False

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def confirms(self) -> bool:
        """Whether a commit may be acknowledged once this standby has it."""
        return self.is_synchronous and self.state == STREAMING


@dataclass(frozen=True)
class State:
    """The servers of a database, by name."""

    nodes: tuple[Node, ...]

    @property
    def primary(self) -> Node | None:
        """The server that accepts writes, None if there is none at the moment."""
        return next((node for node in self.nodes if node.role == PRIMARY and node.is_running), None)

    @property
    def standbys(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.role == STANDBY)

    def node(self, name: str) -> Node:
        """Return a node by name. Raises NotFoundError."""
        found = next((node for node in self.nodes if node.name == name), None)
        if found is None:
            names = ", ".join(node.name for node in self.nodes)
            raise NotFoundError(f"node {name!r} does not exist", hint=f"Use one of: {names}")
        return found

    @property
    def is_writable(self) -> bool:
        """Whether commits are acknowledged: by a primary, and a standby that has them too."""
        return self.primary is not None and any(node.confirms for node in self.standbys)

    @property
    def is_whole(self) -> bool:
        """Whether any node can be lost: every standby follows the primary."""
        return self.primary is not None and all(node.confirms for node in self.nodes if node != self.primary)

    @property
    def problem(self) -> str:
        """Why writes are not acknowledged, or which servers do not run; "" if all is as it should be."""
        absent = [node.name for node in self.nodes if not node.is_running]
        missing = f"{', '.join(absent)} {'does' if len(absent) == 1 else 'do'} not run" if absent else ""
        stopped = (
            "" if self.is_writable else "commits wait for a standby" if self.primary else "no server accepts writes"
        )
        return ": ".join(part for part in (stopped, missing) if part)


class Cluster:
    """The members at `addresses`, each `host:port` by the member's name. `ask` sends the requests to them."""

    def __init__(self, addresses: Mapping[str, str], ask: Ask) -> None:
        self._addresses = dict(addresses)
        self._send = ask

    def state(self) -> State:
        """Return the state of every server. Raises UnavailableError if no member answers.

        Each member is asked for itself, since without a majority of etcd they only know what was.
        """
        with ThreadPoolExecutor(len(self._addresses)) as pool:
            answers = dict(zip(self._addresses, pool.map(self._own_state, self._addresses), strict=True))
        if not any(answers.values()):
            raise UnavailableError("no node of the database answers", hint="Start them: fastzero up")
        known = self._known([name for name, answer in answers.items() if answer])
        return State(tuple(_node(name, answer, known.get(name, {})) for name, answer in answers.items()))

    def _own_state(self, name: str) -> dict[str, Any]:
        """Return what a member says of its server, nothing if it does not answer."""
        with suppress(*FAILURES):
            _, text = self._ask(name, "GET", "/patroni")  # whose status depends on the role
            return dict(json.loads(text))
        return {}

    def _known(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what the members know of each other, nothing without a majority of etcd."""
        for name in names:
            with suppress(*FAILURES):
                status, text = self._ask(name, "GET", "/cluster")
                if status == HTTPStatus.OK:
                    return {each["name"]: each for each in json.loads(text)["members"]}
        return {}

    def wait_for_primary(self, timeout: float) -> State:
        """Wait until a server accepts writes and a standby confirms them. Raises UnhealthyError after `timeout` s."""
        return self._wait(lambda state: state.is_writable, timeout)

    def wait_until_whole(self, timeout: float) -> State:
        """Wait until any node can be lost. Raises UnhealthyError after `timeout` seconds."""
        return self._wait(lambda state: state.is_whole, timeout)

    def _wait(self, is_reached: Callable[[State], bool], timeout: float) -> State:
        last = State(())

        def is_over() -> bool:
            nonlocal last
            with suppress(UnavailableError):
                last = self.state()
                return is_reached(last)
            return False

        if not wait_until(is_over, timeout, every=BETWEEN):
            problem = last.problem if last.nodes else "no node of the database answers"
            raise UnhealthyError(problem or "a standby does not follow the primary", hint=SEE_STATE)
        return last

    def roll(self, replace: Callable[[str], object], timeout: float) -> None:
        """Replace the servers one after the other: the standbys, then the primary, once it is a standby itself.

        `replace` does it with a server's name; then no other is touched until any node can be lost again. It may give
        the servers another password of Patroni's API: orders go to the primary alone, which is the last. Raises
        UnhealthyError after `timeout` seconds for one server; the others are as they were.
        """
        before = self.wait_until_whole(timeout)
        assert before.primary is not None
        for node in before.standbys:
            replace(node.name)
            self.wait_until_whole(timeout)
        self.switch_over()
        replace(before.primary.name)
        self.wait_until_whole(timeout)

    def switch_over(self, to: str | None = None) -> str:
        """Make a synchronous standby the primary, the named or the best one. Returns its name.

        Raises NotFoundError, ConflictError if it cannot be the primary, UnavailableError.
        """
        primary, state = self._writing(), self.state()
        if to == primary.name:
            return to
        if to is not None and not state.node(to).confirms:
            raise ConflictError(f"{to} does not follow the primary: {state.node(to).state}", hint=SEE_STATE)
        self._switch_over({"leader": primary.name, **({"candidate": to} if to else {})})
        after = self.wait_for_primary(LONG_TIMEOUT).primary
        assert after is not None
        return after.name

    def _switch_over(self, body: Mapping[str, str]) -> None:
        """Order a switchover, again if it is refused: a standby that answers too late is not a candidate."""
        refusal: list[ConflictError] = []

        def is_obeyed() -> bool:
            try:
                self._order(body["leader"], "POST", "/switchover", body)
            except ConflictError as error:
                refusal[:] = [error]
                return False
            return True

        if not wait_until(is_obeyed, CANDIDATE, every=1):
            raise refusal[0]

    def copy_again(self, name: str) -> None:
        """Delete the data of a standby, and copy it from the primary. Does not wait until it is copied."""
        if self.state().node(name).role == PRIMARY:
            raise ConflictError(f"{name} is the primary", hint="Make another node the primary: fastzero db failover")
        self._order(name, "POST", "/reinitialize", {"force": True, "from-leader": True})

    def configuration(self) -> dict[str, Any]:
        """Return the configuration that all members share: equal to what `configuration.dynamic` built for it."""
        for name in self._addresses:
            with suppress(*FAILURES):
                status, text = self._ask(name, "GET", "/config")
                if status == HTTPStatus.OK:
                    return dict(json.loads(text))
        raise UnavailableError("no node of the database knows its configuration", hint=SEE_STATE)

    def configure(self, wanted: Mapping[str, Any]) -> None:
        """Give all members this configuration, with no other PostgreSQL settings, and wait until they have read it.

        Servers that have to be restarted for a setting `needs_restart` afterwards.
        """
        primary, now = self._writing(), self.configuration()
        parameters = wanted["postgresql"]["parameters"]
        removed = dict.fromkeys(now["postgresql"]["parameters"].keys() - parameters.keys())
        servers = {**wanted["postgresql"], "parameters": {**parameters, **removed}}
        self._order(primary.name, "PATCH", "/config", {**wanted, "postgresql": servers})
        wait_until(lambda: all(node.needs_restart for node in self.state().nodes), NOTICED, every=0.5)

    def restart_for_settings(self) -> list[str]:
        """Restart the servers that have to be, one after the other. Returns their names.

        The standbys are first, so that one is ready if the primary does not come back. Those that may not allow less
        than the primary, as of `max_connections`, have to be restarted again after it.
        """
        restarted = []
        for role in (STANDBY, PRIMARY, STANDBY):
            for node in self.state().nodes:
                if node.role == role and node.needs_restart:
                    self._order(node.name, "POST", "/restart", {"timeout": LONG_TIMEOUT})
                    restarted.append(node.name)
                    self.wait_for_primary(LONG_TIMEOUT)
        return restarted

    def _writing(self) -> Node:
        """Return the primary. Raises UnavailableError if there is none at the moment."""
        state = self.state()
        if state.primary is None:
            raise UnavailableError(state.problem, hint="It returns by itself once two nodes of three run")
        return state.primary

    def _order(self, name: str, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Have a member do something. Raises ConflictError with its reason, DatabaseLoginError, UnavailableError."""
        try:
            status, text = self._ask(name, method, path, body, LONG_TIMEOUT + TIMEOUT)
        except FAILURES as error:
            raise UnavailableError(f"{name} does not answer: {error}", hint=SEE_STATE) from error
        if status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            raise _refusal(name, status, text)

    def _ask(
        self, name: str, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: float = TIMEOUT
    ) -> tuple[int, str]:
        text = None if body is None else json.dumps(body)
        return self._send(timeout, method, self._addresses[name], path, text)


def directly(*passwords: str) -> Ask:
    """Return what asks members whose network can be reached from here, each with the first password that it accepts."""

    def send(timeout: float, method: str, address: str, path: str, body: str | None) -> tuple[int, str]:
        for password in passwords[:-1]:
            answer = ask(password, timeout, method, address, path, body)
            if answer[0] != HTTPStatus.UNAUTHORIZED:
                return answer
        return ask(passwords[-1], timeout, method, address, path, body)

    return send


def _node(name: str, own: Mapping[str, Any], known: Mapping[str, Any]) -> Node:
    """Return a server as its member describes it, with what the others know besides."""
    if not own:
        return Node(name, STANDBY, NO_ANSWER)
    leads = own.get("role") == PRIMARY
    lag = known.get("receive_lag")
    return Node(
        name=name,
        role=PRIMARY if leads else STANDBY,
        state=own.get("replication_state") or own.get("state", NO_ANSWER),
        timeline=own.get("timeline") or known.get("timeline"),
        lag=lag if isinstance(lag, int) and not leads else None,
        is_synchronous=bool(own.get("quorum_standby") or own.get("sync_standby")),
        needs_restart=bool(own.get("pending_restart")),
    )


def _refusal(name: str, status: int, text: str) -> FastZeroError:
    if status == HTTPStatus.UNAUTHORIZED:
        return DatabaseLoginError(
            f"{name} refuses the password of Patroni's API", hint="Give it the current one: fastzero up"
        )
    reason = text.strip() or f"status {status}"
    return ConflictError(f"{name} refused: {reason}", hint=SEE_STATE)
