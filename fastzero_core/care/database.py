"""Replace or destroy a database safely: with a lock, a write lock and a backup first."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import ConflictError, FastZeroError, SchemaOutdatedError
from ..events import Listener, Notice, RevisionApplied
from ..settings import Settings

if TYPE_CHECKING:
    from ..backup.content import Hold
    from ..backup.manifest import Manifest
    from ..backup.repository import Backup
    from ..backup.restore import Restored, RestorePlan, Verified
    from ..backup.server import KeptDatabase
    from ..backup.target import Target
    from ..schema.migrate import SchemaStatus
    from ..todo_app.models import User


@dataclass(frozen=True)
class Surplus:
    """What `prune` deletes: old backups, and databases kept from before a restore."""

    backups: "list[Backup]"
    databases: "list[KeptDatabase]"


class DatabaseCare(ABC):
    """Operations on one database. Every method that writes locks the database against other commands."""

    settings: Settings
    _on_event: Listener

    @property
    @abstractmethod
    def target(self) -> "Target":
        """The database, its programs and its backup folder. Raises ProjectNotFoundError before the first `up`."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder in which a backup is found by its name."""

    @property
    @abstractmethod
    def owner(self) -> str:
        """The project that owns the database, as a suffix to its name in messages; empty without one."""

    @abstractmethod
    def way_back(self, command: str) -> str:
        """Return a sentence with the command that undoes an operation on this database."""

    @abstractmethod
    def _locked(self, cause: str, *, stop_processes: bool = False) -> AbstractContextManager[None]:
        """Lock the database against other commands, and make sure that it runs, for one block.

        With `stop_processes` the project's processes are stopped during the block.
        """

    @abstractmethod
    def _other_databases(self) -> list[str]:
        """Return the project's other databases, which a backup of this one does not contain."""

    @property
    def description(self) -> str:
        """The name, project, host, port and row count of the database, for a prompt."""
        from ..backup.stats import count_rows
        from ..backup.target import address_of

        address, rows = address_of(self.target.url), count_rows(self.target.url)
        counted = "" if rows is None else f" ({rows:,} row{'' if rows == 1 else 's'})"
        return f"database {address.database}{self.owner} at {address}{counted}"

    def backups(self) -> "list[Backup]":
        """Return the backups of the database, oldest first."""
        from ..backup import repository

        return repository.backups(self.folder)

    def backup(self, file: Path | None = None, *, name: str | None = None) -> "Backup":
        """Write a backup to `file`, or to the folder of backups as `name`; by default named after the time. Returns it.

        Raises ConflictError if the file exists, DatabasePrivilegeError, DatabaseBusyError, VersionMismatchError,
        UnavailableError if the disk is full.
        """
        from ..backup import dump

        with self._locked("it is backed up"):
            if others := self._other_databases():
                self._on_event(Notice(f"only database {self.target.database} is backed up, not {', '.join(others)}"))
            return dump.take(self.target, file=file and file.absolute(), name=name, on_event=self._on_event)

    def write_to(self, stream: BinaryIO) -> "Manifest":
        """Write a backup to an open file, for example a pipe. Returns its manifest, which is not written."""
        from ..backup import dump

        with self._locked("it is backed up"):
            return dump.write_backup(self.target, stream, on_event=self._on_event)

    def verify(self, backup: str | Path, *, trusted: bool = False) -> "Verified":
        """Verify that a backup can be restored: restore it to a scratch database, compare it, and drop that database.

        `backup` is a path or a name. Code in it runs as a temporary role, with `trusted` as the database's own role.
        Raises BackupNotFoundError, DamagedBackupError, BackupMismatchError, DatabasePrivilegeError, DatabaseFullError.
        """
        from ..backup import restore

        archive = self._find(backup)
        with self._locked("a backup is verified"):
            return restore.verify(self.target, archive, trusted=trusted, on_event=self._on_event)

    def plan_restore(self, backup: str | Path, *, into_empty: bool = False, trusted: bool = False) -> "RestorePlan":
        """Check a backup and return the plan of its restore.

        Raises the errors that a restore raises before it changes anything. With `trusted` the code in the backup runs
        as the database's own role, not as a temporary one.
        """
        from ..backup import restore

        archive = self._find(backup)
        with self._locked("a restore is prepared"):
            return restore.plan_restore(
                self.target, archive, into_empty=into_empty, trusted=trusted, on_event=self._on_event
            )

    def restore(
        self, backup: "str | Path | RestorePlan", *, upgrade: bool = False, no_backup: bool = False
    ) -> "Restored":
        """Restore a backup, after a backup of the current database, which is also kept under another name.

        From that backup until the swap the current database can be read but not written; if anything fails, it stays
        live. An older schema is migrated to head only if the plan says so, or with `upgrade`. Raises the errors of
        `plan_restore` and `verify`, and SchemaOutdatedError.
        """
        from ..backup import restore
        from ..backup.restore import RestorePlan

        with self._locked("a backup is restored"), ExitStack() as held:
            plan = backup if isinstance(backup, RestorePlan) else self._accepted_plan(backup, upgrade)
            if plan.into_empty:
                return restore.restore(self.target, plan, on_event=self._on_event)
            plan.refuse_if_changed()
            hold = None if no_backup else held.enter_context(self._backed_up_and_write_locked())
            restored = restore.restore(self.target, plan, hold=hold, on_event=self._on_event)
        self._report_kept(restored)
        return restored

    def last_kept(self) -> "KeptDatabase":
        """Return the database that `undo` would restore. Raises BackupNotFoundError."""
        from ..backup import restore

        with self._locked("it is inspected"):
            return restore.last_kept(self.target)

    def undo(self) -> "Restored":
        """Swap the live database with the one that the last restore replaced. Raises BackupNotFoundError."""
        from ..backup import restore

        with self._locked("a restore is undone"):
            restored = restore.undo(self.target)
        self._report_kept(restored)
        return restored

    def reset(self, *, no_backup: bool = False) -> "Restored":
        """Replace the database by an empty one at head, after a backup of it, and drop it."""
        from ..backup import restore

        with self._locked("it is reset"), ExitStack() as held:
            restore.refuse_unless_able(self.target)
            hold = None if no_backup else held.enter_context(self._backed_up_and_write_locked())
            return restore.reset(self.target, hold=hold, on_event=self._on_event)

    def surplus(self, keep: int) -> Surplus:
        """Return what `prune` would delete."""
        from ..backup import repository, restore

        with self._locked("it is inspected"):
            return Surplus(
                repository.surplus(self.folder, keep, self.target.database), restore.kept_databases(self.target)
            )

    def prune(self, keep: int) -> Surplus:
        """Delete all but the newest `keep` backups, and drop the databases kept from before a restore. Returns them."""
        from ..backup import repository, restore

        with self._locked("it is pruned"):
            return Surplus(repository.prune(self.folder, keep, self.target.database), restore.drop_kept(self.target))

    def rehearse(self, revision: str = "head", *, timeout: float | None = None) -> list[RevisionApplied]:
        """Run the revisions up to `revision` on a copy. Returns each with its duration in seconds and its locks."""
        from ..backup.rehearsal import rehearse

        with self._locked("a migration is rehearsed"):
            return rehearse(self.target, revision, timeout=timeout or self.settings.timeout, on_event=self._on_event)

    def migrate_down(self, revision: str, *, no_backup: bool = False, timeout: float | None = None) -> "SchemaStatus":
        """Downgrade the schema to `revision`, after a backup, with the project's processes stopped.

        A write lock cannot be held during a migration: the backup does not contain writes of other clients between
        the backup and the migration. Raises the errors of `migrate.down`.
        """
        from ..schema import migrate

        limit = timeout or self.settings.timeout
        with self._locked("the schema is downgraded", stop_processes=True):
            if self.target.schema is None:
                migrate.refuse_unknown(self.target.url, revision)
            if not no_backup:
                self._back_up_first()
            target = self.target
            return (target.schema or migrate).down(target.url, revision, timeout=limit, on_event=self._on_event)

    def remove_user(self, key: int | str, *, todos: int | None = None, no_backup: bool = False) -> "User":
        """Delete a user with all todos, after a backup. Other sessions cannot write from the backup to the end.

        `todos` is the expected number of todos. Raises ConflictError if the user has more or fewer, UserNotFoundError,
        DatabaseBusyError.
        """
        from ..backup import content
        from ..postgres import database
        from ..todo_app.todos import Todos
        from ..todo_app.users import Users

        engine = database.create_engine(self.target.url, settings=content.IDLE_SETTINGS)
        with self._locked("a user is removed"), engine.begin() as connection:
            users = Users(connection)
            user = users.get(key)
            if not no_backup:
                content.write_lock(connection)
            if todos is not None and (now := Todos(connection, user.id).count()) != todos:
                raise ConflictError(
                    f"the number of todos of user {user.username} changed from {todos} to {now}",
                    hint="Nothing was deleted. Try again",
                )
            if not no_backup:
                self._back_up_first()
            return users.remove(user.id)

    def _back_up_first(self, way_back: "Callable[[Backup], str] | None" = None) -> None:
        """Take a backup before data is destroyed, and report the command that restores it."""
        from ..backup import dump

        with _skipping_explained():
            backup = dump.take(self.target, on_event=self._on_event)
        self._on_event(Notice(way_back(backup) if way_back else self.way_back(f"db restore {backup.name}")))

    def _find(self, backup: str | Path) -> Path:
        """Return the path of a backup, given by name or path; report a file of the same name that is not used."""
        from ..backup import repository

        found = repository.find(self.folder, backup)
        if repository.is_in_current_folder(backup):
            self._on_event(Notice(f"using {found}, not the file {str(backup)!r} in the current folder"))
        return found

    def _accepted_plan(self, backup: str | Path, upgrade: bool) -> "RestorePlan":
        from ..backup import restore

        plan = restore.plan_restore(self.target, self._find(backup), on_event=self._on_event)
        if plan.upgrade and not upgrade:
            raise SchemaOutdatedError(
                f"the backup's schema is at {plan.revision}, older than the code's",
                hint="Nothing was changed. Migrate it after the restore: upgrade=True",
            )
        return plan

    @contextmanager
    def _backed_up_and_write_locked(self, way_back: "Callable[[Backup], str] | None" = None) -> "Iterator[Hold]":
        """Take a write lock, then a backup that contains every acknowledged write; hold the lock for the block."""
        from ..backup import content

        with ExitStack() as held:
            with _skipping_explained():
                hold = held.enter_context(content.writes_held(self.target.url))
            self._back_up_first(way_back)
            hold.check()
            yield hold

    def _report_kept(self, restored: "Restored") -> None:
        way_back = self.way_back("db restore --undo")
        self._on_event(Notice(f"The previous database is kept as {restored.kept}. {way_back}"))


@contextmanager
def _skipping_explained() -> Iterator[None]:
    """Add to the hint of an error in the block how to skip the backup."""
    try:
        yield
    except FastZeroError as error:
        error.hint = f"{error.hint}. Or skip the backup: --no-backup".lstrip(". ")
        raise
