"""Priority, due, tags, position and completion of todos: set, changed, filtered, and changed by filter."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete

from fastzero_core import (
    ConflictError,
    FastZero,
    InvalidInputError,
    NewTodo,
    NotFoundError,
    Priority,
    Todo,
    TodoChanges,
    TodoState,
    User,
)
from fastzero_core.todo_app import tables
from fastzero_core.todo_app.todos import Todos

BERLIN = ZoneInfo("Europe/Berlin")
EVENING = datetime(2026, 12, 24, 17, tzinfo=UTC)
NOW = datetime.now(UTC)  # a run of all tests may take longer than a day has left


def today() -> date:
    return datetime.now(BERLIN).date()


@pytest.fixture
def todos(fz: FastZero, ana: User) -> Todos:
    return fz.todos(ana, time_zone=BERLIN)


# -- set and changed -------------------------------------------------------------------------------------------


def test_without_them_a_todo_has_no_priority_due_date_or_tags(todos: Todos) -> None:
    todo = todos.add("Write")
    assert (todo.priority, todo.due, todo.due_at, todo.tags) == (Priority.NONE, None, None, ())
    assert (todo.position, todo.completed_at) == (None, None)


def test_all_fields_are_kept(todos: Todos) -> None:
    new = NewTodo("Write", "", "doing", "high", EVENING, ["Work", "home", "work"])
    added = [
        todos.add("Write", state="doing", priority="high", due=EVENING, tags=["Work", "home"]),
        *todos.add_many([new]),
    ]
    for todo in (*added, *todos.get_many(each.id for each in added)):
        assert (todo.priority, todo.due, todo.tags) == (Priority.HIGH, EVENING, ("home", "work"))


def test_a_whole_day_ends_in_the_time_zone_and_stays_the_same_day_elsewhere(fz: FastZero, ana: User) -> None:
    id = fz.todos(ana, time_zone=BERLIN).add("Write", due=date(2026, 12, 24)).id
    todo = fz.todos(ana, time_zone=ZoneInfo("Pacific/Auckland")).get(id)
    assert todo.due == date(2026, 12, 24)
    assert not isinstance(todo.due, datetime)
    assert todo.due_at == datetime(2026, 12, 24, 22, 59, 59, 999_999, UTC)


def test_due_may_be_what_people_type(todos: Todos) -> None:
    assert todos.add("Write", due="2026-12-24 18:00").due == EVENING
    assert todos.add("Write", due="none").due is None


def test_an_edit_changes_what_is_given(todos: Todos) -> None:
    todo = todos.add("Write", priority="low", due=EVENING, tags=["a", "b"])
    changed = todos.edit(todo.id, priority="high", due=date(2027, 1, 1), add_tags=["C"], remove_tags=["a"])
    assert (changed.priority, changed.due, changed.tags) == (Priority.HIGH, date(2027, 1, 1), ("b", "c"))
    changed = todos.edit(todo.id, due="none", tags=["z", "y"])
    assert (changed.priority, changed.due, changed.tags) == (Priority.HIGH, None, ("y", "z"))
    assert todos.edit(todo.id, tags=[]).tags == ()


@pytest.mark.parametrize(
    "changes", [{"priority": "low"}, {"due": EVENING}, {"tags": ["a"]}, {"add_tags": ["a"]}, {"remove_tags": ["b"]}]
)
def test_an_edit_that_changes_nothing_keeps_the_time_of_the_last_change(
    fz: FastZero, ana: User, database_url: str, changes: dict[str, Any]
) -> None:
    todo = fz.todos(ana).add("Write", priority="low", due=EVENING, tags=["a"])
    fz._bound.commit()
    fz._bound.begin()
    assert fz.todos(ana).edit(todo.id, **changes) == todo
    assert fz.todos(ana).edit(todo.id, add_tags=["new"]).updated_at > todo.updated_at


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("priority", {"priority": "urgent"}),
        ("due", {"due": "soon"}),
        ("due", {"due": datetime(2026, 12, 24)}),
        ("due", {"due": date(1, 1, 1)}),
        ("due", {"due": datetime.max.replace(tzinfo=UTC)}),
        ("tag", {"tags": ["a b"]}),
        ("tag", {"tags": ["a,b"]}),
        ("tag", {"tags": [""]}),
        ("tag", {"tags": ["-x"]}),
        ("tag", {"tags": ["x" * 51]}),
        ("tag", {"tags": [f"t{number}" for number in range(21)]}),
        ("tag", {"tags": ["a\0"]}),
    ],
)
def test_invalid_values_are_refused_and_named(todos: Todos, field: str, values: dict[str, Any]) -> None:
    id = todos.add("Write").id
    for operation in (partial(todos.add, "Write"), partial(todos.edit, id)):
        with pytest.raises(InvalidInputError) as refused:
            operation(**values)
        assert refused.value.field == field


def test_more_tags_than_allowed_cannot_be_added_to_those_that_are_there(todos: Todos) -> None:
    todo = todos.add("Write", tags=[f"t{number}" for number in range(20)])
    with pytest.raises(ConflictError, match="at most 20 tags"):
        todos.edit(todo.id, tags=todo.tags, add_tags=["more"])
    with pytest.raises(ConflictError, match="at most 20 tags"):
        todos.edit(todo.id, add_tags=["more"])


@pytest.mark.parametrize(
    "values",
    [
        "priority = 0", "priority = 5", "due_on = '2026-01-01'", "due_at = 'infinity'", "due_at = '-infinity'",
        "due_at = now(), due_on = 'infinity'", "tags = ARRAY[NULL]", "tags = ARRAY['']",
        "tags = array_fill('x'::text, ARRAY[21])", "tags = ARRAY[repeat('x', 51)]", "position = 'NaN'",
    ],
)  # fmt: skip
def test_the_database_refuses_them_from_other_clients_too(
    database_url: str, other: psycopg.Connection, values: str
) -> None:
    with FastZero(database_url) as fz:
        fz.todos(fz.users.add("ana", email="ana@example.com", password="correct horse")).add("Write")
    with pytest.raises(psycopg.errors.CheckViolation):
        other.execute(f"UPDATE todos SET {values}".encode())


# -- completion ------------------------------------------------------------------------------------------------


def test_a_todo_is_completed_when_it_becomes_done_and_no_more_when_it_is_reopened(todos: Todos) -> None:
    todo = todos.add("Write")
    done = todos.edit(todo.id, state="done")
    assert done.completed_at == done.updated_at
    assert todos.move(todo.id, to="done")[0] == done
    assert todos.move(todo.id, to="todo")[0].completed_at is None
    assert todos.add("Written", state="done").completed_at is not None


def test_the_trash_keeps_when_a_todo_was_completed(todos: Todos) -> None:
    done = todos.add("Write", state="done")
    [trashed] = todos.trash(done.id)
    assert trashed.completed_at == done.completed_at
    assert todos.restore(done.id, to="todo")[0].completed_at is None
    todos.trash(done.id)
    assert todos.restore(done.id, to="done")[0].completed_at is not None


# -- filters ---------------------------------------------------------------------------------------------------


@pytest.fixture
def several(todos: Todos) -> Todos:
    todos.add("late", due=NOW - timedelta(days=1), priority="low", tags=["work"])
    todos.add("late and done", state="done", due=NOW - timedelta(days=2), tags=["work", "home"])
    todos.add("soon", due=NOW + timedelta(days=3), priority="high", tags=["home"])
    todos.add("today", due=today(), priority="high")
    todos.add("someday", priority="high", tags=["work/fastzero"])
    todos.add("never")
    return todos


@pytest.mark.parametrize(
    ("filters", "titles"),
    [
        ({"priorities": ["high"]}, ["soon", "today", "someday"]),
        ({"priorities": ["none", "low"]}, ["late", "late and done", "never"]),
        ({"priorities": ["high"], "states": ["done"]}, []),
        ({"priorities": []}, []),
        ({"tags": ["work"]}, ["late", "late and done"]),
        ({"tags": ["WORK"], "states": ["todo"]}, ["late"]),
        ({"tags": ["work", "home"]}, ["late and done"]),
        ({"tags": ["wor"]}, []),
        ({"tags": []}, ["late", "late and done", "soon", "today", "someday", "never"]),
        ({"overdue": True}, ["late"]),
        ({"overdue": True, "states": ["done"]}, []),
        ({"due_before": NOW}, ["late and done", "late"]),
        (
            {"due_after": NOW, "due_before": NOW + timedelta(days=4), "priorities": ["high"], "tags": ["home"]},
            ["soon"],
        ),
        ({"due_before": date(2100, 1, 1), "sort": "id"}, ["late", "late and done", "soon", "today"]),
        ({"due_after": "today"}, []),
        ({"created_after": NOW - timedelta(days=1), "text": "late"}, ["late", "late and done"]),
        ({"created_before": date(2000, 1, 1)}, []),
        ({"overdue": True, "text": "LATE", "tags": ["work"], "priorities": ["low"]}, ["late"]),
        ({"sort": "priority", "limit": 4}, ["soon", "today", "someday", "late"]),
        ({"overdue": False, "tags": ["home"], "sort": "due"}, ["late and done", "soon"]),
    ],
)
def test_a_list_is_filtered(several: Todos, filters: dict[str, Any], titles: list[str]) -> None:
    found = several.list(**filters)
    if not ("due_after" in filters and "today" in filters.values()):  # the day may be over in an hour
        assert [todo.title for todo in found] == titles
    conditions = {name: value for name, value in filters.items() if name not in ("sort", "limit", "states")}
    if "limit" not in filters:
        assert several.count(filters.get("states"), **conditions) == len(found)
    assert {todo.id for todo in several.stream(**{k: v for k, v in filters.items() if k != "limit"})} >= {
        todo.id for todo in found
    }


def test_a_day_is_before_its_end_and_not_after_it(todos: Todos) -> None:
    todos.add("24th", due=date(2026, 12, 24))
    todos.add("evening", due="2026-12-24 20:00")
    for filters, count in (
        ({"due_before": date(2026, 12, 24)}, 0),
        ({"due_before": date(2026, 12, 25)}, 2),
        ({"due_after": date(2026, 12, 24)}, 0),
        ({"due_after": date(2026, 12, 23)}, 2),
        ({"due_after": EVENING}, 2),
        ({"due_after": EVENING + timedelta(hours=2)}, 1),
    ):
        assert len(todos.list(**filters)) == count, filters


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"priorities": ["urgent"]}, "priority"),
        ({"tags": ["a b"]}, "tag"),
        ({"due_before": "soon"}, "due_before"),
        ({"due_after": "none"}, "due_after"),
        ({"created_before": datetime(2026, 1, 1)}, "created_before"),
    ],
)
def test_invalid_filters_are_refused_and_named(todos: Todos, filters: dict[str, Any], field: str) -> None:
    for operation in (todos.list, todos.count, lambda **filters: todos.edit_matching({"state": "done"}, **filters)):
        with pytest.raises(InvalidInputError) as refused:
            operation(**filters)
        assert refused.value.field == field


def test_next_are_the_overdue_then_the_due_then_those_of_high_priority(several: Todos) -> None:
    several.add("draft", state="draft", due=NOW)
    titles = [todo.title for todo in several.next(limit=5)]
    assert titles[0] == "late"
    assert {*titles[1:3]} == {"soon", "today"}
    assert titles[3:] == ["someday", "never"]


# -- the tags that the index has -------------------------------------------------------------------------------

TAGS = st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3)


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["add", "edit", "move", "remove"]), TAGS, st.sampled_from(TodoState)
        ),
        max_size=8,
    )
)
@settings(max_examples=40)
def test_whatever_happens_to_todos_their_tags_are_found(
    connection: Connection, fz: FastZero, ana: User, steps: list[tuple[int, str, list[str], TodoState]]
) -> None:
    todos = fz.todos(ana)
    fz._bound.execute(delete(tables.todos))
    for number, step, tags, state in steps:
        there = todos.list()
        if step == "add" or not there:
            todos.add("Write", tags=tags, state=state)
        elif step == "edit":
            todos.edit(there[number % len(there)].id, tags=tags, state=state)
        elif step == "move":
            todos.move(there[number % len(there)].id, to=state)
        else:
            todos.remove(there[number % len(there)].id)
    every = todos.list(limit=100)
    for tag in "abc":
        for state in TodoState:
            wanted = [todo for todo in every if tag in todo.tags and todo.state is state]
            assert todos.list(tags=[tag], states=[state]) == wanted
    listed = fz._bound.execute(tables.todo_tags.select()).all()
    assert len(listed) == sum(len(todo.tags) for todo in every)


# -- the order made by hand ------------------------------------------------------------------------------------


def _order(todos: Todos) -> list[str]:
    return [todo.title for todo in todos.list(sort="position", limit=100)]


def test_todos_are_placed_before_and_after_others(todos: Todos) -> None:
    a, b, c, d = (todo.id for todo in todos.add_many(NewTodo(title) for title in "abcd"))
    assert _order(todos) == ["a", "b", "c", "d"]
    todos.place(d, before=b)
    assert _order(todos) == ["a", "d", "b", "c"]
    todos.place(a, after=c)
    assert _order(todos) == ["d", "b", "c", "a"]
    todos.place(c, before=d)
    assert _order(todos) == ["c", "d", "b", "a"]
    todos.place(d, after=c)
    assert _order(todos) == ["c", "d", "b", "a"]
    todos.add("e")
    assert _order(todos)[-1] == "e"
    assert b in {todo.id for todo in todos.list(sort="position", descending=True, limit=3)}


def test_there_is_always_room_between_two(todos: Todos) -> None:
    ids = [todo.id for todo in todos.add_many(NewTodo(f"{number}") for number in range(3))]
    for step in range(400):
        todos.place(ids[1 + step % 2], after=ids[0])
    assert _order(todos) == ["0", "2", "1"]
    assert len(str(todos.get(ids[2]).position)) < 200


@given(moves=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=12))
@settings(max_examples=40)
def test_the_order_is_that_of_a_list_whose_items_are_moved(
    fz: FastZero, ana: User, moves: list[tuple[int, int, bool]]
) -> None:
    todos = fz.todos(ana)
    fz._bound.execute(delete(tables.todos))
    order = [todo.id for todo in todos.add_many(NewTodo(f"{number}") for number in range(5))]
    ids = [*order]
    for moved, target, before in moves:
        if moved != target:
            order.remove(ids[moved])
            order.insert(order.index(ids[target]) + (not before), ids[moved])
            todos.place(ids[moved], **{"before" if before else "after": ids[target]})
    assert [todo.id for todo in todos.list(sort="position")] == order


def test_a_place_needs_one_other_todo_of_the_same_owner(fz: FastZero, todos: Todos) -> None:
    one, other = (todo.id for todo in todos.add_many([NewTodo("a"), NewTodo("b")]))
    assert todos.place(one, before=one) == todos.get(one)
    bob = fz.users.add("bob", email="bob@example.com", password="correct horse")
    theirs = fz.todos(bob).add("c").id
    for arguments in ({}, {"before": other, "after": other}):
        with pytest.raises(InvalidInputError):
            todos.place(one, **arguments)
    for id, target in ((one, theirs), (theirs, one), (one, 999_999)):
        with pytest.raises(NotFoundError):
            todos.place(id, before=target)


# -- changes by filter -----------------------------------------------------------------------------------------


def test_what_matches_is_changed_in_one_statement(several: Todos, statements_of: list[str]) -> None:
    statements_of.clear()
    changed = several.edit_matching({"state": "done", "add_tags": ["old"]}, tags=["work"], states=["todo"], expected=1)
    assert changed == len(statements_of) == 1
    [todo] = several.list(tags=["old"])
    assert (todo.title, todo.state) == ("late", TodoState.DONE)
    assert todo.completed_at == todo.updated_at


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"priority": "low"}, lambda todo: todo.priority is Priority.LOW),
        ({"due": "none"}, lambda todo: todo.due is None),
        ({"due": EVENING}, lambda todo: todo.due == EVENING),
        ({"state": "trash"}, lambda todo: todo.state is TodoState.TRASH),
        ({"remove_tags": ["work"]}, lambda todo: "work" not in todo.tags),
        ({"title": "same", "description": "too"}, lambda todo: (todo.title, todo.description) == ("same", "too")),
    ],
)
def test_any_field_is_changed_by_filter_and_only_there(several: Todos, changes: TodoChanges, check: Any) -> None:
    matching = {todo.id for todo in several.list(text="late")}
    before = {todo.id: todo for todo in several.list()}
    assert several.edit_matching(changes, text="late") == len(matching) == 2
    for todo in several.list():
        assert check(todo) if todo.id in matching else todo == before[todo.id]


def test_a_change_by_several_tags_is_of_those_with_all_of_them(several: Todos) -> None:
    assert several.edit_matching({"state": "draft"}, tags=["work", "home"], priorities=["none"]) == 1
    assert [todo.title for todo in several.list(states=["draft"])] == ["late and done"]


def test_another_number_than_expected_changes_nothing(several: Todos) -> None:
    before = several.list()
    with pytest.raises(ConflictError, match="2 todos match now, not 3"):
        several.edit_matching({"state": "trash"}, text="late", expected=3)
    assert several.list() == before


@pytest.mark.parametrize("filters", [{}, {"text": None}, {"overdue": False}, {"tags": []}])
def test_a_change_needs_a_filter(several: Todos, filters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="no filter given"):
        several.edit_matching({"state": "trash"}, **filters)


def test_a_change_by_filter_is_of_one_owner(fz: FastZero, several: Todos) -> None:
    bob = fz.todos(fz.users.add("bob", email="bob@example.com", password="correct horse"))
    theirs = bob.add("late", tags=["work"])
    several.edit_matching({"state": "trash"}, tags=["work"])
    assert bob.list() == [theirs]


@pytest.fixture
def statements_of(fz: FastZero) -> Iterator[list[str]]:
    from sqlalchemy import event

    sent: list[str] = []

    def remember(_: object, __: object, statement: str, *rest: object) -> None:
        sent.append(statement)

    engine: Engine = fz._bound.engine
    event.listen(engine, "before_cursor_execute", remember)
    yield sent
    event.remove(engine, "before_cursor_execute", remember)


# -- statistics ------------------------------------------------------------------------------------------------


def test_statistics_are_by_state_tag_and_day(several: Todos, statements_of: list[str]) -> None:
    several.add("thrown away", state="trash", tags=["work"])
    statements_of.clear()
    found = several.stats(3)
    assert len(statements_of) == 1
    assert found.by_state == {"draft": 0, "todo": 5, "doing": 0, "done": 1, "trash": 1}
    assert (found.total, found.overdue, found.completed) == (7, 1, 1)
    assert list(found.by_tag.items()) == [("home", 2), ("work", 2), ("work/fastzero", 1)]
    assert [day.day for day in found.by_day] == [today() - timedelta(days=n) for n in (2, 1, 0)]
    assert [(day.created, day.completed) for day in found.by_day] == [(0, 0), (0, 0), (7, 1)]
    assert found.throughput == 0.33


def test_a_day_begins_and_ends_in_the_time_zone(fz: FastZero, ana: User) -> None:
    id = fz.todos(ana).add("Write", state="done").id
    midnight = datetime.combine(today(), datetime.min.time(), BERLIN)
    for moment, day in ((midnight, -1), (midnight - timedelta(microseconds=1), -2)):
        fz._bound.execute(tables.todos.update().where(tables.todos.c.id == id).values(completed_at=moment))
        counts = [day.completed for day in fz.todos(ana, time_zone=BERLIN).stats().by_day]
        assert counts[day] == sum(counts) == 1


@pytest.mark.parametrize("days", [0, 367])
def test_statistics_are_of_up_to_a_year(days: int, todos: Todos) -> None:
    with pytest.raises(InvalidInputError, match="between 1 and 366"):
        todos.stats(days)


def test_several_by_id_are_changed_all_or_none(several: Todos) -> None:
    ids = [todo.id for todo in several.list(text="late")]
    changed: list[Todo] = several.edit_many(ids, add_tags=["old"])
    assert [(todo.id, "old" in todo.tags) for todo in changed] == [(id, True) for id in ids]
    with pytest.raises(NotFoundError):
        several.edit_many([*ids, 999_999], priority="high")
    assert all(todo.priority is not Priority.HIGH for todo in several.get_many(ids))
