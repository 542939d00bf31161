"""The formats: the same data for every reader, results on stdout and all else on stderr."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from fastzero_core import FastZero, User

from .conftest import Run, records
from .shell import Result

NASTY = 'tab\there, "quotes", comma, back\\slash'
LINES = 'first line\nsecond, "line"\r\nthird\\n'
TODO_FIELDS = [
    "id", "title", "description", "state", "created_at", "updated_at", "user_id",
    "priority", "due", "tags", "completed_at", "list", "external_id",
]  # fmt: skip
USER_FIELDS = ["id", "username", "email", "created_at", "updated_at"]
SCHEMA_FIELDS = ["current", "head", "pending", "drift"]
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
FORMATS = ["table", "json", "ndjson", "csv", "tsv", "ids"]


@pytest.fixture
def nasty(database: str, ana: User) -> None:
    with FastZero(database) as fz:
        fz.todos(ana).add(NASTY, description=LINES)
        fz.todos(ana).add("plain", state="doing")


def _unescaped(field: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"t": "\t", "n": "\n", "r": "\r"}.get(match[1], match[1]), field)


def test_json_is_an_array_with_all_fields(nasty: None, fastzero: Run) -> None:
    first, second = records(fastzero("todo", "list", "-o", "json"))
    assert list(first) == TODO_FIELDS
    assert (first["title"], first["description"]) == (NASTY, LINES)
    assert (second["title"], second["state"]) == ("plain", "doing")


def test_ndjson_is_an_object_a_line(nasty: None, fastzero: Run) -> None:
    lines = fastzero("todo", "list", "-o", "ndjson").out.splitlines()
    assert [json.loads(line) for line in lines] == records(fastzero("todo", "list", "-o", "json"))


def test_csv_round_trips_through_a_reader(nasty: None, fastzero: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(fastzero("todo", "list", "-o", "csv").out, newline="")))
    assert list(rows[0]) == TODO_FIELDS
    assert [(row["title"], row["description"]) for row in rows] == [(NASTY, LINES), ("plain", "")]


def test_tsv_has_no_header_and_escapes_what_would_break_it(nasty: None, fastzero: Run) -> None:
    rows = [line.split("\t") for line in fastzero("todo", "list", "-o", "tsv").out.removesuffix("\n").split("\n")]
    assert [len(row) for row in rows] == [len(TODO_FIELDS)] * 2
    assert [_unescaped(field) for field in rows[0][1:3]] == [NASTY, LINES]


def test_tsv_is_never_cut_off(database: str, ana: User, fastzero: Run) -> None:
    with FastZero(database) as fz:
        fz.todos(ana).add("t" * 200, description="d" * 10_000)
    assert fastzero("todo", "list").out.split("\t")[1:3] == ["t" * 200, "d" * 10_000]


def test_ids_are_one_a_line_and_what_other_commands_take(nasty: None, fastzero: Run) -> None:
    ids = fastzero("todo", "list", "-o", "ids").out
    assert re.fullmatch(r"\d+\n\d+\n", ids)
    assert [todo["state"] for todo in records(fastzero("todo", "done", "-", "-o", "json", stdin=ids))] == ["done"] * 2


def test_piped_without_a_format_it_is_tsv(nasty: None, fastzero: Run) -> None:
    assert fastzero("todo", "list") == fastzero("todo", "list", "-o", "tsv")


def test_on_a_terminal_without_a_format_it_is_a_table(nasty: None, fastzero: Run) -> None:
    assert fastzero("todo", "list", terminal=80) == fastzero("todo", "list", "-o", "table", terminal=80)


@pytest.mark.parametrize("output", ["json", "ndjson", "csv", "tsv", "ids"])
def test_data_does_not_depend_on_a_terminal(output: str, nasty: None, fastzero: Run) -> None:
    for words in (["todo", "list"], ["todo", "show", "1"], ["user", "list"], ["migrate", "status"]):
        assert fastzero(*words, "-o", output) == fastzero(*words, "-o", output, terminal=40)


def test_the_format_may_come_from_the_environment(nasty: None, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_OUTPUT", "ids")
    assert fastzero("todo", "list").out == "1\n2\n"


@pytest.mark.parametrize("output", FORMATS)
def test_an_empty_list_is_no_error(output: str, ana: User, fastzero: Run) -> None:
    result = fastzero("todo", "list", "-o", output)
    assert result == (0, "[]\n" if output == "json" else "", "Nothing there.\n" if output == "table" else "")


SHOWN = {
    "json": r'^  "title": "plain",$',
    "ndjson": r'^\{"id": 2, "title": "plain", .*\}$',
    "csv": r"^id,title,.*\n2,plain,,doing,",
    "tsv": r"\A2\tplain\t\tdoing\t",
    "ids": r"\A2\n\Z",
    "table": r"^title +plain *$",
}


@pytest.mark.parametrize("output", FORMATS)
def test_one_record_comes_in_every_format(output: str, nasty: None, fastzero: Run) -> None:
    result = fastzero("todo", "show", "2", "-o", output)
    assert (result.code, result.err) == (0, "")
    assert re.search(SHOWN[output], result.out, re.MULTILINE)


CHANGES = [
    (["todo", "add", "new"], TODO_FIELDS),
    (["todo", "edit", "1", "--title", "new"], TODO_FIELDS),
    (["todo", "start", "1"], TODO_FIELDS),
    (["todo", "done", "1", "2"], TODO_FIELDS),
    (["todo", "reopen", "1"], TODO_FIELDS),
    (["todo", "trash", "1"], TODO_FIELDS),
    (["todo", "restore", "1"], TODO_FIELDS),
    (["todo", "move", "1", "--to", "done"], TODO_FIELDS),
    (["todo", "purge", "--yes"], ["purged"]),
    (["user", "add", "bob", "-e", "bob@example.com", "--password-stdin"], USER_FIELDS),
    (["user", "edit", "ana", "--username", "anna"], USER_FIELDS),
    (["user", "passwd", "ana", "--password-stdin"], USER_FIELDS),
    (["user", "use", "ana"], USER_FIELDS),
    (["user", "rm", "ana", "--yes"], USER_FIELDS),
    (["migrate"], SCHEMA_FIELDS),
    (["migrate", "down", "-1", "--yes"], SCHEMA_FIELDS),
    (["migrate", "stamp", "head"], SCHEMA_FIELDS),
]
every_change = pytest.mark.parametrize(("words", "fields"), CHANGES, ids=lambda value: " ".join(value))


def _run(fastzero: Run, *words: str) -> Result:
    return fastzero(*words, stdin="correct horse\n")


@every_change
def test_a_change_answers_with_all_fields_in_json(
    words: list[str], fields: list[str], nasty: None, fastzero: Run
) -> None:
    answer = records(_run(fastzero, *words, "-o", "json"))
    assert list(answer[0] if isinstance(answer, list) else answer) == fields


@pytest.mark.parametrize("output", FORMATS)
def test_a_change_comes_in_every_format(output: str, nasty: None, fastzero: Run) -> None:
    result = fastzero("todo", "done", "1-2", "-o", output, terminal=80)
    assert result.code == 0
    if output == "table":
        assert (result.out, result.err) == ("", "✓ 2 todos done\n")
        return
    assert (result.out.splitlines()[-1] != "", result.err) == (True, "")
    if output == "csv":
        assert result.out.splitlines()[0] == ",".join(TODO_FIELDS)
    if output == "ids":
        assert result.out == "1\n2\n"


def test_times_are_rfc_3339_with_their_offset(nasty: None, fastzero: Run) -> None:
    todo = records(fastzero("todo", "show", "1", "-o", "json"))
    for name in ("created_at", "updated_at"):
        assert RFC_3339.fullmatch(todo[name])
        assert datetime.fromisoformat(todo[name]).utcoffset() == timedelta(0)


def test_times_do_not_depend_on_the_zone_of_the_machine(
    nasty: None, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fastzero("todo", "list", "-o", "json")
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    assert fastzero("todo", "list", "-o", "json") == before


def test_letters_of_any_script_are_not_escaped(ana: User, fastzero: Run) -> None:
    assert '"Größe 日本 🎉"' in fastzero("todo", "add", "Größe 日本 🎉", "-o", "json").out


@pytest.mark.parametrize("words", [["user", "use", "ana"], ["migrate", "down", "-1", "--yes"]])
def test_messages_stay_off_stdout(words: list[str], nasty: None, fastzero: Run) -> None:
    result = fastzero(*words, "-o", "json")
    assert result.err != ""
    json.loads(result.out)


def test_env_is_json_where_json_is_asked_for(fastzero: Run, stack_record: Callable[[], None]) -> None:
    stack_record()
    answer = json.loads(fastzero("env", "-o", "json").out)
    assert answer == json.loads(fastzero("env", "--format", "json").out)
    assert answer["DATABASE_URL"].startswith("postgresql://fastzero:")


@pytest.fixture
def stack_record() -> Callable[[], None]:
    from fastzero_core import load_settings
    from fastzero_core.project import ProjectRecord, project_of

    def write() -> None:
        project = project_of(load_settings())
        project.save(ProjectRecord("embedded", {"database": 5432}))
        project.ensure_secret("database_password")

    return write


def test_a_title_that_is_cut_has_an_ellipsis_that_the_locale_can_show(
    ana: User, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastzero("todo", "add", "Write the report about the year")
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    assert "Write the repo…  now" in fastzero("todo", "list", terminal=35).out
    monkeypatch.setenv("LC_ALL", "C")
    assert "Write the re...  now" in fastzero("todo", "list", terminal=35).out
