"""What archiving costs those who write, and how long a recovery takes after everything but the archive is destroyed."""

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec

import psycopg

from fastzero_core import Stack
from fastzero_core.archive.description import Archive
from tests.stack.s3 import BUCKET, S3, s3_server

from .ground import Ground, free_port, own_stack
from .measure import Comparison, Samples, compare

PROJECT = "archived"
BATCHES = 50
ROWS = 4_000  # in a batch: together three segments of write-ahead log
FILL = "INSERT INTO kept SELECT g, md5(g::text), now() FROM generate_series(%s::bigint, %s::bigint) AS g"
CONTENT = "SELECT count(*), md5(string_agg(id || content, ',' ORDER BY id)) FROM kept"


def archive(ground: Ground, quick: bool) -> Iterator[Comparison]:
    folder = ground.folder / "archive"
    folder.mkdir()
    with own_stack(ground, "plain") as plain, own_stack(ground, PROJECT) as archived:
        archived.enable_archive(folder.as_uri())
        yield compare(
            f"{BATCHES * ROWS:,} rows written, archived",
            "the same without an archive",
            lambda: _write(plain),
            lambda: _write(archived),
            limit=1.1,
            runs=3 if quick else 15,
        )


def recovery(ground: Ground, quick: bool) -> Iterator[Comparison]:
    """To a second in the past, from a bucket and from a folder. Each time the whole home is gone."""
    if all(find_spec(name) for name in ("barman", "boto3", "moto")):
        with s3_server(ground.folder, free_port()) as s3:
            yield _recovery(ground, s3, 100_000 if quick else 1_000_000)


def _write(stack: Stack) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept (id bigint, content text, at timestamptz)")
        for batch in range(BATCHES):
            connection.execute(FILL, (batch * ROWS, (batch + 1) * ROWS - 1))


def _recovery(ground: Ground, s3: S3, rows: int) -> Comparison:
    result = Comparison(f"recovery of {rows:,} rows from S3", "from a folder", reference=Samples(), measured=Samples())
    folder, file = ground.folder / "recovered", ground.folder / "credentials"
    folder.mkdir()
    file.write_text(s3.credentials)
    in_folder, in_bucket = (
        Archive(folder.as_uri(), PROJECT),
        Archive(f"s3://{BUCKET}/x", PROJECT, endpoint_url=s3.endpoint),
    )
    for where, credentials, samples in ((in_folder, None, result.reference), (in_bucket, file, result.measured)):
        with own_stack(ground, PROJECT) as stack:
            text = s3.credentials if credentials else None
            stack.enable_archive(where.url, endpoint_url=where.endpoint_url, credentials=text)
            before, moment = _filled(stack, rows)
            stack.down(volumes=True)
            shutil.rmtree(stack.project.home)
            with samples.timed():
                stack.recover(stack.plan_recovery(moment, where, credentials))
            with psycopg.connect(stack.database_url) as connection:
                assert connection.execute(CONTENT).fetchone() == before, "it is as it was at that time"
    return result


def _filled(stack: Stack, rows: int) -> tuple[tuple[object, ...] | None, datetime]:
    """Fill a table, and damage it after a moment. Returns its content at that moment, and the moment."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id bigint, content text, at timestamptz)")
        for start in range(0, rows, ROWS):
            connection.execute(FILL, (start, min(start + ROWS, rows) - 1))
        before = connection.execute(CONTENT).fetchone()
        time.sleep(1)
        found = connection.execute("SELECT clock_timestamp()").fetchone()
        assert found is not None
        time.sleep(1)
        connection.execute("DELETE FROM kept WHERE id % 2 = 0")
    return before, found[0].astimezone(UTC)
