"""Report how an archive is doing: what waits, what fails, and how old its newest base backup is."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .. import folders
from ..errors import FastZeroError
from .archiver import READY, STATUSES, waiting
from .description import FAILED, PAUSED, RUNNING, Archive
from .segments import ARCHIVED, SIZE, BaseBackup

LATE = 5 * 60  # seconds that a segment may wait before archiving counts as failing
TOLD_MAX = 10_000  # bytes of a file in which the archiver tells something
# What the server has finished and not archived: the names, and how long the oldest has waited, in seconds.
_WAITING = (
    f"array_agg(left(name, -{len(READY)})), extract(epoch FROM now() - min(modification))::float8"
    f" FROM pg_catalog.pg_ls_archive_statusdir() WHERE right(name, {len(READY)}) = '{READY}'"
)


@dataclass(frozen=True)
class ArchiveStatus:
    """The state of an archive: archiving, failing, paused, or stopped with its database. Sizes are in bytes.

    `lag_seconds` is how long the oldest segment has waited; `backup_age_seconds` the age of the newest base backup,
    None without one or if the archive cannot be reached.
    """

    archive: str
    state: str
    detail: str
    waiting: int
    waiting_bytes: int
    max_kept_bytes: int
    lag_seconds: float
    last_archived_wal: str
    last_archived_at: datetime | None
    failed_count: int
    backups: int | None
    backup_age_seconds: float | None
    keep: str


@dataclass(frozen=True)
class Condition:
    """How archiving is doing, without asking the archive or the server."""

    state: str
    detail: str = ""
    waiting: int = 0
    waiting_bytes: int = 0
    lag_seconds: float = 0


STOPPED = Condition("stopped", "the archiver does not run")


@dataclass(frozen=True)
class ServerStatistics:
    """What the server counts: pg_stat_archiver."""

    last_archived_wal: str = ""
    last_archived_at: datetime | None = None
    failed_count: int = 0


def condition(data: Path, state: Path) -> Condition:
    """Return how archiving is doing, by what the archiver of a data directory tells in its folder `state`."""
    return _condition({name: _text(state / name) for name in (RUNNING, FAILED, PAUSED)}, waiting(data), lag(data))


def condition_of_server(url: str, state: str) -> Condition:
    """Return how archiving is doing, by what a running server can read in the folder `state` of its archiver.

    `url` is that of its superuser. So a server can be asked whose files cannot be reached from here.
    """
    import psycopg

    from ..postgres.driver_errors import translate

    read = [f"pg_catalog.pg_read_file('{state}/{name}', 0, {TOLD_MAX}, true)" for name in (RUNNING, FAILED, PAUSED)]
    query = f"SELECT {', '.join(read)}, {_WAITING}"
    try:
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
    except psycopg.Error as error:
        raise translate(error) from error
    assert row is not None, "an aggregate has one row"
    *texts, names, late = row
    left = list(filter(ARCHIVED.fullmatch, names or []))
    return _condition(dict(zip((RUNNING, FAILED, PAUSED), texts, strict=True)), left, max(0.0, late or 0.0))


def _condition(texts: Mapping[str, str | None], left: Sequence[str], late: float) -> Condition:
    """Return how archiving is doing. `texts` are those of the archiver's files, by name, None if one does not exist."""
    told, why = _told(texts, late)
    return Condition(told, why, len(left), len(left) * SIZE, round(late, 1))


def _told(texts: Mapping[str, str | None], late: float) -> tuple[str, str]:
    """Return the state of archiving, and what is wrong with it."""
    paused, failed = texts[PAUSED], texts[FAILED]
    if paused is not None:
        since, segment = (*paused.splitlines(), "", "")[:2]
        lost = f"paused since {since}: segment {segment} and later ones are not archived"
        return "paused", f"{lost}. Resume: fastzero db archive backup"
    if failed is not None:
        since, why = (*failed.splitlines(), "", "")[:2]
        return "failing", f"failing since {since}: {why}"
    if texts[RUNNING] is None:
        return "stopped", STOPPED.detail
    return ("failing", f"a segment has waited for {late:.0f} s") if late > LATE else ("archiving", "")


def lag(data: Path) -> float:
    """Return how long the oldest finished segment has waited to be archived, in seconds, 0 without one."""
    began = []
    for name in waiting(data):
        with suppress(FileNotFoundError), folders.file_of_owner(data, f"{name}{READY}", below=STATUSES) as file:
            began.append(os.fstat(file.fileno()).st_mtime)
    return max(0.0, time.time() - min(began)) if began else 0.0


def statistics(url: str) -> ServerStatistics:
    """Return what the server counts. `url` is that of a role that may read it."""
    import psycopg

    from ..postgres.driver_errors import translate

    query = "SELECT last_archived_wal, last_archived_time, failed_count FROM pg_catalog.pg_stat_archiver"
    try:
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.Error as error:
        raise translate(error) from error
    assert row is not None, "the view has one row"
    return ServerStatistics(row[0] or "", row[1], int(row[2]))


def mark_time(url: str) -> None:
    """Write a transaction of this moment, so that a recovery can reach it. Raises a FastZeroError."""
    import psycopg

    from ..postgres.driver_errors import translate

    try:
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            connection.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'fastzero', 'archive')")
    except psycopg.Error as error:
        raise translate(error) from error


def status(
    archive: Archive, found: Condition, counted: ServerStatistics, backups: Callable[[], Sequence[BaseBackup]]
) -> ArchiveStatus:
    """Return the state of an archive. If it cannot be reached, the state says so."""
    state, detail = found.state, found.detail
    number: int | None = None
    age: float | None = None
    try:
        there = backups()
        number = len(there)
        age = (datetime.now(UTC) - there[-1].ended).total_seconds() if there else None
    except FastZeroError as error:
        state, detail = ("failing", error.message) if state == "archiving" else (state, detail)
    return ArchiveStatus(
        archive=str(archive),
        state=state,
        detail=detail,
        waiting=found.waiting,
        waiting_bytes=found.waiting_bytes,
        max_kept_bytes=archive.max_kept,
        lag_seconds=found.lag_seconds,
        last_archived_wal=counted.last_archived_wal,
        last_archived_at=counted.last_archived_at,
        failed_count=counted.failed_count,
        backups=number,
        backup_age_seconds=None if age is None else round(age, 1),
        keep=archive.keep,
    )


def _text(path: Path) -> str | None:
    with suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8")
    return None
