"""The full-screen board: what keys do, and the screen after it."""

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Input, Static

from fastzero_core.errors import FastZeroError
from fastzero_core.todo_app.models import TodoChanges, TodoState

from ..history import verdict
from ..layout import for_terminal, printable, shortened
from ..style import DETAIL, symbols
from . import keys
from .drawing import summary
from .performing import Performing
from .store import Operations, Store
from .widgets import BoardView, Form, Help, Prompt, told

if TYPE_CHECKING:
    from fastzero_core import Todo


EVERY = 1.5  # seconds between two looks at what has changed elsewhere
ADD, SEARCH = "add", "search"


class BoardApp(Performing):
    """The board of one user's todos."""

    CSS_PATH = "board.tcss"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, store: Store, username: str, *, every: float = EVERY) -> None:
        super().__init__(store)
        self.theme = "ansi-dark"  # the terminal's own colours, so that light backgrounds work too
        self._username, self._every = username, every

    def compose(self) -> ComposeResult:
        yield Static(id="heading")
        yield BoardView(self.board, self._select)
        yield Static(id="summary")
        yield Prompt()
        yield Static(id="status")

    def on_mount(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM)
        self.query_one(BoardView).focus()
        self._look()
        self.set_interval(self._every, self._look_again)

    # -- keys --------------------------------------------------------------------------------------------------

    def action_move(self, columns: int) -> None:
        """Move the selected todo to a column on the right or left."""

        def moved(todo: "Todo", operations: Operations) -> str:
            state = self.board.beside(todo.id, columns)
            if state is None:
                return ""
            operations.todos.move(todo.id, to=state)
            return f"Todo {todo.id} moved to {state}"

        self._change_selected(moved)

    def action_place(self, rows: int) -> None:
        """Place the selected todo below the next one of its column, or above the previous one."""

        def placed(todo: "Todo", operations: Operations) -> str:
            other = self.board.neighbour(todo.id, rows)
            if other is None or other.state in (TodoState.DONE, TodoState.TRASH):  # which are in the order of time
                return ""
            operations.todos.place(todo.id, **{"after" if rows > 0 else "before": other.id})
            return f"Todo {todo.id} placed"

        self._change_selected(placed)

    def action_trash(self) -> None:
        def trashed(todo: "Todo", operations: Operations) -> str:
            operations.todos.trash(todo.id)
            return f"Todo {todo.id} moved to the trash{DETAIL}{todo.title}"

        self._change_selected(trashed)

    def action_undo(self) -> None:
        self._change(lambda operations: DETAIL.join(verdict(operations.history.undo(), "undone")))

    def action_redo(self) -> None:
        self._change(lambda operations: DETAIL.join(verdict(operations.history.redo(), "redone")))

    def action_add(self) -> None:
        if self.board.states:
            self.query_one(Prompt).open(f"New in {self.board.state}:", ADD)

    def action_search(self) -> None:
        self.query_one(Prompt).open("Search:", SEARCH, self._search)

    def action_edit(self) -> None:
        if todo := self.board.selected:
            self.push_screen(Form(todo, partial(self._save, todo.id)))

    def action_help(self) -> None:
        self.push_screen(Help())

    # -- typing ------------------------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input is self.query_one(Prompt).input and self.query_one(Prompt).purpose == SEARCH:
            self._search = event.value.strip()
            self._look()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        prompt = self.query_one(Prompt)
        if event.input is not prompt.input:
            return
        if prompt.purpose == SEARCH:
            prompt.close()
            self.run_worker(self._find())
        elif event.value.strip():
            self.run_worker(self._add(event.value, self.board.state))
        else:
            prompt.close()

    async def _add(self, title: str, state: str) -> None:
        """Add a todo. If that fails, the title stays in the prompt."""
        try:
            added = await self._perform(lambda operations: operations.todos.add(title, state=state))
        except FastZeroError as error:
            self._say(told(error), is_error=True)
            return
        self.query_one(Prompt).close()
        self.board.select(added.id)
        self._say(f"Todo {added.id} added")

    async def _find(self) -> None:
        """Select a todo that was found, after the search."""
        async with self._turn:
            self.board.go_to_cards()
            self._select()

    async def _save(self, id: int, changes: TodoChanges) -> None:
        """Save what was changed in the form. Raises FastZeroError."""
        await self._perform(lambda operations: operations.todos.edit(id, **changes))
        self.board.select(id)
        self._say(f"Todo {id} changed")

    # -- operations --------------------------------------------------------------------------------------------

    def _change_selected(self, operation: "Callable[[Todo, Operations], str]") -> None:
        if todo := self.board.selected:
            self._change(partial(operation, todo))

    # -- the screen --------------------------------------------------------------------------------------------

    def _select(self) -> None:
        """Show that another card is selected. What was said is about the one before."""
        self._say("")

    def _redraw(self) -> None:
        screen = self.screen_stack[0]
        view, todo, width = screen.query_one(BoardView), self.board.selected, self.size.width
        view.refresh()
        screen.query_one("#heading", Static).update(self._heading(width))
        screen.query_one("#summary", Static).update(Text.from_ansi("\n".join(summary(todo, width)) if todo else ""))
        is_error = bool(self._offline) or self._is_error
        status = Text(for_terminal(self._offline or self._said or shortened(keys.HINTS, width)))
        status.stylize("bold red" if is_error else "" if self._said else "dim")
        screen.query_one("#status", Static).update(status)

    def _heading(self, width: int) -> Text:
        """Return whose todos these are, the search, and the columns that do not fit."""
        left, right = self.screen_stack[0].query_one(BoardView).drawing.hidden(self.board, width)
        parts = [f"Todos of {printable(self._username)}"]
        parts += [f"search: {printable(self._search)}"] if self._search else []
        parts += [f"< {' '.join(left)}"] if left else []
        parts += [f"{' '.join(right)} >"] if right else []
        return Text(shortened(symbols(DETAIL).join(parts), width), "bold")
