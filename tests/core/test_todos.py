"""The operations on todos, but for lists."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from fastzero_core import FastZero, InvalidInputError, NewTodo, Todo, TodoState, User
from fastzero_core.errors import TodoNotFoundError, TodoNotTrashedError, UserNotFoundError
from fastzero_core.polling import wait_until
from fastzero_core.testing import START_TIMEOUT
from fastzero_core.todo_app.todos import Todos

STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
MISSING = 2**63 - 1
Verb = Callable[..., Any]
BULK_VERBS: dict[str, Verb] = {
    "move": lambda todos, *ids: todos.move(*ids, to="done"),
    "trash": lambda todos, *ids: todos.trash(*ids),
    "restore": lambda todos, *ids: todos.restore(*ids),
    "purge": lambda todos, *ids: todos.purge(*ids),
}


@pytest.fixture
def bob(fz: FastZero) -> User:
    return fz.users.add("bob", email="bob@example.com", password="correct horse")


def _waits_for_a_lock(session: psycopg.Connection) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    row = session.execute(query).fetchone()
    return row == (1,)


# -- adding ----------------------------------------------------------------------------------------------------


def test_a_todo_is_added_as_written(fz: FastZero, ana: User) -> None:
    todo = fz.todos(ana).add("Write the report", description="all of it", state="doing")
    assert (todo.title, todo.description, todo.state) == ("Write the report", "all of it", TodoState.DOING)
    assert todo.user_id == ana.id
    assert todo.created_at == todo.updated_at
    assert todo.created_at.utcoffset() == timedelta(0)
    assert fz.todos(ana).get(todo.id) == todo


def test_a_todo_begins_as_todo_without_description(fz: FastZero, ana: User) -> None:
    todo = fz.todos(ana).add("Write")
    assert (todo.state, todo.description) == (TodoState.TODO, "")


@given(title=STORABLE.filter(str.strip), description=STORABLE)
@settings(max_examples=60)
def test_any_text_comes_back_as_it_was(todos: Todos, title: str, description: str) -> None:
    todo = todos.add(title, description=description)
    assert (todo.title, todo.description) == (title, description)
    assert todos.get(todo.id) == todo


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("title", {"title": ""}),
        ("title", {"title": "x" * 201}),
        ("title", {"title": "a\0b"}),
        ("title", {"title": "\ud800"}),
        ("description", {"title": "x", "description": "x" * 10_001}),
        ("state", {"title": "x", "state": "finished"}),
    ],
)
def test_invalid_input_is_refused_before_the_database(
    todos: Todos, statements: list[object], field: str, values: dict[str, str]
) -> None:
    statements.clear()
    with pytest.raises(InvalidInputError) as refused:
        todos.add(**values)
    assert refused.value.field == field
    assert not statements


def test_of_a_single_one_no_place_is_named(fz: FastZero, ana: User) -> None:
    with pytest.raises(InvalidInputError, match=r"^title"):
        fz.todos(ana).add("")


def test_a_todo_for_nobody_says_that_its_owner_is_not_there(fz: FastZero) -> None:
    with pytest.raises(UserNotFoundError, match="owner"):
        fz.todos(MISSING).add("Write")


def test_many_are_added_in_their_order(fz: FastZero, ana: User) -> None:
    new = [NewTodo(f"{n}", f"description {n}", "done" if n % 2 else "todo") for n in range(1500)]
    added = fz.todos(ana).add_many(new)
    assert [(todo.title, todo.description, todo.state) for todo in added] == [
        (todo.title, todo.description, todo.state) for todo in new
    ]
    assert [todo.id for todo in added] == sorted(todo.id for todo in added)


def test_of_many_with_a_bad_one_none_is_added_and_its_place_is_named(fz: FastZero, ana: User) -> None:
    with pytest.raises(InvalidInputError, match="todo 1: title") as refused:
        fz.todos(ana).add_many([NewTodo("good"), NewTodo(""), NewTodo("good")])
    assert refused.value.field == "title"
    assert fz.todos(ana).count() == 0


def test_adding_none_adds_nothing(fz: FastZero, ana: User) -> None:
    assert fz.todos(ana).add_many([]) == []


@pytest.mark.parametrize(
    "values",
    ["('', '', 'todo')", "(repeat('x', 201), '', 'todo')", "('x', repeat('x', 10001), 'todo')", "('x','','?')"],
)
def test_the_database_keeps_the_limits_against_every_client(
    database_url: str, other: psycopg.Connection, values: str
) -> None:
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
    with pytest.raises(psycopg.errors.CheckViolation):
        other.execute(
            f"INSERT INTO todos (user_id, title, description, state) SELECT {ana.id}, * FROM (VALUES {values})"
        )


# -- changing one ----------------------------------------------------------------------------------------------


@pytest.fixture
def yesterday(database_url: str, other: psycopg.Connection) -> Todo:
    """A todo that was added a day ago."""
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
        todo = fz.todos(ana).add("Write", description="soon")
    other.execute(
        "UPDATE todos SET created_at = created_at - interval '1 day', updated_at = created_at - interval '1 day'"
    )
    with FastZero(database_url) as fz:
        return fz.todos(ana).get(todo.id)


@pytest.mark.parametrize("change", [{"title": "Read"}, {"description": ""}, {"title": "Read", "description": "later"}])
def test_an_edit_changes_what_is_given(database_url: str, yesterday: Todo, change: dict[str, str]) -> None:
    with FastZero(database_url) as fz:
        edited = fz.todos(yesterday.user_id).edit(yesterday.id, **change)
    expected = {"title": "Write", "description": "soon", **change}
    assert (edited.title, edited.description) == (expected["title"], expected["description"])
    assert edited.created_at == yesterday.created_at
    assert edited.updated_at > yesterday.updated_at


def test_a_move_is_an_update(database_url: str, yesterday: Todo) -> None:
    with FastZero(database_url) as fz:
        [moved] = fz.todos(yesterday.user_id).move(yesterday.id, to="done")
    assert moved.state is TodoState.DONE
    assert moved.updated_at > yesterday.updated_at


def test_what_stays_as_it_is_was_not_updated(database_url: str, yesterday: Todo) -> None:
    with FastZero(database_url) as fz:
        todos = fz.todos(yesterday.user_id)
        assert todos.move(yesterday.id, to=yesterday.state) == [yesterday]
        assert todos.restore(yesterday.id, to="done") == [yesterday]
        assert todos.edit(yesterday.id, title=yesterday.title) == yesterday


def test_one_bad_todo_among_very_many_leaves_none_even_where_the_block_goes_on(fz: FastZero, ana: User) -> None:
    with pytest.raises(InvalidInputError, match="todo 10001"):
        fz.todos(ana).add_many([*[NewTodo("good")] * 10_001, NewTodo("")])
    assert fz.todos(ana).count() == 0


def test_more_than_one_statement_takes_are_added_in_their_order(fz: FastZero, ana: User) -> None:
    added = fz.todos(ana).add_many([NewTodo(str(number)) for number in range(10_005)])
    assert [todo.title for todo in added] == [str(number) for number in range(10_005)]
    assert [todo.id for todo in added] == sorted(todo.id for todo in added)


def test_an_edit_changes_the_state_as_well(fz: FastZero, ana: User) -> None:
    todo = fz.todos(ana).add("Write")
    changed = fz.todos(ana).edit(todo.id, title="Read", state="done")
    assert (changed.title, changed.description, changed.state) == ("Read", "", TodoState.DONE)


@pytest.mark.parametrize("state", TodoState)
def test_a_todo_is_removed_in_the_trash_or_not(state: TodoState, fz: FastZero, ana: User) -> None:
    todo = fz.todos(ana).add("Write", state=state)
    assert fz.todos(ana).remove(todo.id) == todo
    with pytest.raises(TodoNotFoundError):
        fz.todos(ana).remove(todo.id)


def test_an_edit_without_a_change_is_refused(fz: FastZero, ana: User) -> None:
    with pytest.raises(InvalidInputError, match="nothing to change"):
        fz.todos(ana).edit(1)


@pytest.mark.parametrize("change", [{"title": ""}, {"title": "x" * 201}, {"description": "\0"}])
def test_an_edit_keeps_to_the_limits(fz: FastZero, ana: User, change: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError):
        fz.todos(ana).edit(1, **change)


def test_what_is_not_there_is_not_read(fz: FastZero, ana: User) -> None:
    with pytest.raises(TodoNotFoundError, match=str(MISSING)) as missing:
        fz.todos(ana).get(MISSING)
    assert missing.value.ids == [MISSING]


def test_what_is_not_there_is_not_edited(fz: FastZero, ana: User) -> None:
    with pytest.raises(TodoNotFoundError, match=str(MISSING)):
        fz.todos(ana).edit(MISSING, title="x")


@pytest.mark.parametrize("id", [0, -1, 2**63])
@pytest.mark.parametrize("verb", [*BULK_VERBS.values(), lambda todos, id: todos.get(id)])
def test_what_can_be_no_id_is_invalid(fz: FastZero, ana: User, verb: Verb, id: int) -> None:
    with pytest.raises(InvalidInputError, match="9223372036854775807") as refused:
        verb(fz.todos(ana), id)
    assert refused.value.field == "id"


# -- changing several ------------------------------------------------------------------------------------------


def _titled(todos: Todos, *titles: str, state: str = "todo") -> list[int]:
    return [todo.id for todo in todos.add_many([NewTodo(title, state=state) for title in titles])]


def test_several_are_moved_and_come_back_in_the_order_given(fz: FastZero, ana: User) -> None:
    first, second, third = _titled(fz.todos(ana), "a", "b", "c")
    moved = fz.todos(ana).move(third, first, third, second, to=TodoState.DONE)
    assert [todo.id for todo in moved] == [third, first, second]
    assert fz.todos(ana).count(["done"]) == 3


def test_the_trash_gives_back_what_it_took(fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    ids = _titled(todos, "a", "b")
    assert {todo.state for todo in todos.trash(*ids)} == {TodoState.TRASH}
    assert {todo.state for todo in todos.restore(*ids)} == {TodoState.TODO}


def test_restore_brings_into_the_state_wanted_and_leaves_the_others(fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    [trashed], [done] = _titled(todos, "a", state="trash"), _titled(todos, "b", state="done")
    assert [todo.state for todo in todos.restore(trashed, done, to="draft")] == [TodoState.DRAFT, TodoState.DONE]


def test_purge_deletes_for_ever(fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    ids = _titled(todos, "a", "b", "c", state="trash")
    assert todos.purge(ids[0], ids[1], ids[0]) == 2
    assert [todo.id for todo in todos.list()] == ids[2:]


def test_purge_without_ids_empties_the_trash_alone(fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    _titled(todos, "a", "b", state="trash")
    kept = _titled(todos, "c")
    assert todos.purge() == 2
    assert [todo.id for todo in todos.list()] == kept
    assert todos.purge() == 0


def test_what_is_not_in_the_trash_is_not_purged_and_is_named(fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    [kept], [trashed] = _titled(todos, "a"), _titled(todos, "b", state="trash")
    with pytest.raises(TodoNotTrashedError, match=f"trash: {kept}$"):
        todos.purge(kept, trashed)
    assert todos.count() == 2


@pytest.mark.parametrize("verb", BULK_VERBS.values(), ids=BULK_VERBS)
def test_a_bulk_verb_changes_nothing_if_some_are_missing_and_names_those(fz: FastZero, ana: User, verb: Verb) -> None:
    todos = fz.todos(ana)
    ids = _titled(todos, "a", "b", state="trash")
    before = todos.list()
    with pytest.raises(TodoNotFoundError) as missing:
        verb(todos, ids[0], MISSING, ids[1], MISSING - 1)
    assert missing.value.ids == [MISSING, MISSING - 1]
    assert todos.list() == before


@pytest.mark.parametrize("verb", [BULK_VERBS[name] for name in ("move", "trash", "restore")])
def test_a_bulk_verb_without_ids_is_refused(fz: FastZero, ana: User, verb: Verb) -> None:
    with pytest.raises(InvalidInputError, match="no id"):
        verb(fz.todos(ana))


@pytest.mark.parametrize("verb", BULK_VERBS.values(), ids=BULK_VERBS)
def test_a_bulk_verb_is_all_or_nothing_while_another_session_deletes(
    database_url: str, other: psycopg.Connection, verb: Verb
) -> None:
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
        ids = _titled(fz.todos(ana), "a", "b", "c", state="trash")
        before = fz.todos(ana).list()

    def change() -> list[int]:
        with FastZero(database_url) as fz, pytest.raises(TodoNotFoundError) as missing:
            verb(fz.todos(ana), *ids)
        return missing.value.ids

    with ThreadPoolExecutor(1) as pool, psycopg.connect(database_url) as deleting:
        deleting.execute("DELETE FROM todos WHERE id = %s", [ids[1]])
        changing = pool.submit(change)
        assert wait_until(lambda: _waits_for_a_lock(other), START_TIMEOUT)
        deleting.commit()
        assert changing.result() == [ids[1]]
    with FastZero(database_url) as fz:
        assert fz.todos(ana).list() == [before[0], before[2]]


def test_two_sessions_that_move_the_same_todos_both_succeed(database_url: str, other: psycopg.Connection) -> None:
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
        ids = _titled(fz.todos(ana), "a", "b", "c")

    def move() -> list[Todo]:
        with FastZero(database_url) as fz:
            return fz.todos(ana).move(*ids, to="done")

    with ThreadPoolExecutor(1) as pool:
        with FastZero(database_url) as fz:
            fz.todos(ana).move(*reversed(ids), to="doing")
            moving = pool.submit(move)
            assert wait_until(lambda: _waits_for_a_lock(other), START_TIMEOUT)
        assert [todo.state for todo in moving.result()] == [TodoState.DONE] * 3


# -- whose they are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [*BULK_VERBS.values(), lambda todos, id: todos.get(id)])
def test_anothers_todo_is_not_there(fz: FastZero, ana: User, bob: User, verb: Verb) -> None:
    theirs = fz.todos(ana).add("Private", state="trash")
    with pytest.raises(TodoNotFoundError):
        verb(fz.todos(bob), theirs.id)
    assert fz.todos(ana).get(theirs.id) == theirs


def test_anothers_todo_cannot_be_edited(fz: FastZero, ana: User, bob: User) -> None:
    theirs = fz.todos(ana).add("Private")
    with pytest.raises(TodoNotFoundError):
        fz.todos(bob).edit(theirs.id, title="Public")
    assert fz.todos(ana).get(theirs.id) == theirs


def test_lists_and_counts_see_the_owners_todos_alone(fz: FastZero, ana: User, bob: User) -> None:
    theirs = fz.todos(ana).add("Private", state="trash")
    mine = fz.todos(bob).add("Mine")
    todos = fz.todos(bob)
    assert todos.list() == list(todos.stream()) == [mine]
    assert todos.list(text="Private") == todos.list(states=["trash"]) == []
    assert todos.count() == 1
    with pytest.raises(TodoNotFoundError):
        todos.list(after=theirs.id, sort="title")


def test_emptying_the_trash_leaves_that_of_others(fz: FastZero, ana: User, bob: User) -> None:
    theirs = fz.todos(ana).add("Private", state="trash")
    assert fz.todos(bob).purge() == 0
    assert fz.todos(ana).list() == [theirs]


def test_an_owner_is_a_user_an_id_or_a_name(fz: FastZero, ana: User) -> None:
    owners: tuple[User | int | str, ...] = (ana, ana.id, "Ana", "ana@example.com")
    assert {fz.todos(owner).owner_id for owner in owners} == {ana.id}
    with pytest.raises(UserNotFoundError, match="nobody"):
        fz.todos("nobody")
    with pytest.raises(InvalidInputError, match="user must be"):
        fz.todos(0)


def test_todos_may_be_used_on_any_connection_of_the_core(connection: Connection, todos: Todos) -> None:
    added = todos.add("Write")
    assert Todos(connection, todos.owner_id).list() == [added]
