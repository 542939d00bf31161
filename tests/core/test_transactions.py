"""One block is one transaction; every operation has its number of statements."""

# ruff: noqa: PT012 - what is raised is raised by a whole block, from any of its statements or from its end

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from fastzero_core import ConflictError, FastZero, InvalidInputError, NewTodo, User
from fastzero_core.errors import ProjectNotFoundError, TodoNotFoundError, UsernameTakenError
from fastzero_core.polling import wait_until
from fastzero_core.postgres import database
from fastzero_core.testing import START_TIMEOUT
from fastzero_core.todo_app.todos import Todos
from fastzero_core.todo_app.users import Users

PASSWORD = "correct horse"


def _names(database_url: str) -> list[str]:
    with FastZero(database_url) as fz:
        return [user.username for user in fz.users.list()]


def _add(fz: FastZero, name: str) -> User:
    return fz.users.add(name, email=f"{name}@example.com", password=PASSWORD)


def test_a_block_that_ends_is_committed(database_url: str) -> None:
    with FastZero(database_url) as fz:
        _add(fz, "ana")
    assert _names(database_url) == ["ana"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InvalidInputError])
def test_an_error_undoes_the_whole_block_and_goes_on(database_url: str, error: type[BaseException]) -> None:
    with pytest.raises(error, match="stop"), FastZero(database_url) as fz:
        _add(fz, "ana")
        fz.todos("ana").add("Write")
        raise error("stop")
    assert _names(database_url) == []


def test_nothing_is_visible_to_others_before_the_end(database_url: str) -> None:
    with FastZero(database_url) as fz:
        _add(fz, "ana")
        assert _names(database_url) == []


def test_after_a_failed_statement_the_block_says_so(fz: FastZero, ana: User) -> None:
    with pytest.raises(UsernameTakenError):
        fz.users.add("ana", email="other@example.com", password=PASSWORD)
    with pytest.raises(ConflictError, match="earlier statement"):
        fz.users.list()


def test_a_block_whose_failed_statement_was_passed_over_does_not_seem_to_succeed(database_url: str) -> None:
    with pytest.raises(ConflictError, match="earlier statement"), FastZero(database_url) as fz:
        _add(fz, "ana")
        with pytest.raises(UsernameTakenError):
            fz.users.add("ana", email="other@example.com", password=PASSWORD)
    assert _names(database_url) == []


def test_input_refused_before_the_database_leaves_the_block_usable(database_url: str) -> None:
    with FastZero(database_url) as fz:
        ana = _add(fz, "ana")
        with pytest.raises(InvalidInputError):
            fz.todos(ana).add("")
        with pytest.raises(TodoNotFoundError):
            fz.todos(ana).get(12345)
        fz.todos(ana).add("Write")
    with FastZero(database_url) as fz:
        assert fz.todos("ana").count() == 1


def test_with_autocommit_every_statement_stands_alone(database_url: str) -> None:
    with pytest.raises(ValueError, match="stop"), FastZero(database_url, autocommit=True) as fz:
        _add(fz, "ana")
        with pytest.raises(UsernameTakenError):
            fz.users.add("ana", email="other@example.com", password=PASSWORD)
        _add(fz, "bob")
        raise ValueError("stop")
    assert _names(database_url) == ["ana", "bob"]


def test_with_autocommit_no_transaction_stays_open(database_url: str, other: psycopg.Connection) -> None:
    query = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for autocommit, state in ((True, "idle"), (False, "idle in transaction")):
        with FastZero(database_url, autocommit=autocommit) as fz:
            fz.users.list()
            assert other.execute(query).fetchall() == [(state,)]


def test_no_connection_outlives_its_block(database_url: str, other: psycopg.Connection) -> None:
    _names(database_url)
    query = "SELECT pg_stat_clear_snapshot(), count(*) FROM pg_stat_activity WHERE datname = current_database()"
    assert wait_until(lambda: (other.execute(query).fetchone() or ())[1:] == (1,), START_TIMEOUT)


def test_blocks_may_follow_each_other_but_not_nest(database_url: str) -> None:
    fz = FastZero(database_url)
    with fz:
        _add(fz, "ana")
        with pytest.raises(RuntimeError, match="already in a `with` block"), fz:
            pass
    with fz:
        _add(fz, "bob")
    assert _names(database_url) == ["ana", "bob"]


def test_outside_a_block_there_is_nothing_to_call(database_url: str) -> None:
    fz = FastZero(database_url)
    with pytest.raises(RuntimeError, match="with FastZero"):
        fz.users  # noqa: B018
    with pytest.raises(RuntimeError, match="with FastZero"):
        fz.todos(1)


def test_behind_the_end_of_a_block_there_is_nothing_to_call(database_url: str) -> None:
    with FastZero(database_url) as fz:
        users = fz.users
    with pytest.raises(RuntimeError, match="block is over"):
        users.list()


def test_an_engine_may_be_shared_by_many(database_url: str) -> None:
    engine = database.create_engine(database_url, pooled=True)
    for name in ("ana", "bob"):
        with FastZero(engine) as fz:
            _add(fz, name)
    with FastZero(engine) as fz:
        assert [user.username for user in fz.users.list()] == ["ana", "bob"]
    engine.dispose()


def test_without_a_url_the_environment_decides(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with FastZero() as fz:
        _add(fz, "ana")
    assert _names(database_url) == ["ana"]


def test_without_a_url_and_a_stack_it_says_how_to_get_one() -> None:
    with pytest.raises(ProjectNotFoundError, match="demo") as missing:
        FastZero(project="demo")
    assert "fastzero up" in missing.value.hint


def test_times_are_utc_wherever_the_server_is(database_url: str, other: psycopg.Connection) -> None:
    other.execute(f"ALTER DATABASE {other.info.dbname} SET timezone TO 'Asia/Tokyo'")
    with FastZero(database_url) as fz:
        assert str(_add(fz, "ana").created_at.tzinfo) == "UTC"


# -- the statement budget --------------------------------------------------------------------------------------

Operation = Callable[[Users, Todos, list[int]], Any]
BUDGET: list[tuple[int, str, Operation]] = [
    (1, "users.add", lambda users, todos, ids: users.add("bob", email="bob@example.com", password=PASSWORD)),
    (1, "users.get", lambda users, todos, ids: users.get("ana")),
    (1, "users.only", lambda users, todos, ids: users.only()),
    (1, "users.list", lambda users, todos, ids: users.list()),
    (1, "users.stream", lambda users, todos, ids: list(users.stream())),
    (1, "users.edit", lambda users, todos, ids: users.edit("ana", username="anna")),
    # The first reads the names that the password must not contain.
    (2, "users.set_password", lambda users, todos, ids: users.set_password("ana", "battery staple")),
    (1, "users.remove", lambda users, todos, ids: users.remove("ana")),
    (1, "todos.add", lambda users, todos, ids: todos.add("Write")),
    (1, "todos.add_many", lambda users, todos, ids: todos.add_many([NewTodo("a"), NewTodo("b")])),
    (1, "todos.get", lambda users, todos, ids: todos.get(ids[0])),
    (1, "todos.get_many", lambda users, todos, ids: todos.get_many(ids)),
    (1, "todos.list", lambda users, todos, ids: todos.list(states=["todo"], text="a", sort="title")),
    (2, "todos.list after an id", lambda users, todos, ids: todos.list(sort="title", after=ids[0])),
    (1, "todos.list by id after an id", lambda users, todos, ids: todos.list(after=ids[0])),
    (1, "todos.stream", lambda users, todos, ids: list(todos.stream())),
    (1, "todos.edit", lambda users, todos, ids: todos.edit(ids[0], title="b")),
    (1, "todos.move", lambda users, todos, ids: todos.move(*ids, to="done")),
    (1, "todos.trash", lambda users, todos, ids: todos.trash(*ids)),
    (1, "todos.restore", lambda users, todos, ids: todos.restore(*ids)),
    (1, "todos.purge", lambda users, todos, ids: todos.purge(*ids)),
    (1, "todos.purge of all", lambda users, todos, ids: todos.purge()),
    (1, "todos.count", lambda users, todos, ids: todos.count()),
]


@pytest.mark.parametrize(("budget", "name", "operation"), BUDGET, ids=[name for _, name, _ in BUDGET])
def test_an_operation_keeps_to_its_number_of_statements(
    connection: Connection, todos: Todos, statements: list[object], budget: int, name: str, operation: Operation
) -> None:
    ids = [todo.id for todo in todos.add_many([NewTodo("a", state="trash")] * 3)]
    statements.clear()
    operation(Users(connection), todos, ids)
    assert len(statements) == budget


def test_a_block_costs_its_operations_alone(engine: Engine, statements: list[object]) -> None:
    with FastZero(engine) as fz:
        _add(fz, "ana")
    assert len(statements) == 1
