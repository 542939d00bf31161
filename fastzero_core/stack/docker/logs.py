"""Read the logs of containers: complete lines, each with its stream, ordered by time."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

from docker.models.containers import Container
from docker.types import CancellableStream

from ..lines import STREAMS, LogLine, moment_of
from .engine import GONE

BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def lines_of(
    name: str, container: Container, tail: int | None, since: datetime | None, until: float | None = None
) -> list[LogLine]:
    """Return the lines that a container has logged, its two streams merged by time; at most the last `tail` lines."""
    started = since.timestamp() if since else None
    lines = [
        LogLine(name, stream, text, moment_of(moment))
        for stream in STREAMS
        for moment, text in _decoded(_stream(container, stream, tail=tail, since=started, until=until))
    ]
    ordered = in_order(lines)
    return ordered if tail is None else ordered[max(0, len(ordered) - tail) :]


def in_order(lines: Iterable[LogLine]) -> list[LogLine]:
    """Return lines ordered by time, those without a time first."""
    return sorted(lines, key=lambda line: line.time or BEFORE_ALL)


def follow(chosen: Sequence[tuple[str, Container]], since: float) -> Iterator[LogLine]:
    """Yield the lines that are logged after `since`, in seconds since the epoch, until the last container ends."""
    queue: SimpleQueue[LogLine | None] = SimpleQueue()
    streams = [
        (name, stream, _stream(container, stream, since=since, follow=True))
        for name, container in chosen
        for stream in STREAMS
    ]
    try:
        for each in streams:
            threading.Thread(target=_feed, args=(queue, *each), daemon=True).start()
        open_streams = len(streams)
        while open_streams:
            line = queue.get()
            if line is None:
                open_streams -= 1
            else:
                yield line
    finally:
        for _, _, chunks in streams:
            chunks.close()
    # The SDK does not report a lost connection: the stream just ends. This call raises if the engine is gone.
    for _, container in chosen:
        with suppress(GONE):
            container.reload()


def _feed(queue: "SimpleQueue[LogLine | None]", name: str, stream: str, chunks: "CancellableStream[bytes]") -> None:
    for moment, text in _decoded(chunks):
        queue.put(LogLine(name, stream, text, moment_of(moment)))
    queue.put(None)


def _stream(container: Container, stream: str, *, follow: bool = False, **limits: Any) -> "CancellableStream[bytes]":
    tail = limits.pop("tail", None)
    chunks: CancellableStream[bytes] = container.logs(
        stdout=stream == "stdout",
        stderr=stream == "stderr",
        stream=True,
        follow=follow,
        timestamps=True,
        tail="all" if tail is None else tail,
        **limits,
    )
    return chunks


def _decoded(chunks: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """Yield lines with their time. The engine splits long lines, even in a character, and adds a time to each part."""
    began, line = "", b""
    for chunk in chunks:
        moment, _, part = chunk.partition(b" ")
        began = began or moment.decode()
        line += part
        if line.endswith(b"\n"):
            yield began, line[:-1].decode("utf-8", "replace")
            began, line = "", b""
    if line:
        yield began, line.decode("utf-8", "replace")
