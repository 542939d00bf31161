"""The table: cases of several operations, each as the library, the shell and HTTP are told of it.

All begin with the todos of SEED. Where HTTP has another operation with the same effect, that one is asked; what a way
does not have is NOT_IN_HTTP or NOT_IN_SHELL.
"""

import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from io import BytesIO
from typing import Any, cast

from fastzero_core import FastZero, NewTodo
from fastzero_core.todo_app.history import History
from fastzero_core.todo_app.models import TodoChanges
from fastzero_core.todo_app.todos import Todos
from fastzero_core.todo_app.transfer import files

from .ways import Request, Step

PASSWORD = "correct horse"
NOT_IN_HTTP = None  # several ids in one call, the order of `restore`, purging by ids, files
NOT_IN_SHELL = None  # counting alone, deleting without the trash, and titles that no argument can have
MISSING, OF_BOB = 999, 7
SHOWN = ["draft", "todo", "doing", "done"]

SEED = [
    NewTodo("Write the report", "For Friday", "doing", "high", "2026-12-24", ["work", "q3"]),
    NewTodo("Call home", "", "todo", "low", "2027-01-05T18:00:00-03:00", ["home"]),
    NewTodo("Buy milk", "Two litres\nof it", "todo", "none", None, ["home", "shop"]),
    NewTodo("Paid", "", "done", "medium", "2020-01-01"),
    NewTodo("Thrown away", "", "trash"),
    NewTodo("Größe 100%_\\ 日本", "", "draft", tags=["日本"]),
]


def seed(url: str) -> None:
    """Add ana with the todos of SEED, and bob with one."""
    with FastZero(url) as fz:
        for name in ("ana", "bob"):
            fz.users.add(name, email=f"{name}@example.com", password=PASSWORD)
        fz.todos("ana", time_zone=UTC).add_many(SEED)
    with FastZero(url) as fz:
        fz.todos("bob").add("Bob's")


def todo(
    words: str | None, call: Callable[[Todos], Any], request: Request | None = NOT_IN_HTTP, stdin: str = ""
) -> Step:
    """An operation on ana's todos."""
    split = None if words is None else [*shlex.split(f"todo {words}"), "-u", "ana"]
    return Step(lambda fz: call(fz.todos("ana", time_zone=UTC)), split, request, stdin)


def history(words: str, call: Callable[[History], Any], request: Request) -> Step:
    return Step(lambda fz: call(fz.history("ana")), [*shlex.split(f"todo {words}"), "-u", "ana"], request)


def get(query: dict[str, Any] | None = None, path: str = "") -> Request:
    return Request("GET", f"/todos/{path}", query=query)


def post(body: Any, path: str = "") -> Request:
    return Request("POST", f"/todos/{path}", body)


def patch(id: int, **body: Any) -> Request:
    return Request("PATCH", f"/todos/{id}", body)


def lists(words: str, query: dict[str, Any] | None = None, **filters: Any) -> Step:
    """A list of todos, by filters that the library names as given, and HTTP as in `query`."""
    return todo(f"list --all {words}", lambda todos: todos.list(limit=100, **filters), get(query or filters))


def adds(words: str, request: dict[str, Any], title: str, **fields: Any) -> Step:
    return todo(f"add {words}", lambda todos: todos.add(title, **fields), post({"title": title, **request}))


def beyond(step: Step) -> Step:
    return replace(step, beyond=True)


def edits(words: str, id: int, **changes: Any) -> Step:
    sent = {**changes, "due": None} if changes.get("due") == "none" else changes
    return todo(words, lambda todos: todos.edit(id, **changes), patch(id, **sent))


def gets(id: int) -> Step:
    return todo(f"show {id}", lambda todos: todos.get(id), get(path=str(id)))


def changes_all(words: str, changes: dict[str, Any], expected: int, query: dict[str, Any], **filters: Any) -> Step:
    """A change of all todos that match filters, which are those of SHOWN unless they name states."""
    given: Any = {"states": SHOWN, **filters}
    return todo(
        f"{words} --yes",
        lambda todos: {"changed": todos.edit_matching(cast(TodoChanges, changes), **given)},
        Request("PATCH", "/todos/", {**changes, "expected": expected}, query),
    )


def undoes(steps: int = 1) -> Step:
    return history(f"undo {steps}", lambda log: log.undo(steps), Request("POST", "/history/undo", {"steps": steps}))


def redoes(steps: int = 1) -> Step:
    return history(f"redo {steps}", lambda log: log.redo(steps), Request("POST", "/history/redo", {"steps": steps}))


LOG = history("log", lambda log: log.log(), Request("GET", "/history/"))
EVERYTHING = lists("")
NEW = {"description": "More", "state": "draft", "priority": "medium", "due": "2027-02-03", "tags": ["b", "a"]}
TODO_TXT = "(A) 2026-01-02 call +home due:2026-12-24\nx 2026-01-03 2026-01-02 paid @phone\n"

CASES: dict[str, list[Step]] = {
    "every field is read": [*map(gets, range(1, 7)), EVERYTHING],
    "every field is added": [
        adds("Plain", {}, "Plain"),
        adds("Full -d More -s draft --priority medium --due 2027-02-03 --tag b --tag a", NEW, "Full", **NEW),
        adds(
            "Then --due 2027-02-03T10:00:00-03:00",
            {"due": "2027-02-03T10:00:00-03:00"},
            "Then",
            due="2027-02-03T10:00:00-03:00",
        ),
        adds("'  in  spaces  '", {}, "  in  spaces  "),
        todo(
            "add -",
            lambda todos: todos.add_many([NewTodo("one"), NewTodo("two")]),
            post({"todos": [{"title": "one"}, {"title": "two"}]}, "bulk"),
            "one\ntwo\n",
        ),
        EVERYTHING,
        LOG,
    ],
    "every field is changed": [
        edits("edit 1 --title Other", 1, title="Other"),
        edits("edit 1 -d 'Two\nlines'", 1, description="Two\nlines"),
        edits("edit 1 -d ''", 1, description=""),
        edits("edit 1 --priority none", 1, priority="none"),
        edits("edit 1 --due 2027-01-01T00:00:00Z", 1, due="2027-01-01T00:00:00Z"),
        edits("edit 1 --due none", 1, due="none"),
        edits("edit 1 --state done", 1, state="done"),
        edits("edit 1 --state done", 1, state="done"),
        edits("reopen 1", 1, state="todo"),
        edits("tag 1 --add new --add home --remove work", 1, add_tags=["new", "home"], remove_tags=["work"]),
        edits("edit 2 --title T --state doing --priority high", 2, title="T", state="doing", priority="high"),
        EVERYTHING,
        LOG,
    ],
    "filters": [
        lists("-s doing", {"state": "doing"}, states=["doing"]),
        lists("-s todo -s done", {"state": ["todo", "done"]}, states=["todo", "done"]),
        lists("--priority high --priority low", {"priority": ["high", "low"]}, priorities=["high", "low"]),
        lists("--tag home", {"tag": "home"}, tags=["home"]),
        lists("--tag home --tag shop", {"tag": ["home", "shop"]}, tags=["home", "shop"]),
        lists("--tag HOME", {"tag": "HOME"}, tags=["HOME"]),
        lists("--tag 日本", {"tag": "日本"}, tags=["日本"]),
        lists("--text LITRES", text="LITRES"),
        lists("--text 0%_\\\\", text="0%_\\"),
        lists("--text nothing", text="nothing"),
        lists("--overdue", overdue=True),
        lists("--due-before 2026-12-25T00:00:00Z", due_before="2026-12-25T00:00:00Z"),
        lists("--due-after 2026-12-25T00:00:00Z", due_after="2026-12-25T00:00:00Z"),
        lists("--created-after 2020-01-01", created_after="2020-01-01"),
        lists("--created-before 2020-01-01", created_before="2020-01-01"),
        lists(
            "-s todo --tag home --text mil",
            {"state": "todo", "tag": "home", "text": "mil"},
            states=["todo"],
            tags=["home"],
            text="mil",
        ),
    ],
    "order and pages": [
        *(lists(f"--sort {each}", sort=each) for each in ("id", "created", "title", "due", "priority", "position")),
        todo(
            "list --all --sort title -r",
            lambda todos: todos.list(sort="title", descending=True),
            get({"sort": "title", "descending": True}),
        ),
        todo("list --all -n 2", lambda todos: todos.list(limit=2), get({"limit": 2})),
        todo("list --all --after 2 -n 2", lambda todos: todos.list(after=2, limit=2), get({"after": 2, "limit": 2})),
        todo(
            "list --all --sort due --after 2",
            lambda todos: todos.list(sort="due", after=2),
            get({"sort": "due", "after": 2}),
        ),
    ],
    "many at once": [
        changes_all("edit --tag home --priority high", {"priority": "high"}, 2, {"tag": "home"}, tags=["home"]),
        changes_all(
            "tag --tag home --add x --remove home",
            {"add_tags": ["x"], "remove_tags": ["home"]},
            2,
            {"tag": "home"},
            tags=["home"],
        ),
        changes_all("done --text milk", {"state": "done"}, 1, {"text": "milk"}, text="milk"),
        changes_all("trash -s done", {"state": "trash"}, 2, {"state": "done"}, states=["done"]),
        EVERYTHING,
        LOG,
        undoes(2),
        EVERYTHING,
        todo("move 1 2 3 --to done", lambda todos: todos.move(1, 2, 3, to="done"), NOT_IN_HTTP),
        todo("tag 1-3 --add a", lambda todos: todos.edit_many([1, 2, 3], add_tags=["a"]), NOT_IN_HTTP),
        EVERYTHING,
    ],
    "states and the trash": [
        edits("start 2", 2, state="doing"),
        edits("done 2", 2, state="done"),
        edits("trash 2", 2, state="trash"),
        todo("restore 2", lambda todos: todos.restore(2), patch(2, state="todo")),
        todo("restore 5 1 --to draft", lambda todos: todos.restore(5, 1, to="draft"), NOT_IN_HTTP),
        edits("trash 3", 3, state="trash"),
        todo("purge 3 --yes", lambda todos: {"purged": todos.purge(3)}, NOT_IN_HTTP),
        todo("purge 1 --yes", lambda todos: {"purged": todos.purge(1)}, NOT_IN_HTTP),
        todo("purge --yes", lambda todos: {"purged": todos.purge()}, NOT_IN_HTTP),
        EVERYTHING,
        LOG,
    ],
    "the order made by hand": [
        todo(
            "move 3 --before 2",
            lambda todos: todos.place(3, before=2),
            Request("PUT", "/todos/3/place", {"other": 2, "side": "before"}),
        ),
        todo(
            "move 3 --after 2",
            lambda todos: todos.place(3, after=2),
            Request("PUT", "/todos/3/place", {"other": 2, "side": "after"}),
        ),
        todo(
            "move 3 --after 3",
            lambda todos: todos.place(3, after=3),
            Request("PUT", "/todos/3/place", {"other": 3, "side": "after"}),
        ),
        lists("--sort position", sort="position"),
        LOG,
    ],
    "undo and redo": [
        edits("done 1", 1, state="done"),
        adds("New", {}, "New"),
        changes_all("trash --tag home", {"state": "trash"}, 2, {"tag": "home"}, tags=["home"]),
        undoes(),
        undoes(2),
        LOG,
        redoes(),
        redoes(2),
        redoes(),
        EVERYTHING,
        undoes(),
        edits("edit 1 --title Between", 1, title="Between"),
        redoes(),
        LOG,
        undoes(40),
    ],
    "reports": [
        todo("next", lambda todos: todos.next(), get(path="next")),
        todo("next -n 1", lambda todos: todos.next(1), get({"limit": 1}, "next")),
        todo("stats", lambda todos: todos.stats(), get(path="stats")),
        todo("stats --days 3", lambda todos: todos.stats(3), get({"days": 3}, "stats")),
        todo(
            NOT_IN_SHELL,
            lambda todos: {"count": todos.count(["todo"], tags=["home"])},
            get({"state": "todo", "tag": "home"}, "count"),
        ),
    ],
    "a todo is deleted for good": [
        todo(
            NOT_IN_SHELL,
            lambda todos: todos.remove(2) and {"message": "Task has been deleted successfully."},
            Request("DELETE", "/todos/2"),
        ),
        gets(2),
        undoes(),
        gets(2),
    ],
    "files": [
        todo(
            "import - --format todotxt",
            lambda todos: todos.import_each(files.read(BytesIO(TODO_TXT.encode()), "todotxt", UTC)),
            NOT_IN_HTTP,
            TODO_TXT,
        ),
        *(
            todo(
                f"export --format {each} --tag home",
                lambda todos, each=each: "".join(  # type: ignore[misc]
                    files.write(todos.stream(tags=["home"], states=SHOWN), each, UTC)
                ),
            )
            for each in ("todotxt",)
        ),
        undoes(),
    ],
    "what is not there": [
        *map(gets, (MISSING, OF_BOB)),
        *(edits(f"edit {id} --title x", id, title="x") for id in (MISSING, OF_BOB)),
        *(edits(f"trash {id}", id, state="trash") for id in (MISSING, OF_BOB)),
        todo("move 1 2 999 --to done", lambda todos: todos.move(1, 2, MISSING, to="done"), NOT_IN_HTTP),
        todo(
            "move 999 --after 1",
            lambda todos: todos.place(MISSING, after=1),
            Request("PUT", "/todos/999/place", {"other": 1, "side": "after"}),
        ),
        todo("purge 999 --yes", lambda todos: {"purged": todos.purge(MISSING)}, NOT_IN_HTTP),
        todo(
            "list --all --sort due --after 999",
            lambda todos: todos.list(sort="due", after=MISSING),
            get({"sort": "due", "after": MISSING}),
        ),
        redoes(),
        EVERYTHING,
    ],
    "what is refused": [
        adds("''", {}, ""),
        adds("' '", {}, " "),
        adds("x" * 201, {}, "x" * 201),
        adds("x -d " + "y" * 10_001, {"description": "y" * 10_001}, "x", description="y" * 10_001),
        adds("x -s later", {"state": "later"}, "x", state="later"),
        adds("x --priority urgent", {"priority": "urgent"}, "x", priority="urgent"),
        adds("x --tag 'two words'", {"tags": ["two words"]}, "x", tags=["two words"]),
        adds("x --tag ''", {"tags": [""]}, "x", tags=[""]),
        adds("x --due 10/11/2026", {"due": "10/11/2026"}, "x", due="10/11/2026"),
        adds("x --due 2026-02-30", {"due": "2026-02-30"}, "x", due="2026-02-30"),
        adds("x --due 1800-01-01", {"due": "1800-01-01"}, "x", due="1800-01-01"),
        edits("edit 1 --title ''", 1, title=""),
        edits("edit 1 --state later", 1, state="later"),
        edits("edit 1 --priority urgent", 1, priority="urgent"),
        edits("edit 1 --due soon", 1, due="soon"),
        beyond(
            edits(
                "tag 1 " + " ".join(f"--add t{number}" for number in range(21)),
                1,
                add_tags=[f"t{number}" for number in range(21)],
            )
        ),
        todo("move 1 --to later", lambda todos: todos.move(1, to="later"), patch(1, state="later")),
        lists("-s later", {"state": "later"}, states=["later"]),
        lists("--priority urgent", {"priority": "urgent"}, priorities=["urgent"]),
        lists("--tag 'a b'", {"tag": "a b"}, tags=["a b"]),
        lists("--due-before soon", due_before="soon"),
        lists("--sort size", sort="size"),
        beyond(todo("list --all -n 0", lambda todos: todos.list(limit=0), get({"limit": 0}))),
        beyond(todo("stats --days 0", lambda todos: todos.stats(0), get({"days": 0}, "stats"))),
        beyond(undoes(0)),
        EVERYTHING,
        LOG,
    ],
}
