"""Choose what a recovery needs from an archive, and say what it can reach, before anything is changed."""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ..errors import ArchiveIncompleteError, BackupNotFoundError, InvalidInputError
from ..postgres.account import process_options
from ..postgres.binaries import Binaries, find_binaries
from .description import Archive
from .segments import HISTORY, BaseBackup, Chain, ancestry, chain, is_on, newest_timeline
from .store import Store

LATEST = "latest"
SEARCHED = 16  # segments at the end of a chain in which to search for a transaction
_COMMIT = re.compile(r"COMMIT(?:_PREPARED)? (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


@dataclass(frozen=True)
class Recovery:
    """What a recovery needs: a base backup, and the write-ahead log up to `time`, None for all of it.

    `reachable` is the time of the last transaction that the archive has without a gap, None if it cannot be told.
    """

    store: Store
    backup: BaseBackup
    chain: Chain
    histories: tuple[str, ...]
    time: datetime | None
    reachable: datetime | None

    @property
    def target(self) -> datetime | None:
        """The time at which PostgreSQL stops, None to replay the whole chain: it stops only at a later transaction."""
        return self.time if self.time and (self.reachable is None or self.time < self.reachable) else None


@dataclass(frozen=True)
class RecoveryPlan:
    """What a recovery to `time`, None for all that is archived, would use: a base backup, and segments after it.

    `credentials` is the file with those for the archive, None for the project's.
    """

    archive: Archive
    time: datetime | None
    backup: BaseBackup
    segments: int
    reachable: datetime | None
    credentials: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        times = {name: time and time.isoformat() for name, time in (("time", self.time), ("reachable", self.reachable))}
        return {**asdict(self), **times, "backup": self.backup.as_dict(), "credentials": None}

    @classmethod
    def of_dict(cls, told: Mapping[str, Any]) -> Self:
        """Return the plan that plain values describe."""
        times = {name: told[name] and datetime.fromisoformat(told[name]) for name in ("time", "reachable")}
        whole = {"archive": Archive(**told["archive"]), "backup": BaseBackup.of_dict(told["backup"])}
        return cls(**{**told, **times, **whole})


def time_of(text: str, now: datetime) -> datetime | None:
    """Return the time that a user gives, None for `latest`. Without a zone it is UTC. Raises InvalidInputError."""
    if text == LATEST:
        return None
    hint = "Use a time as 2026-11-24T18:00Z, or latest"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f"invalid time {text!r}", field="to_time", hint=hint) from None
    time = time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    if time > now:
        raise InvalidInputError(f"the time {shown(time)} is in the future", field="to_time", hint=hint)
    return time


def shown(time: datetime) -> str:
    """Return a time as a user writes it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def prepare(store: Store, time: datetime | None, *, name: str) -> Recovery:
    """Return what a recovery to a time needs from the archive `name`.

    Raises BackupNotFoundError if no base backup is early enough, ArchiveIncompleteError, which names the time that can
    be reached, if a segment is missing or the archive ends before the time.
    """
    names, backups = store.names(), store.backups()
    timeline = newest_timeline(names)
    before = _ancestry(store, names, timeline)
    usable = [each for each in backups if is_on(each, timeline, before)]
    early = [each for each in usable if time is None or each.ended <= time]
    if not early:
        raise _no_backup(usable, time, name)
    backup = early[-1]
    found = chain(names, backup, timeline, before)
    histories = tuple(sorted(filter(HISTORY.fullmatch, names)))
    reachable = _last_commit(store, found.names, find_binaries(backup.major))
    recovery = Recovery(store, backup, found, histories, time, reachable)
    _refuse_unreachable(recovery, name)
    return recovery


def last_commit(files: Sequence[Path], binaries: Binaries) -> datetime | None:
    """Return the time of the last transaction in files of write-ahead log, None if they have none."""
    for file in reversed(files):
        dump = [binaries.program("pg_waldump"), "--rmgr=Transaction", str(file)]
        options = process_options(None)
        options["env"] = {**options["env"], "TZ": "UTC"}
        # It fails at the end of a segment that is not full, after it has printed all of it.
        said = subprocess.run(dump, capture_output=True, text=True, **options).stdout
        if found := _COMMIT.findall(said):
            return max(datetime.fromisoformat(each).replace(tzinfo=UTC) for each in found)
    return None


def _last_commit(store: Store, names: Sequence[str], binaries: Binaries) -> datetime | None:
    with tempfile.TemporaryDirectory(prefix="fastzero-wal-") as folder:
        for name in reversed(names[-SEARCHED:]):
            store.pull([name], Path(folder))
            if found := last_commit([Path(folder) / name], binaries):
                return found
    return None


def _ancestry(store: Store, names: set[str], timeline: int) -> dict[int, int]:
    history = f"{timeline:08X}.history"
    if history not in names:
        return {}
    with tempfile.TemporaryDirectory(prefix="fastzero-wal-") as folder:
        store.pull([history], Path(folder))
        return ancestry((Path(folder) / history).read_text(encoding="utf-8"))


def _no_backup(backups: Sequence[BaseBackup], time: datetime | None, name: str) -> BackupNotFoundError:
    if not backups or time is None:
        hint = "Take one: fastzero db archive backup. With --from, name the project that was archived: -p NAME"
        return BackupNotFoundError(f"{name} does not have a base backup", hint=hint)
    first = shown(backups[0].ended)
    return BackupNotFoundError(
        f"{shown(time)} is before the first base backup, which ended at {first}",
        hint=f"Nothing was changed. Use that time or a later one: --to-time {first}",
    )


def _refuse_unreachable(recovery: Recovery, name: str) -> None:
    time, reachable, missing = recovery.time, recovery.reachable, recovery.chain.missing
    if not missing and (time is None or reachable is None or time <= reachable):
        return
    if missing and time and reachable and time <= reachable:
        return
    why = f"segment {missing} is missing" if missing else "it has no later transaction"
    raise incomplete(name, why, reachable or recovery.backup.ended, can_be_last=not missing)


def incomplete(name: str, why: str, reachable: datetime, *, can_be_last: bool = False) -> ArchiveIncompleteError:
    """Return the error for a time that cannot be reached, with the last time that can."""
    last = f" Or to the end of the archive: --to-time {LATEST}" if can_be_last else ""
    return ArchiveIncompleteError(
        f"{name} reaches only until {shown(reachable)}: {why}",
        hint=f"Nothing was changed. Recover to that time: --to-time {shown(reachable)}.{last}",
    )
