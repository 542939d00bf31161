"""Lists of todos: order, pages, filters, and what a page costs."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Literal
from sqlalchemy import Connection, Engine, delete, insert, select

from fastzero_core import FastZero, InvalidInputError, NewTodo, Priority, Todo, TodoSort, TodoState, User
from fastzero_core.errors import TodoNotFoundError
from fastzero_core.todo_app import tables
from fastzero_core.todo_app.todos import Todos

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
HIGHEST_FIRST = [Priority.HIGH, Priority.MEDIUM, Priority.LOW, Priority.NONE]
NEVER = datetime.max.replace(tzinfo=UTC)
KEYS: dict[TodoSort, Callable[[Todo], tuple[Any, ...]]] = {
    TodoSort.ID: lambda todo: (todo.id,),
    TodoSort.CREATED: lambda todo: (todo.created_at, todo.id),
    TodoSort.UPDATED: lambda todo: (todo.updated_at, todo.id),
    TodoSort.TITLE: lambda todo: (todo.title, todo.id),
    TodoSort.DUE: lambda todo: (todo.due_at or NEVER, HIGHEST_FIRST.index(todo.priority), todo.id),
    TodoSort.PRIORITY: lambda todo: (HIGHEST_FIRST.index(todo.priority), todo.id),
    TodoSort.POSITION: lambda todo: (todo.id if todo.position is None else todo.position, todo.id),
}
TIMES = st.integers(0, 3).map(lambda days: EPOCH + timedelta(days=days))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "title": st.text("aAbéZ😀", min_size=1, max_size=2),
            "state": st.sampled_from([state.value for state in TodoState]),
            "created_at": TIMES,
            "updated_at": TIMES,
            "priority": st.integers(1, 4),
            "due_at": st.none() | TIMES,
            "position": st.none() | st.integers(-2, 2),
        }
    ),
    max_size=12,
)
# In all of these one character is one character, whatever its case: what a filter finds can be told in Python.
AWKWARD = "aA%_\\'\"äÄ漢 "


@given(
    rows=ROWS,
    sort=st.sampled_from(TodoSort),
    descending=st.booleans(),
    states=st.none() | st.sets(st.sampled_from(TodoState)),
    limit=st.integers(1, 5),
    by_id=st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_pages_give_every_todo_once_and_in_order(
    connection: Connection,
    todos: Todos,
    rows: list[dict[str, Any]],
    sort: TodoSort,
    descending: bool,
    states: set[TodoState] | None,
    limit: int,
    by_id: bool,
) -> None:
    connection.execute(delete(tables.todos))
    if rows:
        connection.execute(insert(tables.todos), [{"user_id": todos.owner_id, **row} for row in rows])
    every = todos.list(limit=100)
    wanted = [todo for todo in every if states is None or todo.state in states]
    wanted.sort(key=KEYS[sort], reverse=descending)

    found, page = [], todos.list(states=states, sort=sort, descending=descending, limit=limit)
    while page:
        assert len(page) <= limit
        found += page
        after = page[-1].id if by_id else page[-1]
        page = todos.list(states=states, sort=sort, descending=descending, limit=limit, after=after)
    assert found == wanted


@given(title=st.text(AWKWARD, min_size=1, max_size=8).filter(str.strip), needle=st.text(AWKWARD, max_size=3))
@settings(max_examples=150)
def test_text_is_found_literally_and_without_regard_to_case(
    connection: Connection, todos: Todos, title: str, needle: str
) -> None:
    connection.execute(delete(tables.todos))
    titled, described = todos.add(title), todos.add("-", description=title)
    expected = [titled, described] if needle.lower() in title.lower() else []
    assert todos.list(text=needle) == expected


@pytest.mark.parametrize(
    ("title", "text"), [("ÉCOLE", "école"), ("Straße", "STRASSE"[:4]), ("ПРИВЕТ мир", "привет МИР"), ("日本語", "本")]
)
def test_case_does_not_matter_in_any_script(fz: FastZero, ana: User, title: str, text: str) -> None:
    todo = fz.todos(ana).add(title)
    assert fz.todos(ana).list(text=text) == [todo]


def test_text_that_cannot_be_stored_cannot_be_looked_for(fz: FastZero, ana: User) -> None:
    for text in ("a\0b", "\ud800"):
        with pytest.raises(InvalidInputError) as refused:
            fz.todos(ana).list(text=text)
        assert refused.value.field == "text"


def test_filters_apply_together(fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    todos.add_many([NewTodo("Buy milk"), NewTodo("Buy bread", state="done"), NewTodo("Drink milk", state="done")])
    todos.add_many([NewTodo("Spill milk", state="trash")])
    found = todos.list(states=["done", TodoState.TRASH], text="MILK", sort="title", descending=True)
    assert [todo.title for todo in found] == ["Spill milk", "Drink milk"]


def test_a_state_named_twice_counts_once(fz: FastZero, ana: User) -> None:
    todo = fz.todos(ana).add("Write")
    assert fz.todos(ana).list(states=["todo", TodoState.TODO]) == [todo]


def test_no_state_at_all_finds_nothing(fz: FastZero, ana: User) -> None:
    fz.todos(ana).add("Write")
    assert fz.todos(ana).list(states=[]) == []
    assert fz.todos(ana).count([]) == 0


def test_counts_are_of_all_or_of_some_states(fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    todos.add_many([NewTodo("a"), NewTodo("b", state="done"), NewTodo("c", state="trash")])
    assert (todos.count(), todos.count(["done", "trash"]), todos.count(["doing"])) == (3, 2, 0)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"states": ["finished"]}, "state"),
        ({"sort": "size"}, "sort"),
        ({"limit": 0}, "limit"),
        ({"limit": 2**63}, "limit"),
        ({"after": 0}, "after"),
        ({"after": 2**63, "sort": "title"}, "after"),
    ],
)
def test_what_a_list_cannot_be_asked_is_refused(
    todos: Todos, statements: list[object], arguments: dict[str, Any], field: str
) -> None:
    statements.clear()
    with pytest.raises(InvalidInputError) as refused:
        todos.list(**arguments)
    assert refused.value.field == field
    assert not statements


def test_a_page_by_id_goes_on_behind_a_todo_that_is_gone(fz: FastZero, ana: User) -> None:
    first, second = fz.todos(ana).add_many([NewTodo("a", state="trash"), NewTodo("b")])
    fz.todos(ana).purge(first.id)
    assert fz.todos(ana).list(after=first.id) == [second]
    assert fz.todos(ana).list(after=first, sort="title") == [second]


def test_a_page_by_title_behind_an_unknown_id_is_not_found(fz: FastZero, ana: User) -> None:
    with pytest.raises(TodoNotFoundError):
        fz.todos(ana).list(after=12345, sort="title")


@pytest.mark.parametrize("sort", TodoSort)
def test_a_stream_gives_what_a_list_gives(
    fz: FastZero, ana: User, sort: TodoSort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastzero_core.todo_app.todos._PAGE", 3)
    todos = fz.todos(ana)
    todos.add_many([NewTodo("aab"[n % 3], state=["todo", "done"][n % 2]) for n in range(12)])
    filters: dict[str, Any] = {"sort": sort, "descending": True}
    assert list(todos.stream(**filters)) == todos.list(**filters)
    assert list(todos.stream(states=iter(["todo"]), **filters)) == todos.list(states=["todo"], **filters)


# -- what a page costs -----------------------------------------------------------------------------------------

MANY, RARE = 1000, 3


@pytest.fixture
def crowded(engine: Engine, other: psycopg.Connection) -> Iterator[Todos]:
    """Todos of a user who has many, of which a few, the newest, are done; there are other users as well."""
    with FastZero(engine) as fz:
        owners = [fz.users.add(f"user-{n}", email=f"{n}@example.com", password="correct horse").id for n in range(2)]
    for owner in owners:
        other.execute(
            "INSERT INTO todos (user_id, title, state, created_at, updated_at)"
            " SELECT %s, (n * 7919 %% 1000)::text, CASE WHEN n > %s THEN 'done' ELSE 'todo' END,"
            " now() - n * interval '1 min', now() - (n * 7919 %% 1000) * interval '1 min'"
            " FROM generate_series(1, %s) n",
            [owner, MANY - RARE, MANY],
        )
    other.execute("ANALYZE")
    with engine.connect() as connection:
        yield Todos(connection, owners[-1])


def _plan(session: psycopg.Connection, statement: tuple[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a statement's plan, as it ran."""
    row = session.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement[0], statement[1]).fetchone()
    assert row is not None
    return list(_nodes((row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


@pytest.mark.parametrize("descending", [False, True])
def test_a_page_by_id_is_a_scan_of_the_primary_key_without_sorting(
    crowded: Todos, other: psycopg.Connection, statements: list[tuple[str, Any]], descending: bool
) -> None:
    first = crowded.list(descending=descending)
    crowded.list(descending=descending, after=first[-1])
    for statement in statements[-2:]:
        plan = _plan(other, statement)
        assert not [node for node in plan if "Sort" in node["Node Type"]]
        [scan] = [node for node in plan if "Scan" in node["Node Type"] and node["Actual Loops"]]
        assert scan["Index Name"] == "pk_todos"
        assert scan["Actual Rows"] == 50
        assert not scan.get("Rows Removed by Filter")


@pytest.mark.parametrize("states", [None, ["done", "doing"]])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("sort", "index"),
    [
        ("created", "ix_todos_state_created_at"),
        ("updated", "ix_todos_state_updated_at"),
        ("title", "ix_todos_state_title"),
        ("due", "ix_todos_state_due"),
        ("priority", "ix_todos_state_priority"),
        ("position", "ix_todos_state_position"),
    ],
)
def test_a_sorted_page_reads_no_more_than_a_page_of_each_state(
    crowded: Todos,
    other: psycopg.Connection,
    statements: list[tuple[str, Any]],
    sort: str,
    index: str,
    descending: bool,
    states: list[str] | None,
) -> None:
    first = crowded.list(sort=sort, descending=descending, states=states, limit=5)
    crowded.list(sort=sort, descending=descending, states=states, after=first[-1], limit=5)
    for statement in statements[-2:]:
        scans = _scans(_plan(other, statement))
        assert {scan["Index Name"] for scan in scans} == {index}
        # The first of each state is looked at, to merge them.
        assert sum(scan["Actual Rows"] * scan["Actual Loops"] for scan in scans) <= 5 + len(states or TodoState)
        assert not any(scan.get("Rows Removed by Filter") for scan in scans)


def _scans(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [node for node in plan if "Index" in node["Node Type"]]


def test_a_page_of_rare_states_reads_those_alone(
    crowded: Todos, other: psycopg.Connection, statements: list[tuple[str, Any]]
) -> None:
    assert len(crowded.list(states=["done", "doing"])) == RARE
    scans = _scans(_plan(other, statements[-1]))
    assert [scan["Index Name"] for scan in scans] == ["ix_todos_state"] * 2
    assert not any(scan.get("Rows Removed by Filter") for scan in scans)


def test_a_page_of_common_states_reads_no_more_than_a_page_of_each(
    crowded: Todos, other: psycopg.Connection, statements: list[tuple[str, Any]]
) -> None:
    crowded.list(states=["done", "todo"], limit=20)
    scans = _scans(_plan(other, statements[-1]))
    assert sum(scan["Actual Rows"] * scan["Actual Loops"] for scan in scans) <= 20 + len(scans)


@pytest.fixture
def tagged(crowded: Todos, other: psycopg.Connection) -> Todos:
    """Of each user's todos the first and the last few have a tag of their own, and most have another one."""
    other.execute(
        "UPDATE todos SET tags = CASE WHEN title::int < 3 THEN '{rare}'::text[] ELSE '{common}' END,"
        " priority = CASE WHEN title::int < 3 THEN 1 ELSE 4 END, due_at = now() - title::int * interval '1 h'"
    )
    other.execute("ANALYZE")
    return crowded


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"tags": ["rare"]}, "ix_todo_tags_tag"),
        ({"tags": ["rare"], "states": ["todo", "done"]}, "ix_todo_tags_tag"),
        ({"tags": ["common"], "states": ["todo", "done"]}, ""),
        ({"priorities": ["high"]}, "ix_todos_state_priority"),
        ({"priorities": ["none"], "states": ["todo"]}, ""),
        ({"overdue": True}, "ix_todos_state_due"),
        ({"due_before": EPOCH}, "ix_todos_state_due"),
    ],
)
def test_a_filtered_page_reads_no_more_than_a_page(
    tagged: Todos, other: psycopg.Connection, statements: list[tuple[str, Any]], filters: dict[str, Any], index: str
) -> None:
    tagged.list(limit=5, **filters)
    scans = [node for node in _plan(other, statements[-1]) if "Index Name" in node]
    assert not index or index in [
        node["Index Name"] for node in scans
    ]  # of what most have, other indexes serve as well
    for node in scans:
        assert node["Actual Rows"] * node["Actual Loops"] <= 5 * len(TodoState) + 2
        assert node.get("Rows Removed by Filter", 0) <= 5


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"due_before": EPOCH},
        {"overdue": True},
        {"created_after": EPOCH},
        {"tags": ["rare"]},
        {"priorities": ["low"]},
    ],
)
def test_a_page_that_is_read_often_is_planned_once(
    tagged: Todos, engine: Engine, statements: list[tuple[str, Any]], filters: dict[str, Any]
) -> None:
    with engine.connect() as connection:
        owner = connection.execute(select(tables.todos.c.user_id).limit(1)).scalar_one()
        for _ in range(12):  # psycopg prepares it at the sixth, and the server plans five for their values
            Todos(connection, owner).list(**filters)
        assert len(statements[-1][0]) <= 4096, "psycopg would read it each time"
        query = "SELECT generic_plans FROM pg_prepared_statements ORDER BY prepare_time DESC LIMIT 1"
        assert connection.exec_driver_sql(query).scalar_one() > 0


@pytest.mark.parametrize(
    "operation",
    [
        lambda todos: todos.list(text="5"),
        lambda todos: todos.list(title="5", sort="title"),
        lambda todos: todos.list(description="5", states=["todo"]),
        lambda todos: todos.count(text="5"),
        lambda todos: "".join(todos.export("csv", text="5")),
        lambda todos: todos.edit_matching({"priority": "high"}, text="5"),
    ],
    ids=["list", "sorted", "state", "count", "export", "edit"],
)
def test_a_statement_for_a_text_is_planned_each_time(
    operation: Callable[[Todos], object], crowded: Todos, statements: list[tuple[str, Any]]
) -> None:
    """One plan for all texts would read the whole list for a rare one."""
    statements.clear()
    for _ in range(12):
        operation(crowded)
    assert len([text for text, _ in statements if "ILIKE" in text]) >= 12
    query = "SELECT count(*) FROM pg_prepared_statements WHERE strpos(statement, 'ILIKE') > 0"
    assert crowded._connection.exec_driver_sql(query).scalar_one() == 0


@pytest.mark.parametrize("tag", ["rare", "common"])
@pytest.mark.parametrize("descending", [False, True])
def test_a_page_with_a_tag_reads_no_more_with_one_plan_for_all_tags(
    tagged: Todos, other: psycopg.Connection, statements: list[tuple[str, Any]], tag: str, descending: bool
) -> None:
    tagged.list(tags=[tag], limit=5, descending=descending)
    scans = [node for node in _plan_for_all(other, statements[-1]) if "Index Name" in node]
    assert "ix_todo_tags_tag" in [node["Index Name"] for node in scans]
    assert all(node["Actual Rows"] * node["Actual Loops"] <= 5 for node in scans)


@pytest.mark.parametrize(
    "operation",
    [
        lambda todos, id: todos.get(id),
        lambda todos, id: todos.move(id, to="doing"),
        lambda todos, id: todos.edit(id, title="Other"),
        lambda todos, id: todos.remove(id),
        lambda todos, _: todos.list(tags=["common"], limit=5),
        lambda todos, _: todos.list(tags=["common"], states=["todo"], limit=5),
    ],
    ids=["get", "move", "edit", "remove", "tag", "tag and state"],
)
def test_a_user_with_many_todos_waits_for_none_of_them_among_users_with_few(
    operation: Callable[[Todos, int], object],
    tagged: Todos,
    other: psycopg.Connection,
    statements: list[tuple[str, Any]],
) -> None:
    other.execute(
        "WITH few AS (INSERT INTO users (username, email, password_hash)"
        " SELECT 'few' || n, n || '@few.example.com', '' FROM generate_series(1, 200) n RETURNING id)"
        " INSERT INTO todos (user_id, title) SELECT id, 'Few' FROM few, generate_series(1, 2)"
    )
    other.execute("ANALYZE")
    id = tagged.list(limit=1)[0].id
    statements.clear()
    operation(tagged, id)
    tagged._connection.rollback()
    [statement] = statements
    plan = _plan_for_all(other, statement)
    scans = [node for node in plan if "Scan" in node["Node Type"] and node.get("Relation Name") == "todos"]
    assert scans
    assert {node.get("Index Name") for node in scans} <= {"pk_todos", "ix_todos_state"}  # which find one todo


def _plan_for_all(session: psycopg.Connection, statement: tuple[str, Any]) -> list[dict[str, Any]]:
    """The nodes of the plan for no value in particular, which the server makes of a statement that is run often."""
    text, values = statement
    places = {name: f"${number}" for number, name in enumerate(values, 1)}
    given = SQL(", ").join(map(Literal, values.values()))
    session.execute("SET plan_cache_mode = force_generic_plan")
    session.execute(f"PREPARE page AS {text % places}".encode())
    session.execute("SET enable_seqscan = off")  # of so few todos
    return _plan(session, (SQL("EXECUTE page({})").format(given).as_string(session), None))


def test_title_and_description_are_matched_each_in_its_own(fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    both = todos.add("Write the report", description="for Friday")
    todos.add("Friday", description="report")
    assert todos.list(title="REPORT") == [both]
    assert todos.list(description="friday") == [both]
    assert todos.list(title="friday", description="friday") == []


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"states": ["todo"]},
        {"sort": "title"},
        {"text": "t"},
        {"descending": True},
        {"tags": ["even"]},
        {"tags": ["even"], "descending": True},
        {"tags": ["all", "even"]},
    ],
)
def test_offset_skips_what_the_page_without_it_begins_with(filters: dict[str, Any], fz: FastZero, ana: User) -> None:
    todos = fz.todos(ana)
    todos.add_many([NewTodo(f"t{n}", tags=["all", "even"] if n % 2 == 0 else ["all"]) for n in range(20)])
    whole = todos.list(**filters)
    assert todos.list(offset=3, limit=4, **filters) == whole[3:7]
    assert todos.list(offset=3, limit=4, after=whole[1], **filters) == whole[5:9]
    assert todos.list(offset=9, limit=20, **filters) == whole[9:]


@pytest.mark.parametrize("offset", [-1, 10_001])
def test_an_offset_beyond_its_limits_is_refused(offset: int, fz: FastZero, ana: User) -> None:
    with pytest.raises(InvalidInputError, match="between 0 and 10000"):
        fz.todos(ana).list(offset=offset)
