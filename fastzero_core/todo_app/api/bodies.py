"""Reading the body of a request: bounded in bytes, in time and in what all requests together keep in memory."""

import asyncio
from dataclasses import dataclass

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from ...errors import BusyError

SECONDS = 10  # for a body, and more of them as it comes in:
BYTES_A_SECOND = 64 * 1024
SMALL = 16 * 1024  # bytes that count for nothing: as many connections as there may be can have them
UNFINISHED_MAX = 500  # bodies that may be under way at once
TOO_LARGE = "The body has more than {} bytes"
TOO_SLOW = "The body did not come in time"


_unfinished: dict["Body", asyncio.Timeout] = {}  # the one that began first is the first


@dataclass
class Budget:
    """Bytes that the bodies of all requests under way may have together."""

    left: int

    def take(self, size: int) -> None:
        """Raise BusyError if so much is not left."""
        if size > self.left:
            raise BusyError("too many large bodies at once")
        self.left -= size


class Body:
    """The body of one request. `close` gives back what it took of the budget."""

    def __init__(self, budget: Budget, limit: int) -> None:
        self._budget = budget
        self._limit = limit
        self._taken = 0

    async def read(self, request: Request) -> Request:
        """Return the request with its body in memory.

        Raises HTTPException 413 for too many bytes and 408 for too few a second, or as the slowest of too many bodies;
        BusyError if the budget is used up.
        """
        body = bytearray()
        loop = asyncio.get_running_loop()
        until = loop.time() + SECONDS
        try:
            async with asyncio.timeout_at(until) as timeout:
                self._begin(timeout)
                async for chunk in request.stream():
                    body += chunk
                    self._check(len(body))
                    timeout.reschedule(until + len(body) / BYTES_A_SECOND)
        except TimeoutError:
            raise HTTPException(408, TOO_SLOW, {"Connection": "close"}) from None
        except ClientDisconnect:
            raise HTTPException(408, TOO_SLOW) from None  # nobody reads it but the log
        finally:
            _unfinished.pop(self, None)
        return Request(request.scope, _whole(bytes(body)))

    def close(self) -> None:
        self._budget.left += self._taken
        self._taken = 0

    def _begin(self, timeout: asyncio.Timeout) -> None:
        _unfinished[self] = timeout
        if len(_unfinished) > UNFINISHED_MAX:
            slowest = _unfinished.pop(next(iter(_unfinished)))
            if not slowest.expired():
                slowest.reschedule(0)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise HTTPException(413, TOO_LARGE.format(self._limit))
        more = size - SMALL - self._taken
        if more > 0:
            self._budget.take(more)
            self._taken += more


def _whole(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
