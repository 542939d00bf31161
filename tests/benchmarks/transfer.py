"""Import and export of todos beside psql's \\copy: the same todos, the same table with its indexes and triggers.

An import begins with a file as fastzero exports it: it is parsed and checked, todos are looked for by their external
ids, and the import is one entry of the history. \\copy begins with the values of the columns. Each import has a
database of its own, which is empty but for the user. An export has all todos of the user; \\copy has the same rows of
the same table by id, with all their columns: as CSV, or each row as JSON. Both sides are programs that are started
for it.
"""

import csv
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import md5
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from fastzero_core import FastZero, User
from fastzero_core.backup.server import server_major
from fastzero_core.postgres.programs import find_programs
from fastzero_core.postgres.url import url_of

from .ground import Ground
from .measure import Comparison, Samples, compare

COLUMNS = "user_id, external_id, title, description, state, priority, due_at, due_on, tags, created_at, completed_at"
STATES = ("todo", "doing", "done", "done", "done", "trash")
PRIORITIES = ("high", "medium", "low", "none")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


COPIED = {
    "csv": (r"\copy of all columns as CSV", "SELECT * FROM todos WHERE user_id = {} ORDER BY id", "CSV HEADER"),
    "ndjson": (r"\copy of row_to_json", "SELECT row_to_json(todos) FROM todos WHERE user_id = {} ORDER BY id", ""),
}
IN_BULK = tuple(COPIED)
OTHERS = ("json", "todotxt", "taskwarrior", "icalendar")


def transfer(ground: Ground, quick: bool) -> Iterator[Comparison]:
    many, runs = (100_000, 1) if quick else (1_000_000, 3)
    yield from _of(ground, many, IN_BULK, runs, limits=(1.25, 1.11))
    yield from _of(ground, many // 10, OTHERS, runs, limits=(None, None))


def _of(
    ground: Ground, count: int, formats: tuple[str, ...], runs: int, limits: tuple[float | None, float | None]
) -> Iterator[Comparison]:
    """Export as each format, then import these files."""
    source, rows = ground.folder / "todos.csv", ground.folder / "rows.csv"
    _write(source, rows, count)
    files = {format: ground.folder / f"exported.{format}" for format in formats}
    with _database(ground, f"exported_{count}") as (url, user):
        _import(ground, url, source, "csv")
        with psycopg.connect(url, autocommit=True) as session:
            session.execute("VACUUM ANALYZE todos")  # as autovacuum does within a minute
        yield from (_export(ground, url, user, count, format, file, runs, limits[1]) for format, file in files.items())
    copied, name = Samples(), f"{count:,} todos"
    results = {
        format: Comparison(f"todo import of {name}, {format}", r"\copy into the same table", limits[0], None, copied)
        for format in formats
    }
    again = Comparison("the same file again, which changes nothing", r"\copy into the same table", reference=copied)
    for _ in range(runs):
        with _database(ground, f"copied_{count}") as (url, user):
            _copy(url, rows, user, copied)
        for format, result in results.items():
            with _database(ground, f"imported_{count}_{format}") as (url, _):
                with result.measured.timed():
                    _import(ground, url, files[format], format)
                if format == "csv":
                    with again.measured.timed():
                        _import(ground, url, files[format], format)
    yield from results.values()
    if again.measured.values:
        yield again


@contextmanager
def _database(ground: Ground, name: str) -> Iterator[tuple[str, User]]:
    with psycopg.connect(ground.stack.database_url, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {name}".encode())
        url = url_of(ground.stack.database_url, name)
        ground.fastzero("migrate", "-q", DATABASE_URL=url)
        with FastZero(url) as fz:
            user = fz.users.add("ana", email="ana@example.com", password="correct horse")
        yield url, user
        session.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _copy(url: str, rows: Path, user: User, samples: Samples) -> None:
    assert user.id == 1, "as in the file"
    with samples.timed():
        _psql(url, rf"\copy todos ({COLUMNS}) FROM '{rows}' WITH (FORMAT csv, FORCE_NOT_NULL (description))")


def _import(ground: Ground, url: str, file: Path, format: str) -> None:
    ground.fastzero("todo", "import", str(file), "--format", format, "-q", DATABASE_URL=url)


def _export(
    ground: Ground, url: str, user: User, count: int, format: str, file: Path, runs: int, limit: float | None
) -> Comparison:
    against, query, options = COPIED.get(format, COPIED["csv"])
    command = [str(Path(sys.executable).with_name("fastzero")), "todo", "export", "--all", "--format", format]

    def export() -> None:
        with file.open("wb") as output:
            environment = {**ground.environment, "DATABASE_URL": url}
            subprocess.run(command, check=True, stdout=output, cwd=ground.folder, env=environment)

    copied = ground.folder / "copied"
    name = f"todo export of {count:,} todos, {format}"
    copy = rf"\copy ({query.format(user.id)}) TO '{copied}' {options}"
    return compare(name, against, lambda: _psql(url, copy), export, limit=limit, runs=runs)


def _psql(url: str, command: str) -> None:
    program = find_programs(url, server_major(url)).folder / "psql"
    environment = {"PGPASSWORD": str(make_url(url).password)}
    target = f"--dbname={url_of(url, str(make_url(url).database), password=False)}"
    subprocess.run([program, "-X", "-q", "-v", "ON_ERROR_STOP=1", target, "-c", command], check=True, env=environment)


def _write(source: Path, rows: Path, count: int) -> None:
    """Write the todos as fastzero exports them, and as rows of the table."""
    with source.open("w", newline="") as todos, rows.open("w", newline="") as values:
        ours, theirs = csv.writer(todos), csv.writer(values)
        fields = (
            "external_id",
            "title",
            "description",
            "state",
            "priority",
            "due",
            "tags",
            "created_at",
            "completed_at",
        )
        ours.writerow(fields)
        for number in range(count):
            id, title = f"{number:08x}-0000-4000-8000-000000000000", f"Write {md5(str(number).encode()).hexdigest()}"
            description = "" if number % 3 else "Before the holidays"
            state, priority = STATES[number % 6], PRIORITIES[number % 4]
            due = None if number % 3 else date(2020, 1, 1) + timedelta(days=number * 7919 % 7300)
            created = BEGINNING + timedelta(seconds=number)
            completed = created if state == "done" else None
            tag = "work" if number % 10 == 0 else ""
            ours.writerow(
                [id, title, description, state, priority, due, f'["{tag}"]' if tag else "[]", created, completed]
            )
            end = due and f"{due} 23:59:59.999999+00"
            row = [1, id, title, description, state, 1 + number % 4, end, due, f"{{{tag}}}", created, completed]
            theirs.writerow(row)
