"""A connection of uvicorn's, bounded in what a client may leave unfinished, whether or not it has a token.

uvicorn closes connections that are idle after an answer. It waits for ever for a first request, for the rest of a head,
of a body that the app does not read, and for a client to take its answer; and it keeps whatever comes meanwhile. The
body that the app does read has its own deadline, in `bodies`.
"""

import asyncio
import sys
from functools import cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_SECONDS = 10  # from the first byte of a head to its last
REST_SECONDS = 5  # for the rest of a body, after the answer
TAKE_SECONDS = 60  # for a client to take what it asked for
HEAD_MAX = 64 * 1024  # bytes of a request that are not its body: the head, and the framing of chunks
PIPELINE_MAX = 16  # requests that may wait for the answer to the one before
CONNECTIONS_MAX = 12_000
OTHER_FILES = 200  # that a process needs besides its connections


class PipelineFullError(Exception):
    """A client sends more requests than it takes answers."""


class Connection(HttpToolsProtocol):
    """HTTP over one socket, with deadlines. Whatever is refused here never reaches the app."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._in_body = False
        self._not_body = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _connections_max():
            self._refuse(503)
        # uvicorn's own, which whatever comes in ends; it sets it only after an answer.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._end_deadline()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        self._not_body += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._not_body > HEAD_MAX:
            self._refuse(431)
        elif self._is_waiting() and self._deadline is None:
            self._must_go_on_within(HEAD_SECONDS)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINE_MAX:
            raise PipelineFullError
        self._in_head, self._in_body = False, True
        self._end_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._not_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._not_body = 0
        self._end_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.response_complete:  # else it is one that waits, whose body is still to be read
            self.cycle.body = bytearray()
        super().on_response_complete()
        if self._is_waiting() and (self._in_head or self._in_body):
            self._must_go_on_within(REST_SECONDS if self._in_body else HEAD_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()  # not `close`, which waits until the client has taken what is left

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _is_waiting(self) -> bool:
        """Whether it is the client's turn: no request is being worked on."""
        return not self.cycle or self.cycle.response_complete

    def _must_go_on_within(self, seconds: float) -> None:
        self._end_deadline()
        self._deadline = self.loop.call_later(seconds, self._too_late)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        if self._in_body:  # the answer is given
            self.transport.abort()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        if self._is_waiting():
            retry = b"retry-after: 1\r\n" if status == 503 else b""
            self.transport.write(STATUS_LINE[status] + retry + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.transport.abort()


@cache
def _connections_max() -> int:
    """Return how many connections a process may have: each takes a file."""
    if sys.platform == "win32":
        return CONNECTIONS_MAX
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, files - OTHER_FILES)
