"""Passwords under load: never on the event loop, and nobody waits for longer than some seconds."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from statistics import median

import pytest

from fastzero_core.errors import BusyError
from fastzero_core.polling import wait_until
from fastzero_core.todo_app.api import hashing
from fastzero_core.todo_app.api.deps import Services
from fastzero_core.todo_app.api.hashing import Hashing
from fastzero_core.todo_app.passwords import DEFAULT_COST

from .client import PATIENCE, Answer, Client
from .conftest import FastzeroServe, ServeApp

LOGINS = 16
AT_ONCE = 4


async def longest_stall(until: asyncio.Event) -> float:
    """The most that the loop has computed between two of its turns, in seconds of the processor.

    Not of the clock: another program may have had the processor in between.
    """
    longest, before = 0.0, time.thread_time()
    while not until.is_set():
        await asyncio.sleep(0.001)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    return longest


def test_the_event_loop_never_stalls_under_logins(
    serve_app: ServeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # real costs, since these are what this is about
    api = serve_app(database_url)
    ana = api.sign_up()
    over = asyncio.Event()
    gc.freeze()  # what the test session has gathered so far is looked through for garbage in no app
    heartbeat = asyncio.run_coroutine_threadsafe(longest_stall(over), api.loop)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        began = time.process_time()
        statuses = list(threads.map(lambda number: _log_in(api, ana.username, number), range(LOGINS)))
        spent = time.process_time() - began
    api.loop.call_soon_threadsafe(over.set)
    gc.unfreeze()
    assert statuses == [200, 401] * (LOGINS // 2)
    # A ratio, so that the speed of the machine does not matter: a hash on the loop would take it for as long as itself.
    assert heartbeat.result() < spent / LOGINS


def _log_in(api: Client, name: str, number: int) -> int:
    """Log in, and again where a busy machine turns the login away. Returns the status of the answer."""
    while (answer := api.log_in(name if number % 2 == 0 else f"nobody-{number}")).status == 503:
        time.sleep(float(answer.headers["retry-after"]))
    return answer.status


def test_what_cannot_begin_in_time_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def three_at_once() -> list[object]:
        hasher = Hashing(DEFAULT_COST)
        now = asyncio.get_running_loop().time()
        monkeypatch.setattr(hashing, "QUEUE_TIMEOUT", 0)
        waiting = (hasher.hash("correct horse", since=now) for _ in range(hashing.THREADS + 1))
        results = await asyncio.gather(*waiting, return_exceptions=True)
        again = await hasher.hash("correct horse", since=now)
        hasher.end()
        return [*results, again]

    results = asyncio.run(three_at_once())
    assert [isinstance(result, BusyError) for result in results] == [False, False, True, False]


@pytest.fixture
def held_up() -> Iterator[threading.Event]:
    """Set in the end: what hashes until then."""
    over = threading.Event()
    yield over
    over.set()


def hold_up(api: Client, over: threading.Event, *, sign_ups: bool = False) -> None:
    """Keep every thread of a queue at work until `over`."""
    services: Services = api.app.state.services
    queue = services.hashing.sign_ups if sign_ups else services.hashing.logins

    async def begin() -> None:
        for _ in range(hashing.SIGN_UP_THREADS if sign_ups else hashing.THREADS):
            work = asyncio.create_task(queue.run(over.wait, since=asyncio.get_running_loop().time()))
            _HELD.add(work)
            work.add_done_callback(_HELD.discard)

    asyncio.run_coroutine_threadsafe(begin(), api.loop).result()


_HELD: set[asyncio.Task[bool]] = set()  # a loop itself keeps no task alive


def test_too_many_logins_are_a_503_that_passes(
    serve_app: ServeApp, database_url: str, monkeypatch: pytest.MonkeyPatch, held_up: threading.Event
) -> None:
    monkeypatch.setattr(hashing, "QUEUE_TIMEOUT", 0)
    api = serve_app(database_url)
    hold_up(api, held_up)
    answer = api.log_in("ana")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    held_up.set()
    assert wait_until(lambda: api.log_in("ana").status == 401, PATIENCE)


@pytest.mark.slow
def test_a_login_behind_hashes_that_do_not_end_is_answered_in_time(
    serve_app: ServeApp, database_url: str, held_up: threading.Event
) -> None:
    api = serve_app(database_url)
    hold_up(api, held_up)
    began = time.monotonic()
    assert api.log_in("ana").status == 503
    assert time.monotonic() - began < AT_MOST


def test_sign_ups_that_wait_keep_nobody_from_logging_in(
    serve_app: ServeApp, database_url: str, monkeypatch: pytest.MonkeyPatch, held_up: threading.Event
) -> None:
    api = serve_app(database_url)
    ana = api.sign_up()
    monkeypatch.setattr(hashing, "QUEUE_TIMEOUT", 0)
    hold_up(api, held_up, sign_ups=True)
    bob = {"username": "bob", "email": "bob@example.com", "password": ana.password}
    refused = api.post("/users/", bob)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert api.log_in(ana.username).status == 200
    held_up.set()
    assert wait_until(lambda: api.post("/users/", bob).status == 201, PATIENCE)


def test_logins_that_wait_keep_nobody_from_signing_up(
    serve_app: ServeApp, database_url: str, monkeypatch: pytest.MonkeyPatch, held_up: threading.Event
) -> None:
    monkeypatch.setattr(hashing, "QUEUE_TIMEOUT", 0)
    api = serve_app(database_url)
    hold_up(api, held_up)
    bob = {"username": "bob", "email": "bob@example.com", "password": "correct horse"}
    assert api.post("/users/", bob).status == 201


CROWD = 100
AT_MOST = 5  # seconds until any answer


@pytest.mark.slow
def test_a_crowd_of_logins_is_answered_in_time_and_delays_nobody_else(
    fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in asdict(DEFAULT_COST).items():
        monkeypatch.setenv(f"FASTZERO_ARGON2_{name.upper()}", str(value))
    api = Client(fastzero_serve(url=database_url).until_it_answers().port)
    ana = api.sign_up()
    alone = _timed(lambda: api.log_in(ana.username))
    with ThreadPoolExecutor(CROWD) as threads:
        crowd = [threads.submit(_timed, lambda: api.log_in(ana.username)) for _ in range(CROWD)]
        checks, reads = [_timed(lambda: api.get("/healthz"))], []
        while not all(login.done() for login in crowd):
            checks.append(_timed(lambda: api.get("/healthz")))
            reads.append(_timed(lambda: api.get("/todos/", ana.token)))
    logins = [login.result() for login in crowd]
    # A hash that has begun is finished: that takes longer where all processors are busy.
    assert max(login.seconds for login in logins) < AT_MOST + 5 * alone.seconds
    assert {login.answer.status for login in logins} in ({200}, {200, 503})
    assert all("retry-after" in login.answer.headers for login in logins if login.answer.status == 503)
    assert {check.answer.status for check in checks} == {200}
    # On a starved machine a read may find the pool of connections in use for too long.
    refused = [read.answer for read in reads if read.answer.status != 200]
    assert all(answer.status == 503 and "retry-after" in answer.headers for answer in refused)
    assert len(refused) <= len(reads) / 10
    assert median(other.seconds for other in (*checks, *reads)) < max(login.seconds for login in logins) / 10


@dataclass(frozen=True)
class _Timed:
    answer: Answer
    seconds: float


def _timed(request: Callable[[], Answer]) -> _Timed:
    began = time.monotonic()
    return _Timed(request(), time.monotonic() - began)
