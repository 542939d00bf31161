"""PostgreSQL's own programs, pg_dump, pg_restore and psql: found where they fit a server, and run against it.

A password goes by the environment, never by an argument.
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
    DatabaseBusyError,
    DatabaseFullError,
    DatabasePrivilegeError,
    FastZeroError,
    ProgramFailedError,
    VersionMismatchError,
)
from ..files import CHUNK
from .binaries import clients_hint, find_clients
from .driver_errors import connect_error
from .url import as_role, parse, url_of
from .url import variables as variables_of

Write = Callable[[bytes], object]
PIPE = 2**20  # bytes; the system's own pipes are small, and each fill is a switch of processes
EVIDENCE_LINES = 20
# A restore that fails is dropped, and one that is swapped in is on the disk by the swap's own commit: nothing need be
# waited for before. Indexes have twice the memory that they have by default.
SESSION_OPTIONS = {"pg_restore": "-c synchronous_commit=off -c maintenance_work_mem=128MB"}

_MEANINGS: tuple[tuple[str, type[FastZeroError], str], ...] = (
    ("server version mismatch", VersionMismatchError, "the program is older than the server"),
    ("SSL support is not compiled in", BinariesNotFoundError, "these programs cannot use TLS, which the URL requires"),
    ("No space left on device", DatabaseFullError, "the database's disk is full"),
    ("permission denied", DatabasePrivilegeError, "this role may not do that"),
    ("must be owner", DatabasePrivilegeError, "this role may not do that"),
    ("must be superuser", DatabasePrivilegeError, "this role may not do that"),
    ("lock timeout", DatabaseBusyError, "a lock was not to be had in time"),
)


class Programs(Protocol):
    """The programs of one PostgreSQL, and the way from them to a server."""

    @property
    def major(self) -> int:
        """Their major version."""

    def run(self, program: str, arguments: Sequence[str], database: str, *, write: Write | None = None) -> None:
        """Run a program on a database to its end; `write` is handed what it prints.

        Raises the FastZeroError that says what its words mean, else ProgramFailedError with them.
        """

    def reachable(self, file: Path, name: str) -> AbstractContextManager[str]:
        """Have the programs reach a file of this machine for one block. Yields its path for them.

        `name` tells it from other files that they reach at the same time.
        """

    def as_role(self, role: str, password: str) -> "Programs":
        """Return the same programs, logging in as another role."""

    def interact(self, program: str, arguments: Sequence[str], database: str) -> int:
        """Run a program on this process's own streams. Returns its exit code."""


@dataclass(frozen=True)
class LocalPrograms:
    """Programs of this machine, and a server that is reached by its URL."""

    folder: Path
    major: int
    url: str

    def run(self, program: str, arguments: Sequence[str], database: str, *, write: Write | None = None) -> None:
        command = self.command(program, arguments, database)
        with tempfile.TemporaryFile() as said:
            # Ctrl-C is for us to hear: a program that ends by it would tell of an error there is none of.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if write else subprocess.DEVNULL,
                stderr=said,
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
            said.seek(0)
            raise_if_failed(program, process.returncode, said.read().decode("utf-8", "replace"))

    def reachable(self, file: Path, name: str) -> AbstractContextManager[str]:
        return nullcontext(str(file))

    def as_role(self, role: str, password: str) -> "LocalPrograms":
        return replace(self, url=as_role(self.url, role, password))

    def interact(self, program: str, arguments: Sequence[str], database: str) -> int:
        # By the environment, so that the arguments may name another database of the server.
        environment = {**self._environment(program), **variables_of(url_of(self.url, database))}
        return subprocess.run([self._path(program), *arguments], env=environment).returncode

    def command(self, program: str, arguments: Sequence[str], database: str) -> list[str]:
        """How a program is called; the password is in its environment alone."""
        url = url_of(self.url, database, password=False, require_auth=False)
        return [self._path(program), f"--dbname={url}", *arguments]

    def _path(self, program: str) -> str:
        found = self.folder / program
        if not found.exists():
            raise BinariesNotFoundError(f"there is no {program} in {self.folder}", hint=clients_hint(self.major))
        return str(found)

    def _environment(self, program: str) -> dict[str, str]:
        # Programs before 16 do not know PGREQUIREAUTH, and would refuse it in a URL.
        by_environment = {"password": "PGPASSWORD", "require_auth": "PGREQUIREAUTH"}
        said = parse(self.url)
        given = {variable: said[name] for name, variable in by_environment.items() if name in said}
        return {**os.environ, **given, **variables(program)}


def find_programs(url: str, major: int) -> LocalPrograms:
    """This machine's programs for a server of that version: those of the same, else the next newer ones.

    Raises BinariesNotFoundError, or VersionMismatchError if all there are are older.
    """
    found = find_clients(major)
    return LocalPrograms(found.folder, found.major, url)


def variables(program: str) -> dict[str, str]:
    """What every run of a program finds in its environment; its messages are read for what they mean."""
    options = {"PGOPTIONS": SESSION_OPTIONS[program]} if program in SESSION_OPTIONS else {}
    return {"LC_ALL": "C.UTF-8", "PGAPPNAME": "fastzero", **options}


def raise_if_failed(program: str, code: int, said: str) -> None:
    """Raises what a program's words mean, if its exit code says that it failed."""
    if code == 0:
        return
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"exit code {code}")
    detail = re.sub(r"^pg_\w+: (error: )?", "", telling)
    if "connection to server" in said:
        raise connect_error(detail)
    for words, error_class, meaning in _MEANINGS:
        if words in said:
            raise error_class(f"{meaning}: {detail}")
    raise ProgramFailedError(f"{program} failed: {detail}", evidence="\n".join(lines[-EVIDENCE_LINES:]))
