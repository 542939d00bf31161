"""Passwords under load: never on the event loop, and no more wait than are worked off in seconds."""

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastzero_core.errors import BusyError
from fastzero_core.todo_app.api import hashing
from fastzero_core.todo_app.api.hashing import Hashing
from fastzero_core.todo_app.passwords import DEFAULT_COST

from .client import Client
from .conftest import ServeApp

LOGINS = 16
STALL = 0.05  # seconds


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
    with ThreadPoolExecutor(LOGINS) as threads:
        began = time.process_time()
        statuses = list(threads.map(lambda number: _log_in(api, ana.username, number), range(LOGINS)))
        spent = time.process_time() - began
    api.loop.call_soon_threadsafe(over.set)
    gc.unfreeze()
    assert statuses == [200, 401] * (LOGINS // 2)
    assert spent > LOGINS * STALL / 4, "the hashes cost next to nothing: this shows nothing"
    assert heartbeat.result() < STALL


def _log_in(api: Client, name: str, number: int) -> int:
    return api.log_in(name if number % 2 == 0 else f"nobody-{number}").status


def test_more_than_can_wait_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "WAITING_MAX", 3)

    async def four_at_once() -> list[object]:
        hasher = Hashing(DEFAULT_COST)
        results = await asyncio.gather(*(hasher.hash("correct horse") for _ in range(4)), return_exceptions=True)
        again = await hasher.hash("correct horse")
        hasher.end()
        return [*results, again]

    results = asyncio.run(four_at_once())
    assert [isinstance(result, BusyError) for result in results] == [False, False, False, True, False]


def test_too_many_logins_are_a_503_that_passes(
    serve_app: ServeApp, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "WAITING_MAX", 0)
    api = serve_app(database_url)
    answer = api.log_in("ana")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    monkeypatch.setattr(hashing, "WAITING_MAX", 1)
    assert api.log_in("ana").status == 401
