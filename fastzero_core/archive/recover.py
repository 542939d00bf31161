"""Recover a data directory from an archive: fetch it, replay the write-ahead log, check every page. Atomic.

The data directory is made under another name, as `cluster.initialise` does, and gets its name when it is complete.
"""

import math
import os
import re
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .. import folders
from ..errors import BackupMismatchError, UnhealthyError
from ..events import Listener, Progress
from ..files import make_folder
from ..polling import wait_until
from ..postgres import access, cluster, server
from ..postgres.account import ServiceUser, process_options
from ..postgres.binaries import Binaries
from .folder import MANIFEST
from .recovery import Recovery, incomplete, last_commit

# Files in the data directory of a server that Patroni keeps: the second is the configuration by initdb.
OF_PATRONI, FIRST_CONFIGURATION = "patroni.dynamic.json", "postgresql.base.conf"
BATCH = 8  # segments that are fetched between two looks at their times
EVIDENCE_LINES = 20
WAL = "FASTZERO_ARCHIVE_WAL"  # the variable with the folder of the fetched segments
_ENDED_EARLY = "recovery ended before configured recovery target was reached"
_LAST_TIME = re.compile(r"last completed transaction was at log time (\S+ \S+?)(?:\+00| UTC)")


def recover(
    recovery: Recovery,
    data: Path,
    binaries: Binaries,
    user: ServiceUser | None,
    *,
    passwords: Mapping[str, str],
    mark: str,
    name: str,
    in_container: bool,
    on_event: Listener,
) -> None:
    """Create a data directory with the content that the archive `name` has for the time of the recovery.

    The roles in `passwords` get these passwords; without a `mark` it gets none. Raises the errors of `recovered`.
    """
    with recovered(recovery, data, binaries, user, name=name, on_event=on_event) as inner:
        cluster.set_passwords(inner, binaries, user, passwords)
        access.fit(inner, in_container=in_container)
        if mark:
            folders.write_mark(inner, mark)
        inner.rename(data)


@contextmanager
def recovered(
    recovery: Recovery, data: Path, binaries: Binaries, user: ServiceUser | None, *, name: str, on_event: Listener
) -> Iterator[Path]:
    """Recover to a folder beside `data` for one block. Yields it, and deletes it unless the block renames it.

    Raises ArchiveIncompleteError if the time is not reached, BackupMismatchError if a page is damaged, UnhealthyError.
    """
    staging = data.with_name(f".{data.name}.init-{secrets.token_hex(4)}")
    make_folder(staging, 0o711)
    try:
        folders.write_mark(staging, cluster.STAGING)
        inner = staging / "cluster"
        on_event(Progress("fetch"))
        _fetch(recovery, inner, binaries, user)
        on_event(Progress("wal"))
        _fetch_wal(recovery, staging / "wal", binaries, user)
        on_event(Progress("replay"))
        _replay(recovery, inner, staging, binaries, user, name)
        on_event(Progress("pages"))
        _check_pages(inner, binaries, user)
        yield inner
    finally:
        cluster.remove_unfinished(staging)


def _fetch(recovery: Recovery, inner: Path, binaries: Binaries, user: ServiceUser | None) -> None:
    inner.mkdir(0o700)
    recovery.store.fetch(recovery.backup, inner)
    if (inner / MANIFEST).exists():
        _verify(inner, binaries)
    sockets = [path.name for path in inner.glob(".s.PGSQL.*")]
    for left in (folders.MARK, MANIFEST, server.POSTMASTER, "standby.signal", *sockets):
        (inner / left).unlink(missing_ok=True)
    _leave_patroni(inner)
    (inner / "recovery.signal").touch(0o600)
    (inner / "pg_wal" / "archive_status").mkdir(0o700, parents=True, exist_ok=True)
    inner.chmod(0o700)
    _give(inner, user)


def _leave_patroni(inner: Path) -> None:
    """Give the data of one of several servers the configuration of a single one, which would wait for standbys."""
    if not (inner / OF_PATRONI).exists():
        return
    (inner / FIRST_CONFIGURATION).replace(inner / access.CONFIGURATION)
    (inner / access.HBA).write_text(access.rules(in_container=False), encoding="utf-8")
    for name in (OF_PATRONI, "pg_ident.conf", *(f"{path.name}" for path in inner.glob("*.conf.backup"))):
        (inner / name).unlink(missing_ok=True)
    (inner / "pg_ident.conf").touch(0o600)


def _verify(inner: Path, binaries: Binaries) -> None:
    """Compare each file with the manifest of the base backup."""
    check = [binaries.program("pg_verifybackup"), "--no-parse-wal", "--quiet", str(inner)]
    done = subprocess.run(check, capture_output=True, text=True, **process_options(None))
    if done.returncode:
        raise BackupMismatchError("the base backup differs from its manifest", evidence=done.stderr.strip())


def _fetch_wal(recovery: Recovery, folder: Path, binaries: Binaries, user: ServiceUser | None) -> None:
    """Fetch the segments up to the one with the time of the recovery."""
    folder.mkdir(0o700)
    recovery.store.pull(recovery.histories, folder)
    names = recovery.chain.names
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        recovery.store.pull(batch, folder)
        last = last_commit([folder / name for name in batch], binaries) if recovery.target else None
        if last and recovery.target and last > recovery.target:
            break
    _give(folder, user)


def _give(folder: Path, user: ServiceUser | None) -> None:
    """Make the server's account the owner of a folder with all that is in it."""
    if user is None:
        return
    for path, names, files in os.walk(folder):
        for each in (path, *(os.path.join(path, name) for name in (*names, *files))):  # noqa: PTH118
            os.chown(each, user.uid, user.gid, follow_symlinks=False)


def _replay(
    recovery: Recovery, inner: Path, staging: Path, binaries: Binaries, user: ServiceUser | None, name: str
) -> None:
    """Run a server without a network port until it has replayed all, and shut it down."""
    options = process_options(user)
    options["env"] = {**options["env"], WAL: str(staging / "wal")}
    log = staging / "log"
    with log.open("xb") as output:
        process = subprocess.Popen(
            server.command(binaries, inner, "", 5432, _settings(recovery)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **options,
        )
    try:
        wait_until(lambda: server.is_ready(inner, process.pid) or process.poll() is not None, math.inf)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    except BaseException:
        process.send_signal(signal.SIGQUIT)
        raise
    finally:
        process.wait()
    if process.returncode:
        raise _failure(recovery, log.read_text(encoding="utf-8", errors="replace"), name)
    (inner / MANIFEST).unlink(missing_ok=True)


def _settings(recovery: Recovery) -> dict[str, str]:
    time = {"recovery_target_time": recovery.target.isoformat(sep=" ")} if recovery.target else {}
    return {
        "restore_command": f'cp "${WAL}/%f" "%p"',
        "recovery_target_action": "promote",
        "recovery_target_timeline": "latest",
        **time,
        # Without it the server requires limits that are as high as those of the server that was backed up.
        "hot_standby": "off",
        # What it writes is to be archived when the project's own server runs.
        "archive_mode": "on",
        "archive_command": "",
    }


def _failure(recovery: Recovery, log: str, name: str) -> Exception:
    if _ENDED_EARLY in log:
        found = _LAST_TIME.findall(log)
        last = datetime.fromisoformat(found[-1]).replace(tzinfo=UTC) if found else recovery.backup.ended
        return incomplete(name, "it has no later transaction", last, can_be_last=True)
    evidence = "\n".join(log.splitlines()[-EVIDENCE_LINES:])
    return UnhealthyError("the recovery failed", evidence=evidence, hint="Nothing was changed. See its log above")


def _check_pages(inner: Path, binaries: Binaries, user: ServiceUser | None) -> None:
    """Compare every page with its checksum."""
    check = [binaries.program("pg_checksums"), "--check", "-D", str(inner)]
    done = subprocess.run(check, capture_output=True, text=True, **process_options(user))
    if done.returncode and "checksums are not enabled" not in done.stderr:
        raise BackupMismatchError("a page of the recovered database is damaged", evidence=done.stderr.strip())
