"""Passwords, hashed and verified by a few threads: argon2 lets go of Python's lock, and the event loop goes on."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ...errors import BusyError
from ..passwords import HashCost, PasswordHash, hash_of_nobody, hash_password, is_outdated, verify_password

THREADS = 2  # each takes the memory of a hash
WAITING_MAX = 100  # a queue of a few seconds
NICENESS = 5

T = TypeVar("T")


class Hashing:
    """Hashes and verifies at one cost. Raises BusyError where too many wait already."""

    def __init__(self, cost: HashCost) -> None:
        self._cost = cost
        self._threads = ThreadPoolExecutor(THREADS, "hashing", initializer=_yield_to_others)
        self._under_way = 0

    def start(self) -> None:
        """Make what the first login would wait for otherwise."""
        self._threads.submit(hash_of_nobody, self._cost)

    def end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> PasswordHash:
        return PasswordHash(await self._run(hash_password, password, self._cost))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether it is the password of the hash. Without one it is not, and that takes as long."""
        if password_hash is None:
            await self._run(lambda: verify_password(password, hash_of_nobody(self._cost)))
            return False
        return await self._run(verify_password, password, password_hash)

    async def upgrade(self, password: str, password_hash: str) -> PasswordHash | None:
        """A new hash where the present one was made at another cost."""
        return await self.hash(password) if is_outdated(password_hash, self._cost) else None

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        if self._under_way >= WAITING_MAX:
            raise BusyError("too many passwords wait to be looked at")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        finally:
            self._under_way -= 1


def _yield_to_others() -> None:
    """Where threads have a niceness of their own, the event loop comes before the hashing."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
