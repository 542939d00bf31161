"""A running PostgreSQL server: how it is started, what its lock files say, what it leaves where it was killed."""

import ctypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .binaries import Binaries
from .configuration import arguments

if TYPE_CHECKING:
    import psutil

NO_PROCESS = 2**31 - 1  # beyond every system's largest pid
PROGRAMS = ("postgres", "postmaster")
SEGMENTS = Path("/proc/sysvipc/shm")
IPC_RMID = 0
KEYS = 2**32  # a key is signed to the kernel, and unsigned to PostgreSQL
# What the lines of postmaster.pid are: https://www.postgresql.org/docs/current/storage-file-layout.html
_PID, _SEGMENT, _STATUS = 0, 6, 7


def command(binaries: Binaries, data: Path, host: str, port: int, configuration: Mapping[str, str]) -> list[str]:
    """Return the command that runs a server on a data directory."""
    settings = {
        "listen_addresses": host,
        "port": str(port),
        # Relative to the data directory: a socket's path may have 107 bytes only, and a data directory may lie deep.
        "unix_socket_directories": ".",
        "log_timezone": "UTC",
        **configuration,
    }
    return [binaries.program("postgres"), "-D", str(data), *arguments(settings)]


def pid_file(data: Path) -> list[str]:
    """Return the lines of `postmaster.pid`; none without a server, or where they may not be read."""
    try:
        text = _read(data / "postmaster.pid")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [line.strip() for line in text.splitlines()]


def is_ready(data: Path, pid: int) -> bool:
    """Return whether this very server says that it takes connections."""
    lines = pid_file(data)
    return len(lines) > _STATUS and lines[_PID] == str(pid) and lines[_STATUS] == "ready"


def postmaster(data: Path) -> int | None:
    """Return the pid of the server that works on a data directory, whoever started it; None if none does."""
    said = pid_file(data)[:1]
    return next((each.pid for each in processes_on(data) if [str(each.pid)] == said), None)


def processes_on(data: Path) -> "list[psutil.Process]":
    """Return every PostgreSQL process that works on a data directory: a server, and what a killed one left."""
    import psutil

    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] in PROGRAMS and process.info["cwd"] == str(data.resolve())
    ]


def disown_reused_pids(data: Path) -> None:
    """Make lock files that a crash left name no process, where their pid has become somebody else's.

    After a reboot it may be anybody's, and PostgreSQL would refuse to start. The files stay, since PostgreSQL must
    still see whether shared memory is in use; only their pid is replaced, and only if that process is no PostgreSQL of
    this data directory. An empty one was left by a crash as it was made.
    """
    files = [path for path in (data / "postmaster.pid", *data.glob(".s.PGSQL.*.lock")) if path.exists()]
    owners = {str(process.pid) for process in processes_on(data)} if files else set()
    for path in files:
        pid, _, rest = _read(path).partition("\n")
        if pid not in owners and (pid or not owners):
            with path.open("r+", encoding="utf-8", errors="surrogateescape") as file:  # no crash leaves it empty
                file.write(f"{NO_PROCESS}\n{rest}")


def remove_shared_memory(data: Path) -> bool:
    """Remove the System V segment that killed servers of a data directory left. Returns whether one was removed.

    The next server on the data would do it: call this before the data is deleted. A segment with a process attached,
    or of another user, stays. Only Linux lists its segments in a file; elsewhere the segment stays too.
    """
    lines = pid_file(data)
    match = re.fullmatch(r"(\d+) +(\d+)", lines[_SEGMENT]) if len(lines) > _SEGMENT else None
    if match is None or not _is_abandoned(int(match[1]), int(match[2]), data.stat().st_uid):
        return False
    # ipcrm is not on every machine; the C library is.
    return bool(ctypes.CDLL(None).shmctl(int(match[2]), IPC_RMID, None) == 0)


def _is_abandoned(key: int, segment: int, owner: int) -> bool:
    for row in _segments():
        if int(row["shmid"]) == segment and (int(row["key"]) - key) % KEYS == 0:
            return int(row["uid"]) == owner and int(row["nattch"]) == 0
    return False


def _segments() -> list[dict[str, str]]:
    """Return the System V segments of this machine as the kernel lists them, a header above."""
    if not SEGMENTS.exists():
        return []
    names, *rows = (line.split() for line in SEGMENTS.read_text().splitlines())
    return [dict(zip(names, row, strict=True)) for row in rows]


def _read(path: Path) -> str:
    """A lock file names the data directory, in whatever encoding its path is."""
    return path.read_text(encoding="utf-8", errors="surrogateescape")
