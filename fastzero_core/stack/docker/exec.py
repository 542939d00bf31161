"""Run commands in a container, with this process's streams or with given ones."""

import math
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from io import BufferedReader
from typing import Any

import docker
import docker.errors
from docker.models.containers import Container
from docker.utils.socket import frames_iter

from ...polling import poll
from ..runtime import cannot_run
from ..steps import shown
from . import terminal
from .containers import CHECK

CHUNK = 32 * 1024
FRAME = struct.Struct(">BxxxL")  # the number of a stream and a length, before each piece of output
REFUSED = b"OCI runtime exec failed"  # an engine's message in place of the output of a command that never started
NOT_FOUND = (b"executable file not found", b"no such file or directory", b"not a directory")
POLL = 0.05  # seconds

Frames = Iterator[tuple[int, bytes]]


def execute(
    api: docker.APIClient,
    container: str,
    command: Sequence[str],
    *,
    interactive: bool,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a command with this process's streams. `environment` is added to its own. Returns its exit code.

    Raises CommandNotFoundError, CommandNotExecutableError.
    """
    variables = {**(terminal.variables() if interactive else {}), **(environment or {})}
    made = api.exec_create(container, list(command), stdin=True, tty=interactive, environment=variables)["Id"]
    stream = api.exec_start(made, tty=interactive, socket=True)

    def resize(rows: int, columns: int) -> None:
        with suppress(docker.errors.APIError):  # a short command may already have ended
            api.exec_resize(made, rows, columns)

    refusal = bytearray()
    with closing(_connection(stream)) as connection, closing(stream):
        frames = _without_refusal(_frames(stream, interactive), refusal)
        terminal.attach(connection, frames, resize if interactive else None)
    ended = _ended(api, made)
    if refusal and not ended["Pid"]:
        raise cannot_run(command[0], found=not any(words in refusal for words in NOT_FOUND))
    sys.stdout.buffer.write(refusal)
    return int(ended["ExitCode"])


def pipe(
    api: docker.APIClient,
    container: str,
    command: Sequence[str],
    read: Iterator[bytes] | None,
    write: Callable[[bytes], Any],
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command with the chunks of `read` as input, and pass its output to `write`.

    `environment` is added to that of the container. Returns the exit code and stderr.
    """
    made = api.exec_create(container, list(command), stdin=read is not None, environment=dict(environment or {}))["Id"]
    stream = api.exec_start(made, socket=True)
    with closing(_connection(stream)) as connection, closing(stream):
        said = terminal.exchange(connection, _frames(stream, False), read, write)
    return int(_ended(api, made)["ExitCode"]), said


def run(api: docker.APIClient, container: str, write: Callable[[bytes], Any]) -> str:
    """Start a container, and pass its output to `write` until it ends. Returns its stderr."""
    stream = api.attach_socket(container, params={"stdout": 1, "stderr": 1, "stream": 1})
    with closing(_connection(stream)) as connection, closing(stream):
        api.start(container)
        return terminal.exchange(connection, _frames(stream, False), None, write)


def failure(api: docker.APIClient, container: Container, command: Sequence[str]) -> str:
    """Run a health check in a container, with the timeout of the engine's own check.

    Returns why it failed, "" if it succeeded.
    """
    said = shown(command)
    try:
        made = api.exec_create(str(container.id), list(command))["Id"]
        api.exec_start(made, detach=True)
    except docker.errors.APIError as error:
        return f"`{said}` cannot be run: {error.explanation}"
    ended = poll(lambda: _state(api, made), CHECK["timeout"], every=POLL)
    if ended is None:
        return f"`{said}` did not end within {CHECK['timeout']} s"
    return f"`{said}` ends with exit code {ended['ExitCode']}" if ended["ExitCode"] else ""


def _connection(stream: Any) -> Any:
    return getattr(stream, "_sock", stream)


def _frames(stream: Any, tty: bool) -> Frames:
    """Yield the output as pairs of stream number and data, including output that arrived with the response's headers.

    The SDK reads only from the socket and loses what its HTTP client has read ahead: all output of a short command.
    """
    response = getattr(stream, "_response", None)
    reader = response.raw._fp.fp if response is not None else None
    if not isinstance(reader, BufferedReader):  # the connection is not a socket, but SSH or a named pipe
        return frames_iter(stream, tty)  # type: ignore[no-any-return, no-untyped-call]
    _connection(stream).settimeout(None)  # a command may be silent for any length of time
    return _chunks(reader) if tty else _unpacked(reader)


def _chunks(reader: BufferedReader) -> Frames:
    while data := reader.read1(CHUNK):
        yield terminal.STDOUT, data


def _unpacked(reader: BufferedReader) -> Frames:
    while len(head := reader.read(FRAME.size)) == FRAME.size:
        number, length = FRAME.unpack(head)
        while length and (data := reader.read1(min(length, CHUNK))):
            length -= len(data)
            yield number, data


def _without_refusal(frames: Frames, refusal: bytearray) -> Frames:
    """Yield the frames. A first frame that may be the engine's own message is added to `refusal` instead."""
    for position, (number, data) in enumerate(frames):
        if position == 0 and data.startswith(REFUSED):
            refusal += data
        else:
            yield number, data


def _ended(api: docker.APIClient, made: str) -> dict[str, Any]:
    """Wait until a command has ended, which may be a moment after its output. Returns its state on the engine."""
    state = poll(lambda: _state(api, made), math.inf, every=POLL)
    assert state is not None, "it is waited for without a limit"
    return state


def _state(api: docker.APIClient, made: str) -> dict[str, Any] | None:
    """Return the engine's state of a command, None while it runs."""
    state: dict[str, Any] = api.exec_inspect(made)
    return None if state["Running"] else state
