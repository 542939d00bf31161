"""A data directory: created whole or not at all, and changed while no server works on it. Standard library only."""

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

STAGING = "a data directory that is being made\n"  # the mark of one, until it has its name
_IN_STAGING = {"cluster", "password"}
INITDB_ENDS = 10  # seconds in which the initdb of a killed command notices that its parent is gone
_VERSION_MAX = 100  # bytes
# A statement may hold a password: no log may repeat it.
_SINGLE_USER = {"exit_on_error": "on", "log_statement": "none", "log_min_error_statement": "panic"}


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
    """Create a data directory with a superuser and what `statements` make, under another name until it is whole.

    Each statement is a line and a transaction of its own. `user` is whom PostgreSQL runs as, None for this process's
    own; `mark` is what the directory is marked with. Raises UnhealthyError if one of its programs fails.
    """
    staging = data.with_name(f".{data.name}.init-{secrets.token_hex(4)}")
    make_folder(staging, 0o711)
    try:
        folders.write_mark(staging, STAGING)
        cluster, password_file = staging / "cluster", _password_file(staging, password)
        cluster.mkdir(0o700)
        if user:
            for path in (cluster, password_file):  # the folder that they are in stays root's
                os.chown(path, user.uid, user.gid)
        _run(_initdb(binaries, cluster, superuser, password_file), user)
        _single_user(binaries, cluster, user, statements)
        folders.write_mark(cluster, mark)
        cluster.rename(data)
    finally:
        remove_unfinished(staging)


def unfinished(data: Path) -> list[Path]:
    """Return what killed initialisations of a data directory left beside it.

    A folder that has no mark, and holds something else than an initialisation makes, is not among them.
    """
    found = sorted(data.parent.glob(f".{data.name}.init-*"))
    return [path for path in found if folders.mark_of(path) == STAGING or {*folders.names_in(path)} <= _IN_STAGING]


def remove_unfinished(path: Path) -> None:
    """Remove one of them; its initdb may live on for a moment and write."""
    wait_until(partial(_is_removed, path), INITDB_ENDS)


def major_of(data: Path) -> int | None:
    """Return the major version that made a data directory, None if there is none.

    Raises VersionMismatchError if the directory does not say, NotAllowedError if it may not be read.
    """
    path = data / "PG_VERSION"
    with reading(path):
        try:
            with folders.file_of_owner(data, path.name) as file:
                said = file.read(_VERSION_MAX).strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
    if not said.isdigit():
        raise VersionMismatchError(
            f"{path} does not name a version of PostgreSQL",
            hint="Nothing was changed. Restore a backup: fastzero db restore",
        )
    return int(said)


def set_passwords(data: Path, binaries: Binaries, user: ServiceUser | None, passwords: Mapping[str, str]) -> None:
    """Change the passwords of roles on the data itself, while no server has it."""
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
    """Run one of PostgreSQL's programs to its end, out of reach of the terminal's Ctrl-C."""
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
            said, _ = process.communicate(text)
        except BaseException:
            # initdb has servers of its own at work; all may have ended by themselves just now.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode != 0:
        raise UnhealthyError(f"{Path(command[0]).name} failed", evidence=said.strip(), hint="See its own words above")


def _is_removed(folder: Path) -> bool:
    with suppress(OSError):  # what an initdb that lives on writes meanwhile is removed the next time
        folders.remove(folder)
    return not os.path.lexists(folder)
