"""Take a backup: a pg_dump archive in custom format, and a manifest of the same snapshot.

While pg_dump runs, the server counts and hashes every table of the same snapshot in another session.
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
from . import content, repository
from .manifest import Content, Manifest, manifest_path, with_archive
from .target import Target
from .watch import copied_rows

# Takes half the time of pg_dump's default level 6, for a file that is 10 % larger. Every pg_restore can read it.
COMPRESSION = "3"
LOCK_TIMEOUT = "10s"


@dataclass(frozen=True)
class Snapshot:
    """An exported snapshot: its identifier, the server's major version, and the manifest so far."""

    identifier: str
    major: int
    manifest: Manifest


def take(
    target: Target, *, file: Path | None = None, name: str | None = None, on_event: Listener = ignore
) -> repository.Backup:
    """Write a backup to `file`, or to the target's folder as `name`; by default named after the database and the time.

    Two backups that start in the same second, in any process, get different names. Raises the errors of `backup`.
    """
    paths = [file] if file else repository.new_paths(target.folder, target.database, name)
    with ExitStack() as stack:
        path, archive = _create_first_free(paths, stack)
        _write_both(target, path, archive, on_event)
    return repository.read_backup(path)


def backup(target: Target, archive: Path, *, on_event: Listener = ignore) -> Manifest:
    """Write a backup of the whole database to `archive`, and its manifest next to it. Writes both or none.

    Other sessions can read and write. Raises ConflictError if the file exists or is being written,
    DatabasePrivilegeError, DatabaseBusyError, VersionMismatchError, UnavailableError if the disk is full.
    """
    with new_file(archive) as file:
        return _write_both(target, archive, file, on_event)


def _create_first_free(paths: Sequence[Path], stack: ExitStack) -> tuple[Path, BinaryIO]:
    """Create the first of these files that does not exist and that no other process writes. Raises ConflictError."""
    *others, last = paths
    for path in others:
        with suppress(ConflictError):
            return path, stack.enter_context(new_file(path))
    return last, stack.enter_context(new_file(last))


def _write_both(target: Target, archive: Path, file: BinaryIO, on_event: Listener) -> Manifest:
    """Write an archive and its manifest. The archive gets its final name last, so a named archive has a manifest."""
    manifest = write_backup(target, file, on_event=on_event)
    remove_file(manifest_path(archive))  # left by a backup that was interrupted before its archive got its name
    with new_file(manifest_path(archive)) as description:
        description.write(manifest.as_text().encode())
    return manifest


def write_backup(target: Target, file: BinaryIO, *, on_event: Listener = ignore) -> Manifest:
    """Write a backup to an open file, for example a pipe. Returns the manifest, which is not written."""
    digest, size = hashlib.sha256(), 0

    def write(chunk: bytes) -> None:
        nonlocal size
        digest.update(chunk)
        size += len(chunk)
        rest = memoryview(chunk)
        while rest:  # an unbuffered stream may write a part only
            rest = rest[file.write(rest) :]

    with _snapshot(target) as (connection, snapshot), _counted_in_thread(connection) as counted:
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
    """Open a transaction and export its snapshot, which other sessions can use until the block ends."""
    located = revisions.located(target.url, target.version_table)
    engine = database.create_engine(target.url, settings=content.SESSION_SETTINGS)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        # Sequences are not part of a snapshot. Read before the dump, so that the dump's values are the same or higher.
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
def _counted_in_thread(connection: Connection) -> "Iterator[Future[dict[str, Content]]]":
    """Count and hash every table in the connection's snapshot, in a thread, while the block runs."""
    with ThreadPoolExecutor(1, thread_name_prefix="fastzero-counting") as pool:
        counted = pool.submit(content.table_contents, connection)
        try:
            yield counted
        except BaseException:
            _cancel(connection)
            raise


def _cancel(connection: Connection) -> None:
    """Cancel the running statement of the connection: its result is not needed."""
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None:
        driver_connection.cancel_safe(timeout=database.CONNECT_TIMEOUT)
