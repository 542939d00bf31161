"""Commands as a shell runs them: in processes of their own, with pipes or at a terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests import forked
from tests.forked import SCRIPT as SCRIPT

PATIENCE = 30  # seconds until a command that hangs is given up
# A session leader that opens a terminal gets it as its own: Ctrl-C and /dev/tty work.
AT_TERMINAL = 'terminal=$1; shift; exec "$@" <"$terminal" >"$terminal" 2>&1'


class Result(NamedTuple):
    code: int
    out: str
    err: str


def search_path() -> str:
    """A PATH on which `fastzero` is the console script."""
    return f"{Path(SCRIPT).parent}:{os.environ['PATH']}"


def script(*words: object, stdin: str | None = "", **options: Any) -> Result:
    """Run the installed console script; with `stdin` None it inherits none at all."""
    done = forked.run(
        [SCRIPT, *map(str, words)],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        **options,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def shell(line: str, program: str = "bash") -> Result:
    """Run a line in a shell for which `fastzero` is the console script."""
    done = subprocess.run(
        [program, "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PATH": search_path()},
    )
    return Result(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A command at a terminal of `columns`, used as a person does: read what it says, type an answer."""

    def __init__(
        self,
        *words: object,
        columns: int = 80,
        environment: Mapping[str, str] | None = None,
        program: str = SCRIPT,
    ) -> None:
        self._screen, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        command = [program, *map(str, words)]
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        variables = {**inherited, "TERM": "xterm-256color", **(environment or {})}
        if not forked.can_be_forked(command, variables):
            command = ["/bin/sh", "-c", AT_TERMINAL, "sh", os.ttyname(slave), *command]
        self._process = forked.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=variables
        )
        self._slave = slave
        self.said = ""
        self._heard = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()
        os.close(self._slave)
        os.close(self._screen)

    def wait_for(self, text: str) -> None:
        """Read until the terminal shows the text, behind what was waited for before."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.said[self._heard :]:
            assert self._read(deadline), f"{text!r} never came: {self.said!r}"
        self._heard = self.said.index(text, self._heard) + len(text)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C until the command ends: one that comes just before a read begins does not wake it."""
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            self.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2)

    def end(self, patience: float = PATIENCE) -> Result:
        """Read until the command has ended."""
        deadline = time.monotonic() + patience
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"it did not end: {self.said!r}"
            self._read(time.monotonic() + 0.05)
        while self._read(time.monotonic() + 0.05):
            pass
        return Result(self._process.returncode, self.said.replace("\r\n", "\n"), "")

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._screen], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the last one at the terminal has gone
            return False
        self.said += data.decode("utf-8", "replace")
        return bool(data)
