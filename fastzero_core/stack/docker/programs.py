"""Run PostgreSQL's programs in the database's container, through its socket, which needs no password."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ...files import read_chunks
from ...postgres.programs import Write, raise_if_failed, variables
from ...postgres.url import conninfo
from ...project import Project
from .runtime import DockerRuntime

# A prefix for few fixed names, so that the next command overwrites what a killed one left.
COPY = "/tmp/fastzero"  # noqa: S108 - the container has no other users


@dataclass(frozen=True)
class ContainerPrograms:
    """The programs of the container that runs `service`. They log in to its database as `role`."""

    runtime: DockerRuntime
    service: str
    role: str
    major: int

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
        return replace(self, role=role)

    def interact(self, program: str, arguments: Sequence[str], database: str) -> int:
        # In the environment, so that the arguments can name another database of the server.
        command = ["env", f"PGUSER={self.role}", f"PGDATABASE={database}", program, *arguments]
        interactive = sys.stdin.isatty() and sys.stdout.isatty()
        return self.runtime.execute_in(self.service, command, interactive=interactive)

    def _run(self, program: str, command: list[str], write: Write | None, read: Iterator[bytes] | None = None) -> None:
        code, said = self.runtime.pipe(self.service, command, read=read, write=write or _discard)
        raise_if_failed(program, code, said)


def container_programs(project: Project, runtime: str, service: str, role: str, major: int) -> ContainerPrograms:
    """Return the programs of the service's container, whose server has this major version."""
    if runtime == "swarm":
        from ..swarm.runtime import SwarmRuntime

        return ContainerPrograms(SwarmRuntime(project), service, role, major)
    return ContainerPrograms(DockerRuntime(project), service, role, major)


def _discard(chunk: bytes) -> None:
    """Ignore output that the caller did not request."""
