"""Create a data directory atomically, and change its passwords while no server runs on it. Standard library only."""

import os
import secrets
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from .. import folders
from ..errors import UnhealthyError, VersionMismatchError
from ..files import make_folder, reading
from ..polling import wait_until
from .account import ServiceUser, process_options
from .binaries import Binaries
from .configuration import INITDB_COMMON, arguments, initdb_locale
from .sql import literal, quote

STAGING = "a data directory that is being made\n"  # the mark of a data directory until it is complete
_IN_STAGING = {"cluster", "password"}
INITDB_EXIT_TIMEOUT = 10  # seconds until the initdb of a killed command notices that its parent process has ended
_VERSION_MAX = 100  # bytes
# A statement may contain a password, which must not be logged. Write-ahead log that is not archived yet must stay.
_SINGLE_USER = {
    "exit_on_error": "on",
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "archive_mode": "on",
}


def initialise(
    data: Path,
    binaries: Binaries,
    user: ServiceUser | None,
    *,
    superuser: str,
    password: str,
    statements: Iterable[str] = (),
    mark: str = STAGING,
) -> None:
    """Create a data directory with a superuser and run `statements` in it; it gets its name when it is complete.

    Each statement is one line and one transaction. `user` runs PostgreSQL, None means the current user; `mark` is
    written to the directory. Raises UnhealthyError if a program of PostgreSQL fails.
    """
    staging = data.with_name(f".{data.name}.init-{secrets.token_hex(4)}")
    make_folder(staging, 0o711)
    try:
        folders.write_mark(staging, STAGING)
        cluster, password_file = staging / "cluster", _password_file(staging, password)
        cluster.mkdir(0o700)
        if user:
            for path in (cluster, password_file):  # root keeps the parent folder
                os.chown(path, user.uid, user.gid)
        _run(_initdb(binaries, cluster, superuser, password_file), user)
        _single_user(binaries, cluster, user, statements)
        folders.write_mark(cluster, mark)
        cluster.rename(data)
    finally:
        remove_unfinished(staging)


def unfinished(data: Path) -> list[Path]:
    """Return the folders that killed initialisations of a data directory left next to it.

    Leaves out a folder without a mark that contains anything other than what an initialisation creates.
    """
    found = sorted(data.parent.glob(f".{data.name}.init-*"))
    return [path for path in found if folders.mark_of(path) == STAGING or {*folders.names_in(path)} <= _IN_STAGING]


def remove_unfinished(path: Path) -> None:
    """Remove such a folder. Retries for up to 10 seconds, since its initdb may still be running and writing."""
    wait_until(partial(_is_removed, path), INITDB_EXIT_TIMEOUT)


def major_of(data: Path) -> int | None:
    """Return the major version that created a data directory, None if the directory does not exist.

    Raises VersionMismatchError if the version cannot be determined, NotAllowedError if the file cannot be read.
    """
    path = data / "PG_VERSION"
    with reading(path):
        try:
            with folders.file_of_owner(data, path.name) as file:
                version = file.read(_VERSION_MAX).strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
    if not version.isdigit():
        raise VersionMismatchError(
            f"{path} does not contain a PostgreSQL version",
            hint="Nothing was changed. Restore a backup: fastzero db restore",
        )
    return int(version)


def set_passwords(data: Path, binaries: Binaries, user: ServiceUser | None, passwords: Mapping[str, str]) -> None:
    """Change the passwords of roles in a data directory. No server may run on it."""
    statements = [f"ALTER ROLE {quote(role)} PASSWORD {literal(password)}" for role, password in passwords.items()]
    _single_user(binaries, data, user, statements)


def _password_file(folder: Path, password: str) -> Path:
    path = folder / "password"
    path.touch(0o600)
    path.write_text(f"{password}\n", encoding="utf-8")
    return path


def _initdb(binaries: Binaries, cluster: Path, superuser: str, password_file: Path) -> list[str]:
    return [
        binaries.program("initdb"),
        f"--pgdata={cluster}",
        f"--username={superuser}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        *INITDB_COMMON,
        *initdb_locale(binaries.major),
        "--lc-messages=C",
        "--no-instructions",
    ]


def _single_user(binaries: Binaries, data: Path, user: ServiceUser | None, statements: Iterable[str]) -> None:
    command = [binaries.program("postgres"), "--single", *arguments(_SINGLE_USER), "-D", str(data), "postgres"]
    _run(command, user, "".join(f"{statement}\n" for statement in statements))


def _run(command: Sequence[str], user: ServiceUser | None, text: str | None = None) -> None:
    """Run a PostgreSQL program until it ends. Ctrl-C in the terminal does not reach it."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        **process_options(user),
    )
    with process:
        try:
            output, _ = process.communicate(text)
        except BaseException:
            # initdb starts servers, so end the whole process group, which may have ended already.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode != 0:
        raise UnhealthyError(f"{Path(command[0]).name} failed", evidence=output.strip(), hint="See its output above")


def _is_removed(folder: Path) -> bool:
    with suppress(OSError):  # a running initdb may write new files: they are removed by the next try
        folders.remove(folder)
    return not os.path.lexists(folder)
