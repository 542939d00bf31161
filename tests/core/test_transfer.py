"""Import and export: what goes out comes in again, and files of other programs say what they mean there."""

import csv
import gc
import io
import json
import re
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from fastzero_core import FastZero, Todo
from fastzero_core.errors import InvalidInputError
from fastzero_core.todo_app.models import NewTodo
from fastzero_core.todo_app.results import Imported
from fastzero_core.todo_app.todos import Todos
from fastzero_core.todo_app.transfer import files
from fastzero_core.todo_app.transfer.records import Invalid, NewRecord
from fastzero_core.todo_app.users import Users

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
CONTENT = "title, description, state, priority, due_at, due_on, tags"
TIMES = ", created_at, completed_at"
EXACT = ("csv", "json", "ndjson")  # with all digits of times
RFC_3339 = r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00)?"  # or a whole day
TITLES = (
    "plain",
    "x done?",
    "(A) title",
    "2026-01-01 title",
    "two  spaces ",
    " ahead",
    "+tag @context",
    "due:never state:x note:",
    "semi;colon, comma: \"quotes\" 'single' \\n back\\slash",
    "two\nlines",
    "carriage\rreturn\r\n",
    "tab\tand\u2028separator\x85\x0b\x1c",
    "=1+1",
    "[",
    "é" * 200,
    "\ufeffmark",
    "🦊" * 90,
    "100%41",
    "BEGIN:VTODO",
    "+",
    "a +b",
    "#",
)


def read(source: str | bytes, format: str) -> list[Any]:
    stream = io.BytesIO(source if isinstance(source, bytes) else source.encode())
    return list(files.read(stream, format, SAO_PAULO))


def todos_of(source: str | bytes, format: str) -> list[NewTodo]:
    found = read(source, format)
    assert not [each for each in found if isinstance(each, Invalid)]
    return [each.todo for each in found]


def content(connection: Connection, owner: int, columns: str) -> Any:
    query = (
        f"SELECT md5(string_agg(t::text, ',')) FROM (SELECT {columns} FROM todos WHERE user_id = :owner ORDER BY id) t"
    )
    return connection.execute(text(query), {"owner": owner}).scalar_one()


# -- round trips -----------------------------------------------------------------------------------------------


@pytest.fixture
def full(connection: Connection) -> Todos:
    """Todos of every state, priority and kind of due, with titles and descriptions that formats must escape."""
    owner = Users(connection).add("ana", email="ana@example.com", password="correct horse").id
    todos = Todos(connection, owner, time_zone=SAO_PAULO)
    dues: list[Any] = [
        None,
        date(2026, 12, 24),
        datetime(2026, 12, 24, 18, tzinfo=UTC),
        datetime(2026, 12, 24, 3, tzinfo=UTC),  # midnight there
        datetime(2026, 12, 24, 18, 1, 2, 345678, tzinfo=UTC),
        date(1900, 1, 1),
        date(9998, 12, 31),
    ]
    states, priorities = ("draft", "todo", "doing", "done", "trash"), ("none", "low", "medium", "high")
    for number in range(140):
        title = TITLES[number % len(TITLES)]
        todos.add(
            title,
            description="" if number % 3 == 0 else TITLES[(number + 1) % len(TITLES)],
            state=states[number % 5],
            priority=priorities[number % 4],
            due=dues[number % 7],
            tags=("work", "a/b.c:d@e+f-g")[: number % 3],
        )
    todos.trash(4)  # a completed one
    return todos


@pytest.mark.parametrize("format", files.FORMATS)
def test_what_goes_out_comes_in_again(format: str, full: Todos, connection: Connection) -> None:
    other = Todos(
        connection,
        Users(connection).add("bob", email="b@example.com", password="correct horse").id,
        time_zone=SAO_PAULO,
    )
    written = "".join(files.write(full.stream(), format, SAO_PAULO)).encode()
    assert other.import_each(files.read(io.BytesIO(written), format, SAO_PAULO)) == Imported(140, 0, 0, 0)
    columns = CONTENT + (TIMES if format in EXACT else "")
    if content(connection, full.owner_id, columns) != content(connection, other.owner_id, columns):
        pairs = zip(full.stream(), other.stream(), strict=True)
        raise AssertionError([(one, two) for one, two in pairs if _fields(one) != _fields(two)][:3])


def _fields(todo: Todo) -> tuple[object, ...]:
    return (todo.title, todo.description, todo.state, todo.priority, todo.due, todo.due_at, todo.tags)


def parsed(source: str, format: str) -> Any:
    """Return the fields of each todo in a file, with their names, and the times as moments. Others are one text."""
    if format not in EXACT:
        return source
    if format == "csv":
        found: list[Any] = list(csv.DictReader(io.StringIO(source, newline=""), strict=True))
        for todo in found:
            todo["tags"] = json.loads(todo["tags"])
    else:
        found = json.loads(source) if format == "json" else [json.loads(line) for line in source.split("\n") if line]
    for todo in found:
        for name in ("created_at", "updated_at", "completed_at", "due"):
            if todo[name]:
                assert re.fullmatch(RFC_3339, todo[name]), todo[name]
                todo[name] = datetime.fromisoformat(todo[name])
    return [[*todo.items()] for todo in found]


@pytest.mark.parametrize("format", files.FORMATS)
def test_an_export_is_what_python_writes(
    format: str, full: Todos, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL writes the lines of some formats: every kind of text, time and tag, in one page and in several."""
    add = text(
        "INSERT INTO todos (user_id, title, tags, created_at, completed_at, due_at, external_id)"
        " SELECT :owner, :title, :tags, CAST(:time AS timestamptz), CAST(:time AS timestamptz),"
        " greatest(CAST(:time AS timestamptz), '1900-01-01'), :title"
    )
    moments = (
        "2026-01-02 03:04:05.1Z",
        "2026-01-02 03:04:05.00001Z",
        "1960-01-02 03:04:05.12345+02",
        "0900-02-03 0:00Z",
    )
    characters = (*map(chr, range(1, 256)), *"\u061c\u200e\u2028\u202e\u2066\u2069\u2070🦊\ufeff")
    for number, character in enumerate(characters):
        tags = [f"a{character}", '","', "x"] if number % 2 else []
        values = {"title": f"a{character}b", "tags": tags, "time": moments[number % len(moments)]}
        connection.execute(add, {"owner": full.owner_id, **values})
    whole = "".join(full.export(format))
    assert parsed(whole, format) == parsed("".join(files.write(full.stream(), format, SAO_PAULO)), format)
    monkeypatch.setattr("fastzero_core.todo_app.todos._PAGE", 7)
    assert "".join(full.export(format)) == whole


@pytest.mark.parametrize("format", files.FORMATS)
def test_an_export_has_what_matches(format: str, full: Todos) -> None:
    some = iter(["doing", "done"])
    expected = "".join(files.write(full.stream(states=["doing", "done"], tags=["work"]), format, SAO_PAULO))
    found = "".join(full.export(format, states=some, tags=["work"]))
    assert parsed(found, format) == parsed(expected, format)
    assert "".join(full.export(format, text="nothing")) == "".join(files.write([], format, SAO_PAULO))


@pytest.mark.parametrize("format", EXACT)
def test_an_export_does_not_depend_on_the_settings_of_the_session(
    format: str, full: Todos, connection: Connection
) -> None:
    expected = parsed("".join(full.export(format)), format)
    for setting in ("TimeZone = 'Asia/Kolkata'", "DateStyle = 'German'"):
        connection.execute(text(f"SET LOCAL {setting}"))
        assert parsed("".join(full.export(format)), format) == expected


@pytest.mark.parametrize("filters", [{}, {"states": ["todo", "doing"]}, {"tags": ["work"]}, {"text": "nothing"}])
@pytest.mark.parametrize("format", EXACT)
@pytest.mark.parametrize(("enough", "too_much"), [(1, 100_000), (3000, 100_000), (3000, 200)])
def test_an_export_by_several_connections_is_the_same(
    format: str,
    enough: int,
    too_much: int,
    filters: Any,
    database_url: str,
    other: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pages are of one todo, of several, or longer than what one connection reads at once."""
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
        states, tags = ("todo", "doing", "done"), ("work", "home")
        fz.todos(ana).add_many(
            NewTodo(f"todo {number}", state=states[number % 3], tags=tags[: number % 3]) for number in range(100)
        )
    with FastZero(database_url) as fz:
        expected = "".join(fz.todos(ana).export(format, **filters))
    monkeypatch.setattr("fastzero_core.todo_app.todos._PAGE", 2)
    monkeypatch.setattr("fastzero_core.todo_app.exporting._ENOUGH_AHEAD", enough)
    monkeypatch.setattr("fastzero_core.todo_app.exporting._TOO_MUCH_AHEAD", too_much)
    with FastZero(database_url, autocommit=True) as fz:
        parts = fz.todos(ana).export(format, **filters)
        found = [*islice(parts, 3)]
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fastzero' AND datname = %s"
        assert other.execute(sessions, [other.info.dbname]).fetchone() == (1 if filters == {"text": "nothing"} else 3,)
        assert "".join([*found, *parts]) == expected


def test_an_export_works_where_only_one_connection_is_allowed(
    database_url: str, role_url: str, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
        fz.todos(ana).add_many(NewTodo(f"todo {number}") for number in range(20))
    role = make_url(role_url).username
    other.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}".encode())
    other.execute(f"ALTER ROLE {role} CONNECTION LIMIT 1".encode())
    monkeypatch.setattr("fastzero_core.todo_app.todos._PAGE", 2)
    with FastZero(role_url, autocommit=True) as fz:
        assert "".join(fz.todos(ana.id).export("ndjson")).count("\n") == 20


@pytest.mark.parametrize("format", files.FORMATS)
def test_an_empty_list_goes_out_and_comes_in(format: str) -> None:
    assert read("".join(files.write([], format)), format) == []
    assert read("", format) == []


def test_icalendar_lines_have_at_most_75_octets(full: Todos) -> None:
    written = "".join(files.write(full.stream(), "icalendar", SAO_PAULO)).encode()
    assert max(map(len, written.split(b"\r\n"))) == 75


# -- CSV -------------------------------------------------------------------------------------------------------


def test_csv_of_a_spreadsheet() -> None:
    source = (
        "\ufeffTitle;Description;Due;Tags;Priority;State\r\n"
        '"Say ""hi""; now";"two\r\nlines";2026-12-24;"work, home";high;\r\n'
        ";;;;;\r\nnext;;;;;doing\r\n"
    )
    first, second = read(source, "csv")
    assert (first.line, second.line) == (2, 5)
    assert first.todo == NewTodo('Say "hi"; now', "two\r\nlines", "todo", "high", "2026-12-24", ["work", "home"])
    assert (second.todo.title, second.todo.state) == ("next", "doing")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("name,due\nx,\n", "unknown field 'name'"),
        ("due\n2026-12-24\n", "does not name a field title"),
        ("title,title\nx,y\n", "names a field twice"),
        ('title\nx\n"open\nx\nx\n', "line 5: unexpected end of data"),
        ('title\n"a"b\n', "line 2: .* expected after"),
        ("title\n".encode("utf-16"), "not UTF-8"),
        ('title\n"' + "x" * 200_000 + '"\n', "line 2: field larger than field limit"),
    ],
)
def test_csv_that_cannot_be_read(source: str | bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read(source, "csv")


def test_rows_that_are_no_todo_do_not_end_the_file() -> None:
    found = read(b"title,tags\na\nb,c,d\n\xff,\n,x\ngood,[x\ngood,\n", "csv")
    reasons = [each.reason if isinstance(each, Invalid) else each.todo.title for each in found]
    assert reasons == [
        "1 fields, but the first row has 2",
        "3 fields, but the first row has 2",
        "not UTF-8",
        "",
        "invalid tags '[x'",
        "good",
    ]


# -- JSON ------------------------------------------------------------------------------------------------------


def test_json_in_every_layout_keeps_its_lines() -> None:
    source = '[{"title": "a"},\n\n{"title":\n"b"}\n,{"title": "c"}]\n'
    assert [(each.line, each.todo.title) for each in read(source, "json")] == [(1, "a"), (3, "b"), (5, "c")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('[{"title": "a"}\n{"title": "b"}]', "line 2: invalid JSON: a comma is missing"),
        ('[{"title": "a"},\n{"title": ]', "line 2: invalid JSON: Expecting value"),
        ('[{"title": "a"}', "the array does not end"),
        ('[{"title": "a"}] x', "something follows the end"),
        ("[" * 100_000, "too deep|Expecting"),
        ("[" + "9" * 5000 + "]", "a number is too long"),
        ('[{"title": "' + "x" * 3_000_000, "Unterminated string"),
    ],
)
def test_json_that_is_broken(source: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read(source, "json")


def test_values_that_are_no_todo_do_not_end_the_array() -> None:
    values = [
        "1",
        '"x"',
        "{}",
        '{"title": 1}',
        '{"title": "a", "tags": "x"}',
        '{"title": "a", "other": 1}',
        '{"title": "b"}',
    ]
    reasons = [
        each.reason if isinstance(each, Invalid) else each.todo.title for each in read(f"[{','.join(values)}]", "json")
    ]
    expected = ["not a JSON object"] * 2 + ["title is missing", "title is not a text", "tags is not a list of texts"]
    assert reasons == [*expected, "unknown field 'other'", "b"]
    assert read("\n".join([*values, "{"]), "ndjson")[-1] == Invalid(8, "not JSON")


# -- todo.txt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "(A) 2026-04-30 Call Mom +Family @phone due:2026-05-30 t:2026-05-01",
            NewTodo("Call Mom t:2026-05-01", "", "todo", "high", "2026-05-30", ["family", "phone"]),
        ),
        ("x 2026-05-20 2026-04-30 Pay the bill pri:B", NewTodo("Pay the bill", "", "done", "medium", None, [])),
        ("x (D) done", NewTodo("done", "", "done", "low", None, [])),
        ("xylophone lesson", NewTodo("xylophone lesson", "", "todo", "none", None, [])),
        ("(b) not a priority", NewTodo("(b) not a priority", "", "todo", "none", None, [])),
        ("Buy 2 + 2 eggs, a@example.com", NewTodo("Buy 2 + 2 eggs, a@example.com", "", "todo", "none", None, [])),
    ],
)
def test_todo_txt(line: str, expected: NewTodo) -> None:
    assert todos_of(line + "\r\n\r\n", "todotxt") == [expected]


def test_days_of_todo_txt_begin_in_the_time_zone(todos: Todos) -> None:
    there = Todos(todos._connection, todos.owner_id, time_zone=SAO_PAULO)
    assert there.import_each(files.read(io.BytesIO(b"x 2026-05-20 2026-04-30 paid\n"), "todotxt", SAO_PAULO)).added == 1
    (todo,) = there.list()
    assert (todo.created_at, todo.completed_at) == (
        datetime(2026, 4, 30, 3, tzinfo=UTC),
        datetime(2026, 5, 20, 3, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("zone", "hour"),
    [
        ("America/Argentina/Buenos_Aires", 21),
        ("/softwarestudio.org/Tzfile/America/Argentina/Buenos_Aires", 21),
        ("/freeassociation.sourceforge.net/Europe/Berlin", 17),
        ("US/Eastern", 23),
        ("UTC", 18),
    ],
)
def test_a_time_in_a_zone_of_icalendar(zone: str, hour: int) -> None:
    (todo,) = todos_of(
        f"BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:a\nDUE;TZID={zone}:20261224T180000\nEND:VTODO\nEND:VCALENDAR\n",
        "icalendar",
    )
    assert datetime.fromisoformat(str(todo.due)) == datetime(2026, 12, 24, hour, tzinfo=UTC)


# -- Taskwarrior -----------------------------------------------------------------------------------------------

TASKS = """[
{"id":1,"description":"Report \\u00e9","due":"20261224T030000Z","entry":"20260101T120000Z",\
"modified":"20260102T120000Z","priority":"H","project":"Home.Big garden","status":"pending",\
"tags":["work","next"],"uuid":"a","urgency":15.2,"annotations":[\
{"entry":"20260101T120100Z","description":"first"},{"entry":"20260101T120200Z","description":"second"}]},
{"id":0,"description":"Paid","end":"20260103T120000Z","entry":"20260101T120000Z","status":"completed","uuid":"b"},
{"id":0,"description":"Gone","end":"20260103T120000Z","entry":"20260101T120000Z","status":"deleted","uuid":"c"},
{"id":2,"description":"Begun","due":"20261224T180000Z","start":"20260103T120000Z","status":"pending","uuid":"d"},
{"id":3,"description":"Weekly","status":"recurring","recur":"weekly","uuid":"e"},
{"id":4,"description":"Bad","status":"pending","due":"20261324T180000Z","uuid":"f"},
{"id":5,"description":"Old","status":"pending","due":"00010101T000000Z","uuid":"f"}
]
"""


def test_taskwarrior() -> None:
    report, paid, gone, begun, *invalid = read(TASKS, "taskwarrior")
    tags = ["work", "next", "home.big-garden"]
    assert report.todo == NewTodo("Report é", "first\nsecond", "todo", "high", date(2026, 12, 24), tags)
    assert report.created_at == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert (paid.todo.state, paid.completed_at) == ("done", datetime(2026, 1, 3, 12, tzinfo=UTC))
    assert (gone.todo.state, begun.todo.state) == ("trash", "doing")
    assert begun.todo.due == datetime(2026, 12, 24, 18, tzinfo=UTC)
    assert [(each.line, each.reason) for each in invalid] == [
        (6, "recurring tasks are not supported, only their instances"),
        (7, "invalid due '20261324T180000Z'"),
        (8, "due must be between 1900-01-01 and 9998-12-31"),
    ]


def test_taskwarrior_without_brackets() -> None:
    lines = '{"description":"a","status":"pending"}\n{"description":"b","status":"pending","tags":"x,y"}\n'
    assert [(todo.title, todo.tags) for todo in todos_of(lines, "taskwarrior")] == [("a", []), ("b", ["x", "y"])]


def test_taskwarrior_leaves_control_characters_in_texts() -> None:
    assert todos_of('[{"description":"a\rb","status":"pending"}]', "taskwarrior")[0].title == "a\rb"


def test_taskwarrior_gets_no_time_that_it_refuses(full: Todos) -> None:
    tasks = json.loads("".join(files.write(full.stream(), "taskwarrior", SAO_PAULO)))
    early = [task for task in tasks if task.get("fastzerodue") == "1900-01-01"]
    assert len(early) == 20
    assert not [task for task in early if "due" in task]


# -- iCalendar -------------------------------------------------------------------------------------------------

CALENDAR = b"""BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Mozilla.org/NONSGML Mozilla Calendar V1.1//EN
BEGIN:VTIMEZONE
TZID:America/Sao_Paulo
BEGIN:STANDARD
DTSTART:19700101T000000
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
SUMMARY:No todo
END:VEVENT
BEGIN:VTODO
CREATED:20260101T120000Z
SUMMARY;LANGUAGE=pt:Caf\xc3
 \xa9\\, bolo\\; e
  mais
DESCRIPTION:one\\ntwo
PRIORITY:1
STATUS:NEEDS-ACTION
DUE;TZID="/freeassociation.sourceforge.net/America/Sao_Paulo":20261224T180000
CATEGORIES:Work,Home office
CATEGORIES:a\\,b
BEGIN:VALARM
SUMMARY:Not this one
END:VALARM
END:VTODO
BEGIN:VTODO
SUMMARY:Day
DUE;VALUE=DATE:20261224
COMPLETED:20260103T120000Z
END:VTODO
BEGIN:VTODO
SUMMARY:Elsewhere
DUE;TZID=Custom:20261224T180000
END:VTODO
END:VCALENDAR
"""


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_icalendar(end: bytes) -> None:
    first, day, elsewhere = read(CALENDAR.replace(b"\n", end), "icalendar")
    tags = ["work", "home-office", "a-b"]
    due = "2026-12-24T21:00:00+00:00"
    assert first.todo == NewTodo("Café, bolo; e mais", "one\ntwo", "todo", "high", due, tags)
    assert (day.todo.state, day.todo.due, day.completed_at) == ("done", "2026-12-24", "2026-01-03 12:00:00Z")
    assert elsewhere == Invalid(33, "unknown time zone 'Custom'")


@pytest.mark.parametrize("source", ["x\n", "BEGIN:VCALENDAR\n", "BEGIN:VCALENDAR\nEND:VTODO\n"])
def test_icalendar_that_is_broken(source: str) -> None:
    with pytest.raises(InvalidInputError):
        read(source, "icalendar")


# -- the import ------------------------------------------------------------------------------------------------

MIXED = b"good\ndue:tomorrow-ish bad\n" + b"x" * 201 + b"\nalso good\n"


def _import(todos: Todos, source: bytes, **options: Any) -> Imported:
    return todos.import_each(files.read(io.BytesIO(source), "todotxt"), **options)


def test_an_invalid_line_is_named(todos: Todos) -> None:
    with pytest.raises(InvalidInputError, match="line 2: invalid date 'tomorrow-ish'"):
        _import(todos, MIXED)


def test_invalid_lines_can_be_left_out(todos: Todos) -> None:
    found: list[Invalid] = []
    assert _import(todos, MIXED, on_invalid=found.append) == Imported(2, 0, 0, 2)
    assert [each.line for each in found] == [2, 3]
    assert [todo.title for todo in todos.list()] == ["good", "also good"]


def test_a_dry_run_checks_all_and_adds_none(todos: Todos) -> None:
    found: list[Invalid] = []
    assert _import(todos, MIXED, dry_run=True, on_invalid=found.append) == Imported(2, 0, 0, 2)
    assert (len(found), todos.count()) == (2, 0)


def test_an_import_by_a_temporary_table_is_one_entry_of_the_history(database_url: str) -> None:
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
    with FastZero(database_url) as fz:
        assert _import(fz.todos(ana), b"(A) 2026-01-02 line +tag due:2026-12-24\n" * 15_000).added == 15_000
    with FastZero(database_url) as fz:
        assert [entry.added for entry in fz.history(ana).log()] == [15_000]
        fz.history(ana).undo()
        assert fz.todos(ana).count() == 0


@pytest.mark.parametrize("format", files.FORMATS)
def test_memory_is_flat(format: str) -> None:
    """Ten times as many todos take no more memory to write and to read."""
    small, large = (_peak(format, count) for count in (1000, 10_000))
    assert large < small + 200_000


def _peak(format: str, count: int) -> int:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    many = (NewTodo(f"title {number}", "text " * 20, tags=("a",)) for number in range(count))
    todos: Iterator[Any] = (
        Todo(1, new.title, new.description, new.state, now, now, 1, tags=("a",))  # type: ignore[arg-type]
        for new in many
    )
    stream = _Piped(files.write(todos, format, UTC))
    gc.collect()
    tracemalloc.start()
    assert sum(isinstance(each, NewRecord) for each in files.read(stream, format, UTC)) == count  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


class _Piped(io.RawIOBase):
    """What a writer yields, as a stream to read."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1) -> bytes:
        return self.read(size)

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._lines, "").encode()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
