"""Database care beside PostgreSQL's own programs by hand, and a test's database beside the migrations.

Programs, server and data are the same on both sides. What is restored is dropped again.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from fastzero_core import Stack, load_settings, testing
from fastzero_core.backup import content, dump, restore
from fastzero_core.backup.manifest import manifest_path
from fastzero_core.backup.server import server_major
from fastzero_core.backup.target import Target
from fastzero_core.events import Event, Progress
from fastzero_core.postgres import configuration
from fastzero_core.postgres.database import create_engine, url_of
from fastzero_core.postgres.programs import find_programs
from fastzero_core.schema import migrate

from .ground import Ground, Side, free_port
from .measure import Comparison, Samples, compare

MOST_MEMORY = 150  # MiB
IN_A_ROW = 20  # databases, each dropped behind the next
# The largest resident set that a process reports is at least that of the one it was started by: this one is small.
PEAK_MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
KIB_A_UNIT = 1 / 1024 if sys.platform == "darwin" else 1


def care(ground: Ground, quick: bool) -> Iterator[Comparison]:
    runs = 1 if quick else 3
    side = ground.many
    target = Target.of_url(side.url, ground.folder / "backups")
    yield _backup(ground, target, side, runs)
    yield _hashing(target, side, runs)
    yield _restore(ground, target, side, runs)
    yield from _memory(ground, runs)
    yield _test_databases(ground, runs=3 if quick else 10)


def _backup(ground: Ground, target: Target, side: Side, runs: int) -> Comparison:
    archive = target.folder / "measured.dump"

    def measured() -> None:
        _remove(archive)
        ground.fastzero("db", "backup", str(archive), "-q", DATABASE_URL=side.url)

    return compare(
        f"fastzero db backup, {side.count:,} todos",
        "pg_dump -Fc",
        lambda: _by_hand(target, "pg_dump", "-Fc", "-f", str(ground.folder / "by-hand.dump"), database=target.database),
        measured,
        limit=1.15,
        runs=runs,
    )


def _hashing(target: Target, side: Side, runs: int) -> Comparison:
    """Against the dump as `db backup` takes it, which is quicker than the one by hand."""
    engine = create_engine(target.url, settings=content.SESSION_SETTINGS)

    def hashing() -> None:
        with engine.connect() as connection:
            content.table_contents(connection)

    arguments = ("-Fc", f"--compress={dump.COMPRESSION}", "-f", str(target.folder / "compressed"))
    return compare(
        f"hashes of {side.count:,} todos",
        "the dump beside it",
        lambda: _by_hand(target, "pg_dump", *arguments, database=target.database),
        hashing,
        limit=0.5,
        runs=runs,
    )


def _restore(ground: Ground, target: Target, side: Side, runs: int) -> Comparison:
    archive = target.folder / "restored.dump"
    dump.backup(target, archive)
    result = Comparison(f"db restore without its verification, {side.count:,} todos", "pg_restore -j2", limit=1.15)
    for run in range(runs):
        turns: list[Callable[[], None]] = [
            lambda: _restore_by_hand(ground, target, result.reference),
            lambda: result.measured.values.append(_restore_seconds(target, archive)),
        ]
        for turn in turns if run % 2 else reversed(turns):
            turn()
    return result


def _restore_by_hand(ground: Ground, target: Target, samples: Samples) -> None:
    with psycopg.connect(url_of(target.url, "postgres"), autocommit=True) as session:
        session.execute("CREATE DATABASE by_hand")
        began = time.perf_counter()
        _by_hand(target, "pg_restore", "-j2", str(ground.folder / "by-hand.dump"), database="by_hand")
        samples.values.append(time.perf_counter() - began)
        session.execute("DROP DATABASE by_hand")


def _restore_seconds(target: Target, archive: Path) -> float:
    """What a restore takes but for reading the file before and comparing afterwards."""
    moments: dict[str, float] = {}

    def note(event: Event) -> None:
        if isinstance(event, Progress):
            moments.setdefault(event.step, time.perf_counter())

    restore.restore(target, archive, on_event=note)
    ended = time.perf_counter()
    restore.drop_kept(target)
    return moments["compare"] - moments["restore"] + ended - moments["analyze"]


def _memory(ground: Ground, runs: int) -> Iterator[Comparison]:
    for name, command in (("backup", _backup_command), ("restore", _restore_command)):
        small, large = Samples("MiB"), Samples("MiB")
        for _ in range(min(runs, 3)):
            for side, samples in ((ground.few, small), (ground.many, large)):
                peak = ground.run(
                    *(sys.executable, "-S", "-c", PEAK_MEMORY, sys.executable, "-m", "fastzero_cli"),
                    *command(ground, side),
                    *("--database-url", side.url),
                )
                samples.values.append(int(peak) * KIB_A_UNIT / 1024)
        restore.drop_kept(Target.of_url(ground.many.url, ground.folder))
        restore.drop_kept(Target.of_url(ground.few.url, ground.folder))
        about = f"memory of db {name}, {ground.many.count:,} todos"
        yield Comparison(about, f"{ground.few.count}", limit=1.3, reference=small, measured=large)
        most = Samples("MiB", [MOST_MEMORY])
        yield Comparison(about, "what it may take", limit=1, reference=most, measured=large)


def _backup_command(ground: Ground, side: Side) -> list[str]:
    archive = ground.folder / f"memory-{side.user.username}.dump"
    _remove(archive)
    return ["db", "backup", str(archive), "-q"]


def _restore_command(ground: Ground, side: Side) -> list[str]:
    return ["db", "restore", str(ground.folder / f"memory-{side.user.username}.dump"), "--yes", "--no-backup", "-q"]


def _test_databases(ground: Ground, runs: int) -> Comparison:
    settings = load_settings(
        project="care",
        home=ground.home,
        database_port=free_port(),
        runtime="embedded",
        app=False,
        postgres_settings=configuration.THROW_AWAY,
    )
    url = Stack(settings).up().database_url
    server, emptied = url_of(url, "postgres"), url_of(url, "emptied")
    with psycopg.connect(server, autocommit=True) as session:
        session.execute("CREATE DATABASE emptied")

    def tables() -> None:
        for _ in range(IN_A_ROW):
            migrate.up(emptied)
            migrate.down(emptied, "base")

    def databases() -> None:
        with closing(testing.Databases(server)) as databases:
            for _ in range(IN_A_ROW):
                with databases.temporary():
                    pass

    against = "their tables, migrated up and down"
    return compare(f"databases of {IN_A_ROW} tests", against, tables, databases, limit=0.1, runs=runs)


def _by_hand(target: Target, program: str, *arguments: str, database: str) -> None:
    """Run a program as a person would: no option but those given."""
    found = find_programs(target.url, server_major(target.url))
    url = url_of(target.url, database, password=False)
    environment = {"PGPASSWORD": str(make_url(target.url).password)}
    subprocess.run([str(found.folder / program), f"--dbname={url}", *arguments], check=True, env=environment)


def _remove(archive: Path) -> None:
    for path in (archive, manifest_path(archive)):
        path.unlink(missing_ok=True)
