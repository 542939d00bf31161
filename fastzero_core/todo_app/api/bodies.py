"""Read request bodies with limits on size, time, and the memory of all requests together."""

import asyncio
from dataclasses import dataclass

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from ...errors import BusyError

SECONDS = 10  # to receive a body, extended as it arrives:
BYTES_PER_SECOND = 64 * 1024
SMALL = 16 * 1024  # bytes of each body that the budget does not count: memory suffices for them on all connections
UNFINISHED_MAX = 500  # bodies that are received at once
TOO_LARGE = "The body is larger than {} bytes"
TOO_SLOW = "The body was not received in time"


_unfinished: dict["Body", asyncio.Timeout] = {}  # oldest first


@dataclass
class Budget:
    """The bytes that remain for the bodies of all current requests together."""

    left: int

    def take(self, size: int) -> None:
        """Take `size` bytes. Raises BusyError if fewer are left."""
        if size > self.left:
            raise BusyError("too many large bodies at once")
        self.left -= size


class Body:
    """The body of one request. `close` returns its bytes to the budget."""

    def __init__(self, budget: Budget, limit: int) -> None:
        self._budget = budget
        self._limit = limit
        self._taken = 0

    async def read(self, request: Request) -> Request:
        """Return the request with its body in memory.

        Raises HTTPException 413 if it is too large, 408 if it arrives too slowly or is the oldest of too many bodies;
        BusyError if the budget is used up.
        """
        body = bytearray()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SECONDS
        try:
            async with asyncio.timeout_at(deadline) as timeout:
                self._begin(timeout)
                async for chunk in request.stream():
                    body += chunk
                    self._check(len(body))
                    timeout.reschedule(deadline + len(body) / BYTES_PER_SECOND)
        except TimeoutError:
            raise HTTPException(408, TOO_SLOW, {"Connection": "close"}) from None
        except ClientDisconnect:
            raise HTTPException(408, TOO_SLOW) from None  # only for the log
        finally:
            _unfinished.pop(self, None)
        return Request(request.scope, _replay(bytes(body)))

    def close(self) -> None:
        self._budget.left += self._taken
        self._taken = 0

    def _begin(self, timeout: asyncio.Timeout) -> None:
        _unfinished[self] = timeout
        if len(_unfinished) > UNFINISHED_MAX:
            oldest = _unfinished.pop(next(iter(_unfinished)))
            if not oldest.expired():
                oldest.reschedule(0)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise HTTPException(413, TOO_LARGE.format(self._limit))
        more = size - SMALL - self._taken
        if more > 0:
            self._budget.take(more)
            self._taken += more


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
