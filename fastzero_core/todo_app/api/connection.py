"""A uvicorn connection with deadlines and limits for what a client leaves unfinished, with or without a token.

uvicorn closes connections that are idle after a response. It has no timeout for the first request, for the rest of a
head or of a body that the app does not read, nor for a client to receive its response; and it buffers whatever arrives
in that time. A body that the app reads has its own deadline, in `bodies`.

With these limits, the maximum number of connections with full buffers fits into the memory of the app's container.
"""

import asyncio
import sys
from functools import cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_SECONDS = 10  # from the first byte of a head to its last
REST_SECONDS = 5  # for the rest of a body after the response
SEND_SECONDS = 60  # for a client to receive its response
HEAD_MAX = 16 * 1024  # bytes of a request without its body: the head and the framing of chunks
HEADERS_MAX = 100
END_STREAM = "fastzero.end_stream"  # in the scope: ends a response that otherwise stays open
PIPELINE_MAX = 16  # pipelined requests that wait for the response to an earlier one
UNFINISHED_MAX = 1000  # connections that are sending a head, or the rest of a refused body
UNSENT_MAX = 64 * 1024 * 1024  # bytes of responses that all clients together have not received yet
CONNECTIONS_MAX = 12_000
OTHER_FILES = 200  # file descriptors that a process needs besides its connections


# Oldest first: when there are too many, the connection that has waited longest is closed.
_unfinished: dict["Connection", asyncio.TimerHandle] = {}
_unsent: dict["Connection", int] = {}  # bytes


class RefusedHeadError(Exception):
    """The head of a request is invalid or too large, or too many requests are pipelined."""


class Connection(HttpToolsProtocol):
    """HTTP on one socket, with deadlines. Requests that are refused here do not reach the app."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._in_body = False
        self._overhead = 0  # bytes received that are not part of a body
        self._head = 0  # bytes
        self._hosts = 0
        self._deferred: tuple[Any, Any] | None = None
        self._send_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _connections_max():
            self._refuse(503)
        # uvicorn's own timer, which any data cancels. uvicorn starts it only after a response.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._cancel_deadline()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        self._overhead += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._overhead > HEAD_MAX:
            self._refuse(431)
        elif self._is_idle() and self not in _unfinished:
            self._start_deadline(HEAD_SECONDS)

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
        if not self._has_one_host() or self._is_pipeline_full():
            raise RefusedHeadError
        self._in_head, self._in_body = False, True
        self._cancel_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._overhead = 0
        self._cancel_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.response_complete:  # else it is a pipelined request whose body is still to be read
            self.cycle.body = bytearray()
        super().on_response_complete()
        if self._is_idle() and (self._in_head or self._in_body):
            self._start_deadline(REST_SECONDS if self._in_body else HEAD_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()  # not `close`, which waits until the client has received the rest

    def shutdown(self) -> None:
        super().shutdown()
        if self.cycle and not self.cycle.response_complete:
            end: Any = self.cycle.scope.get(END_STREAM)
            if end is not None:
                end()

    def send_400_response(self, msg: str) -> None:
        if self._is_head_too_large():
            self._refuse(431)
        else:
            super().send_400_response(msg)

    def _unsupported_upgrade_warning(self) -> None:
        self.cycle.keep_alive = False  # the parser treats what follows as another protocol

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._send_deadline is None:
            super()._start_asgi_task(cycle, app)
        else:  # its response would be buffered in addition to the one that the client does not receive
            self._deferred = cycle, app

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_deadline = self.loop.call_later(SEND_SECONDS, self.transport.abort)
        _unsent[self] = self.transport.get_write_buffer_size()
        while sum(_unsent.values()) > UNSENT_MAX:
            oldest = next(iter(_unsent))
            del _unsent[oldest]
            oldest.transport.abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        _unsent.pop(self, None)
        if self._send_deadline is not None:
            self._send_deadline.cancel()
            self._send_deadline = None
        if self._deferred is not None and not self.transport.is_closing():
            super()._start_asgi_task(*self._deferred)
        self._deferred = None

    def _is_idle(self) -> bool:
        """Return whether no request is being handled, so that the client has to send something."""
        return not self.cycle or self.cycle.response_complete

    def _is_head_too_large(self) -> bool:
        return self._head > HEAD_MAX or len(self.headers) > HEADERS_MAX

    def _has_one_host(self) -> bool:
        """Return whether the Host header is valid (RFC 9112, 3.2), so that all proxies see the same host."""
        return self._hosts == 1 or (self._hosts == 0 and self.parser.get_http_version() != "1.1")

    def _is_pipeline_full(self) -> bool:
        heads = (cycle.scope["headers"] for cycle, _ in self.pipeline)
        buffered = sum(len(name) + len(value) for headers in heads for name, value in headers)
        return len(self.pipeline) >= PIPELINE_MAX or buffered > HEAD_MAX

    def _start_deadline(self, seconds: float) -> None:
        self._cancel_deadline()
        _unfinished[self] = self.loop.call_later(seconds, self._time_out)
        if len(_unfinished) > UNFINISHED_MAX:
            next(iter(_unfinished))._time_out()

    def _cancel_deadline(self) -> None:
        if self in _unfinished:
            _unfinished.pop(self).cancel()

    def _time_out(self) -> None:
        self._cancel_deadline()
        if self._in_body:  # the response is already sent
            self.transport.abort()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        if self._is_idle():
            retry = b"retry-after: 1\r\n" if status == 503 else b""
            self.transport.write(STATUS_LINE[status] + retry + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.transport.abort()


@cache
def _connections_max() -> int:
    """Return the maximum number of connections of a process. Each takes a file descriptor."""
    if sys.platform == "win32":
        return CONNECTIONS_MAX
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, files - OTHER_FILES)
