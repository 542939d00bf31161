"""`fastzero todo board`: driven by keys, on a screen that is not shown, and once at a real terminal."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from rich.cells import cell_len

pytest.importorskip("textual", reason="the board needs the extra `tui`")

from textual.pilot import Pilot
from textual.widgets import Input, Static, TextArea

from fastzero_cli.board.app import BoardApp
from fastzero_cli.board.store import Store
from fastzero_cli.board.widgets import BoardView, Form, Help, Prompt
from fastzero_core import FastZero, NewTodo, Todo, User

from .conftest import Run
from .shell import PATIENCE, Terminal

SHOWN = ["draft", "todo", "doing", "done"]
LONG_LOCK = "?options=-c%20lock_timeout%3D30s"


class Screen:
    """A board that is open, of a user, and keys to press."""

    def __init__(self, app: BoardApp, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self._pilot.press(*text)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{self.board}\n{self.status}"
            await self._pilot.pause(0.01)

    @property
    def lines(self) -> list[str]:
        view = self.app.screen_stack[0].query_one(BoardView)
        return [line.rstrip() for line in view.render().plain.split("\n")]

    @property
    def board(self) -> str:
        return "\n".join(self.lines)

    @property
    def selected(self) -> str:
        todo = self.app.board.selected
        return todo.title if todo else ""

    def text(self, part: str) -> str:
        return str(self.app.screen_stack[0].query_one(f"#{part}", Static).content)

    @property
    def status(self) -> str:
        return self.text("status")

    async def click(self, x: int, y: int) -> None:
        await self._pilot.click(BoardView, offset=(x, y))


Play = Callable[..., None]


@pytest.fixture
def play(database: str, ana: User) -> Play:
    """Opens ana's board, waits until it shows her todos, and does what a function does with it."""

    def open_and(
        use: Callable[[Screen], Awaitable[None]],
        *,
        size: tuple[int, int] = (80, 24),
        every: float = 60,
        options: str = "",
        **filters: Any,
    ) -> None:
        async def run() -> None:
            store = Store(database + options, ana.id, {"states": SHOWN, **filters})  # type: ignore[typeddict-item]
            app = BoardApp(store, "ana", every=every)
            async with app.run_test(size=size) as pilot:
                screen = Screen(app, pilot)
                await screen.until(lambda: app.board.columns)
                await use(screen)

        asyncio.run(run())

    return open_and


@pytest.fixture
def add(database: str, ana: User) -> Callable[..., Todo]:
    def add_todo(title: str, **fields: Any) -> Todo:
        with FastZero(database) as fz:
            return fz.todos(ana).add(title, **fields)

    return add_todo


@pytest.fixture
def saved(database: str, ana: User) -> Callable[[], dict[str, str]]:
    """The states of all todos by their titles, in the order made by hand."""

    def read() -> dict[str, str]:
        with FastZero(database) as fz:
            return {todo.title: str(todo.state) for todo in fz.todos(ana).list(sort="position")}

    return read


Saved = Callable[[], dict[str, str]]
Add = Callable[..., Todo]


def test_it_shows_what_the_list_as_a_board_shows(play: Play, add: Add, fastzero: Run) -> None:
    add("Write the report", priority="high", due="yesterday", tags=["work", "q3"])
    add("Call home", state="doing", due="+5d")
    add("Paid", state="done", due="2026-11-01")

    listed = fastzero("todo", "list", "--board", "--color", "never", terminal=80).out

    async def use(screen: Screen) -> None:
        assert screen.board.rstrip() == listed.rstrip()
        assert (screen.text("heading"), screen.status[:6]) == ("Todos of ana", "? keys")

    play(use)


def test_colours_are_those_of_the_list(play: Play, add: Add) -> None:
    add("Another, which is selected")
    add("Write the report", priority="high")

    async def use(screen: Screen) -> None:
        text = screen.app.query_one(BoardView).render()
        assert [str(span.style) for span in text.spans if text.plain[span.start : span.end] == "high"] == ["color(1)"]

    play(use)


@pytest.mark.parametrize("keys", ["hjkl", ["left", "down", "up", "right"]])
def test_one_goes_from_card_to_card_as_in_vim_or_by_arrows(keys: list[str], play: Play, add: Add) -> None:
    left, down, up, right = keys
    for title, state in (("a", "todo"), ("b", "todo"), ("c", "todo"), ("d", "draft"), ("e", "done")):
        add(title, state=state)

    async def use(screen: Screen) -> None:
        seen = [screen.selected]
        for key in (down, down, down, up, left, left, right, "G", "g", right, right):
            await screen.press(key)
            seen.append(screen.selected)
        assert seen == ["a", "b", "c", "c", "b", "d", "d", "a", "c", "a", "", "e"]

    play(use)


def test_a_click_selects_a_card(play: Play, add: Add) -> None:
    for number in range(3):
        add(f"card {number}", tags=["x"])

    async def use(screen: Screen) -> None:
        await screen.click(25, 4)  # the second line of the second card of the second column
        assert screen.selected == "card 1"
        await screen.click(25, 15)
        assert screen.selected == "card 1"

    play(use)


@pytest.mark.parametrize("keys", ["LH", ["shift+right", "shift+left"]])
def test_a_card_moves_to_the_column_beside_and_stays_selected(
    keys: list[str], play: Play, add: Add, saved: Saved
) -> None:
    add("first")
    add("second")

    async def use(screen: Screen) -> None:
        right, left = keys
        await screen.press("j", right, right, right)
        await screen.until(lambda: saved()["second"] == "done")
        await screen.until(lambda: screen.app.board.state == "done")
        assert screen.selected == "second"
        await screen.press(left)
        await screen.until(lambda: "Todo 2 moved to doing" in screen.status)
        assert saved()["second"] == "doing"

    play(use)


def test_a_card_is_placed_in_the_order_made_by_hand(play: Play, add: Add, saved: Saved) -> None:
    for title in "abc":
        add(title)

    async def use(screen: Screen) -> None:
        await screen.press("J")
        await screen.until(lambda: [*saved()] == ["b", "a", "c"])
        await screen.press("shift+down")
        await screen.until(lambda: [*saved()] == ["b", "c", "a"])
        await screen.press("K")
        await screen.until(lambda: [*saved()] == ["b", "a", "c"])
        await screen.until(lambda: screen.lines[1].split()[1] == "b")
        assert screen.selected == "a"

    play(use)


def test_a_todo_is_added_to_the_selected_column(play: Play, add: Add, saved: Saved) -> None:
    add("one")

    async def use(screen: Screen) -> None:
        await screen.press("l", "a")
        await screen.type("fix it: hjkl")  # keys of the board are letters here
        await screen.press("enter")
        await screen.until(lambda: screen.status == "Todo 2 added")
        assert saved() == {"one": "todo", "fix it: hjkl": "doing"}
        assert (screen.selected, screen.app.query_one(Prompt).display) == ("fix it: hjkl", False)
        await screen.press("n", "escape", "h")
        assert screen.selected == "one"

    play(use)


def test_all_fields_of_a_todo_are_edited(play: Play, add: Add, database: str) -> None:
    todo = add("Write", due="2026-12-24", tags=["a", "b"])

    async def use(screen: Screen) -> None:
        await screen.press("e")
        await screen.until(lambda: isinstance(screen.app.screen, Form) and screen.app.focused)
        form = screen.app.screen
        assert form.query_one("#due", Input).value == "2026-12-24"
        for name, text in (
            ("title", "Write it"),
            ("state", "doing"),
            ("priority", "low"),
            ("due", ""),
            ("tags", "b c"),
        ):
            form.query_one(f"#{name}", Input).value = text
        form.query_one(TextArea).text = "one\ntwo"
        await screen.press("ctrl+s")
        await screen.until(lambda: screen.status == "Todo 1 changed")
        assert screen.selected == "Write it"

    play(use)
    with FastZero(database) as fz:
        changed = fz.todos().get(todo.id)
    assert (changed.title, changed.state, changed.priority, changed.due, changed.tags, changed.description) == (
        "Write it", "doing", "low", None, ("b", "c"), "one\ntwo",
    )  # fmt: skip


def test_the_form_leaves_alone_what_the_user_did_not_change(play: Play, add: Add, database: str) -> None:
    todo = add("Write", tags=["a"], description="one\r\ntwo", due=datetime(2026, 12, 24, 18, 30, 15, tzinfo=UTC))

    async def use(screen: Screen) -> None:
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, Form) and screen.app.focused)
        with FastZero(database) as fz:
            fz.todos().edit(todo.id, priority="high", add_tags=["elsewhere"])
        await screen.type(" it")
        await screen.press("tab", "tab", "tab", "tab")
        await screen.type(" b")
        await screen.press("enter")
        await screen.until(lambda: not isinstance(screen.app.screen, Form))

    play(use)
    with FastZero(database) as fz:
        changed = fz.todos().get(todo.id)
    assert (changed.title, changed.priority, changed.tags) == ("Write it", "high", ("a", "b", "elsewhere"))
    assert (changed.description, changed.due) == (todo.description, todo.due)


def test_the_trash_undo_and_redo(play: Play, add: Add, saved: Saved) -> None:
    add("one")
    add("two")

    async def use(screen: Screen) -> None:
        await screen.press("x")
        await screen.until(lambda: screen.status == "Todo 1 moved to the trash · one")
        assert (saved()["one"], screen.selected) == ("trash", "two")
        await screen.press("u")
        await screen.until(lambda: "undone" in screen.status)
        assert (saved()["one"], screen.status) == ("todo", "1 change undone · changed: one")
        await screen.press("ctrl+r")
        await screen.until(lambda: "redone" in screen.status)
        assert saved()["one"] == "trash"

    play(use)


def test_a_search_shows_what_matches_and_selects_it(play: Play, add: Add) -> None:
    add("call home")
    add("buy milk", state="doing")

    async def use(screen: Screen) -> None:
        await screen.press("slash")
        await screen.type("MILK")
        await screen.until(lambda: "home" not in screen.board)
        await screen.press("enter")
        await screen.until(lambda: screen.selected == "buy milk")
        assert screen.text("heading") == "Todos of ana · search: MILK"
        await screen.press("slash", "ctrl+u", "enter")
        await screen.until(lambda: "home" in screen.board)

    play(use)


def test_it_shows_what_matches_the_filters_of_the_command(play: Play, add: Add) -> None:
    add("mine", tags=["work"])
    add("other")

    async def use(screen: Screen) -> None:
        assert ("mine" in screen.board, "other" in screen.board) == (True, False)

    play(use, tags=["work"])


def test_one_list_is_shown_and_added_to(add: Add, database: str, ana: User) -> None:
    add("of the inbox")
    with FastZero(database) as fz:
        fz.lists(ana).add("work")
    with Terminal("todo", "board", "-l", "work") as terminal:
        terminal.wait_for("todo 0")
        terminal.type("a")
        terminal.wait_for("New in todo")
        terminal.type("of work\r")
        terminal.wait_for("added")
        terminal.type("q")
        assert terminal.end().code == 0
    with FastZero(database) as fz:
        assert [todo.title for todo in fz.todos(ana, list="work").list()] == ["of work"]


def test_changes_from_elsewhere_appear_and_the_same_card_stays_selected(play: Play, add: Add, database: str) -> None:
    for title in "abc":
        add(title)

    async def use(screen: Screen) -> None:
        await screen.press("j")
        with FastZero(database) as fz:
            fz.todos().trash(1)
            fz.todos().add("from elsewhere", state="doing")
        await screen.until(lambda: "from elsewhere" in screen.board)
        assert ("1 a" in screen.board, screen.selected) == (False, "b")

    play(use, every=0.05)


def test_the_keys_are_shown(play: Play, add: Add) -> None:
    async def use(screen: Screen) -> None:
        await screen.press("question_mark")
        await screen.until(lambda: isinstance(screen.app.screen, Help) and screen.app.screen.query(Static))
        text = "\n".join(str(part.content) for part in screen.app.screen.query(Static))
        assert "H Shift+Left   Move the todo to the column on the left" in text
        assert "Ctrl+r         Redo what was undone" in text
        await screen.press("escape")
        await screen.until(lambda: not isinstance(screen.app.screen, Help))

    play(use)


# -- errors ----------------------------------------------------------------------------------------------------


def test_an_invalid_field_is_told_in_the_form_which_stays_open(play: Play, add: Add, saved: Saved) -> None:
    add("one")

    async def use(screen: Screen) -> None:
        await screen.press("e")
        await screen.until(lambda: isinstance(screen.app.screen, Form) and screen.app.focused)
        form = screen.app.screen
        form.query_one("#due", Input).value = "10/11/2026"
        await screen.press("enter")
        problem = form.query_one("#problem", Static)
        await screen.until(lambda: "invalid date '10/11/2026'" in str(problem.content))
        form.query_one("#due", Input).value = "tomorrow"
        await screen.press("enter")
        await screen.until(lambda: not isinstance(screen.app.screen, Form))

    play(use)


def test_an_invalid_title_stays_in_the_prompt(play: Play, saved: Saved) -> None:
    async def use(screen: Screen) -> None:
        await screen.press("a")
        screen.app.query_one(Prompt).input.value = "x" * 201
        await screen.press("enter")
        await screen.until(lambda: screen.status.startswith("Error: title"))
        screen.app.query_one(Prompt).input.value = "x"
        await screen.press("enter")
        await screen.until(lambda: saved() == {"x": "todo"})

    play(use)


def test_what_cannot_be_undone_and_what_is_gone_is_told(play: Play, add: Add, database: str) -> None:
    add("one")

    async def use(screen: Screen) -> None:
        await screen.press("ctrl+r")
        await screen.until(lambda: screen.status.startswith("Error: "))
        with FastZero(database) as fz:
            fz.todos().trash(1)
            fz.todos().purge()
        await screen.press("x")
        await screen.until(lambda: "todo 1 does not exist" in screen.status)

    play(use)


def test_the_screen_goes_on_while_the_database_does_not_answer(
    play: Play, add: Add, database: str, saved: Saved
) -> None:
    add("one")
    add("two")

    async def use(screen: Screen) -> None:
        with psycopg.connect(database) as lock:
            lock.execute("LOCK TABLE todos")
            await screen.press("x", "j")
            assert screen.selected == "two"
            await screen.press("L")
            assert "1 one" in screen.board
        await screen.until(lambda: saved() == {"one": "trash", "two": "doing"})

    play(use, options=LONG_LOCK)


def test_a_database_that_is_away_is_told_until_it_is_back(play: Play, add: Add, database: str) -> None:
    add("one")

    async def use(screen: Screen) -> None:
        with psycopg.connect(database) as lock:
            lock.execute("LOCK TABLE todos")
            await screen.until(lambda: screen.status.startswith("Error: "))
            assert "1 one" in screen.board
        await screen.until(lambda: screen.status.startswith("? keys"))

    play(use, every=0.05, options="?options=-c%20lock_timeout%3D100ms")


def test_quitting_waits_until_changes_are_saved(play: Play, add: Add, database: str, saved: Saved) -> None:
    add("one")

    async def use(screen: Screen) -> None:
        with psycopg.connect(database) as lock:
            lock.execute("LOCK TABLE todos")
            await screen.press("x", "q")
            assert screen.status == "Saving …"
        await screen.until(lambda: not screen.app.is_running)

    play(use, options=LONG_LOCK)
    assert saved() == {"one": "trash"}


def test_quitting_tells_first_that_a_change_failed(play: Play, add: Add, database: str) -> None:
    add("one")

    async def use(screen: Screen) -> None:
        with psycopg.connect(database) as lock:
            lock.execute("LOCK TABLE todos")
            await screen.press("x", "q")
            await screen.until(lambda: screen.status.startswith("Error: "))
        assert screen.app.is_running
        await screen.press("q")
        await screen.until(lambda: not screen.app.is_running)

    play(use, options="?options=-c%20lock_timeout%3D100ms")


def test_a_bug_ends_the_board_and_is_told_as_one(play: Play) -> None:
    async def use(screen: Screen) -> None:
        bug = ZeroDivisionError()

        def fail(_: object) -> str:
            raise bug

        screen.app._change(fail)
        await screen.until(lambda: not screen.app.is_running)
        assert screen.app.failure is bug

    play(use)


def test_sigterm_ends_it(play: Play) -> None:
    async def use(screen: Screen) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await screen.until(lambda: not screen.app.is_running)
        assert screen.app.return_code == 128 + signal.SIGTERM

    play(use)


# -- sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(20, 8), (50, 20), (80, 24), (120, 40), (250, 60)])
def test_it_fits_the_screen_and_shows_the_selected_card(
    size: tuple[int, int], play: Play, add: Add, ana: User, database: str
) -> None:
    with FastZero(database) as fz:
        fz.todos(ana).add_many(
            NewTodo(f"todo {number} " * 5, tags=["tag"] * (number % 2), due="today" if number % 3 else None)
            for number in range(30)
        )
    add("日本語" * 20, state="draft")
    add("done", state="done")

    async def use(screen: Screen) -> None:
        columns, rows = screen.app.query_one(BoardView).size
        for key in ("G", "k", "k", "g", "j", "h", "l", "l", "l", "h"):
            await screen.press(key)
            assert len(screen.lines) <= rows
            assert max(map(cell_len, screen.lines)) <= columns
            if todo := screen.app.board.selected:
                assert re.search(rf"(?m)(^|  ){todo.id} ", screen.board)

    play(use, size=size)


def test_columns_that_do_not_fit_are_named_and_reached(play: Play, add: Add) -> None:
    add("far away", state="done")

    async def use(screen: Screen) -> None:
        assert screen.text("heading") == "Todos of ana · doing done >"
        await screen.press("l", "l")
        assert screen.text("heading") == "Todos of ana · < draft todo"
        assert "far away" in screen.board

    play(use, size=(50, 20))


def test_a_title_cannot_steer_the_terminal(play: Play, add: Add) -> None:
    add("red \x1b[31m\x9b2J [bold]x[/bold]")

    async def use(screen: Screen) -> None:
        assert "\x1b" not in screen.board
        assert "[bold]" in screen.text("summary")
        await screen.press("x")
        await screen.until(lambda: "trash" in screen.status)
        assert "\x1b" not in screen.status

    play(use, size=(200, 24))


# -- the command -----------------------------------------------------------------------------------------------


def test_it_needs_a_terminal(ana: User, fastzero: Run) -> None:
    refused = fastzero("todo", "board")
    assert (refused.code, refused.err.splitlines()[0]) == (2, "Error: the board needs a terminal")
    assert "fastzero todo list --board" in refused.err


def test_without_textual_it_says_how_to_install_it(ana: User, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual", None)
    refused = fastzero("todo", "board")
    assert refused.code == 6
    assert refused.err.splitlines()[:2] == [
        "Error: the board needs Textual",
        "Hint: Install it: pip install 'fastzero[tui]'",
    ]


def test_at_a_terminal_it_takes_the_screen_and_gives_it_back(add: Add, saved: Saved) -> None:
    add("Write the report", priority="high")
    with Terminal("todo", "board") as terminal:
        terminal.wait_for("Write the report")
        terminal.type("L")
        terminal.wait_for("moved to doing")
        terminal.type("q")
        result = terminal.end()
    assert (result.code, saved()) == (0, {"Write the report": "doing"})
    assert result.out.index("\x1b[?1049h") < result.out.index("Write") < result.out.index("\x1b[?1049l")
    assert "31" in codes_of(result.out)


def test_ctrl_c_interrupts_it(add: Add) -> None:
    add("Write the report")
    with Terminal("todo", "board") as terminal:
        terminal.wait_for("Write the report")
        terminal.type("\x03")
        result = terminal.end()
    assert result.code == 130
    assert "Traceback" not in result.out


@pytest.mark.parametrize(("words", "environment"), [((), {"NO_COLOR": "1"}), (("--color", "never"), {})])
def test_it_has_no_colours_where_none_are_wanted(words: tuple[str, ...], environment: dict[str, str], add: Add) -> None:
    add("Write the report", priority="high", due="yesterday")
    with Terminal("todo", "board", *words, environment=environment) as terminal:
        terminal.wait_for("yesterday")
        terminal.type("q")
        result = terminal.end()
    assert not codes_of(result.out) & {str(code) for code in (*range(30, 39), *range(40, 49), *range(90, 98))}


def codes_of(text: str) -> set[str]:
    """The codes of colours and styles in what was written to a terminal."""
    return {code for found in re.findall(r"\x1b\[([0-9;]+)m", text) for code in found.split(";")}


def test_an_unknown_user_is_told_before_the_screen_is_taken(add: Add) -> None:
    with Terminal("todo", "board", "-u", "bob") as terminal:
        result = terminal.end()
    assert result.code == 3
    assert "\x1b[?1049h" not in result.out
