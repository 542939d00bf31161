"""Start, find and stop local processes that outlive the command which started them.

A process is identified by its pid *and* its start time, so that a reused pid is never mistaken for it. A new process
waits until its record is written, so that a running process can always be found. Its environment contains its record
file and what it was started from, which identifies it if the record is damaged or missing.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ...errors import InvalidInputError
from ...files import HOME, make_folder, open_append, read_text, reading, write_atomically, writing
from ...polling import wait_until
from ...postgres.account import ServiceUser
from ...project import OF_ANOTHER_USER
from ..lines import STREAMS, LogLine
from . import logs
from .identity import Seen, created_of, look_at
from .supervision import Supervised, read_state

LOG_MAX = 10 * 2**20  # bytes; a longer log is renamed when its service starts
ENDS_WITHIN = 10  # seconds for killed processes to end
SAME_MOMENT = 2.0  # seconds; some start times come only from the wall clock, which may be set

MARK = "FASTZERO_PROCESS"  # in a process's environment: its record file, and what it was started from

# The shell waits for a line, then becomes the program. If its parent dies first, it reads end-of-file and exits.
_GATE = 'read -r go && exec "$@" </dev/null'


@dataclass(frozen=True)
class ProcessRecord:
    """The record of a process.

    `created` is its start time in seconds since the epoch, by the clock at that time. `start` is its start time by a
    clock that cannot be set, "" if the system has none. `document` is what it was started from.
    """

    pid: int
    created: float
    config_hash: str = ""
    document: dict[str, Any] = field(default_factory=dict)
    start: str = ""

    @property
    def started_at(self) -> datetime:
        """The start time, by the clock as it is set now. It changes only if the clock is set."""
        now = created_of(self.start)
        if now is None or abs(now - self.created) < SAME_MOMENT:
            return datetime.fromtimestamp(self.created, UTC)
        return datetime.fromtimestamp(now, UTC)


NOBODY = ProcessRecord(0, 0)
"""What a record that cannot be read is taken for: something was started, and it cannot be found again."""


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
        directory: str = "/",
    ) -> ProcessRecord:
        """Start a process in its own session and process group, with its output in its logs.

        Without `environment` it inherits this process's environment.
        """
        make_folder(self._logs, 0o700)
        mark = {"record": str(self._record_file(name)), "config_hash": config_hash, "document": dict(document or {})}
        with self._open_log(name, "stdout") as out, self._open_log(name, "stderr") as err:
            child = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, name, *command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=directory,
                env={**(os.environ if environment is None else environment), MARK: json.dumps(mark)},
                start_new_session=True,
                **(user.popen_options() if user else {}),
            )
        child.returncode = 0  # otherwise subprocess would warn that the process is still running, which is intended
        assert child.stdin is not None
        with child.stdin as gate:
            record = _record_of(child.pid, config_hash, document or {})
            self._write(name, record)
            gate.write(b"go\n")
        return record

    def wait(self, name: str) -> int:
        """Wait until a process that this command started has ended. Returns its exit code."""
        record = self.recorded(name)
        assert record is not None, "it was started under this name"
        _, status = os.waitpid(record.pid, 0)
        self.forget(name)
        return os.waitstatus_to_exitcode(status)

    def recorded(self, name: str) -> ProcessRecord | None:
        """Return the record of the process that was started under this name, whether or not it still runs.

        Returns None if none was started, or if it was stopped by fastzero, and NOBODY for a record that cannot be read.
        Raises NotAllowedError for a record of another user.
        """
        try:
            text = read_text(self._record_file(name), denied=OF_ANOTHER_USER, own=True)
        except FileNotFoundError:
            return None
        except InvalidInputError:
            return NOBODY
        return _parsed(text)

    def names(self) -> list[str]:
        """Return the names under which a process was started and was not stopped by fastzero."""
        with reading(self._records, HOME):
            return sorted(path.stem for path in self._records.glob("*.json"))

    def find(self, name: str) -> ProcessRecord | None:
        """Return the running process of this name, or None."""
        record = self.recorded(name)
        return record if record and is_alive(record) else None

    def find_lost(self, name: str) -> ProcessRecord | None:
        """Return the running process of this name whose record is damaged or missing, or None."""
        if self.recorded(name) not in (None, NOBODY):
            return None
        return min(_marked(str(self._record_file(name))), key=lambda record: record.created, default=None)

    def orphans(self, name: str) -> list[int]:
        """Return the pids of the running processes that a process started, if the process itself has ended."""
        record = self.recorded(name)
        if record is None or record == NOBODY or is_alive(record):
            return []
        return [pid for pid, _ in _bearing_mark(str(self._record_file(name))) if _session_of(pid) == record.pid]

    def end_orphans(self, name: str) -> None:
        """Kill the orphans of a process. They cannot be told apart, so none of them can be asked to stop."""
        for pid in self.orphans(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.orphans(name), ENDS_WITHIN)

    def stop(self, name: str, *, stop_signal: int = signal.SIGTERM, timeout: float = 10) -> bool:
        """Send the stop signal, and kill the process group after `timeout` seconds.

        Returns whether the process ended within the timeout.
        """
        record = self.find(name) or self.find_lost(name)
        ended = True
        if record is None:
            self.end_orphans(name)
        else:
            with suppress(ProcessLookupError):
                os.kill(record.pid, stop_signal)
                os.killpg(record.pid, signal.SIGCONT)  # a suspended process would not handle the stop signal
            ended = wait_until(lambda: not is_alive(record), timeout)
            if not ended:
                with suppress(ProcessLookupError):
                    os.killpg(record.pid, signal.SIGKILL)
                wait_until(lambda: not is_alive(record), timeout)
        self.forget(name)
        return ended

    def forget(self, name: str) -> None:
        path = self._record_file(name)
        with writing(path, HOME):
            self.state_file(name).unlink(missing_ok=True)
            if path.is_dir():  # it is not a record, but it has the path of one
                path.rmdir()
            else:
                path.unlink(missing_ok=True)

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
        """Return the lines of these processes' logs as `logs.read` does, at most the last `tail` of each process."""
        files = {name: {stream: self.log_file(name, stream) for stream in STREAMS} for name in names}
        return logs.read(files, tail=tail, follow=follow, since=since)

    def state_file(self, name: str) -> Path:
        """Return the file to which the supervisor of a process, if it has one, writes its state."""
        return self._records / f"{name}.state"

    def supervised(self, name: str) -> Supervised | None:
        """Return the state that a supervisor wrote about a process, None if it has no supervisor."""
        return read_state(self.state_file(name))

    def _record_file(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _write(self, name: str, record: ProcessRecord) -> None:
        if self._record_file(name).is_dir():
            self.forget(name)
        write_atomically(self._record_file(name), json.dumps(asdict(record)))

    def _open_log(self, name: str, stream: str) -> BinaryIO:
        path = self.log_file(name, stream)
        with writing(path, HOME):
            if path.exists() and path.stat().st_size > LOG_MAX:
                path.replace(path.with_suffix(".log.1"))
            return open_append(path)


def is_alive(record: ProcessRecord) -> bool:
    """Return whether the recorded process runs: same pid, same start time, and not a zombie."""
    seen = look_at(record.pid) if record.pid > 0 else None
    if seen is None or not _is_of(record, seen):
        return False
    if not seen.has_ended:
        return True
    with suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # a child of this process stays a zombie until it is reaped
    return False


def _is_of(record: ProcessRecord, seen: Seen) -> bool:
    if record.start and seen.start:
        return record.start == seen.start
    return abs(record.created - seen.created) < SAME_MOMENT


def _marked(file: str) -> Iterator[ProcessRecord]:
    """Yield the processes that fastzero started with this record file, without their children."""
    for pid, mark in _bearing_mark(file):
        seen = look_at(pid)
        if seen and _session_of(pid) == pid:
            yield ProcessRecord(pid, seen.created, mark["config_hash"], mark["document"], seen.start)


def _bearing_mark(file: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the pid and the mark of each running process that has this record file, children included."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, ValueError):
            mark = json.loads(process.environ().get(MARK, "{}"))
            seen = look_at(process.pid)
            if seen and not seen.has_ended and mark.get("record") == file:
                yield process.pid, mark


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _record_of(pid: int, config_hash: str, document: Mapping[str, Any]) -> ProcessRecord:
    seen = look_at(pid)
    assert seen is not None, "a child of ours stays until it is reaped"
    return ProcessRecord(pid, seen.created, config_hash, dict(document), seen.start)


def _parsed(text: str) -> ProcessRecord:
    """Return a record written by this version, an older one, or a newer one, whose unknown fields are ignored.

    Returns NOBODY if it cannot be read.
    """
    try:
        written = json.loads(text)
        # Older records have settings instead of a document.
        document = {"settings": written["settings"]} if "settings" in written else written.get("document", {})
        return ProcessRecord(
            int(written["pid"]),
            float(written["created"]),
            str(written.get("config_hash", "")),
            dict(document),
            str(written.get("start", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return NOBODY
