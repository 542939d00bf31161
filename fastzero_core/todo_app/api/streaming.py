"""Stream files of todos, page by page: a slow client holds no connection to the database, and few todos in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.responses import StreamingResponse
from sqlalchemy.util import await_only, greenlet_spawn

from ...errors import BusyError
from ..models import Todo

PAGE = 250  # todos: formatting them takes some milliseconds, in which no other request is answered
STREAMS_MAX = 16  # at once in a worker: each has up to a page of todos in memory
_CHUNK = 64 * 1024  # characters

NextPage = Callable[[Todo | None, int], Coroutine[Any, Any, list[Todo]]]
"""Return the page of todos after one, with this many at most."""

_open = 0


def todos_of(next_page: NextPage, most: int | None = None) -> Iterator[Todo]:
    """Yield todos page by page, at most `most`. For a greenlet: it waits for each page."""
    after: Todo | None = None
    left = most
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = await_only(next_page(after, size))
        yield from page
        if len(page) < size:
            return
        after = page[-1]
        left = None if left is None else left - size


async def stream(lines: Iterator[str], media_type: str, headers: dict[str, str]) -> StreamingResponse:
    """Return a response that streams lines. Raises BusyError, and the errors of the first page.

    If a later page fails, the connection is closed, so that the client knows that the file is not complete.
    """
    if _open >= STREAMS_MAX:
        raise BusyError("too many files are streamed at once")
    with _counted():
        first = await greenlet_spawn(_chunk, lines)
    return StreamingResponse(_chunks(first, lines), media_type=media_type, headers=headers)


async def _chunks(first: bytes, lines: Iterator[str]) -> AsyncIterator[bytes]:
    with _counted():
        chunk = first
        while chunk:
            yield chunk
            await asyncio.sleep(0)  # let other requests be answered
            chunk = await greenlet_spawn(_chunk, lines)


@contextmanager
def _counted() -> Iterator[None]:
    """Count a stream while its chunks are made; also the first one, since many requests may wait for theirs at once."""
    global _open
    _open += 1
    try:
        yield
    finally:
        _open -= 1


def _chunk(lines: Iterator[str]) -> bytes:
    parts, size = [], 0
    for line in lines:
        parts.append(line)
        size += len(line)
        if size >= _CHUNK:
            break
    return "".join(parts).encode()
