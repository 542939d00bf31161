"""A command in a container with this process's own streams: a terminal where there is one, else three pipes."""

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
    """Hand standard input on and print the frames that come, to their end; with `resize` on a raw terminal."""
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
    """Send what `read` yields and its end, hand on what comes. Returns what came on the error stream."""
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
    """What a command is told of this terminal."""
    return {"TERM": "xterm", **{name: os.environ[name] for name in TERMINAL_VARIABLES if name in os.environ}}


def _send(connection: Any) -> None:
    """Hand on what comes on standard input, and its end."""
    # The other side may be gone before we are done: then nobody wants the rest.
    with contextlib.suppress(OSError):
        while data := os.read(sys.stdin.fileno(), CHUNK):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _send_all(connection: Any, chunks: Iterator[bytes]) -> None:
    # A command that ends early says itself why.
    with contextlib.suppress(OSError):
        for chunk in chunks:
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _raw_terminal(resize: Resize) -> Iterator[None]:
    """Every key goes to the command, and the command knows the size of the window."""
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
