"""Start a PostgreSQL server, read its lock files, and clean up after a killed one."""

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

NO_PROCESS = 2**31 - 1  # larger than any pid
PROGRAMS = ("postgres", "postmaster")
POSTMASTER = "postmaster.pid"
_LOCK_FILE = re.compile(r"postmaster\.pid|\.s\.PGSQL\..*\.lock")
_LOCK_FILE_MAX = 8192  # bytes, the same limit as in PostgreSQL
_SMALL = {"shared_buffers": "128kB", "max_connections": "5", "huge_pages": "off"}
# Line numbers in postmaster.pid: https://www.postgresql.org/docs/current/storage-file-layout.html
_PID, _STATUS = 0, 7


def command(binaries: Binaries, data: Path, host: str, port: int, configuration: Mapping[str, str]) -> list[str]:
    """Return the command line that runs a server on a data directory."""
    settings = {
        "listen_addresses": host,
        "port": str(port),
        # Relative to the data directory, whose path may be longer than the 107 bytes that a socket's path may have.
        "unix_socket_directories": ".",
        "log_timezone": "UTC",
        **configuration,
    }
    return [binaries.program("postgres"), "-D", str(data), *arguments(settings)]


def pid_file(data: Path) -> list[str]:
    """Return the lines of `postmaster.pid`, an empty list without a server or without permission to read the file.

    A symbolic link is ignored: PostgreSQL does not create one.
    """
    try:
        with file_of_owner(data, POSTMASTER) as file:
            text = _text(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [line.strip() for line in text.splitlines()]


def has_pid_file(data: Path) -> bool:
    """Return whether `postmaster.pid` exists: a server deletes it at shutdown, but not if it is killed."""
    return POSTMASTER in names_in(data)


def is_ready(data: Path, pid: int) -> bool:
    """Return whether the server with this pid accepts connections, by its `postmaster.pid`."""
    lines = pid_file(data)
    return len(lines) > _STATUS and lines[_PID] == str(pid) and lines[_STATUS] == "ready"


def postmaster(data: Path) -> int | None:
    """Return the pid of the server that runs on a data directory, None without one. Any process may have started it."""
    first_line = pid_file(data)[:1]
    return next((each.pid for each in processes_on(data) if [str(each.pid)] == first_line), None)


def processes_on(data: Path) -> "list[psutil.Process]":
    """Return every PostgreSQL process of a data directory: its server, and processes that a killed server left."""
    import psutil

    # Compare bytes: a non-ASCII path decodes differently in the C locale.
    folder = os.fsencode(data.resolve())
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] in PROGRAMS and os.fsencode(process.info["cwd"] or "") == folder
    ]


def disown_reused_pids(data: Path) -> None:
    """Replace the pid in lock files of a crashed server if it is not one of this data directory's PostgreSQL processes.

    After a reboot another process may have the pid, and PostgreSQL would refuse to start. The files are kept, since
    PostgreSQL must still check whether its shared memory is in use. An empty file was left by a crash during its
    creation, and gets a pid too. Files that are not regular files of the data directory's owner are ignored:
    PostgreSQL did not create them.
    """
    names = [name for name in names_in(data) if _LOCK_FILE.fullmatch(name)]
    owners = {str(process.pid) for process in processes_on(data)} if names else set()
    for name in names:
        with suppress(FileNotFoundError, PermissionError), file_of_owner(data, name, os.O_RDWR) as file:
            _replace_pid(file, owners)


def _replace_pid(file: BinaryIO, owners: set[str]) -> None:
    pid, _, rest = _text(file).partition("\n")
    if pid not in owners and (pid or not owners):
        file.seek(0)
        # Overwritten in place, not truncated first, so that a crash cannot leave the file empty.
        file.write(f"{NO_PROCESS}\n{rest}".encode("utf-8", "surrogateescape"))


def remove_shared_memory(data: Path, binaries: Binaries, user: ServiceUser | None) -> bool:
    """Let PostgreSQL remove the shared memory that killed servers of a data directory left. Return whether it did.

    The next server on the data would also do it, so call this before the data is deleted. Shared memory that a process
    still uses is kept.
    """
    if not has_pid_file(data):
        return False
    disown_reused_pids(data)
    # Creates shared memory like a server, removes that of a previous one, and exits without changing the data.
    check = [binaries.program("postgres"), "--check", "-D", str(data), *arguments(_SMALL)]
    done = subprocess.run(check, capture_output=True, **process_options(user))
    return done.returncode == 0


def _text(file: BinaryIO) -> str:
    """Read a lock file. It contains the path of the data directory, which may be in any encoding."""
    return file.read(_LOCK_FILE_MAX).decode("utf-8", "surrogateescape")
