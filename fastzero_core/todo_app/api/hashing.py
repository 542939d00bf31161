"""Hash and verify passwords in a few threads: argon2 releases Python's lock, so the event loop goes on.

Sign-ups have a queue of their own: a crowd of them, which need no account, keeps nobody from logging in.
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
from ..passwords import HashCost, PasswordHash, hash_of_nobody, hash_password, is_outdated, verify_password

THREADS = 2  # for logins and accounts; each takes the memory of a hash
SIGN_UP_THREADS = 1
BEGINS_WITHIN = 3  # seconds of a request, or it is refused: with the hash and the database, five in total
NICENESS = 5

T = TypeVar("T")


class Hashing:
    """Hash and verify at one cost. `since` is when the request began, on the event loop's clock.

    Raises BusyError if no thread is free in time.
    """

    def __init__(self, cost: HashCost) -> None:
        self._cost = cost
        self.logins = _Queue(THREADS)
        self.sign_ups = _Queue(SIGN_UP_THREADS)

    def start(self) -> None:
        """Make the hash that the first login would have to wait for."""
        self.logins.threads.submit(hash_of_nobody, self._cost)

    def end(self) -> None:
        for queue in (self.logins, self.sign_ups):
            queue.threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str, *, since: float, signs_up: bool = False) -> PasswordHash:
        queue = self.sign_ups if signs_up else self.logins
        return PasswordHash(await queue.run(hash_password, password, self._cost, since=since))

    async def verify(self, password: str, password_hash: str | None, *, since: float) -> bool:
        """Return whether the password is the one of the hash. Without a hash it is not, and that takes as long."""
        if password_hash is None:
            await self.logins.run(lambda: verify_password(password, hash_of_nobody(self._cost)), since=since)
            return False
        return await self.logins.run(verify_password, password, password_hash, since=since)

    async def upgrade(self, password: str, password_hash: str, *, since: float) -> PasswordHash | None:
        """Return a new hash if the present one has another cost and there is time to make one."""
        if not is_outdated(password_hash, self._cost):
            return None
        with suppress(BusyError):  # the next login may upgrade it
            return await self.hash(password, since=since)
        return None


class _Queue:
    """Some threads, and whoever waits for one of them: for some seconds, and no longer."""

    def __init__(self, count: int) -> None:
        self.threads = ThreadPoolExecutor(count, "hashing", initializer=_yield_to_others)
        self._free = asyncio.Semaphore(count)

    async def run(self, function: Callable[..., T], *arguments: object, since: float) -> T:
        try:
            async with asyncio.timeout_at(since + BEGINS_WITHIN):
                await self._free.acquire()
        except TimeoutError:
            raise BusyError("too many password checks are queued") from None
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)
        finally:
            self._free.release()


def _yield_to_others() -> None:
    """Where threads have a niceness of their own, the event loop comes before the hashing."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
