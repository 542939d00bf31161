"""What tests of archives do with a stack: fill it, look at its content and its clock, and finish segments."""

import time
from datetime import UTC, datetime

import psycopg

from fastzero_core import Stack
from fastzero_core.archive.description import ARCHIVER
from fastzero_core.polling import wait_until
from fastzero_core.stack.observed import ServiceState

from .conftest import SOON

ROWS = 100_000


def run(stack: Stack, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(stack.superuser_url, dbname="fastzero", autocommit=True) as connection:
        done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


def now(stack: Stack) -> datetime:
    """The time, by the clock of the server, with a moment before and after it."""
    time.sleep(0.05)
    [(found,)] = run(stack, "SELECT clock_timestamp()")
    assert isinstance(found, datetime)
    time.sleep(0.05)
    return found.astimezone(UTC)


def fill(stack: Stack, rows: int = ROWS) -> None:
    run(stack, f"CREATE TABLE kept AS SELECT g AS id, md5(g::text) AS content FROM generate_series(1, {rows}) g")


def content(stack: Stack) -> tuple[object, ...]:
    [found] = run(stack, "SELECT count(*), md5(string_agg(id || content, ',' ORDER BY id)) FROM kept")
    return found


def switch(stack: Stack) -> str:
    """Finish a segment. Returns its name."""
    run(stack, "SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000))")
    [(name,)] = run(stack, "SELECT pg_walfile_name(pg_switch_wal())")
    return str(name)


def archived(stack: Stack) -> str:
    """Finish a segment and wait until it is archived. Returns its name."""
    name = switch(stack)
    assert wait_until(lambda: stack.archive_status().last_archived_wal >= name, SOON), stack.archive_status()
    return name


def state(stack: Stack) -> ServiceState:
    return next(each.state for each in stack.status() if each.service == ARCHIVER)
