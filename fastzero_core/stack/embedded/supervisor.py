"""Run a process, and restart it when it ends, as a container engine does.

This is a separate program, started as a file, which imports nothing of fastzero:

    supervisor.py STATE POLICY RETRIES COMMAND…

STATE is the file for the state of the process, as JSON: `pid`, 0 while it does not run; `restarts`, the number of
restarts; `ended`, how it last ended, "" if it has not ended yet. Signals to stop this program are forwarded to the
process, which ends first.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Set
from contextlib import suppress
from typing import NoReturn

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
FIRST_DELAY, LONGEST_DELAY = 0.1, 60.0  # seconds before a restart; the delay doubles each time
RAN = 10.0  # seconds; after a run of this length, delays and retries start again from the beginning
PR_SET_PDEATHSIG = 1  # https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
KILLED_BY = 128  # a shell's exit code is this plus the signal's number
CANNOT_RUN = 127


class Supervisor:
    """Supervises one process."""

    def __init__(self, state: str, policy: str, retries: int, command: list[str]) -> None:
        self._state, self._policy, self._retries, self._command = state, policy, retries, command
        self._pid = self._restarts = self._in_a_row = 0
        self._ended = ""
        self._is_stopping = False

    def run(self) -> int:
        """Run the process until its policy does not restart it. Returns its last exit code, as a shell reports it."""
        for number in FORWARDED:
            signal.signal(number, self._forward)
        while True:
            began = time.monotonic()
            code = self._run_once()
            if time.monotonic() - began >= RAN:
                self._in_a_row = 0
            if not self._is_wanted_again(code):
                self._write()
                return code
            delay = min(FIRST_DELAY * 2**self._in_a_row, LONGEST_DELAY)
            self._restarts += 1
            self._in_a_row += 1
            self._write()
            _say(f"it ended with {self._ended}; it is started again in {delay:g} s")
            time.sleep(delay)

    def _run_once(self) -> int:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until the pid is known, to forward them to
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._become(parent, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._write()
        status = self._wait()
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        self._ended = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return code if code >= 0 else KILLED_BY - code

    def _wait(self) -> int:
        """Wait until the process ends. As the first process of a container this one inherits others, which end too."""
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self._pid:
                return status

    def _become(self, parent: int, mask: "Set[signal.Signals | int]") -> NoReturn:
        """Replace the child with the program of the process."""
        try:
            _die_with(parent)
            for number in FORWARDED:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execvp(self._command[0], self._command)  # noqa: S606 - its words are the description's
        except OSError as error:
            _say(f"{self._command[0]} cannot be run: {error.strerror}")
        os._exit(CANNOT_RUN)

    def _is_wanted_again(self, code: int) -> bool:
        if self._is_stopping:
            return False
        return self._policy == "always" or (code != 0 and self._in_a_row < self._retries)

    def _forward(self, number: int, _: object) -> None:
        self._is_stopping = True
        if not self._pid:
            raise SystemExit(KILLED_BY + number)
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def _write(self) -> None:
        told = {"pid": self._pid, "restarts": self._restarts, "ended": self._ended}
        with (
            suppress(OSError),  # a full disk must not end a running process
            open(f"{self._state}.new", "w", encoding="utf-8") as file,  # noqa: PTH123 - importing pathlib takes longer
        ):
            json.dump(told, file)
            file.flush()
            os.replace(file.name, self._state)  # noqa: PTH105


def _say(text: str) -> None:
    with suppress(OSError):  # a full disk must not end a running process
        sys.stderr.write(f"fastzero: {text}\n")


def _die_with(parent: int) -> None:
    """Let the system kill this process when its parent dies, on Linux only: it would run without a supervisor."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(KILLED_BY + signal.SIGKILL)


if __name__ == "__main__":
    state, policy, retries, *command = sys.argv[1:]
    raise SystemExit(Supervisor(state, policy, int(retries), command).run())
