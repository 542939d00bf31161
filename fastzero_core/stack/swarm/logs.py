"""Read the logs of a service's tasks through a manager, wherever they run: each line with its task."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any

import docker

from ..docker.engine import UNREACHABLE
from ..lines import STREAMS, LogLine, moment_of

SILENCE = 5  # seconds
TASK_ID = "com.docker.swarm.task.id"


def lines_of(
    api: docker.APIClient, service: str, names: Mapping[str, str], tail: int | None, since: datetime | None, name: str
) -> list[LogLine]:
    """Return the lines of all tasks of a service. `names` are those of the tasks, by id, `name` that of others.

    An engine that waits for the log of a task which is just stopping may wait forever: it gets SILENCE seconds.
    """
    limits: dict[str, Any] = {"tail": "all" if tail is None else tail, "since": int(since.timestamp()) if since else 0}
    queue: SimpleQueue[LogLine | None] = SimpleQueue()

    def feed(stream: str) -> None:
        with suppress(*UNREACHABLE):  # it is closed after the silence
            for line in _decoded(_open(api, service, stream, follow=False, **limits), stream, names, name):
                queue.put(line)
        queue.put(None)

    for stream in STREAMS:
        threading.Thread(target=feed, args=(stream,), daemon=True).start()
    return [line for line in _until_silent(queue) if since is None or line.time is None or line.time >= since]


def _until_silent(queue: "SimpleQueue[LogLine | None]") -> Iterator[LogLine]:
    """Yield lines until both streams have ended, or none came for a while."""
    ended = 0
    while ended < len(STREAMS):
        try:
            line = queue.get(timeout=SILENCE)
        except Empty:
            return
        if line is None:
            ended += 1
        else:
            yield line


def text_of(api: docker.APIClient, service: str, tail: int) -> str:
    """Return the last lines that a service's tasks wrote."""
    lines = lines_of(api, service, {}, tail, None, "")
    return "\n".join(line.text for line in sorted(lines, key=lambda line: str(line.time)))


def follow(
    api: docker.APIClient, chosen: Sequence[tuple[str, Mapping[str, str], str]], since: float
) -> Iterator[LogLine]:
    """Yield the lines that services write from `since` on. Each is an id, the names of its tasks, and its own name."""
    queue: SimpleQueue[LogLine] = SimpleQueue()

    def feed(service: str, names: Mapping[str, str], name: str, stream: str) -> None:
        chunks = _open(api, service, stream, follow=True, tail=0, since=int(since))
        for line in _decoded(chunks, stream, names, name):
            queue.put(line)

    for each in chosen:
        for stream in STREAMS:
            threading.Thread(target=feed, args=(*each, stream), daemon=True).start()
    while True:
        yield queue.get()


def _open(api: docker.APIClient, service: str, stream: str, **limits: Any) -> Iterator[bytes]:
    chunks: Iterator[bytes] = api.service_logs(
        service,
        details=True,
        stdout=stream == "stdout",
        stderr=stream == "stderr",
        timestamps=True,
        is_tty=False,
        **limits,
    )
    return chunks


def _decoded(chunks: Iterator[bytes], stream: str, names: Mapping[str, str], name: str) -> Iterator[LogLine]:
    """Yield lines. Before each is its time, and details of its task as `name=value,name=value`."""
    for chunk in chunks:
        moment, _, rest = chunk.decode("utf-8", "replace").rstrip("\n").partition(" ")
        details, _, text = rest.partition(" ")
        task = dict(each.partition("=")[::2] for each in details.split(",")).get(TASK_ID, "")
        yield LogLine(names.get(task, name), stream, text, moment_of(moment))
