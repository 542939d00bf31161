"""Hash and verify passwords in threads. argon2 releases the GIL, so the event loop is not blocked.

Sign-ups, which require no account, have their own queue, so that many of them cannot delay logins.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from ...errors import BusyError
from ..passwords import HashCost, PasswordHash, dummy_hash, hash_password, is_outdated, verify_password

THREADS = 2  # for logins and accounts; each uses the memory of one hash
SIGN_UP_THREADS = 1
QUEUE_TIMEOUT = 3  # seconds from the start of a request; with hashing and the database it takes at most five
NICENESS = 5

T = TypeVar("T")


class Hashing:
    """Hashes and verifies passwords at one cost. `since` is the start of the request, on the event loop's clock.

    Raises BusyError if no thread becomes free in time.
    """

    def __init__(self, cost: HashCost) -> None:
        self._cost = cost
        self.logins = _Queue(THREADS)
        self.sign_ups = _Queue(SIGN_UP_THREADS)

    def start(self) -> None:
        """Compute the dummy hash, so that the first login does not have to wait for it."""
        self.logins.threads.submit(dummy_hash, self._cost)

    def end(self) -> None:
        for queue in (self.logins, self.sign_ups):
            queue.threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str, *, since: float, signs_up: bool = False) -> PasswordHash:
        queue = self.sign_ups if signs_up else self.logins
        return PasswordHash(await queue.run(hash_password, password, self._cost, since=since))

    async def verify(self, password: str, password_hash: str | None, *, since: float) -> bool:
        """Return whether the password matches the hash. Without a hash it does not, and that takes equally long."""
        if password_hash is None:
            await self.logins.run(lambda: verify_password(password, dummy_hash(self._cost)), since=since)
            return False
        return await self.logins.run(verify_password, password, password_hash, since=since)

    async def upgrade(self, password: str, password_hash: str, *, since: float) -> PasswordHash | None:
        """Return a new hash if the current one has another cost and a thread becomes free in time."""
        if not is_outdated(password_hash, self._cost):
            return None
        with suppress(BusyError):  # the next login tries again
            return await self.hash(password, since=since)
        return None


class _Queue:
    """A thread pool with a timeout for waiting until a thread is free."""

    def __init__(self, count: int) -> None:
        self.threads = ThreadPoolExecutor(count, "hashing", initializer=_lower_priority)
        self._free = asyncio.Semaphore(count)

    async def run(self, function: Callable[..., T], *arguments: object, since: float) -> T:
        try:
            async with asyncio.timeout_at(since + QUEUE_TIMEOUT):
                await self._free.acquire()
        except TimeoutError:
            raise BusyError("too many password checks are queued") from None
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)
        finally:
            self._free.release()


def _lower_priority() -> None:
    """Run this thread after the event loop, on systems where each thread has its own niceness."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
