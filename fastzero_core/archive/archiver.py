"""Copy each finished segment of a server's write-ahead log to its archive. A process of the project, which `up` starts.

The server's `archive_command` waits for a file of the segment's name in the state folder: see `description`. If the
archive cannot be reached, this process tries again, and the server keeps its segments. If they would fill the disk,
archiving is paused: segments are given up, which leaves a gap, until a base backup is taken.

The server may be a standby. It keeps each segment until its primary has archived it: if the primary is lost before, the
standby that takes over archives the segment.
"""

import os
import signal
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from .. import folders
from ..errors import ConflictError, FastZeroError
from ..files import make_folder, write_atomically
from .description import CREDENTIALS_FILE, DATA, DESCRIPTION, FAILED, NOT_BEGUN, PAUSED, RUNNING, STATE, Archive
from .segments import ARCHIVED, HISTORY, SEGMENT, SIZE, newest_timeline, number_of, on_later_timelines
from .store import Store, store_of

EVERY = 0.1  # seconds between two looks for a new segment
PARALLEL = 4  # segments that are archived at the same time
AGAIN = 2.0  # seconds until a segment that could not be archived is tried again
OF_PRIMARY = 10.0  # seconds between two looks for what a primary has archived
OF_BACKUPS = 60.0  # seconds between two looks for the oldest base backup, which take long
STANDBY = "standby.signal"  # the file in the data directory of a standby
WAL = "pg_wal"
STATUSES = (WAL, "archive_status")  # the folder in which the server says what is finished
READY = ".ready"
READABLE = 0o644


class Archiver:
    """Archives the segments of one data directory."""

    def __init__(self, archive: Archive, store: Store, data: Path, state: Path) -> None:
        self._archive, self._store, self._data, self._state = archive, store, data, state
        self._stopped = threading.Event()
        self._threads = ThreadPoolExecutor(PARALLEL)
        self._looked = -OF_PRIMARY  # when this standby looked for what its primary has archived
        self._looked_at_backups, self._oldest = -OF_BACKUPS, 0  # the number of the first segment of the oldest one

    def run(self) -> None:
        """Archive until `stop`."""
        make_folder(self._state, 0o755)
        self._clear(FAILED)  # what failed before this one was killed may work now
        self._tell(RUNNING, f"{os.getpid()}\n")
        try:
            while not self._stopped.is_set():
                self._stopped.wait(0 if self.step() else EVERY)
        finally:
            self._clear(FAILED)  # after its next start, whoever waits for the archive would give up
            self._clear(RUNNING)

    def stop(self) -> None:
        self._stopped.set()

    def step(self) -> bool:
        """Archive the next segments. Returns whether there was one."""
        ready = waiting(self._data)
        told = {name for name in folders.names_in(self._state) if ARCHIVED.fullmatch(name)}
        for name in told - set(ready):
            self._clear(name)
        new = [name for name in ready if name not in told]
        if not new:
            return False
        if STANDBY in folders.names_in(self._data):
            return self._follow(new)
        next_ones = new[:PARALLEL]
        if not self._is_paused(new):
            try:
                for name in self._threads.map(self._push, next_ones):
                    self._clear(FAILED)
                    self._tell(name, "")
            except FastZeroError as error:
                self._fail(error)
        else:
            for name in next_ones:  # FAILED stays, so that the server counts a failure for each new segment
                self._tell(name, "")
        return True

    def _follow(self, new: Sequence[str]) -> bool:
        """Let a standby give up the segments that its primary has archived. Returns whether there were some.

        The last one of a timeline may be archived as one of the next timeline alone, and what was written before the
        archive began is not archived at all. If more is kept than may be, the others are given up too. Should this
        standby take over, it is paused.
        """
        if time.monotonic() - self._looked < OF_PRIMARY:
            return False
        self._looked = time.monotonic()
        newest = newest_timeline([name for name in folders.names_in(self._data, WAL) if HISTORY.fullmatch(name)])
        names = {name: {name, *on_later_timelines(name, newest)} for name in new}
        try:
            archived = self._store.having(set[str]().union(*names.values()))
            there = {name for name, each in names.items() if each & archived}
            there |= self._before_backups([name for name in new if name not in there])
            self._end_pause()
        except FastZeroError as error:
            self._fail(error)
            there = set()
        else:
            self._clear(FAILED)
        left = [name for name in new if name not in there]
        given_up = left if left and self._is_paused(left) else []
        for name in (*there, *given_up):
            self._tell(name, "")
        return bool(there or given_up)

    def _before_backups(self, names: Sequence[str]) -> set[str]:
        """Return the files of write-ahead log from before the oldest base backup, which no recovery needs."""
        if names and time.monotonic() - self._looked_at_backups >= OF_BACKUPS:
            self._looked_at_backups = time.monotonic()
            self._oldest = next((number_of(each.begin_wal) for each in self._store.backups()), 0)
        return {name for name in names if SEGMENT.match(name) and number_of(name) < self._oldest}

    def _end_pause(self) -> None:
        """Resume on a standby once a base backup of the primary has ended the gap."""
        if not (self._state / PAUSED).exists():
            return
        lines = (self._state / PAUSED).read_text(encoding="utf-8").splitlines()
        newest = self._store.backups()[-1:]
        if lines and newest and newest[0].begun > datetime.fromisoformat(lines[0]):
            self._clear(PAUSED)

    def _push(self, name: str) -> str:
        if not self._archive.system:
            raise ConflictError(NOT_BEGUN)
        if (found := system_of(self._data)) != self._archive.system:
            raise ConflictError(f"the archive is that of system {self._archive.system}, and this is system {found}")
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".segment-") as folder:
            copy = Path(folder) / name
            with folders.file_of_owner(self._data, name, below=(WAL,)) as segment:
                copy.write_bytes(segment.read(2 * SIZE))
            self._store.push(copy)
        return name

    def _is_paused(self, new: Iterable[str]) -> bool:
        """Return whether archiving is paused. Pause it if more write-ahead log waits than may."""
        if (self._state / PAUSED).exists():
            return True
        names = [name for name in new if SEGMENT.fullmatch(name)]
        if len(names) * SIZE <= self._archive.max_kept:
            return False
        self._tell(PAUSED, f"{datetime.now(UTC).isoformat()}\n{names[0]}\n")
        _say(f"archiving is paused: {len(names)} segments wait. Take a base backup: fastzero db archive backup")
        return True

    def _fail(self, error: FastZeroError) -> None:
        if not (self._state / FAILED).exists():
            self._tell(FAILED, f"{datetime.now(UTC).isoformat()}\n{error.message}\n")
        _say("\n".join(filter(None, [error.message, error.evidence])))
        self._stopped.wait(AGAIN)

    def _tell(self, name: str, text: str) -> None:
        path = self._state / name
        write_atomically(path, text)
        path.chmod(READABLE)  # the server's account looks for it

    def _clear(self, name: str) -> None:
        (self._state / name).unlink(missing_ok=True)


def waiting(data: Path) -> list[str]:
    """Return the finished files of write-ahead log that are not archived yet, in the order in which they must be."""
    found = folders.names_in(data, *STATUSES)
    names = (name.removesuffix(READY) for name in found if name.endswith(READY))
    return sorted(filter(ARCHIVED.fullmatch, names), key=lambda name: (not HISTORY.fullmatch(name), name))


def system_of(data: Path) -> str:
    """Return the system identifier of a data directory."""
    with folders.file_of_owner(data, "pg_control", below=("global",)) as file:
        return str(struct.unpack("=Q", file.read(8))[0])


def _say(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {text}\n")
    sys.stderr.flush()


def main() -> None:
    archive = Archive.of_text(os.environ[DESCRIPTION])
    store = store_of(archive, Path(os.environ[CREDENTIALS_FILE]))
    archiver = Archiver(archive, store, Path(os.environ[DATA]), Path(os.environ[STATE]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: archiver.stop())
    archiver.run()


if __name__ == "__main__":
    main()
