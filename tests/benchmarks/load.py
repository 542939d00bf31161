"""A load generator: some connections that ask, wait for the answer, and ask again."""

import asyncio
import re
import time
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """One request, the same again and again."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    expected: int = 200

    def encoded(self) -> bytes:
        headers = {"Host": "127.0.0.1", "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class UnexpectedAnswerError(Exception):
    """The server did not answer as it should have."""


class _Connection(asyncio.Protocol):
    """Asks until the time is over; `latencies` are in seconds."""

    def __init__(self, request: bytes, expected: bytes, until: float) -> None:
        self._request, self._expected, self._until = request, expected, until
        self._received = b""
        self.latencies: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or length is None or len(body) < int(length[1]):
            return
        now = time.perf_counter()
        self.latencies.append(now - self._asked)
        self._received = b""
        if not head.startswith(self._expected):
            self._end(UnexpectedAnswerError((head + b" " + body[:500]).decode()))
        elif now < self._until:
            self._ask()
        else:
            self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the server ended the connection"))

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
        self._transport.close()


async def load(port: int, request: Request, *, connections: int, seconds: float) -> list[float]:
    """The latency of every request in seconds. Raises UnexpectedAnswerError if one is answered otherwise."""
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    encoded, expected = request.encoded(), f"HTTP/1.1 {request.expected}".encode()
    made = [
        await loop.create_connection(lambda: _Connection(encoded, expected, until), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.ended for _, connection in made))
    return [latency for _, connection in made for latency in connection.latencies]


def seconds_a_request(port: int, request: Request, *, connections: int = 8, seconds: float = 2) -> float:
    """The time that one request takes of the server, when it has nothing else to do."""
    return seconds / len(asyncio.run(load(port, request, connections=connections, seconds=seconds)))
