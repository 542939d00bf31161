"""The care of one database, whoever runs it: what replaces or destroys it, and what must come before that."""

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
    from ..backup.restore import Restored, RestorePlan, Verified
    from ..backup.server import KeptDatabase
    from ..backup.shelf import Backup
    from ..backup.target import Target
    from ..schema.migrate import SchemaStatus
    from ..todo_app.models import User


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
        from ..backup import dump

        with self._served("it is backed up"):
            if others := self._others():
                self._on_event(Notice(f"only database {self.target.database} is backed up, not {', '.join(others)}"))
            return dump.take(self.target, file=file and file.absolute(), name=name, on_event=self._on_event)

    def write_to(self, stream: BinaryIO) -> "Manifest":
        """Write a backup into an open file, a pipe for example. Returns what a manifest would say."""
        from ..backup import dump

        with self._served("it is backed up"):
            return dump.write_backup(self.target, stream, on_event=self._on_event)

    def verify(self, backup: str | Path, *, trusted: bool = False) -> "Verified":
        """Prove that a backup, a file or a name, can be restored: in a scratch database, which is dropped again.

        The code that it holds runs as a role made for it, with `trusted` as the database's own. Raises
        BackupNotFoundError, DamagedBackupError, BackupMismatchError, DatabasePrivilegeError, DatabaseFullError.
        """
        from ..backup import restore

        archive = self._find(backup)
        with self._served("a backup is tried on it"):
            return restore.verify(self.target, archive, trusted=trusted, on_event=self._on_event)

    def plan_restore(self, backup: str | Path, *, into_empty: bool = False, trusted: bool = False) -> "RestorePlan":
        """Return what a restore would do. Raises what it would before it changes anything.

        With `trusted` the code that the backup holds runs as the database's own role, not as one made for it.
        """
        from ..backup import restore

        archive = self._find(backup)
        with self._served("a restore is prepared"):
            return restore.plan_restore(
                self.target, archive, into_empty=into_empty, trusted=trusted, on_event=self._on_event
            )

    def restore(
        self, backup: "str | Path | RestorePlan", *, upgrade: bool = False, no_backup: bool = False
    ) -> "Restored":
        """Put what a backup holds into service. The database before it is backed up first, and kept.

        From the backup until the swap it can be read but not written; if anything fails, it goes on to serve. An older
        schema is migrated to head only as a plan says, or with `upgrade`. Raises as `plan_restore` and `verify` do, and
        SchemaOutdatedError.
        """
        from ..backup import restore
        from ..backup.restore import RestorePlan

        with self._served("a backup is restored to it"), ExitStack() as held:
            plan = backup if isinstance(backup, RestorePlan) else self._agreed(backup, upgrade)
            if plan.into_empty:
                return restore.restore(self.target, plan, on_event=self._on_event)
            plan.refuse_if_changed()
            hold = None if no_backup else held.enter_context(self._backed_up())
            restored = restore.restore(self.target, plan, hold=hold, on_event=self._on_event)
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
            hold = None if no_backup else held.enter_context(self._backed_up())
            return restore.reset(self.target, hold=hold, on_event=self._on_event)

    def surplus(self, keep: int) -> Surplus:
        """Return what `prune` would delete."""
        from ..backup import restore, shelf

        with self._served("it is looked at"):
            return Surplus(shelf.surplus(self.folder, keep, self.target.database), restore.kept_databases(self.target))

    def prune(self, keep: int) -> Surplus:
        """Delete all but the newest `keep` backups, and drop the databases kept from before a restore. Returns them."""
        from ..backup import restore, shelf

        with self._served("it is pruned"):
            return Surplus(shelf.prune(self.folder, keep, self.target.database), restore.drop_kept(self.target))

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
            if self.target.schema is None:
                migrate.refuse_unknown(self.target.url, revision)
            if not no_backup:
                self._back_up_first()
            target = self.target
            return (target.schema or migrate).down(target.url, revision, timeout=limit, on_event=self._on_event)

    def remove_user(self, key: int | str, *, todos: int | None = None, no_backup: bool = False) -> "User":
        """Delete a user with all todos. The database is backed up first, and cannot be written meanwhile.

        With `todos`, how many somebody was told that there are. Raises ConflictError if there are more or fewer,
        UserNotFoundError, DatabaseBusyError.
        """
        from ..backup import content
        from ..postgres import database
        from ..todo_app.todos import Todos
        from ..todo_app.users import Users

        engine = database.create_engine(self.target.url, settings=content.WAITING)
        with self._served("a user is removed"), engine.begin() as connection:
            users = Users(connection)
            user = users.get(key)
            if not no_backup:
                content.write_lock(connection)
            if todos is not None and (now := Todos(connection, user.id).count()) != todos:
                raise ConflictError(
                    f"the todos of user {user.username} are {now} now, not {todos}",
                    hint="Nothing was deleted. Try again",
                )
            if not no_backup:
                self._back_up_first()
            return users.remove(user.id)

    def _back_up_first(self, way_back: "Callable[[Backup], str] | None" = None) -> None:
        """Take a backup before something is lost, and say how to get back."""
        from ..backup import dump

        with _backup_can_be_skipped():
            backup = dump.take(self.target, on_event=self._on_event)
        self._on_event(Notice(way_back(backup) if way_back else self.way_back(f"db restore {backup.name}")))

    def _find(self, backup: str | Path) -> Path:
        """Return the path of a backup that is named or given as a path, and tell what a name does not mean."""
        from ..backup import shelf

        found = shelf.find(self.folder, backup)
        if shelf.lies_here(backup):
            self._on_event(Notice(f"using {found}, not the file {str(backup)!r} in the current folder"))
        return found

    def _agreed(self, backup: str | Path, upgrade: bool) -> "RestorePlan":
        from ..backup import restore

        plan = restore.plan_restore(self.target, self._find(backup), on_event=self._on_event)
        if plan.upgrade and not upgrade:
            raise SchemaOutdatedError(
                f"the backup's schema is at {plan.revision}, older than the code's",
                hint="Nothing was changed. Let it be migrated: upgrade=True",
            )
        return plan

    @contextmanager
    def _backed_up(self, way_back: "Callable[[Backup], str] | None" = None) -> "Iterator[Hold]":
        """Hold writes for a block, and back up first: nothing that is acknowledged is missing from the backup."""
        from ..backup import content

        with ExitStack() as held:
            with _backup_can_be_skipped():
                hold = held.enter_context(content.writes_held(self.target.url))
            self._back_up_first(way_back)
            hold.check()
            yield hold

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
