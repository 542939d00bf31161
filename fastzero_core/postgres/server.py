"""A running PostgreSQL server: how it is started, what its lock files say, what it leaves where it was killed."""

import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..folders import file_of_owner, names_in
from .account import ServiceUser, process_options
from .binaries import Binaries
from .configuration import arguments

if TYPE_CHECKING:
    import psutil

NO_PROCESS = 2**31 - 1  # beyond every system's largest pid
PROGRAMS = ("postgres", "postmaster")
POSTMASTER = "postmaster.pid"
_LOCK_FILE = re.compile(r"postmaster\.pid|\.s\.PGSQL\..*\.lock")
_LOCK_FILE_MAX = 8192  # bytes, as PostgreSQL reads
_SMALL = {"shared_buffers": "128kB", "max_connections": "5", "huge_pages": "off"}
# What the lines of postmaster.pid are: https://www.postgresql.org/docs/current/storage-file-layout.html
_PID, _STATUS = 0, 7


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
    """Return the lines of `postmaster.pid`; none without a server, or where they may not be read.

    A link, which PostgreSQL makes none, says nothing.
    """
    try:
        with file_of_owner(data, POSTMASTER) as file:
            text = _text(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [line.strip() for line in text.splitlines()]


def has_pid_file(data: Path) -> bool:
    """Return whether there is a `postmaster.pid`: a server that was shut down leaves none."""
    return POSTMASTER in names_in(data)


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

    # As bytes: a path that is not ASCII is another text in the C locale.
    folder = os.fsencode(data.resolve())
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] in PROGRAMS and os.fsencode(process.info["cwd"] or "") == folder
    ]


def disown_reused_pids(data: Path) -> None:
    """Make lock files that a crash left name no process, where their pid has become somebody else's.

    After a reboot it may be anybody's, and PostgreSQL would refuse to start. The files stay, since PostgreSQL must
    still see whether shared memory is in use; only their pid is replaced, and only if that process is no PostgreSQL of
    this data directory. An empty one was left by a crash as it was made. What is not a regular file of the data
    directory's owner is none of PostgreSQL's, and stays as it is.
    """
    names = [name for name in names_in(data) if _LOCK_FILE.fullmatch(name)]
    owners = {str(process.pid) for process in processes_on(data)} if names else set()
    for name in names:
        with suppress(FileNotFoundError, PermissionError), file_of_owner(data, name, os.O_RDWR) as file:
            _disown(file, owners)


def _disown(file: BinaryIO, owners: set[str]) -> None:
    pid, _, rest = _text(file).partition("\n")
    if pid not in owners and (pid or not owners):
        file.seek(0)
        file.write(f"{NO_PROCESS}\n{rest}".encode("utf-8", "surrogateescape"))  # no crash leaves it empty


def remove_shared_memory(data: Path, binaries: Binaries, user: ServiceUser | None) -> bool:
    """Have PostgreSQL remove the shared memory that killed servers of a data directory left. Return whether it did.

    The next server on the data would do it: call this before the data is deleted. What a process still uses stays.
    """
    if not has_pid_file(data):
        return False
    disown_reused_pids(data)
    # It makes the shared memory of a server, removes that of one before it, and ends without touching the data.
    check = [binaries.program("postgres"), "--check", "-D", str(data), *arguments(_SMALL)]
    done = subprocess.run(check, capture_output=True, **process_options(user))
    return done.returncode == 0


def _text(file: BinaryIO) -> str:
    """A lock file names the data directory, in whatever encoding its path is."""
    return file.read(_LOCK_FILE_MAX).decode("utf-8", "surrogateescape")
