"""Show lists that are longer than the screen in a pager, like git: `$PAGER`, else less. A pipe gets the plain list."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from io import UnsupportedOperation
from types import TracebackType
from typing import Self

NONE = ("", "cat")
LESS = "FRX"  # exit if the text fits on a screen, keep colours, and leave the text on the terminal
PROMPT = 2  # lines that a shell needs below the text


class Pager:
    """Take text, and start the pager when the text is longer than a screen. `has_ended` after the user quits it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._without = write  # without a pager, or for a text that fits on the screen
        self._command = _command()
        self._room = shutil.get_terminal_size().lines - PROMPT
        self._held: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self.has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._held and error is None:
            self._without("".join(self._held))
        if self._process is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()  # type: ignore[union-attr]
            _wait(self._process)

    def write(self, text: str) -> None:
        """Show text that consists of whole lines."""
        if not self._command:
            self._without(text)
            return
        self._room -= text.count("\n")
        if self._process is None and self._room >= 0:
            self._held.append(text)
            return
        if self._process is None:
            self._process = self._start()
        with suppress(BrokenPipeError):
            self._process.stdin.write("".join(self._held) + text)  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
            self._held.clear()
            return
        self._held.clear()
        self.has_ended = True

    def _start(self) -> "subprocess.Popen[str]":
        sys.stdout.flush()
        environment = {"LESS": LESS, "LV": "-c", **os.environ}
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, env=environment, encoding="utf-8")


def _command() -> list[str]:
    """Return the words of the pager's command, empty without a pager or without a terminal that can show one."""
    try:
        is_terminal = sys.stdout.isatty() and os.isatty(sys.stdout.fileno())
    except (UnsupportedOperation, ValueError):
        is_terminal = False
    if not is_terminal or os.environ.get("TERM") == "dumb":
        return []
    words = shlex.split(os.environ.get("PAGER", "less"))
    return words if words and words[0] not in NONE and shutil.which(words[0]) else []


def _wait(process: "subprocess.Popen[str]") -> None:
    """Wait until the user quits the pager, which handles Ctrl-C itself."""
    while process.poll() is None:
        with suppress(KeyboardInterrupt):
            process.wait()
