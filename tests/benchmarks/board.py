"""What the board and the history cost: the first byte, a change until another window shows it, and a noted change."""

import http.client
from collections.abc import Callable, Iterator
from itertools import cycle

import psycopg

from fastzero_core import FastZero, NewTodo, User
from tests.api.browsing import HTML, Browser
from tests.api.client import PASSWORD, Account
from tests.api.test_windows import until_changed, window

from .api import App, own_app
from .ground import Ground
from .measure import Comparison, compare

CARDS = 500
STATES = ("draft", "todo", "doing", "done")
HISTORY = ("todos_inserted", "todos_updated", "todos_deleted")  # triggers


def board(ground: Ground, quick: bool) -> Iterator[Comparison]:
    runs = 20 if quick else 200
    url = ground.database("board")
    with FastZero(url) as fz:
        user = fz.users.add("board", email="board@example.com", password=PASSWORD)
        cards = (NewTodo(f"Write the report number {n}", state=STATES[n % 4]) for n in range(CARDS))
        fz.todos(user).add_many(cards)
    with own_app(ground, url) as app:
        token = app.client.token(user.email)
        browser = Browser(app.client)
        browser.log_in(Account(user.id, user.username, user.email, token))
        yield _first_byte(app, browser, url, user, runs)
        yield _seen(app, browser, token, runs // 4)


def _first_byte(app: App, browser: Browser, url: str, user: User, runs: int) -> Comparison:
    result = Comparison(f"first byte of a board with {CARDS} cards", "an operation of the library", allowance=0.030)
    connection = http.client.HTTPConnection("127.0.0.1", app.port)
    headers = {**HTML, "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    with FastZero(url, autocommit=True) as fz:
        for _ in range(runs):
            with result.reference.timed():
                fz.todos(user).list()
            with result.measured.timed():
                connection.request("GET", "/", headers=headers)
                response = connection.getresponse()
                response.read(1)
            response.read()
    connection.close()
    return result


def _seen(app: App, browser: Browser, token: str, runs: int) -> Comparison:
    """Measure the time from a request that adds a todo until another window has its board."""
    result = Comparison("a todo is added, and another window shows it", "it is added", allowance=0.300)
    todo = {"title": "Seen elsewhere", "description": ""}
    with window(app.port, browser) as events:
        for _ in range(runs):
            with result.reference.timed():
                app.client.post("/todos/", todo, token)
            until_changed(events)
            with result.measured.timed():
                app.client.post("/todos/", todo, token)
                until_changed(events)
                browser.get("/board", HX_Request="true")
    return result


def history(ground: Ground, quick: bool) -> Iterator[Comparison]:
    urls = [ground.database("noted"), ground.database("not_noted")]
    with psycopg.connect(urls[1], autocommit=True) as connection:
        for trigger in HISTORY:
            connection.execute(f"ALTER TABLE todos DISABLE TRIGGER {trigger}".encode())
    with FastZero(urls[0], autocommit=True) as noted, FastZero(urls[1], autocommit=True) as plain:
        changes = [_changes(fz) for fz in (plain, noted)]
        for name in changes[0]:
            sides = [each[name] for each in changes]
            yield compare(f"{name}, noted in the history", "not noted", *sides, limit=1.3, runs=100 if quick else 1000)


def _changes(fz: FastZero) -> dict[str, Callable[[], object]]:
    todos = fz.todos(fz.users.add("ana", email="ana@example.com", password=PASSWORD))
    ids = [todo.id for todo in todos.add_many(NewTodo(f"Write {n}") for n in range(100))]
    states, each = cycle(["doing", "done"]), cycle(ids)
    return {
        "add": lambda: todos.add("Write the report"),
        "move": lambda: todos.move(next(each), to=next(states)),
        "move of 100": lambda: todos.move(*ids, to=next(states)),
    }
