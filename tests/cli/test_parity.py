"""What the library can do, the command line can do, and does the same: each is called, on databases that are alike."""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fastzero_cli.todo_options import SHOWN
from fastzero_core import FastZero, NewTodo, TodoState, load_settings
from fastzero_core.backup import restore, stats
from fastzero_core.care import DatabaseCare, database_of
from fastzero_core.formats import as_dict
from fastzero_core.schema import migrate
from fastzero_core.testing import Databases
from fastzero_core.todo_app.passwords import verify_password
from fastzero_core.todo_app.todos import Todos
from fastzero_core.todo_app.transfer import files
from fastzero_core.todo_app.users import Users

from ..revisions import REVISIONS
from .conftest import Run
from .shell import shell
from .tree import COMMANDS

PASSWORD, ANOTHER = "correct horse", "another horse"
# What differs between two databases that are alike, and between two moments.
VOLATILE = {
    "at", "database", "file", "kept", "size", "taken_at", "created_at", "updated_at", "completed_at", "connections",
    "oldest_transaction", "cache_hits", "bloat", "scans", "tables", "indexes",
    "external_id",  # in a file it is made of when the todo was created
}  # fmt: skip


@dataclass(frozen=True)
class Twins:
    """Two databases with the same rows, backups and kept databases: one for the shell, one for the library."""

    fastzero: Run
    shells: str
    library: str

    def run(self, words: list[str], stdin: str = "") -> Any:
        """What a command prints as JSON, on the shell's database."""
        result = self.fastzero(*words, "--database-url", self.shells, "-o", "json", stdin=stdin)
        assert result.code == 0, result.err
        return json.loads(result.out) if result.out else None

    @property
    def fz(self) -> FastZero:
        return FastZero(self.library)

    @property
    def care(self) -> DatabaseCare:
        return care_of(self.library)


@pytest.fixture
def twins(fastzero: Run, fastzero_databases: Databases) -> Iterator[Twins]:
    with ExitStack() as stack:
        twins = Twins(fastzero, *(stack.enter_context(fastzero_databases.temporary()) for _ in range(2)))
        for url in (twins.shells, twins.library):
            with FastZero(url) as fz:
                ana = fz.users.add("ana", email="ana@example.com", password=PASSWORD)
                fz.todos(ana).add_many(NewTodo(f"is {state}", "", state) for state in TodoState)
        yield twins


@pytest.fixture
def kept_twins(twins: Twins) -> Iterator[Twins]:
    """The same, each with a backup that lacks the last todo, and with a database kept from a restore."""
    urls = (twins.shells, twins.library)
    for url in urls:
        care = care_of(url)
        care.backup(name="one")
        care.restore("one", no_backup=True)
        with FastZero(url) as fz:
            fz.todos("ana").add("afterwards")
    yield twins
    for url in urls:
        restore.drop_kept(care_of(url).target)


def care_of(url: str) -> DatabaseCare:
    return database_of(load_settings(database_url=url))


WITHOUT_TIMES = "to_jsonb(t) - ARRAY['created_at', 'updated_at', 'completed_at', 'at', 'stamp']" + "".join(
    f" #- ARRAY['other', '{name}']" for name in ("created_at", "updated_at", "completed_at")
)


def rows_of(url: str) -> dict[str, Any]:
    """All that a command may have changed in a database."""
    with psycopg.connect(url) as session:
        query = f"SELECT {WITHOUT_TIMES} FROM {{}} AS t ORDER BY 1"
        tables = session.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384 ORDER BY 1")
        names = [name for (name,) in tables]
        rows = {name: [row for (row,) in session.execute(query.format(name).encode())] for name in names}
    for user in rows.get("users", []):
        user["password_hash"] = verify_password(ANOTHER, user["password_hash"])
    return rows


def kept_of(url: str) -> tuple[list[int], int]:
    """The rows of each backup, and how many databases are kept."""
    found = care_of(url).surplus(0)
    return [backup.rows for backup in found.backups], len(found.databases)


def plain(value: Any) -> Any:
    """A result without what differs between any two calls."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name not in VOLATILE}
    return plain(as_dict(value)) if hasattr(value, "__dataclass_fields__") else value


@dataclass(frozen=True)
class Case:
    """A command, and the call that is to have the same result and the same effect."""

    words: str
    call: Callable[[Twins], Any]
    stdin: str = ""


def with_fz(operation: Callable[[FastZero], Any]) -> Callable[[Twins], Any]:
    def call(twins: Twins) -> Any:
        with twins.fz as fz:
            return operation(fz)

    return call


TODO_TXT = "(A) 2026-01-02 call +home due:2026-12-24\nx 2026-01-03 2026-01-02 paid\n"
CASES = {
    "Users.void_tokens": Case("user logout ana", with_fz(lambda fz: [fz.users.void_tokens("ana")])),
    "Users.add": Case(
        "user add bob -e bob@example.com --password-stdin",
        with_fz(lambda fz: [fz.users.add("bob", email="bob@example.com", password=PASSWORD)]),
        PASSWORD,
    ),
    "Users.get": Case("user show ana", with_fz(lambda fz: fz.users.get("ana"))),
    "Users.list": Case("user list -n 1", with_fz(lambda fz: fz.users.list(limit=1))),
    "Users.stream": Case("user list", with_fz(lambda fz: list(fz.users.stream()))),
    "Users.edit": Case("user edit ana --username anna", with_fz(lambda fz: [fz.users.edit("ana", username="anna")])),
    "Users.set_password": Case(
        "user passwd ana --password-stdin", with_fz(lambda fz: [fz.users.set_password("ana", ANOTHER)]), ANOTHER
    ),
    "Users.remove": Case("user rm ana --yes --no-backup", with_fz(lambda fz: [fz.users.remove("ana")])),
    "Todos.add": Case(
        "todo add new -d text -s doing --priority low --due +0d --tag b --tag a",
        with_fz(
            lambda fz: [
                fz.todos().add("new", description="text", state="doing", priority="low", due="today", tags=["a", "b"])
            ]
        ),
    ),
    "Todos.add_many": Case(
        "todo add -", with_fz(lambda fz: fz.todos().add_many([NewTodo("a"), NewTodo("b")])), "a\nb\n"
    ),
    "Todos.import_each": Case(
        "todo import - --format todotxt",
        with_fz(lambda fz: fz.todos().import_each(files.read(BytesIO(TODO_TXT.encode()), "todotxt"))),
        TODO_TXT,
    ),
    "Todos.export": Case(
        "todo export --format json --text is",
        with_fz(lambda fz: json.loads("".join(fz.todos().export("json", text="is", states=SHOWN)))),
    ),
    "Todos.get": Case("todo show 1", with_fz(lambda fz: fz.todos().get(1))),
    "Todos.get_many": Case("todo show 2 1", with_fz(lambda fz: fz.todos().get_many([2, 1]))),
    "Todos.list": Case(
        "todo list -s doing -s done --sort title -r -n 1",
        with_fz(lambda fz: fz.todos().list(states=["doing", "done"], sort="title", descending=True, limit=1)),
    ),
    "Todos.stream": Case("todo list --all --text is", with_fz(lambda fz: list(fz.todos().stream(text="is")))),
    "Todos.edit": Case("todo edit 1 --title other", with_fz(lambda fz: [fz.todos().edit(1, title="other")])),
    "Todos.edit_many": Case(
        "todo tag 1 2 --add b --add a", with_fz(lambda fz: fz.todos().edit_many([1, 2], add_tags=["a", "b"]))
    ),
    "Todos.edit_matching": Case(
        "todo edit --text is --priority high --due 2026-12-24 --yes",
        with_fz(
            lambda fz: {
                "changed": fz.todos().edit_matching(
                    {"priority": "high", "due": date(2026, 12, 24)},
                    text="is",
                    states=["draft", "todo", "doing", "done"],
                )
            }
        ),
    ),
    "Todos.place": Case("todo move 1 --after 3", with_fz(lambda fz: [fz.todos().place(1, after=3)])),
    "Todos.next": Case("todo next -n 1", with_fz(lambda fz: fz.todos().next(1))),
    "Todos.stats": Case("todo stats --days 2", with_fz(lambda fz: fz.todos().stats(2))),
    "Todos.move": Case("todo move 1 2 --to done", with_fz(lambda fz: fz.todos().move(1, 2, to="done"))),
    "Todos.trash": Case("todo trash 1", with_fz(lambda fz: fz.todos().trash(1))),
    "Todos.restore": Case("todo restore 5 --to draft", with_fz(lambda fz: fz.todos().restore(5, to="draft"))),
    "History.undo": Case("todo undo", with_fz(lambda fz: fz.history().undo())),
    "History.log": Case("todo log", with_fz(lambda fz: fz.history().log())),
    "Todos.purge": Case("todo purge --yes", with_fz(lambda fz: {"purged": fz.todos().purge()})),
    "migrate.up": Case("migrate up", lambda twins: migrate.up(twins.library)),
    "migrate.down": Case("migrate down 0001 --yes --no-backup", lambda twins: migrate.down(twins.library, "0001")),
    "migrate.status": Case("migrate status", lambda twins: migrate.status(twins.library)),
    "migrate.history": Case("migrate history", lambda twins: migrate.history(twins.library)),
    "migrate.check": Case("migrate check", lambda twins: migrate.check(twins.library)),
    "migrate.stamp": Case("migrate stamp 0001", lambda twins: migrate.stamp(twins.library, "0001")),
    "stats.stats": Case("db stats", lambda twins: stats.stats(twins.library)),
}
CARE = {
    "backups": Case("db backup list", lambda twins: twins.care.backups()),
    "backup": Case("db backup --name two", lambda twins: [twins.care.backup(name="two")]),
    "verify": Case("db verify one", lambda twins: twins.care.verify("one")),
    "restore": Case("db restore one --yes", lambda twins: twins.care.restore("one")),
    "undo": Case("db restore --undo --yes", lambda twins: twins.care.undo()),
    "reset": Case("db reset --yes", lambda twins: twins.care.reset()),
    "prune": Case("db backup prune --keep 0 --yes", lambda twins: twins.care.prune(0).backups),
    "migrate_down": Case("migrate down 0001 --yes", lambda twins: twins.care.migrate_down("0001")),
    "remove_user": Case("user rm ana --yes", lambda twins: [twins.care.remove_user("ana")]),
}


@pytest.mark.parametrize("operation", CASES)
def test_a_command_has_the_result_and_the_effect_of_the_call(operation: str, twins: Twins) -> None:
    hold_against_each_other(CASES[operation], twins)


@pytest.mark.slow
@pytest.mark.parametrize("operation", CARE)
def test_the_care_of_a_database_has_too_and_takes_and_keeps_the_same_backups(operation: str, kept_twins: Twins) -> None:
    hold_against_each_other(CARE[operation], kept_twins)
    assert kept_of(kept_twins.shells) == kept_of(kept_twins.library)


def hold_against_each_other(case: Case, twins: Twins) -> None:
    printed = twins.run(case.words.split(), case.stdin)
    returned = json.loads(json.dumps(plain(case.call(twins))))
    assert plain(printed) == returned
    assert rows_of(twins.shells) == rows_of(twins.library)


def test_the_same_stream_comes_from_the_shell_and_from_the_library(twins: Twins, folder: Path) -> None:
    assert shell(f"fastzero db backup - --database-url '{twins.shells}' > {folder / 'piped'}").code == 0
    stream = BytesIO()
    twins.care.write_to(stream)
    assert (folder / "piped").read_bytes()[:5] == stream.getvalue()[:5] == b"PGDMP"


QUESTIONS: dict[str, tuple[str, Callable[[DatabaseCare], list[str]]]] = {
    "description": ("db reset", lambda care: [care.description]),
    "plan_restore": ("db restore one", lambda care: [care.plan_restore("one").archive.name]),
    "last_kept": ("db restore --undo", lambda care: [care.last_kept().database]),
    "surplus": (
        "db backup prune --keep 0",
        lambda care: [*(each.name for each in care.surplus(0).backups), care.surplus(0).databases[0].database],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("operation", QUESTIONS)
def test_a_question_says_what_the_library_tells(operation: str, kept_twins: Twins) -> None:
    words, told = QUESTIONS[operation]
    asked = kept_twins.fastzero(*words.split(), "--database-url", kept_twins.shells)
    assert asked.code == 2
    missing = [text for text in told(care_of(kept_twins.shells)) if text not in asked.err]
    assert not missing


def test_a_rehearsal_tells_what_the_library_does(twins: Twins) -> None:
    for url in (twins.shells, twins.library):
        migrate.down(url, "0001")
    rehearsed = twins.fastzero("migrate", "up", "--rehearse", "--database-url", twins.shells)
    told = [line.split()[4] for line in rehearsed.err.splitlines() if line.startswith("On a copy: ")]
    assert told == [step.revision for step in twins.care.rehearse()] == REVISIONS[1:]


def test_pending_revisions_are_linted_alike(twins: Twins) -> None:
    for url in (twins.shells, twins.library):
        migrate.down(url, "0001")
    checked = twins.fastzero("migrate", "check", "--database-url", twins.shells, "-o", "json")
    findings = json.loads(checked.out) if checked.out else []
    assert findings == [as_dict(finding) for finding in migrate.lint(twins.library)]


def test_sql_is_the_same_text(fastzero: Run) -> None:
    assert fastzero("migrate", "sql", "0001:head").out == migrate.sql("0001:head")


# What the shell has no command for, and why.
NOT_FOR_THE_SHELL = {
    "Users.only": "whose todos are meant where no user is named",
    "Users.with_password_hash": "what the HTTP API compares a new password with",
    "Users.confirm": "whether a token still holds; the shell has none",
    "Todos.remove": "how the HTTP API deletes; the shell goes by the trash, and purges",
    "Todos.require_trashed": "what `todo purge` asks before it asks the user",
    "Todos.check_changes": "what a change by filter asks before it counts",
    "Todos.import_rows": "what `todo import` does with each line that it has checked",
    "Todos.export_lines": "what `todo export` and the HTTP API read page by page",
    "Todos.count": "what a question says, and the headings of the board",
    "DatabaseCare.way_back": "the words of a notice",
    "DatabaseCare.folder": "where `db backup list` looks",
    "DatabaseCare.target": "what all of these work on",
    "DatabaseCare.owner": "a part of the description",
}
HELD_ABOVE = {"DatabaseCare.write_to", "DatabaseCare.rehearse", *(f"DatabaseCare.{name}" for name in QUESTIONS)}


@pytest.mark.parametrize("owner", [Users, Todos, DatabaseCare])
def test_every_operation_is_held_against_its_command(owner: type) -> None:
    public = {name: member for name, member in vars(owner).items() if not name.startswith("_")}
    operations = {f"{owner.__name__}.{name}" for name, member in public.items() if _is_operation(member)}
    assert (
        operations <= CASES.keys() | {f"DatabaseCare.{name}" for name in CARE} | NOT_FOR_THE_SHELL.keys() | HELD_ABOVE
    )


def _is_operation(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, property)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (
            "",
            "up down status logs exec restart ls env doctor config serve export version migrate db user todo list"
            " secret trust init run test docs scale rebalance",
        ),
        ("migrate", "up down status history new check sql stamp"),
        ("db", "archive backup verify restore reset upgrade move place shell url stats status failover"),
        ("db archive", "enable disable status list verify backup"),
        ("db backup", "take list prune"),
        ("db place", "list use rm"),
        ("secret", "rotate"),
        ("user", "add list show edit passwd logout invite use calendar rm"),
        ("list", "add list show rename rm members share unshare leave"),
        ("user calendar", "show renew revoke"),
        (
            "todo",
            "add list board next stats show edit tag start done reopen trash restore move purge undo redo log import"
            " export",
        ),
    ],
)
def test_the_tree_has_the_designed_commands(group: str, names: str) -> None:
    assert set(COMMANDS[group].commands) == set(names.split())
