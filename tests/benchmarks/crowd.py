"""What an operation costs one of many users: 100 of them with 10,000 todos, and 100,000 with 10,000,000."""

import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
from psycopg.sql import SQL
from sqlalchemy import Connection, Engine

from fastzero_core import FastZero
from fastzero_core.postgres.database import create_engine
from fastzero_core.todo_app.todos import Todos

from .ground import Ground, own_stack
from .measure import Comparison, compare

FEW, MANY = 100, 100_000  # users
EACH = 100  # todos of a user
CLIENTS = 4
AT_ONCE = 25  # operations of each client in one turn
# What PostgreSQL's manual advises for a server with 24 GiB: a quarter of the memory. All data of both databases fit.
BUFFERS = "6GB"

USERS = """
    INSERT INTO users (username, email, password_hash)
    SELECT 'user' || n, 'user' || n || '@example.com', '' FROM generate_series(1, %s::bigint) AS n
"""
# As they would come in: the next todo is another user's.
TODOS = """
    INSERT INTO todos (user_id, title, state, priority, due_at, tags)
    SELECT 1 + n %% %(users)s,
        (ARRAY['Write','Read','Call','Fix','Review','Plan','Buy','Clean'])[1 + n * 7 %% 8] || ' the '
            || (ARRAY['report','letter','garden','server','budget','kitchen','lecture'])[1 + n * 5 %% 7] || ' ' || n,
        (ARRAY['todo','doing','done','done','done','trash'])[1 + n / %(users)s %% 6],
        1 + n / %(users)s %% 4,
        CASE WHEN n / %(users)s %% 3 = 0 THEN now() + (n * 7919 %% 730 - 365) * interval '1 day' END,
        CASE WHEN n / %(users)s %% 10 = 0 THEN ARRAY['work'] ELSE '{}' END
    FROM generate_series(0, %(users)s::bigint * %(each)s - 1) AS n
"""
TAGS = "INSERT INTO todo_tags (user_id, todo_id, tag, state) SELECT user_id, id, unnest(tags), state FROM todos"
INDEXES = """
    SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index AS i
    LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid WHERE i.indrelid = 'todos'::regclass AND c.oid IS NULL
"""

BYTES_EACH = """
    SELECT relid::regclass::text, pg_total_relation_size(relid) / greatest(n_live_tup, 1), n_live_tup
    FROM pg_stat_user_tables WHERE n_live_tup > 0 ORDER BY 1
"""


@dataclass(frozen=True)
class Crowd:
    """A database of `users` with the ids 1 to that number, and what chooses one of them."""

    engine: Engine
    users: int
    chance: random.Random

    def any_user(self) -> int:
        return self.chance.randint(1, self.users)


def crowd(ground: Ground, quick: bool) -> Iterator[Comparison]:
    with own_stack(ground, "crowd", postgres_settings={"shared_buffers": BUFFERS}) as stack:
        few = fill(ground.database("few_users", stack), FEW)
        many = fill(ground.database("many_users", stack), MANY // 10 if quick else MANY)
        yield from _compared(few, many, 20 if quick else 200)


def _compared(few: Crowd, many: Crowd, runs: int) -> Iterator[Comparison]:
    for name, operation in _operations().items():
        yield compare(
            f"{name}, {many.users * EACH:,} todos of {many.users:,} users",
            f"{few.users * EACH:,} of {few.users:,}",
            _turn(few, operation),
            _turn(many, operation),
            limit=1.2,
            runs=runs,
        )
    print(f"an add writes {_log_of_an_add(many)} bytes of write-ahead log", file=sys.stderr, flush=True)
    few.engine.dispose()
    many.engine.dispose()


def _log_of_an_add(among: Crowd) -> int:
    """Return how many bytes of write-ahead log an add writes, with the pages that are written whole."""
    with FastZero(among.engine, autocommit=True) as fz, among.engine.connect() as connection:
        before = _log(connection)
        for _ in range(AT_ONCE * CLIENTS):
            fz.todos(among.any_user()).add("Write the report")
        return (_log(connection) - before) // (AT_ONCE * CLIENTS)


def _log(connection: Connection) -> int:
    wal = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
    return int(connection.exec_driver_sql(wal).scalar_one())


def _operations() -> dict[str, Callable[[Todos], object]]:
    return {
        "list of 10": lambda todos: todos.list(limit=10),
        "list by due": lambda todos: todos.list(sort="due", limit=10),
        "list with a tag": lambda todos: todos.list(tags=["work"], limit=10),
        "list of overdue todos": lambda todos: todos.list(overdue=True, limit=10),
        "list of a priority": lambda todos: todos.list(priorities=["high"], limit=10),
        "list with text": lambda todos: todos.list(text="garden", limit=10),
        "add": lambda todos: todos.add("Write the report"),
        "move": lambda todos: todos.move(todos.list(limit=1)[0].id, to="doing"),
    }


def _turn(among: Crowd, operation: Callable[[Todos], object]) -> Callable[[], object]:
    """Return a turn in which several clients do the operation for one user after another, each its own transaction."""

    def client(_: int) -> None:
        with FastZero(among.engine, autocommit=True) as fz:
            for _ in range(AT_ONCE):
                operation(fz.todos(among.any_user()))

    clients = ThreadPoolExecutor(CLIENTS)
    return lambda: list(clients.map(client, range(CLIENTS)))


def fill(url: str, users: int) -> Crowd:
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("ALTER TABLE todos DISABLE TRIGGER USER")  # history and tags of ten million rows
        indexes = connection.execute(INDEXES).fetchall()
        for index, _ in indexes:
            connection.execute(SQL(f"DROP INDEX {index}"))
        connection.execute(USERS, [users])
        connection.execute(TODOS, {"users": users, "each": EACH})
        connection.execute(TAGS)
        for _, definition in indexes:
            connection.execute(SQL(definition))
        connection.execute("ALTER TABLE todos ENABLE TRIGGER USER")
        connection.execute("VACUUM ANALYZE")
        size = connection.execute("SELECT pg_size_pretty(pg_database_size(current_database()))").fetchone()
        each = connection.execute(BYTES_EACH).fetchall()
    told = f"{users * EACH:,} todos of {users:,} users in {time.monotonic() - began:.0f} s: {size and size[0]}"
    rows = ", ".join(f"{table}: {count:,} rows of {length} bytes" for table, length, count in each)
    print(f"{told}, with indexes {rows}", file=sys.stderr, flush=True)
    return Crowd(create_engine(url, pooled=True), users, random.Random(users))
