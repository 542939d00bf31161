"""Connect a command in a container to this process's streams: to its terminal if it has one, else to three pipes."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Resize = Callable[[int, int], None]
CHUNK = 32 * 1024
TERMINAL_VARIABLES = ("TERM", "COLORTERM", "NO_COLOR")
STDOUT, STDERR = 1, 2  # as the engine numbers streams


def attach(connection: Any, frames: Iterable[tuple[int, bytes]], resize: Resize | None) -> None:
    """Send standard input to a command and print its output until it ends. With `resize`, use a raw terminal."""
    with _raw_terminal(resize) if resize else contextlib.nullcontext():
        threading.Thread(target=_send, args=(connection,), daemon=True).start()
        for number, data in frames:
            out = sys.stderr.buffer if number == STDERR else sys.stdout.buffer
            out.write(data)
            out.flush()


def exchange(
    connection: Any,
    frames: Iterable[tuple[int, bytes]],
    read: Iterator[bytes] | None,
    write: Callable[[bytes], object],
) -> str:
    """Send the chunks of `read` and then end-of-file, and pass output to `write`. Returns what came on stderr."""
    sender = threading.Thread(target=_send_all, args=(connection, read), daemon=True) if read else None
    if sender:
        sender.start()
    said = bytearray()
    for number, data in frames:
        if number == STDERR:
            said += data
        else:
            write(data)
    if sender:
        sender.join()
    return said.decode("utf-8", "replace")


def variables() -> dict[str, str]:
    """Return the environment variables that describe this terminal to a command."""
    return {"TERM": "xterm", **{name: os.environ[name] for name in TERMINAL_VARIABLES if name in os.environ}}


def _send(connection: Any) -> None:
    """Send standard input, and then end-of-file."""
    # The command may end first. Then it does not need the rest.
    with contextlib.suppress(OSError):
        while data := os.read(sys.stdin.fileno(), CHUNK):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _send_all(connection: Any, chunks: Iterator[bytes]) -> None:
    # A command that ends early reports the reason itself.
    with contextlib.suppress(OSError):
        for chunk in chunks:
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _raw_terminal(resize: Resize) -> Iterator[None]:
    """Send every key to the command, and the size of the window to it, for one block."""
    import termios
    import tty

    def fit(*_: object) -> None:
        size = shutil.get_terminal_size()
        resize(size.lines, size.columns)

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    handler = signal.signal(signal.SIGWINCH, fit)
    try:
        tty.setraw(descriptor)
        fit()
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)
