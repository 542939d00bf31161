"""Fill a database from an archive with pg_restore, and compare it with the archive's manifest."""

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

WITHOUT_OWNERS = ("--no-owner", "--no-privileges")  # the role that restores owns everything
TRUST_HINT = "If you trust the backup, restore it with the privileges of your own role: --trusted"
JOBS = 2  # parallel sessions of pg_restore
TIMEOUTS_SINCE = 17  # from this version on, pg_restore sets transaction_timeout, which older servers do not know


def fill(
    target: Target,
    server: Server,
    new: Scratch,
    archive: Path,
    manifest: Manifest,
    *,
    options: Sequence[str] = WITHOUT_OWNERS,
    on_event: Listener = ignore,
) -> None:
    """Restore an archive into a database and compare the result with its manifest. Raises BackupMismatchError."""
    programs = programs_for(target, server, manifest)
    jobs = [] if "--single-transaction" in options else [f"--jobs={JOBS}"]
    arguments = ["--exit-on-error", "--no-password", *jobs, *options]
    with ExitStack() as stack:
        if new.password is not None:
            stack.enter_context(_missing_privileges_explained())
            programs = programs.as_role(new.name, new.password)
        path_for_programs = stack.enter_context(programs.reachable(archive, "archive"))
        if new.has_role or new.installed:
            arguments.append(f"--use-list={stack.enter_context(_entries(programs, new, path_for_programs))}")
        with copied_rows(new.url, "restore", manifest.rows, on_event):
            programs.run("pg_restore", [*arguments, path_for_programs], new.name)
    on_event(Progress("compare"))
    engine = database.create_engine(new.url, settings=content.SESSION_SETTINGS)
    with engine.connect() as connection:
        content.compare(connection, manifest)


@contextmanager
def _entries(programs: Programs, new: Scratch, archive: str) -> Iterator[str]:
    """Write the archive entries that the role can restore to a temporary file. Yields its path."""
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
def _missing_privileges_explained() -> Iterator[None]:
    """Explain in the hint of a privilege error that the restoring role has no privileges."""
    try:
        yield
    except (DatabasePrivilegeError, DatabaseLoginError) as error:
        hint = f"A backup is restored by a temporary role without privileges. {TRUST_HINT}"
        raise type(error)(f"the backup cannot be restored: {error.message}", hint=hint) from error


def programs_for(target: Target, server: Server, manifest: Manifest) -> Programs:
    """Return the programs to restore a backup on this server. Raises VersionMismatchError, BinariesNotFoundError."""
    if manifest.server_major > server.major:
        raise VersionMismatchError(
            f"the backup is from PostgreSQL {manifest.server_major}, newer than the server's {server.major}",
            hint=f"Nothing was changed. Restore it on PostgreSQL {manifest.server_major} or newer",
        )
    programs = target.programs(server.major)
    if programs.major >= TIMEOUTS_SINCE > server.major:
        raise VersionMismatchError(
            f"pg_restore {programs.major} cannot restore to a PostgreSQL {server.major} server",
            hint=f"Install the client programs of the server's version: your system's postgresql-client-{server.major}",
        )
    return programs
