"""The operations on an archive, where its server's data and programs are: in this process, or in `worker`'s."""

import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ..events import Listener
from ..postgres.account import ServiceUser
from ..postgres.binaries import Binaries
from .description import FAILED, NOT_BEGUN, PAUSED, Archive
from .recover import recover as recover_data
from .recover import recovered
from .recovery import RecoveryPlan, prepare
from .segments import SEGMENT, BaseBackup
from .status import Condition, condition
from .store import Server, Store

_SYSTEM_AT = 24  # bytes before the system identifier in a segment


@dataclass(frozen=True)
class Operations:
    """The operations on one archive. `data` is the server's data directory, `state` the folder of its archiver.

    `programs` returns the programs of a major version, which run as `user`, None for the current one.
    """

    archive: Archive
    store: Store
    data: Path
    state: Path
    programs: Callable[[int], Binaries]
    user: ServiceUser | None
    on_event: Listener
    in_container: bool = False

    def check(self) -> int:
        """Raise an error unless the archive can be reached. Returns the free space where the data is, in bytes."""
        self.store.check()
        place = next(each for each in (self.data, *self.data.parents) if each.exists())
        return shutil.disk_usage(place).free

    def system(self) -> str:
        """Return the identifier of the server whose write-ahead log the archive has, "" if it has none."""
        names = sorted(filter(SEGMENT.fullmatch, self.store.names()))
        if not names:
            return ""
        with TemporaryDirectory(prefix="fastzero-wal-") as folder:
            self.store.pull(names[-1:], Path(folder))
            header = (Path(folder) / names[-1]).read_bytes()[: _SYSTEM_AT + 8]
        return str(struct.unpack_from("=Q", header, _SYSTEM_AT)[0])

    def condition(self) -> Condition:
        found = condition(self.data, self.state)
        return found if self.archive.system else replace(found, state="failing", detail=NOT_BEGUN)

    def resume(self) -> None:
        """Archive again if archiving was paused: the base backup that follows ends the gap."""
        for name in (PAUSED, FAILED):
            (self.state / name).unlink(missing_ok=True)

    def backups(self) -> list[BaseBackup]:
        return self.store.backups()

    def take(self, url: str, major: int) -> BaseBackup:
        """Take a base backup of the running server, and delete what is no longer kept."""
        self.store.take(Server(url, self.programs(major), self.archive.system))
        self.store.prune(self.archive.keep)
        return self.store.backups()[-1]

    def plan(self, time: datetime | None, name: str) -> RecoveryPlan:
        """Return what a recovery needs. Raises BackupNotFoundError, ArchiveIncompleteError, which name the archive."""
        found = prepare(self.store, time, name=name)
        return RecoveryPlan(self.archive, time, found.backup, len(found.chain.names), found.reachable)

    def verify(self, name: str) -> None:
        """Recover all that is archived beside the data, check every page, and delete it again."""
        found = prepare(self.store, None, name=name)
        programs = self.programs(found.backup.major)
        with recovered(found, self.data, programs, self.user, name=name, on_event=self.on_event):
            return

    def recover(self, time: datetime | None, name: str, *, passwords: Mapping[str, str], mark: str) -> None:
        """Create the data directory as it was at a time. The roles get these passwords, the directory this mark."""
        found = prepare(self.store, time, name=name)
        recover_data(
            found,
            self.data,
            self.programs(found.backup.major),
            self.user,
            passwords=passwords,
            mark=mark,
            name=name,
            in_container=self.in_container,
            on_event=self.on_event,
        )
