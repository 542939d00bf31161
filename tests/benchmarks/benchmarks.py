"""The benchmarks: each measures what fastzero does, turn by turn with what it is measured against."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from fastzero_core import FastZero, TodoSort, TodoState
from fastzero_core.postgres.account import service_user
from fastzero_core.postgres.binaries import find_binaries, reachable_by
from fastzero_core.stack.embedded.data import SHARED_HOME
from fastzero_core.todo_app.tables import todos
from fastzero_core.todo_app.todo_statements import FIELDS
from fastzero_core.todo_app.todos import Todos

from .api import api, endurance, logins
from .archive import archive, recovery
from .board import board, history
from .care import KIB_A_UNIT, PEAK_MEMORY, care
from .containers import containers
from .crowd import crowd
from .filtered import filtered
from .ground import Ground, Side, free_port
from .measure import Comparison, Samples, compare
from .transfer import transfer

CHECKOUT = Path(__file__).parents[2]

INSERT_ONE = """
import sys
import psycopg, pydantic_settings, sqlalchemy, typer
engine = sqlalchemy.create_engine(sys.argv[1])
with engine.begin() as connection:
    connection.execute(
        sqlalchemy.text("INSERT INTO todos (user_id, title) VALUES (:user_id, :title)"),
        {"user_id": int(sys.argv[2]), "title": "Write the report"},
    )
"""
PRINT_ALL = """
import json, sys
import psycopg, pydantic_settings, sqlalchemy, typer
engine = sqlalchemy.create_engine(sys.argv[1])
statement = sqlalchemy.text(
    "SELECT id, title, description, state, created_at, updated_at, user_id, priority, due_at, tags, completed_at"
    " FROM todos"
    " WHERE user_id = :user_id ORDER BY id LIMIT :count"
)
values = {"user_id": int(sys.argv[2]), "count": int(sys.argv[3])}
with engine.connect() as connection:
    for row in connection.execute(statement, values):
        print(json.dumps(row._asdict(), ensure_ascii=False, default=lambda time: time.isoformat()))
"""
CONNECT = """
import sys
import psycopg, pydantic_settings, typer
psycopg.connect(sys.argv[1]).close()
"""


def help_text(ground: Ground, quick: bool) -> Iterator[Comparison]:
    yield compare(
        "fastzero --help",
        "import typer",
        lambda: ground.python("import typer"),
        lambda: ground.fastzero("--help"),
        limit=2.5,
        runs=5 if quick else 25,
    )


def todo_add(ground: Ground, quick: bool) -> Iterator[Comparison]:
    owner = ground.writer
    yield compare(
        "fastzero todo add",
        "a script that inserts a row",
        lambda: ground.python(INSERT_ONE, owner.url, str(owner.user.id)),
        lambda: ground.fastzero("todo", "add", "Write the report"),
        limit=1.2,
        runs=5 if quick else 25,
    )


def up_again(ground: Ground, quick: bool) -> Iterator[Comparison]:
    yield compare(
        "fastzero up, nothing to do",
        "imports and one connection",
        lambda: ground.python(CONNECT, ground.stack.database_url),
        lambda: ground.fastzero("up"),
        limit=1.5,
        runs=5 if quick else 25,
    )


def first_up(ground: Ground, quick: bool) -> Iterator[Comparison]:
    result = Comparison("first fastzero up", "initdb, pg_ctl, alembic by hand", allowance=2.5)
    for number in range(2 if quick else 7):
        _by_hand(ground, ground.folder / f"hand{number}", result.reference)
        project = f"first{number}"
        with result.measured.timed():
            ground.fastzero("up", "-q", "-p", project, "--port", str(free_port()))
        ground.fastzero("down", "-q", "-p", project, "--volumes", "--yes")
    yield result


def _by_hand(ground: Ground, folder: Path, samples: Samples) -> None:
    """What a person types, as the user whom PostgreSQL runs as."""
    user, binaries = service_user(), find_binaries()
    if user:
        binaries = reachable_by(binaries, user, SHARED_HOME)
    data, port, password_file = folder / "data", free_port(), folder / "password"
    folder.mkdir(mode=0o755)
    password_file.write_text("correct horse\n")
    options = ["--username=fastzero", f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8"]
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--lc-messages=C"]
    server = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=."

    def postgres(program: str, *arguments: str) -> None:
        command = [binaries.program(program), f"--pgdata={data}", *arguments]
        as_user: dict[str, Any] = user.popen_options() if user else {}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **as_user)

    if user:
        subprocess.run(["chown", "-R", user.name, str(folder)], check=True)
    url = f"postgresql://fastzero:correct%20horse@127.0.0.1:{port}/postgres"
    with samples.timed():
        postgres("initdb", *options, *locale, "--data-checksums", "--no-instructions")
        postgres("pg_ctl", "start", "--wait", f"--log={folder / 'log'}", f"--options={server}")
        try:
            subprocess.run(
                [sys.executable, "-m", "alembic", "upgrade", "head"],
                check=True,
                cwd=CHECKOUT,
                env={**ground.environment, "DATABASE_URL": url},
                capture_output=True,
            )
        except BaseException:
            postgres("pg_ctl", "stop")
            raise
    postgres("pg_ctl", "stop")


def operations(ground: Ground, quick: bool) -> Iterator[Comparison]:
    owner, runs = ground.writer, 100 if quick else 1000
    columns = FIELDS
    with FastZero(owner.engine) as fz, owner.engine.connect() as connection:

        def add() -> object:
            values = {"user_id": owner.user.id, "title": "Write", "description": "", "state": "todo"}
            return connection.execute(insert(todos).values(values).returning(*columns)).one()

        def list_() -> object:
            page = select(*columns).where(todos.c.user_id == owner.user.id).order_by(todos.c.id).limit(50)
            return connection.execute(page).all()

        user = owner.user
        plain = "the statement in plain Core"
        yield compare("todos.add", plain, add, lambda: fz.todos(user).add("Write"), limit=1.3, runs=runs)
        yield compare("todos.list, 50", plain, list_, lambda: fz.todos(user).list(), limit=1.3, runs=runs)


def million(ground: Ground, quick: bool) -> Iterator[Comparison]:
    runs = 50 if quick else 300
    sides = ground.few, ground.many
    with FastZero(sides[0].engine, autocommit=True) as few, FastZero(sides[1].engine, autocommit=True) as many:
        owned = [fz.todos(side.user) for fz, side in zip((few, many), sides, strict=True)]
        for name, actions in _operations_by_size(owned, sides).items():
            yield compare(f"{name}, {sides[1].count:,} todos", f"{sides[0].count}", *actions, limit=1.2, runs=runs)
        neighbour = many.todos(ground.neighbour.user)
        yield compare(
            f"list with text, {sides[0].count} todos beside another's {sides[1].count:,}",
            f"{sides[0].count}",
            lambda: owned[0].list(text="quokka"),
            lambda: neighbour.list(text="quokka"),
            limit=1.2,
            runs=runs,
        )


def _operations_by_size(owned: list[Todos], sides: tuple[Side, ...]) -> dict[str, list[Callable[[], object]]]:
    operations: dict[str, list[Callable[[], object]]] = {}

    def each(name: str, make: Callable[[Todos, int], Callable[[], object]]) -> None:
        operations[name] = [make(todos, side.count) for todos, side in zip(owned, sides, strict=True)]

    for sort in TodoSort:
        each(f"list by {sort}, first page", lambda todos, _, sort=sort: lambda: todos.list(sort=sort))  # type: ignore[misc]
        each(f"list by {sort}, last page", lambda todos, _, sort=sort: _last_page(todos, sort=sort))  # type: ignore[misc]
    each("list of 4 states, first page", lambda todos, _: lambda: todos.list(states=_SHOWN))
    each("list of 4 states, last page", lambda todos, _: _last_page(todos, states=_SHOWN))
    each(
        "list of 2 states by title",
        lambda todos, _: lambda: todos.list(states=["todo", "doing"], sort="title", limit=20),
    )
    each("list of a rare state at the end", lambda todos, _: lambda: todos.list(states=["draft"]))
    each("list of a rare state by title", lambda todos, _: lambda: todos.list(states=["draft"], sort="title"))
    each("list with rare text", lambda todos, _: lambda: todos.list(text="quokka"))
    each("list with rare text by title", lambda todos, _: lambda: todos.list(text="quokka", sort="title"))
    each("list with rare text of 4 states", lambda todos, _: lambda: todos.list(text="quokka", states=_SHOWN))
    each("list with frequent text", lambda todos, _: lambda: todos.list(text="the", limit=50))
    each("list with a tag", lambda todos, _: lambda: todos.list(tags=["work"]))
    each("list with a rare tag", lambda todos, _: lambda: todos.list(tags=["rare"]))
    each("list of a priority", lambda todos, _: lambda: todos.list(priorities=["high"]))
    each("list of overdue todos", lambda todos, _: lambda: todos.list(overdue=True))
    each("next", lambda todos, _: lambda: todos.next())
    each("move", _move)
    each("add", lambda todos, _: lambda: todos.add("Write the report"))
    return operations


_SHOWN = [state for state in TodoState if state is not TodoState.TRASH]


def _last_page(todos: Todos, **filters: Any) -> Callable[[], object]:
    last = todos.list(descending=True, limit=51, **filters)[-1]
    return lambda: todos.list(after=last, **filters)


def _move(todos: Todos, size: int) -> Callable[[], object]:
    """Moves todos from all over the list, one after the other."""
    first = todos.list(limit=1)[0].id
    steps, states = count(), cycle(["doing", "done"])
    return lambda: todos.move(first + next(steps) * 7919 % size, to=next(states))


def lists(ground: Ground, quick: bool) -> Iterator[Comparison]:
    side, count = ground.many, min(ground.many.count, 100_000)
    for output in ("ndjson", "json", "csv", "tsv", "table"):
        yield compare(
            f"todo list -o {output}, {count:,} todos",
            "a script that prints them as JSON",
            lambda: ground.python(PRINT_ALL, side.url, str(side.user.id), str(count)),
            lambda output=output: ground.fastzero(  # type: ignore[misc]
                *("todo", "list", "--all", "-n", str(count), "-o", output),
                DATABASE_URL=side.url,
                FASTZERO_USER=side.user.username,
            ),
            limit=1.2,
            runs=3 if quick else 9,
        )


def memory(ground: Ground, quick: bool) -> Iterator[Comparison]:
    several, many = ground.several, ground.many
    result = Comparison(
        f"memory of todo list -o ndjson, {many.count:,} todos",
        f"{several.count:,}",
        limit=1.3,
        reference=Samples("MiB"),
        measured=Samples("MiB"),
    )
    for _ in range(1 if quick else 3):
        for side, samples in ((several, result.reference), (many, result.measured)):
            command = [sys.executable, "-m", "fastzero_cli", "todo", "list", "--all", "-o", "ndjson"]
            peak = ground.run(
                *(sys.executable, "-S", "-c", PEAK_MEMORY, *command),
                DATABASE_URL=side.url,
                FASTZERO_USER=side.user.username,
            )
            samples.values.append(int(peak) * KIB_A_UNIT / 1024)
    yield result


BENCHMARKS: dict[str, Callable[[Ground, bool], Iterator[Comparison]]] = {
    "help": help_text,
    "todo-add": todo_add,
    "up-again": up_again,
    "first-up": first_up,
    "operations": operations,
    "million": million,
    "crowd": crowd,
    "filtered": filtered,
    "lists": lists,
    "board": board,
    "history": history,
    "memory": memory,
    "transfer": transfer,
    "care": care,
    "archive": archive,
    "recovery": recovery,
    "containers": containers,
    "api": api,
    "logins": logins,
    "endurance": endurance,
}
