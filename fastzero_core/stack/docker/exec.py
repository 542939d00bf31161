"""Commands in a container: with this process's own streams, or with streams that are handed over."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

import docker
import docker.errors
from docker.utils.socket import frames_iter

from . import terminal


def execute(api: docker.APIClient, container: str, command: Sequence[str], *, interactive: bool) -> int:
    variables = terminal.variables() if interactive else {}
    made = api.exec_create(container, list(command), stdin=True, tty=interactive, environment=variables)["Id"]
    stream = api.exec_start(made, tty=interactive, socket=True)

    def resize(rows: int, columns: int) -> None:
        with suppress(docker.errors.APIError):  # a short command may have ended by now
            api.exec_resize(made, rows, columns)

    frames = frames_iter(stream, interactive)  # type: ignore[no-untyped-call]
    terminal.attach(getattr(stream, "_sock", stream), frames, resize if interactive else None)
    return int(api.exec_inspect(made)["ExitCode"])


def pipe(
    api: docker.APIClient,
    container: str,
    command: Sequence[str],
    read: Iterator[bytes] | None,
    write: Callable[[bytes], Any],
) -> tuple[int, str]:
    """Run a command that reads the chunks of `read`; `write` is handed its output. Returns exit code and stderr."""
    made = api.exec_create(container, list(command), stdin=read is not None)["Id"]
    stream = api.exec_start(made, socket=True)
    with closing(getattr(stream, "_sock", stream)) as connection, closing(stream):
        frames = frames_iter(stream, False)  # type: ignore[no-untyped-call]
        said = terminal.exchange(connection, frames, read, write)
    return int(api.exec_inspect(made)["ExitCode"]), said
