"""The care of one database, whoever runs it: what replaces or destroys it, and what must come before that."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import ConflictError, FastZeroError
from ..events import Listener, Notice, RevisionApplied
from ..settings import Settings

if TYPE_CHECKING:
    from ..backup.manifest import Manifest
    from ..backup.restore import Restored, Verified
    from ..backup.server import KeptDatabase
    from ..backup.shelf import Backup
    from ..backup.target import Target
    from ..schema.migrate import SchemaStatus
    from ..todo_app.models import User


@dataclass(frozen=True)
class RestorePlan:
    """What a restore would do. `upgrade`: the backup's schema is older, and is migrated to head."""

    archive: Path
    origin: str  # the database that the backup is of
    upgrade: bool
    into_empty: bool


@dataclass(frozen=True)
class Surplus:
    """What `prune` deletes: backups, and databases kept from before a restore."""

    backups: "list[Backup]"
    databases: "list[KeptDatabase]"


class DatabaseCare(ABC):
    """The care of one database. Every method that writes holds what keeps other commands from it."""

    settings: Settings
    _on_event: Listener

    @property
    @abstractmethod
    def target(self) -> "Target":
        """The database, its programs and its folder. Raises ProjectNotFoundError before the first `up`."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The folder of its backups, where a backup is found by its name."""

    @property
    @abstractmethod
    def owner(self) -> str:
        """Whose it is, as the end of its name in a sentence."""

    @abstractmethod
    def way_back(self, command: str) -> str:
        """Return the sentence that says how to undo, by a command on this database."""

    @abstractmethod
    def _served(self, cause: str, *, alone: bool = False) -> AbstractContextManager[None]:
        """Have the database answer for a block, in which no other command works on it.

        With `alone` the project's processes are stopped meanwhile.
        """

    @abstractmethod
    def _others(self) -> list[str]:
        """Return the project's other databases, which no backup of this one holds."""

    @property
    def description(self) -> str:
        """The database by its name, project, host, port and rows, for a question."""
        from ..backup.stats import count_rows
        from ..backup.target import address_of

        address, rows = address_of(self.target.url), count_rows(self.target.url)
        counted = "" if rows is None else f" ({rows:,} row{'' if rows == 1 else 's'})"
        return f"database {address.database}{self.owner} at {address}{counted}"

    def backups(self) -> "list[Backup]":
        """Return the database's backups, oldest first."""
        from ..backup import shelf

        return shelf.backups(self.folder)

    def backup(self, file: Path | None = None, *, name: str | None = None) -> "Backup":
        """Write a backup to `file`, or to the database's folder under `name` or the time. Returns it.

        Raises ConflictError if it exists, DatabasePrivilegeError, DatabaseBusyError, VersionMismatchError,
        UnavailableError for a full disk.
        """
        with self._served("it is backed up"):
            if others := self._others():
                self._on_event(Notice(f"only database {self.target.database} is backed up, not {', '.join(others)}"))
            return self._write(file, name)

    def write_to(self, stream: BinaryIO) -> "Manifest":
        """Write a backup into an open file, a pipe for example. Returns what a manifest would say."""
        from ..backup import dump

        with self._served("it is backed up"):
            return dump.write_backup(self.target, stream, on_event=self._on_event)

    def verify(self, backup: str | Path) -> "Verified":
        """Prove that a backup, a file or a name, can be restored: in a scratch database, which is dropped again.

        Raises BackupNotFoundError, DamagedBackupError, BackupMismatchError, DatabasePrivilegeError, DatabaseFullError.
        """
        from ..backup import restore, shelf

        archive = shelf.find(self.folder, str(backup))
        with self._served("a backup is tried on it"):
            return restore.verify(self.target, archive, on_event=self._on_event)

    def plan_restore(self, backup: str | Path, *, into_empty: bool = False) -> RestorePlan:
        """Return what a restore would do. Raises what it would before it changes anything."""
        with self._served("a restore is prepared"):
            return self._plan_restore(backup, into_empty)

    def restore(
        self, backup: str | Path | RestorePlan, *, upgrade: bool = False, no_backup: bool = False
    ) -> "Restored":
        """Put what a backup holds into service. The database before it is backed up first, and kept.

        An older schema is migrated to head only as a plan says, or with `upgrade`. Until the swap the old database
        serves, and if anything fails it goes on to. Raises as `verify` does, SchemaOutdatedError, SchemaNewerError,
        DatabaseNotEmptyError.
        """
        from ..backup import restore

        with self._served("a backup is restored to it"):
            if isinstance(backup, RestorePlan):
                plan, upgrade = backup, backup.upgrade
            else:
                plan = self._plan_restore(backup, False)
            options: dict[str, Any] = {"upgrade": upgrade, "on_event": self._on_event}
            if plan.into_empty:
                return restore.restore_into_empty(self.target, plan.archive, **options)
            restore.check(self.target, plan.archive, upgrade=upgrade)
            if not no_backup:
                self._back_up_first()
            restored = restore.restore(self.target, plan.archive, **options)
        self._tell_of_kept(restored)
        return restored

    def last_kept(self) -> "KeptDatabase":
        """Return the database that `undo` would put back. Raises BackupNotFoundError."""
        from ..backup import restore

        with self._served("it is looked at"):
            return restore.last_kept(self.target)

    def undo(self) -> "Restored":
        """Put the database back that the last restore replaced, and keep the one in service instead.

        Raises BackupNotFoundError.
        """
        from ..backup import restore

        with self._served("a restore is undone"):
            restored = restore.undo(self.target)
        self._tell_of_kept(restored)
        return restored

    def reset(self, *, no_backup: bool = False) -> "Restored":
        """Put an empty database at head into service, and drop the one before it, which is backed up first."""
        from ..backup import restore

        with self._served("it is reset"), ExitStack() as held:
            restore.refuse_unless_able(self.target)
            if not no_backup:
                check = held.enter_context(self._writes_held())
                self._back_up_first()
                check()
            return restore.reset(self.target, on_event=self._on_event)

    def surplus(self, keep: int) -> Surplus:
        """Return what `prune` would delete."""
        from ..backup import restore, shelf

        with self._served("it is looked at"):
            return Surplus(shelf.surplus(self.folder, keep), restore.kept_databases(self.target))

    def prune(self, keep: int) -> Surplus:
        """Delete all but the newest `keep` backups, and drop the databases kept from before a restore. Returns them."""
        from ..backup import restore, shelf

        with self._served("it is pruned"):
            return Surplus(shelf.prune(self.folder, keep), restore.drop_kept(self.target))

    def rehearse(self, revision: str = "head", *, timeout: float | None = None) -> list[RevisionApplied]:
        """Run the revisions up to `revision` on a copy. Returns each with its seconds and what it locked."""
        from ..backup.rehearsal import rehearse

        with self._served("a migration is rehearsed"):
            return rehearse(self.target, revision, timeout=timeout or self.settings.timeout, on_event=self._on_event)

    def migrate_down(self, revision: str, *, no_backup: bool = False, timeout: float | None = None) -> "SchemaStatus":
        """Downgrade the schema to `revision`. The database is backed up first, with the project's processes stopped.

        Writes cannot be held over a migration: what others write between the backup and it is in no backup.
        Raises as `migrate.down` does.
        """
        from ..schema import migrate

        limit = timeout or self.settings.timeout
        with self._served("the schema is downgraded", alone=True):
            if not no_backup:
                self._back_up_first()
            return migrate.down(self.target.url, revision, timeout=limit, on_event=self._on_event)

    def remove_user(self, key: int | str, *, todos: int | None = None, no_backup: bool = False) -> "User":
        """Delete a user with all todos. The database is backed up first, and cannot be written meanwhile.

        With `todos`, how many somebody was told that there are. Raises ConflictError if there are more or fewer,
        UserNotFoundError, DatabaseBusyError.
        """
        from ..backup import content
        from ..postgres import database
        from ..todo_app.todos import Todos
        from ..todo_app.users import Users

        # Not the settings of an ordinary session: this one is idle for as long as the backup takes.
        engine = database.create_engine(self.target.url, settings=content.SESSION)
        with self._served("a user is removed"), engine.begin() as connection:
            users = Users(connection)
            user = users.get(key)
            if not no_backup:
                content.lock_tables(connection, "SHARE ROW EXCLUSIVE")  # two such commands must not wait for each other
            if todos is not None and (now := Todos(connection, user.id).count()) != todos:
                raise ConflictError(
                    f"user {user.username} has {now} todos now, not {todos}", hint="Nothing was deleted. Try again"
                )
            if not no_backup:
                self._back_up_first()
            return users.remove(user.id)

    def _plan_restore(self, backup: str | Path, into_empty: bool) -> RestorePlan:
        from ..backup import restore, shelf

        archive = shelf.find(self.folder, str(backup))
        plan = RestorePlan(archive, shelf.described(archive).database, restore.needs_upgrade(archive), into_empty)
        if not into_empty:
            restore.check(self.target, archive, upgrade=plan.upgrade, on_event=self._on_event)
        return plan

    def _write(self, file: Path | None = None, name: str | None = None) -> "Backup":
        from ..backup import dump, shelf

        path = file.absolute() if file else shelf.new_path(self.folder, self.target.database, name)
        dump.backup(self.target, path, on_event=self._on_event)
        return shelf.described(path)

    def _back_up_first(self, way_back: "Callable[[Backup], str] | None" = None) -> None:
        """Take a backup before something is lost, and say how to get back."""
        with _backup_can_be_skipped():
            backup = self._write()
        self._on_event(Notice(way_back(backup) if way_back else self.way_back(f"db restore {backup.name}")))

    @contextmanager
    def _writes_held(self) -> Iterator[Callable[[], object]]:
        """Hold writes for a block. What is given raises ConnectionLostError once they are not held any more."""
        from ..backup import content

        with ExitStack() as held:
            with _backup_can_be_skipped():
                check = held.enter_context(content.writes_held(self.target.url))
            yield check

    def _tell_of_kept(self, restored: "Restored") -> None:
        way_back = self.way_back("db restore --undo")
        self._on_event(Notice(f"The database before is kept as {restored.kept}. {way_back}"))


@contextmanager
def _backup_can_be_skipped() -> Iterator[None]:
    """Have an error of the block say how to go on without a backup."""
    try:
        yield
    except FastZeroError as error:
        error.hint = f"{error.hint}. Or go on without a backup: --no-backup".lstrip(". ")
        raise
