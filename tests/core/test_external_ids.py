"""Todos of other programs are known by the ids that they have there: an import changes them instead of adding them."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, select, text

from fastzero_core import FastZero, User
from fastzero_core.errors import InvalidInputError, InvalidTokenError, ListNotFoundError, ListRoleError
from fastzero_core.todo_app import import_statements, importing
from fastzero_core.todo_app.models import Identity
from fastzero_core.todo_app.results import Imported
from fastzero_core.todo_app.tables import todos as table
from fastzero_core.todo_app.todos import Todos
from fastzero_core.todo_app.transfer import files
from fastzero_core.todo_app.transfer.records import Invalid, NewRecord, external_id
from fastzero_core.todo_app.users import Users

ROWS = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM todos t WHERE user_id = :owner"


@pytest.fixture(params=["parameters", "a temporary table"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which todos are handed over, whatever their number."""
    if request.param == "a temporary table":
        monkeypatch.setattr(importing, "FEW", 0)


@pytest.fixture
def bob(connection: Connection) -> Todos:
    owner = Users(connection).add("bob", email="bob@example.com", password="correct horse")
    return Todos(connection, owner.id, time_zone=UTC)


def run(todos: Todos, source: str, format: str = "json", **options: Any) -> Imported:
    return todos.import_each(files.read(io.BytesIO(source.encode()), format, UTC), **options)


def exported(todos: Todos, format: str = "json") -> str:
    return "".join(files.write(todos.stream(), format, UTC))


def rows(todos: Todos) -> Any:
    return todos._connection.execute(text(ROWS), {"owner": todos.owner_id}).scalar_one()


def fill(todos: Todos) -> None:
    for number, state in enumerate(["draft", "todo", "doing", "done", "trash"]):
        due = [None, date(2026, 12, 24), datetime(2026, 12, 24, 18, 1, 2, 345678, tzinfo=UTC)][number % 3]
        todos.add(f"todo {number}", description="more", state=state, priority="high", due=due, tags=["null", "a"])


A = '[{"title": "a", "external_id": "x-1", "tags": ["home"]}, {"title": "b", "external_id": "x-2"}, {"title": "c"}]'


def test_a_file_that_is_imported_twice_adds_what_has_no_id_alone(way: None, todos: Todos) -> None:
    assert run(todos, A) == Imported(3, 0, 0, 0)
    before = todos.list()
    assert run(todos, A) == Imported(1, 0, 2, 0)
    assert todos.list()[:3] == before


def test_a_changed_todo_is_changed_and_keeps_its_id_and_times(way: None, todos: Todos) -> None:
    run(todos, A)
    one, other, _ = todos.list()
    changed = A.replace('"a"', '"new"').replace('["home"]', '["work"], "due": "2026-12-24", "state": "done"')
    assert run(todos, changed) == Imported(1, 1, 1, 0)
    now = todos.get(one.id)
    assert (now.title, now.tags, now.due, now.state) == ("new", ("work",), date(2026, 12, 24), "done")
    assert (now.created_at, now.external_id) == (one.created_at, "x-1")
    assert now.completed_at is not None
    assert todos.get(other.id) == other


def test_a_dry_run_tells_what_an_import_would_do(way: None, todos: Todos) -> None:
    run(todos, A)
    before = todos.list()
    assert run(todos, A.replace('"a"', '"new"'), dry_run=True) == Imported(1, 1, 1, 0)
    assert todos.list() == before


def test_an_id_that_is_repeated_is_invalid(way: None, todos: Todos) -> None:
    source = '{"title": "a", "id": "x"}\n{"title": "b", "id": "y"}\n{"title": "c", "id": "x"}\n'
    with pytest.raises(InvalidInputError, match="line 3: the same id as in line 1"):
        run(todos, source, "ndjson")
    found: list[Invalid] = []
    assert run(todos, source, "ndjson", on_invalid=found.append) == Imported(2, 0, 0, 1)
    assert found == [Invalid(3, "the same id as in line 1")]
    assert [todo.title for todo in todos.list()] == ["a", "b"]


def test_an_id_of_another_user_is_nobody_elses(way: None, todos: Todos, bob: Todos) -> None:
    run(todos, A)
    before = rows(todos)
    assert run(bob, A.replace('"a"', '"new"')) == Imported(3, 0, 0, 0)
    assert rows(todos) == before


@pytest.mark.parametrize("format", files.FORMATS)
def test_an_export_changes_nothing_where_it_comes_from(format: str, way: None, todos: Todos) -> None:
    fill(todos)
    run(todos, A)
    before = rows(todos)
    assert run(todos, exported(todos, format), format) == Imported(0, 0, 8, 0)
    assert rows(todos) == before


@pytest.mark.parametrize("format", files.FORMATS)
def test_what_another_user_imports_and_exports_has_the_same_ids(
    format: str, way: None, todos: Todos, bob: Todos
) -> None:
    fill(todos)
    run(todos, A)
    source = exported(todos, format)
    assert run(bob, source, format) == Imported(8, 0, 0, 0)
    again = exported(bob, format)
    assert [_record(each) for each in _read(again, format)] == [_record(each) for each in _read(source, format)]
    assert run(bob, source, format) == run(bob, again, format) == Imported(0, 0, 8, 0)


def _read(source: str, format: str) -> list[Any]:
    return list(files.read(io.BytesIO(source.encode()), format, UTC))


def _record(found: Any) -> Any:
    assert isinstance(found, NewRecord)
    return (found.todo, found.external_id)


def test_a_list_of_the_shell_names_its_todos_too(todos: Todos) -> None:
    fill(todos)
    listed = [
        {"id": each.id, "user_id": each.user_id, "created_at": each.created_at.isoformat()} for each in todos.list()
    ]
    source = json.dumps([{**each, "title": "new"} for each in listed])
    assert run(todos, source) == Imported(0, 5, 0, 0)


def test_a_lasting_id_is_the_same_in_the_database(todos: Todos) -> None:
    fill(todos)
    query = select(import_statements.lasting_id(table)).order_by(table.c.id)
    assert list(todos._connection.execute(query).scalars()) == [external_id(each) for each in todos.list()]


@pytest.mark.parametrize(
    ("format", "source", "ids"),
    [
        ("csv", "title,id\na,7\nb,\n", ["7", None]),
        ("json", '[{"title": "a", "id": 7}, {"title": "b", "id": 7, "external_id": "x"}]', ["7", "x"]),
        ("taskwarrior", '[{"description": "a", "uuid": "u-1"}]', ["u-1"]),
        ("todotxt", "a uuid:b%20c\nd\n", ["b c", None]),
        ("icalendar", "BEGIN:VTODO\nUID:a\\,b@c\nSUMMARY:x\nEND:VTODO\n", ["a,b@c"]),
        ("icalendar", "BEGIN:VTODO\nUID:a\nRECURRENCE-ID:20260101\nSUMMARY:x\nEND:VTODO\n", ["a 20260101"]),
    ],
)
def test_the_ids_of_formats(format: str, source: str, ids: list[str | None]) -> None:
    assert [each.external_id for each in _read(source, format)] == ids


def test_an_id_that_is_too_long_is_shortened_to_another_one(todos: Todos) -> None:
    one, other = (f"BEGIN:VTODO\nUID:{'a' * 300}{end}\nSUMMARY:x\nEND:VTODO\n" for end in "bc")
    assert run(todos, one + other, "icalendar") == Imported(2, 0, 0, 0)
    assert run(todos, one + other, "icalendar") == Imported(0, 0, 2, 0)


@pytest.mark.parametrize("id", ["a\\tb", "\\ud800"])
def test_an_id_that_the_database_cannot_keep_is_invalid(id: str, todos: Todos) -> None:
    with pytest.raises(InvalidInputError, match="line 1: external_id must not contain"):
        run(todos, f'[{{"title": "a", "external_id": "{id}"}}]')


def test_an_import_is_one_entry_and_undone_as_a_whole(way: None, database_url: str) -> None:
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
    with FastZero(database_url) as fz:
        run(fz.todos(ana), A)
        before = rows(fz.todos(ana))
    with FastZero(database_url) as fz:
        run(fz.todos(ana), A.replace('"a"', '"new"'))
        after = rows(fz.todos(ana))
    with FastZero(database_url) as fz:
        [entry] = fz.history(ana).undo()
        assert (entry.added, entry.changed) == (1, 1)
        assert rows(fz.todos(ana)) == before
        fz.history(ana).redo()
        assert rows(fz.todos(ana)) == after


def test_a_token_that_was_revoked_imports_nothing(way: None, connection: Connection, todos: Todos) -> None:
    bearer = Todos(connection, Identity(todos.owner_id, 0))
    assert run(bearer, A).added == 3
    Users(connection).void_tokens(todos.owner_id)
    for source in (A, A.replace('"a"', '"new"')):
        with pytest.raises(InvalidTokenError):
            run(bearer, source)
    assert [todo.title for todo in todos.list()] == ["a", "b", "c"]


def test_what_follows_a_failed_import_is_saved(database_url: str) -> None:
    many = "title\n" + "x\n" * (importing.FEW + 1) + "y,z\n"
    with FastZero(database_url) as fz:
        todos = fz.todos(fz.users.add("ana", email="ana@example.com", password="correct horse"))
        with pytest.raises(InvalidInputError, match="2 fields"):
            run(todos, many, "csv")
        todos.add("kept")
    with FastZero(database_url) as fz:
        assert [todo.title for todo in fz.todos().list()] == ["kept"]


def test_memory_is_flat_in_an_import(todos: Todos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "FEW", 500)
    small, large = (_peak(todos, count) for count in (1000, 5000))
    assert large < small + 200_000


def _peak(todos: Todos, count: int) -> int:
    def lines() -> Iterator[NewRecord]:
        for number in range(count):
            (found,) = _read(f"title {number} note:{'x' * 200} uuid:{count}-{number}\n", "todotxt")
            yield found

    tracemalloc.start()
    assert todos.import_each(lines()).added == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_todo_txt_of_5000_lines_goes_in_and_out(todos: Todos) -> None:
    kinds = (
        "(A) 2026-01-02 call {} @phone",
        "x 2026-02-03 2026-01-02 pay {} +home",
        "plain {}",
        "{} due:2026-12-24 t:1",
    )
    source = "".join(kinds[number % 4].format(number) + "\n" for number in range(5000))
    assert run(todos, source, "todotxt") == Imported(5000, 0, 0, 0)
    again = exported(todos, "todotxt")
    assert len(again.splitlines()) == 5000
    assert run(todos, again, "todotxt") == Imported(0, 0, 5000, 0)


# -- lists -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(fz: FastZero, ana: User) -> User:
    """A user who may edit a list of ana's, in which one todo is."""
    bob = fz.users.add("bob", email="bob@example.com", password="correct horse")
    fz.lists(ana).add("Work")
    fz.lists(ana).share("Work", "bob", "editor")
    run(fz.todos(ana, list="Work"), '[{"title": "shared", "external_id": "x-1"}]')
    run(fz.todos(ana), '[{"title": "private", "external_id": "x-2"}]')
    return bob


def test_an_owner_changes_a_todo_in_whichever_list_it_is(way: None, fz: FastZero, ana: User, shared: User) -> None:
    assert run(fz.todos(ana, list="inbox"), A) == Imported(1, 2, 0, 0)
    assert [(todo.title, todo.list) for todo in fz.todos(ana).list()] == [("a", "Work"), ("b", "inbox"), ("c", "inbox")]


def test_a_member_changes_and_adds_in_the_list_alone(way: None, fz: FastZero, ana: User, shared: User) -> None:
    theirs = fz.todos(shared, list="ana/Work")
    assert run(theirs, A, dry_run=True) == run(theirs, A) == Imported(2, 1, 0, 0)
    found = [(todo.title, todo.list, todo.external_id) for todo in fz.todos(ana).list()]
    private = ("private", "inbox", "x-2")  # whose id no member is told
    assert found == [("a", "Work", "x-1"), private, ("b", "Work", None), ("c", "Work", None)]
    assert fz.todos(shared).list() == []


def test_a_viewer_imports_nothing(way: None, fz: FastZero, ana: User, shared: User) -> None:
    fz.lists(ana).share("Work", "bob", "viewer")
    with pytest.raises(ListRoleError):
        run(fz.todos(shared, list="ana/Work"), A)


def test_a_member_who_was_removed_imports_nothing(way: None, fz: FastZero, ana: User, shared: User) -> None:
    theirs = fz.todos(shared, list="ana/Work")
    fz.lists(ana).unshare("Work", "bob")
    with pytest.raises(ListNotFoundError):
        run(theirs, A)
    assert len(fz.todos(ana).list()) == 2
