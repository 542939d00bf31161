"""Find the pg_dump, pg_restore and psql that fit a server, and run them against it.

Passwords are passed in the environment, never as an argument.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ..errors import (
    BinariesNotFoundError,
    ConnectionLostError,
    DatabaseBusyError,
    DatabaseFullError,
    DatabasePrivilegeError,
    FastZeroError,
    ProgramFailedError,
    VersionMismatchError,
)
from ..files import CHUNK
from .binaries import clients_hint, find_clients
from .driver_errors import connect_error, translate
from .url import CONNECT_TIMEOUT_OF_EACH, as_role, parse, render, url_of
from .url import variables as variables_of

Write = Callable[[bytes], object]
PIPE = 2**20  # bytes; the system's default is small, and causes more context switches
EVIDENCE_LINES = 20
# A failed restore is dropped, and the commit of the swap flushes a successful one, so a restore need not wait for the
# disk. Twice the default memory makes index builds faster.
SESSION_OPTIONS = {"pg_restore": "-c synchronous_commit=off -c maintenance_work_mem=128MB"}

_ERRORS_BY_MESSAGE: tuple[tuple[str, type[FastZeroError], str], ...] = (
    ("server version mismatch", VersionMismatchError, "the program is older than the server"),
    ("SSL support is not compiled in", BinariesNotFoundError, "these programs cannot use TLS, which the URL requires"),
    ("No space left on device", DatabaseFullError, "the database's disk is full"),
    ("permission denied", DatabasePrivilegeError, "this role may not do that"),
    ("must be owner", DatabasePrivilegeError, "this role may not do that"),
    ("must be superuser", DatabasePrivilegeError, "this role may not do that"),
    ("lock timeout", DatabaseBusyError, "timed out waiting for a lock"),
    ("server closed the connection unexpectedly", ConnectionLostError, "the connection to the database was lost"),
)


class Programs(Protocol):
    """Client programs of one PostgreSQL version that can connect to a server."""

    @property
    def major(self) -> int:
        """The major version of the programs."""

    def run(self, program: str, arguments: Sequence[str], database: str, *, write: Write | None = None) -> None:
        """Run a program on a database until it ends, and pass its output to `write`.

        Raises the FastZeroError that fits its error message, else ProgramFailedError with the message.
        """

    def reachable(self, file: Path, name: str) -> AbstractContextManager[str]:
        """Make a file of this machine readable for the programs during one block. Yields its path for them.

        `name` must differ from that of other files that are made readable at the same time.
        """

    def as_role(self, role: str, password: str) -> "Programs":
        """Return the same programs with the login of another role."""

    def interact(self, program: str, arguments: Sequence[str], database: str) -> int:
        """Run a program with the standard streams of this process. Returns its exit code."""


@dataclass(frozen=True)
class LocalPrograms:
    """Programs of this machine that connect to a server by its URL."""

    folder: Path
    major: int
    url: str

    def run(self, program: str, arguments: Sequence[str], database: str, *, write: Write | None = None) -> None:
        command = self.command(program, arguments, database)
        with tempfile.TemporaryFile() as output:
            # In its own session: Ctrl-C is handled here, and must not make the program report an error.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if write else subprocess.DEVNULL,
                stderr=output,
                env=self._environment(program),
                start_new_session=True,
                bufsize=0,
                pipesize=PIPE,
            )
            with process:
                try:
                    if write and process.stdout:
                        while chunk := process.stdout.read(CHUNK):
                            write(chunk)
                    process.wait()
                except BaseException:
                    process.terminate()
                    raise
            output.seek(0)
            raise_if_failed(program, process.returncode, output.read().decode("utf-8", "replace"))

    def reachable(self, file: Path, name: str) -> AbstractContextManager[str]:
        return nullcontext(str(file))

    def as_role(self, role: str, password: str) -> "LocalPrograms":
        return replace(self, url=as_role(self.url, role, password))

    def interact(self, program: str, arguments: Sequence[str], database: str) -> int:
        # In the environment, so that the arguments can name another database of the server.
        environment = {**self._environment(program), **variables_of(url_of(self.url, database))}
        return subprocess.run([self._path(program), *arguments], env=environment).returncode

    def command(self, program: str, arguments: Sequence[str], database: str) -> list[str]:
        """Return the command line of a program. It does not contain the password."""
        url = url_of(self._of_one_server(database), database, password=False, require_auth=False)
        return [self._path(program), f"--dbname={url}", *arguments]

    def _of_one_server(self, database: str) -> str:
        """Return the URL with the one of several servers that accepts writes.

        libpq asks no other server if a standby refuses a database or role that it does not have yet. psycopg does.
        """
        options = parse(self.url)
        if "," not in options.get("host", ""):
            return self.url
        import psycopg

        try:
            with psycopg.connect(url_of(self.url, database), connect_timeout=CONNECT_TIMEOUT_OF_EACH) as session:
                return render({**options, "host": session.info.host, "port": str(session.info.port)})
        except psycopg.Error as error:
            raise translate(error) from error

    def _path(self, program: str) -> str:
        found = self.folder / program
        if not found.exists():
            raise BinariesNotFoundError(f"{program} was not found in {self.folder}", hint=clients_hint(self.major))
        return str(found)

    def _environment(self, program: str) -> dict[str, str]:
        # Programs before 16 do not know require_auth: they reject it in a URL, but ignore PGREQUIREAUTH.
        variable_names = {"password": "PGPASSWORD", "require_auth": "PGREQUIREAUTH"}
        options = parse(self.url)
        given = {variable: options[name] for name, variable in variable_names.items() if name in options}
        return {**os.environ, **given, **variables(program)}


def find_programs(url: str, major: int) -> LocalPrograms:
    """Return this machine's programs for a server of that version: of the same version, else of the next newer one.

    Raises BinariesNotFoundError if none are found, VersionMismatchError if all are older.
    """
    found = find_clients(major)
    return LocalPrograms(found.folder, found.major, url)


def variables(program: str) -> dict[str, str]:
    """Return the environment variables for a program. The locale is fixed, since its messages are parsed."""
    options = {"PGOPTIONS": SESSION_OPTIONS[program]} if program in SESSION_OPTIONS else {}
    return {"LC_ALL": "C.UTF-8", "PGAPPNAME": "fastzero", **options}


def raise_if_failed(program: str, code: int, output: str) -> None:
    """Raise the error that fits a program's messages, if its exit code is not 0."""
    if code == 0:
        return
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    message = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"exit code {code}")
    detail = re.sub(r"^pg_\w+: (error: )?", "", message)
    if "connection to server" in output:
        raise connect_error(detail)
    for fragment, error_class, meaning in _ERRORS_BY_MESSAGE:
        if fragment in output:
            raise error_class(f"{meaning}: {detail}")
    raise ProgramFailedError(f"{program} failed: {detail}", evidence="\n".join(lines[-EVIDENCE_LINES:]))
