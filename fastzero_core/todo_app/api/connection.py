"""A connection of uvicorn's, bounded in what a client may leave unfinished, whether or not it has a token.

uvicorn closes connections that are idle after an answer. It waits for ever for a first request, for the rest of a head,
of a body that the app does not read, and for a client to take its answer; and it keeps whatever comes meanwhile. The
body that the app does read has its own deadline, in `bodies`.

The limits are such that the most connections there may be, all as full as they may be, fit into the app's container.
"""

import asyncio
import sys
from functools import cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_SECONDS = 10  # from the first byte of a head to its last
REST_SECONDS = 5  # for the rest of a body, after the answer
TAKE_SECONDS = 60  # for a client to take what it asked for
HEAD_MAX = 16 * 1024  # bytes of a request that are not its body: the head, and the framing of chunks
HEADERS_MAX = 100
PIPELINE_MAX = 16  # requests that may wait for the answer to the one before
UNFINISHED_MAX = 1000  # connections whose client has begun to send something: heads, and the rest of refused bodies
UNSENT_MAX = 64 * 1024 * 1024  # bytes of answers that all clients together have still to take
CONNECTIONS_MAX = 12_000
OTHER_FILES = 200  # that a process needs besides its connections


# The slowest client is the first of these, and the first to be given up.
_unfinished: dict["Connection", asyncio.TimerHandle] = {}
_unsent: dict["Connection", int] = {}  # bytes


class RefusedHeadError(Exception):
    """A head that no request should have, or one more than may wait."""


class Connection(HttpToolsProtocol):
    """HTTP over one socket, with deadlines. Whatever is refused here never reaches the app."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._in_body = False
        self._not_body = 0
        self._head = 0
        self._hosts = 0
        self._deferred: tuple[Any, Any] | None = None
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
        elif self._is_waiting() and self not in _unfinished:
            self._must_go_on_within(HEAD_SECONDS)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head = self._hosts = 0

    def on_url(self, url: bytes) -> None:
        self._head += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        self._hosts += name.lower() == b"host"
        super().on_header(name, value)
        if self._is_head_too_large():
            raise RefusedHeadError

    def on_headers_complete(self) -> None:
        if not self._names_one_host() or self._is_pipeline_full():
            raise RefusedHeadError
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

    def send_400_response(self, msg: str) -> None:
        if self._is_head_too_large():
            self._refuse(431)
        else:
            super().send_400_response(msg)

    def _unsupported_upgrade_warning(self) -> None:
        self.cycle.keep_alive = False  # the parser takes what follows for another protocol

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._taking is None:
            super()._start_asgi_task(cycle, app)
        else:  # its answer would be kept beside the one that the client does not take
            self._deferred = cycle, app

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(TAKE_SECONDS, self.transport.abort)
        _unsent[self] = self.transport.get_write_buffer_size()
        while sum(_unsent.values()) > UNSENT_MAX:
            slowest = next(iter(_unsent))
            del _unsent[slowest]
            slowest.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        _unsent.pop(self, None)
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        if self._deferred is not None and not self.transport.is_closing():
            super()._start_asgi_task(*self._deferred)
        self._deferred = None

    def _is_waiting(self) -> bool:
        """Whether it is the client's turn: no request is being worked on."""
        return not self.cycle or self.cycle.response_complete

    def _is_head_too_large(self) -> bool:
        return self._head > HEAD_MAX or len(self.headers) > HEADERS_MAX

    def _names_one_host(self) -> bool:
        """Whether nobody on the way can take the request for one to another host: RFC 9112, 3.2."""
        return self._hosts == 1 or (self._hosts == 0 and self.parser.get_http_version() != "1.1")

    def _is_pipeline_full(self) -> bool:
        heads = (cycle.scope["headers"] for cycle, _ in self.pipeline)
        kept = sum(len(name) + len(value) for headers in heads for name, value in headers)
        return len(self.pipeline) >= PIPELINE_MAX or kept > HEAD_MAX

    def _must_go_on_within(self, seconds: float) -> None:
        self._end_deadline()
        _unfinished[self] = self.loop.call_later(seconds, self._too_late)
        if len(_unfinished) > UNFINISHED_MAX:
            next(iter(_unfinished))._too_late()

    def _end_deadline(self) -> None:
        if self in _unfinished:
            _unfinished.pop(self).cancel()

    def _too_late(self) -> None:
        self._end_deadline()
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
