"""Undo and redo: every change can be taken back, and what others changed since is never overwritten."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from fastzero_core import FastZero, NewTodo, TodoState, User
from fastzero_core.errors import ConflictError, InvalidInputError, InvalidTokenError, NotFoundError
from fastzero_core.postgres.database import create_engine
from fastzero_core.todo_app.history import History
from fastzero_core.todo_app.models import Identity, Priority
from fastzero_core.todo_app.todos import Todos

PASSWORD = "correct horse"
CONTENT = "SELECT md5(string_agg(t::text, ',' ORDER BY user_id, id)) FROM todos t"
MANY_CHANGES = """
    DO $$ BEGIN
        FOR number IN 1..1200 LOOP
            UPDATE todos SET title = number, updated_at = clock_timestamp();
            COMMIT;
        END LOOP;
    END $$
"""
CHANGES_IN_TURN = """
    DO $$ DECLARE owner bigint;
    BEGIN
        FOR number IN 1..1200 LOOP
            FOR owner IN SELECT DISTINCT user_id FROM todos ORDER BY user_id LOOP
                UPDATE todos SET title = number, updated_at = clock_timestamp() WHERE user_id = owner;
                COMMIT;
            END LOOP;
        END LOOP;
    END $$
"""
TAGS = "SELECT md5(string_agg(t::text, ',' ORDER BY user_id, todo_id, tag)) FROM todo_tags t"


class Place:
    """A database with one user, where each call is a transaction, as a command or a request is."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        with FastZero(self.engine) as fz:
            self.ana = fz.users.add("ana", email="ana@example.com", password=PASSWORD)

    def run(self, operation: Callable[[Todos], Any]) -> Any:
        with FastZero(self.engine) as fz:
            return operation(fz.todos(self.ana))

    def undo(self, steps: int = 1) -> list[Any]:
        with FastZero(self.engine) as fz:
            return fz.history(self.ana).undo(steps)

    def redo(self, steps: int = 1) -> list[Any]:
        with FastZero(self.engine) as fz:
            return fz.history(self.ana).redo(steps)

    def log(self, limit: int = 20) -> list[Any]:
        with FastZero(self.engine) as fz:
            return fz.history(self.ana).log(limit)

    def sql(self, query: str) -> Any:
        with self.engine.begin() as connection:
            return connection.exec_driver_sql(query).fetchone()

    @property
    def content(self) -> Any:
        """Every field of every todo, and the tags by which they are found."""
        return (self.sql(CONTENT), self.sql(TAGS))


@pytest.fixture
def place(database_url: str) -> Iterator[Place]:
    place = Place(database_url)
    yield place
    place.engine.dispose()


def add(place: Place, title: str) -> None:
    place.run(lambda todos: todos.add(title))


def titles(place: Place) -> list[str]:
    return [todo.title for todo in place.run(lambda todos: todos.list())]


def test_a_new_todo_is_taken_back_and_comes_back_as_it_was(place: Place) -> None:
    todo = place.run(lambda todos: todos.add("Buy milk", tags=["home"], due="tomorrow", priority="high"))
    content = place.content
    [entry] = place.undo()
    assert (entry.added, entry.changed, entry.removed, entry.title, entry.undone) == (1, 0, 0, "Buy milk", True)
    assert titles(place) == []
    place.redo()
    assert place.content == content
    assert place.run(lambda todos: todos.get(todo.id)) == todo


CHANGES: dict[str, Callable[[Todos, int], Any]] = {
    "edit": lambda todos, id: todos.edit(id, title="Other", tags=["other"], due="none", priority="low"),
    "move": lambda todos, id: todos.move(id, to="done"),
    "trash": lambda todos, id: todos.trash(id),
    "remove": lambda todos, id: todos.remove(id),
    "place": lambda todos, id: todos.place(id, after=id + 1),
    "add many": lambda todos, id: todos.add_many([NewTodo("one"), NewTodo("two")]),
    "edit matching": lambda todos, id: todos.edit_matching({"state": "doing"}, states=["todo"]),
    "purge": lambda todos, id: (todos.trash(id, id + 1), todos.purge()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_one_entry_that_can_be_undone_and_redone(place: Place, change: str) -> None:
    first = place.run(lambda todos: todos.add("First", tags=["a", "b"], due="2026-12-24 18:00", description="x"))
    place.run(lambda todos: todos.add("Second"))
    before = place.content
    place.run(lambda todos: CHANGES[change](todos, first.id))
    after = place.content
    assert after != before
    assert len(place.log()) == 3
    place.undo()
    assert place.content == before
    place.redo()
    assert place.content == after
    place.undo()
    assert place.content == before


def change_at_random(todos: Todos, chance: random.Random) -> None:
    """Make one change, of a kind and of todos that are chosen at random. There are never many todos."""
    ids = [todo.id for todo in todos.list(limit=500)]
    chosen = chance.sample(ids, min(len(ids), chance.randint(1, 5)))
    text = str(chance.random())
    if len(ids) > 60:
        todos.trash(*ids[:40])
        todos.purge()
        return
    match chance.choice(["add", "add many", "edit", "edit", "move", "remove", "place", "purge"]):
        case "add many":
            todos.add_many([NewTodo(f"{text} {number}") for number in range(3)])
        case "edit" if chosen:
            todos.edit_many(chosen, title=text, tags=chance.sample("abcde", 1))
        case "move" if chosen:
            todos.move(*chosen, to=chance.choice([*TodoState]))
        case "remove" if chosen:
            todos.remove(chosen[0])
        case "place" if len(chosen) > 1:
            todos.place(chosen[0], before=chosen[1])
        case "purge":
            todos.purge()
        case _:
            todos.add(text, tags=chance.sample("abcde", 2), priority=chance.choice([*Priority]), due="tomorrow")


def test_1000_random_changes_are_undone_and_redone(place: Place) -> None:
    chance = random.Random(7)
    contents = [place.content]
    for _ in range(1000):
        place.run(lambda todos: change_at_random(todos, chance))
        if (content := place.content) != contents[-1]:
            contents.append(content)
    changes = len(contents) - 1
    assert changes > 700
    place.undo(changes - 1)
    assert place.content == contents[1]
    place.undo()
    assert place.content == contents[0]
    place.redo(changes)
    assert place.content == contents[-1]
    place.undo(500)
    assert place.content == contents[-501]


def test_a_change_ends_what_can_be_redone(place: Place) -> None:
    place.run(lambda todos: todos.add("First"))
    place.undo()
    place.run(lambda todos: todos.add("Second"))
    with pytest.raises(NotFoundError, match="there is nothing to redo"):
        place.redo()
    assert titles(place) == ["Second"]


def test_of_several_steps_all_are_undone_or_none(place: Place) -> None:
    for title in ("0", "1", "2"):
        add(place, title)
    assert [entry.title for entry in place.undo(2)] == ["2", "1"]
    assert titles(place) == ["0"]
    with pytest.raises(NotFoundError, match="only 1 of 2 changes are there"):
        place.undo(2)
    assert titles(place) == ["0"]
    assert [entry.title for entry in place.redo(2)] == ["1", "2"]


def test_a_change_that_the_history_does_not_know_is_never_overwritten(place: Place) -> None:
    todo = place.run(lambda todos: todos.add("First"))
    place.run(lambda todos: todos.edit(todo.id, title="Second"))
    place.sql(
        "WITH off AS (SELECT set_config('fastzero.entry', 'none', true))"
        " UPDATE todos SET title = 'Mine', updated_at = now() FROM off RETURNING 1"
    )
    with pytest.raises(ConflictError, match=f"todo {todo.id} was changed in another way"):
        place.undo()
    assert titles(place) == ["Mine"]


def test_what_changes_nothing_is_no_entry(place: Place) -> None:
    todo = place.run(lambda todos: todos.add("First"))
    place.run(lambda todos: todos.move(todo.id, to="todo"))
    assert len(place.log()) == 1


def test_the_log_tells_what_was_done(place: Place) -> None:
    todo = place.run(lambda todos: todos.add("First"))
    place.run(lambda todos: todos.add_many([NewTodo("a"), NewTodo("b")]))
    place.run(lambda todos: todos.move(todo.id, to="done"))
    place.run(lambda todos: todos.remove(todo.id))
    place.undo()
    told = [(entry.added, entry.changed, entry.removed, entry.title, entry.undone) for entry in place.log()]
    assert told == [
        (0, 0, 1, "First", True),
        (0, 1, 0, "First", False),
        (2, 0, 0, "a", False),
        (1, 0, 0, "First", False),
    ]
    assert [entry.added for entry in place.log(2)] == [0, 0]


def test_the_history_of_somebody_else_is_not_there(place: Place) -> None:
    place.run(lambda todos: todos.add("Ana's"))
    with FastZero(place.engine) as fz:
        bob = fz.users.add("bob", email="bob@example.com", password=PASSWORD)
        assert fz.history(bob).log() == []
    with pytest.raises(NotFoundError), FastZero(place.engine) as fz:
        fz.history(bob).undo()
    assert titles(place) == ["Ana's"]


def test_a_token_that_is_revoked_undoes_nothing(place: Place) -> None:
    place.run(lambda todos: todos.add("First"))
    revoked = Identity(place.ana.id, 99)
    for operation in (History.undo, History.redo, History.log):
        with pytest.raises(InvalidTokenError), FastZero(place.engine) as fz:
            operation(fz.history(revoked))
    assert titles(place) == ["First"]


def test_with_an_account_goes_its_history(place: Place) -> None:
    place.run(lambda todos: todos.add("First"))
    with FastZero(place.engine) as fz:
        fz.users.remove(place.ana.id)
    assert place.sql("SELECT count(*) FROM todo_history")[0] == 0


def test_about_the_newest_1000_entries_are_kept(place: Place, database_url: str) -> None:
    todo = place.run(lambda todos: todos.add("First"))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(MANY_CHANGES)
    kept = place.sql("SELECT count(DISTINCT entry) FROM todo_history")
    assert kept is not None
    assert 1000 <= kept[0] <= 1089
    assert place.undo(100)
    assert place.run(lambda todos: todos.get(todo.id)).title == "1100"


def test_the_history_of_a_user_who_gets_every_second_number_is_bounded_too(place: Place, database_url: str) -> None:
    with FastZero(place.engine) as fz:
        bob = fz.users.add("bob", email="bob@example.com", password=PASSWORD)
        fz.todos(bob).add("Bob's")
    place.run(lambda todos: todos.add("First"))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(CHANGES_IN_TURN)
    of_each = "SELECT count(DISTINCT entry) AS kept FROM todo_history GROUP BY user_id"
    least, most = place.sql(f"SELECT min(kept), max(kept) FROM ({of_each}) _")
    assert 1000 <= least <= most <= 1089


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_are_a_number_that_makes_sense(place: Place, steps: int) -> None:
    with pytest.raises(InvalidInputError, match="steps must be 1 to 1000"):
        place.undo(steps)


def test_a_library_undoes_in_its_own_block(fz: FastZero, ana: User) -> None:
    fz.todos(ana).add("First")
    fz.history(ana).undo()
    fz.todos(ana).add("Second")
    assert [todo.title for todo in fz.todos(ana).list()] == ["Second"]
    assert len(fz.history(ana).log()) == 1


def test_a_change_of_many_costs_as_much_in_a_session_that_changed_few(place: Place) -> None:
    """PostgreSQL plans the statements of a function once per session: for few rows, if these come first."""
    ids = [todo.id for todo in place.run(lambda todos: todos.add_many(NewTodo(f"Write {n}") for n in range(3000)))]

    def of_all(todos: Todos, state: str) -> float:
        began = time.perf_counter()
        todos.move(*ids, to=state)
        return time.perf_counter() - began

    with FastZero(place.engine, autocommit=True) as fz:
        fresh = min(of_all(fz.todos(place.ana), state) for state in ("doing", "todo"))
    with FastZero(place.engine, autocommit=True) as fz:
        todos = fz.todos(place.ana)
        for state in ("doing", "todo") * 5:
            todos.move(ids[0], to=state)
        used = min(of_all(todos, state) for state in ("doing", "todo"))
    assert used < 5 * fresh


def test_a_todo_that_sql_gives_to_another_user_is_not_noted(place: Place, database_url: str) -> None:
    with FastZero(place.engine) as fz:
        bob = fz.users.add("bob", email="bob@example.com", password=PASSWORD)
        todo = fz.todos(place.ana).add("Write")
        before = fz.history(place.ana).log()
    with psycopg.connect(database_url, autocommit=True) as session:
        session.execute("UPDATE todos SET user_id = %s WHERE id = %s", [bob.id, todo.id])
    with FastZero(place.engine) as fz:
        assert [entry.entry for entry in fz.history(place.ana).log()] == [entry.entry for entry in before]
        assert fz.history(bob).log() == []
