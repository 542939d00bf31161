"""Taking a backup: pg_dump's custom format through a stream, and a manifest of the very snapshot it was taken in.

While pg_dump works, the server counts and hashes every table in the same snapshot, in a session beside it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, text

from .. import __version__
from ..errors import ConflictError
from ..events import Listener, Progress, ignore
from ..files import new_file, remove_file
from ..postgres import database
from ..schema import revisions
from . import content, shelf
from .manifest import Content, Manifest, manifest_path, with_archive
from .target import Target
from .watch import copied_rows

# Of pg_dump's own level 6 it takes half the time, for a file that is a tenth larger; every pg_restore reads it.
COMPRESSION = "3"
LOCK_TIMEOUT = "10s"


@dataclass(frozen=True)
class Snapshot:
    """A moment of a database: its name for other sessions, and what is known of it beforehand."""

    identifier: str
    major: int
    manifest: Manifest


def take(
    target: Target, *, file: Path | None = None, name: str | None = None, on_event: Listener = ignore
) -> shelf.Backup:
    """Write a backup to `file`, or to the target's folder under `name`, or else under the database's and the time.

    Two that begin in one second, in this process or another, get names of their own. Raises as `backup` does.
    """
    paths = [file] if file else shelf.new_paths(target.folder, target.database, name)
    with ExitStack() as stack:
        path, archive = _claimed(paths, stack)
        _write_both(target, path, archive, on_event)
    return shelf.described(path)


def backup(target: Target, archive: Path, *, on_event: Listener = ignore) -> Manifest:
    """Write a backup of the whole database to `archive`, and its manifest beside it. Both are whole, or not there.

    Other sessions go on reading and writing. Raises ConflictError if the file exists or is being written,
    DatabasePrivilegeError, DatabaseBusyError, VersionMismatchError, UnavailableError for a full disk.
    """
    with new_file(archive) as file:
        return _write_both(target, archive, file, on_event)


def _claimed(paths: Sequence[Path], stack: ExitStack) -> tuple[Path, BinaryIO]:
    """The first of these files that is not there and that nobody else writes. Raises ConflictError."""
    *others, last = paths
    for path in others:
        with suppress(ConflictError):
            return path, stack.enter_context(new_file(path))
    return last, stack.enter_context(new_file(last))


def _write_both(target: Target, archive: Path, file: BinaryIO, on_event: Listener) -> Manifest:
    """Write an archive and its manifest. The archive gets its name afterwards: one that has its name has both."""
    manifest = write_backup(target, file, on_event=on_event)
    remove_file(manifest_path(archive))  # of a backup that never got its name
    with new_file(manifest_path(archive)) as description:
        description.write(manifest.as_text().encode())
    return manifest


def write_backup(target: Target, file: BinaryIO, *, on_event: Listener = ignore) -> Manifest:
    """Write a backup into an open file, a pipe for example. Returns what a manifest would say."""
    digest, size = hashlib.sha256(), 0

    def write(chunk: bytes) -> None:
        nonlocal size
        digest.update(chunk)
        size += len(chunk)
        rest = memoryview(chunk)
        while rest:  # a stream without a buffer may take a part, and say so by its answer alone
            rest = rest[file.write(rest) :]

    with _snapshot(target) as (connection, snapshot), _counting(connection) as counted:
        programs = target.programs(snapshot.major)
        arguments = (
            "--format=custom",
            f"--compress={COMPRESSION}",
            f"--snapshot={snapshot.identifier}",
            f"--lock-wait-timeout={LOCK_TIMEOUT}",
            "--no-password",
        )
        with copied_rows(target.url, "dump", None, on_event):
            programs.run("pg_dump", arguments, target.database, write=write)
        on_event(Progress("count"))
        found = with_archive(snapshot.manifest, digest.hexdigest(), size)
        return Manifest(**{**vars(found), "tables": counted.result()})


@contextmanager
def _snapshot(target: Target) -> Iterator[tuple[Connection, Snapshot]]:
    """A transaction that sees one moment, which stays visible to others as long as the block lasts."""
    located = revisions.located(target.url, target.version_table)
    engine = database.create_engine(target.url, settings=content.SESSION)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        # Sequences know no snapshots: a number read before the dump is one that the dump is not behind of.
        sequences = content.sequence_values(connection)
        content.lock_tables(connection)
        identifier = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        version = str(connection.execute(text("SHOW server_version")).scalar_one()).split()[0]
        manifest = Manifest(
            database=str(connection.execute(text("SELECT current_database()")).scalar_one()),
            revision=",".join(revisions.read(content.driver(connection), *located)) or None if located else None,
            taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
            server_version=version,
            fastzero_version=__version__,
            sha256="",
            size=0,
            tables={},
            sequences=sequences,
            owners=content.owners(connection),
            grantees=content.grantees(connection),
        )
        yield connection, Snapshot(identifier, manifest.server_major, manifest)


@contextmanager
def _counting(connection: Connection) -> "Iterator[Future[dict[str, Content]]]":
    """Count and hash every table in the connection's snapshot while the block works on something else."""
    with ThreadPoolExecutor(1, thread_name_prefix="fastzero-counting") as pool:
        counted = pool.submit(content.table_contents, connection)
        try:
            yield counted
        except BaseException:
            _cancel(connection)
            raise


def _cancel(connection: Connection) -> None:
    """End what the connection is at: nobody waits for it any more."""
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None:
        driver_connection.cancel_safe(timeout=database.CONNECT_TIMEOUT)
