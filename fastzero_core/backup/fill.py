"""A database filled from an archive by pg_restore, and compared with the archive's manifest."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from ..errors import DatabaseLoginError, DatabasePrivilegeError, VersionMismatchError
from ..events import Listener, Progress, ignore
from ..postgres import database
from ..postgres.programs import Programs
from . import content, extensions
from .manifest import Manifest
from .scratch import Scratch
from .server import Server
from .target import Target
from .watch import copied_rows

FOR_TRIAL = ("--no-owner", "--no-privileges")  # whoever tries owns all of it
TRUST = "If you trust the backup, restore it with the rights of your own role: --trusted"
JOBS = 2  # sessions of pg_restore: tables and indexes side by side
TIMEOUTS_SINCE = 17  # pg_restore sets transaction_timeout, which older servers do not know


def fill(
    target: Target,
    server: Server,
    new: Scratch,
    archive: Path,
    manifest: Manifest,
    *,
    options: Sequence[str] = FOR_TRIAL,
    on_event: Listener = ignore,
) -> None:
    """Restore into a database, and compare. Raises BackupMismatchError."""
    programs = programs_for(target, server, manifest)
    jobs = [] if "--single-transaction" in options else [f"--jobs={JOBS}"]
    arguments = ["--exit-on-error", "--no-password", *jobs, *options]
    with ExitStack() as stack:
        if new.password is not None:
            stack.enter_context(_rights_explained())
            programs = programs.as_role(new.name, new.password)
        there = stack.enter_context(programs.reachable(archive, "archive"))
        if new.has_role or new.installed:
            arguments.append(f"--use-list={stack.enter_context(_entries(programs, new, there))}")
        with copied_rows(new.url, "restore", manifest.rows, on_event):
            programs.run("pg_restore", [*arguments, there], new.name)
    on_event(Progress("compare"))
    engine = database.create_engine(new.url, settings=content.SESSION)
    with engine.connect() as connection:
        content.compare(connection, manifest)


@contextmanager
def _entries(programs: Programs, new: Scratch, archive: str) -> Iterator[str]:
    """List, in a file for one block, what the role can restore of an archive. Yields its path."""
    listing = bytearray()
    programs.run("pg_restore", ["--list", archive], new.name, write=listing.extend)
    with NamedTemporaryFile(prefix="fastzero-") as file:
        text = listing.decode("utf-8", "replace")
        entries = extensions.entries_to_restore(text, new.installed, default_privileges=not new.has_role)
        file.write(entries.encode())
        file.flush()
        with programs.reachable(Path(file.name), "list") as path:
            yield path


@contextmanager
def _rights_explained() -> Iterator[None]:
    """Have an error say why a backup's objects may want more rights than the role that restores it has."""
    try:
        yield
    except (DatabasePrivilegeError, DatabaseLoginError) as error:
        hint = f"It is restored by a role that was made for it, and has no rights. {TRUST}"
        raise type(error)(f"the backup cannot be restored: {error.message}", hint=hint) from error


def programs_for(target: Target, server: Server, manifest: Manifest) -> Programs:
    """The programs that restore a backup on this server. Raises VersionMismatchError, BinariesNotFoundError."""
    if manifest.server_major > server.major:
        raise VersionMismatchError(
            f"the backup is of PostgreSQL {manifest.server_major}, the server of {server.major}",
            hint="Nothing was changed. Restore it on a server of its own version, or a newer one",
        )
    programs = target.programs(server.major)
    if programs.major >= TIMEOUTS_SINCE > server.major:
        raise VersionMismatchError(
            f"pg_restore is of PostgreSQL {programs.major} here, which the server's {server.major} does not understand",
            hint=f"Install those of its own version: your system's postgresql-client-{server.major}",
        )
    return programs
