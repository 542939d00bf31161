"""Run PostgreSQL's programs in the database's container, through its socket, which needs no password.

Of a database with standbys, the nearest container is used, and the programs log in to the server that accepts writes.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...files import read_chunks
from ...ha.configuration import address
from ...postgres.programs import Write, raise_if_failed, variables
from ...postgres.url import conninfo, render
from ...postgres.url import variables as url_variables
from ...project import AUTHENTICATION, Project
from .runtime import DockerRuntime

# A prefix for few fixed names, so that the next command overwrites what a killed one left.
COPY = "/tmp/fastzero"  # noqa: S108 - the container has no other users


@dataclass(frozen=True)
class ContainerPrograms:
    """The programs of the container that runs `service`. They log in to its database as `role`.

    `login` are the variables with which they log in to another server, empty for the container's own.
    """

    runtime: DockerRuntime
    service: str
    role: str
    major: int
    login: Mapping[str, str] = field(default_factory=dict)

    def run(self, program: str, arguments: Sequence[str], database: str, *, write: Write | None = None) -> None:
        settings = [f"{name}={value}" for name, value in variables(program).items()]
        command = ["env", *settings, program, f"--username={self.role}", f"--dbname={conninfo(database)}", *arguments]
        self._run(program, command, write)

    @contextmanager
    def reachable(self, file: Path, name: str) -> Iterator[str]:
        """Copy a file into the container for one block: parallel jobs need a file, which they read at several offsets.

        Yields its path in the container.
        """
        path = f"{COPY}-{name}"
        copy = ["sh", "-c", 'umask 077; rm -f "$1"; cat >"$1"', "sh", path]
        try:
            self._run("cat", copy, None, read_chunks(file))
            yield path
        finally:
            self._run("rm", ["rm", "-f", path], None)

    def as_role(self, role: str, password: str) -> "ContainerPrograms":
        login = {**self.login, "PGPASSWORD": password} if self.login else {}
        return replace(self, role=role, login=login)

    def interact(self, program: str, arguments: Sequence[str], database: str) -> int:
        # In the environment, so that the arguments can name another database of the server.
        command = ["env", f"PGUSER={self.role}", f"PGDATABASE={database}", program, *arguments]
        interactive = sys.stdin.isatty() and sys.stdout.isatty()
        return self.runtime.execute_in(self.service, command, interactive=interactive, environment=self.login)

    def _run(self, program: str, command: list[str], write: Write | None, read: Iterator[bytes] | None = None) -> None:
        code, said = self.runtime.pipe(
            self.service, command, read=read, write=write or _discard, environment=self.login
        )
        raise_if_failed(program, code, said)


def container_programs(
    project: Project, runtime: str, service: str, role: str, major: int, *, has_standbys: bool | None = None
) -> ContainerPrograms:
    """Return the programs of the service's container, whose server has this major version.

    They log in to the server that accepts writes if the database `has_standbys`, by default as the record says.
    """
    if runtime == "swarm":
        from ..swarm.runtime import SwarmRuntime

        if has_standbys is None:
            has_standbys = project.record is not None and bool(project.record.members)
        login = _login(project, role) if has_standbys else {}
        return ContainerPrograms(SwarmRuntime(project), service, role, major, login)
    return ContainerPrograms(DockerRuntime(project), service, role, major)


def _login(project: Project, role: str) -> dict[str, str]:
    """Return the variables of a login to whichever server of a database with standbys accepts writes."""
    return url_variables(render({**address(), "password": project.passwords()[role], "require_auth": AUTHENTICATION}))


def _discard(chunk: bytes) -> None:
    """Ignore output that the caller did not request."""
