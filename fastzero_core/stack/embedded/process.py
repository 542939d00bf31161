"""Local processes that outlive the command which started them: start, find again, stop, read their logs.

A process is known by its pid *and* its start time, so that a reused pid is never taken for it. It waits at a gate
until its record is written: there is no moment in which it runs and nobody can find it.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import dropwhile
from pathlib import Path
from typing import Any

import psutil

from ...files import make_folder, write_atomically
from ...polling import wait_until
from ...postgres.account import ServiceUser
from ..lines import STREAMS, LogLine

LOG_MAX = 10 * 2**20  # bytes; a longer log is set aside when its service starts
_LEADING_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
SAME_MOMENT = 1.0  # seconds; start times are computed from a clock that may be set

# The shell waits for a line and becomes the program; if its parent dies first, it reads the end and leaves.
_GATE = 'read -r go && exec "$@" </dev/null'


@dataclass(frozen=True)
class ProcessRecord:
    """What is written down of a process. `created` is seconds since the epoch."""

    pid: int
    created: float
    config_hash: str = ""
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def started_at(self) -> datetime:
        return datetime.fromtimestamp(self.created, UTC)


class Processes:
    """The local processes of one project, by name."""

    def __init__(self, folder: Path) -> None:
        self._records = folder / "processes"
        self._logs = folder / "logs"

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        config_hash: str = "",
        document: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        user: ServiceUser | None = None,
    ) -> ProcessRecord:
        """Start a process in a session and process group of its own, its output going to its logs."""
        make_folder(self._logs, 0o700)
        with self._open_log(name, "stdout") as out, self._open_log(name, "stderr") as err:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, name, *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd="/",
                env=None if environment is None else dict(environment),
                start_new_session=True,
                **(user.popen_options() if user else {}),
            )
        child.returncode = 0  # or subprocess would warn that it outlives us, as it is meant to
        assert child.stdin is not None
        with child.stdin as gate:
            created = psutil.Process(child.pid).create_time()
            record = ProcessRecord(child.pid, created, config_hash, dict(document or {}))
            write_atomically(self._record_file(name), json.dumps(asdict(record)))
            gate.write(b"go\n")
        return record

    def recorded(self, name: str) -> ProcessRecord | None:
        """What was started under this name and not stopped by us, whether or not it still runs."""
        try:
            return ProcessRecord(**json.loads(self._record_file(name).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def find(self, name: str) -> ProcessRecord | None:
        """The process that runs under this name, or None."""
        record = self.recorded(name)
        return record if record and is_alive(record) else None

    def stop(self, name: str, *, stop_signal: int = signal.SIGTERM, timeout: float = 10) -> bool:
        """Ask the process to end, and after `timeout` seconds kill its group. Returns whether it ended by itself."""
        record = self.find(name)
        ended = True
        if record:
            with suppress(ProcessLookupError):
                os.kill(record.pid, stop_signal)
                os.killpg(record.pid, signal.SIGCONT)  # one that is suspended would not hear of it
            ended = wait_until(lambda: not is_alive(record), timeout)
            if not ended:
                with suppress(ProcessLookupError):
                    os.killpg(record.pid, signal.SIGKILL)
                wait_until(lambda: not is_alive(record), timeout)
        self.forget(name)
        return ended

    def forget(self, name: str) -> None:
        self._record_file(name).unlink(missing_ok=True)

    def log_file(self, name: str, stream: str) -> Path:
        return self._logs / f"{name}.{stream}.log"

    def logs(
        self,
        names: Sequence[str],
        *,
        tail: int | None = None,
        follow: bool = False,
        since: datetime | None = None,
    ) -> Iterator[LogLine]:
        """The lines of these processes' logs, the last `tail` of each; with `follow` also those to come, for ever.

        `since` goes by the time that a line begins with, as PostgreSQL and the app write it; a line without one
        belongs to the line before.
        """
        readers = [_LogReader(name, stream, self.log_file(name, stream)) for name in names for stream in STREAMS]
        for reader in readers:
            lines = [*reader.new_lines(), *([] if follow else reader.last_words())]
            if since is not None:
                lines = list(dropwhile(partial(_is_before, since), lines))
            yield from lines if tail is None else lines[len(lines) - tail if tail < len(lines) else 0 :]
        while follow:
            new = [line for reader in readers for line in reader.new_lines()]
            yield from new
            if not new:
                time.sleep(0.1)

    def _record_file(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _open_log(self, name: str, stream: str) -> Any:
        path = self.log_file(name, stream)
        if path.exists() and path.stat().st_size > LOG_MAX:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")


class _LogReader:
    """Reads whole lines as they come, and again from the beginning of a log that was set aside."""

    def __init__(self, name: str, stream: str, path: Path) -> None:
        self._name, self._stream, self._path = name, stream, path
        self._offset = 0
        self._rest = b""

    def new_lines(self) -> Iterator[LogLine]:
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                data = file.read()
                self._offset = file.tell()
        except FileNotFoundError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield self._line(line)

    def last_words(self) -> Iterator[LogLine]:
        """What follows the last end of a line: a crash may cut it off there."""
        if self._rest:
            yield self._line(self._rest)

    def _line(self, text: bytes) -> LogLine:
        return LogLine(self._name, self._stream, text.decode("utf-8", "replace"))


def _is_before(moment: datetime, line: LogLine) -> bool:
    match = _LEADING_TIME.match(line.text)
    return match is None or datetime.fromisoformat(match[0]).replace(tzinfo=UTC) < moment


def is_alive(record: ProcessRecord) -> bool:
    """Whether this very process runs: the same pid, started at the same moment, and no zombie."""
    try:
        process = psutil.Process(record.pid)
        if abs(process.create_time() - record.created) >= SAME_MOMENT:
            return False
        if process.status() != psutil.STATUS_ZOMBIE:
            return True
    except psutil.NoSuchProcess:
        return False
    with suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # a child of ours stays a zombie until it is reaped
    return False
