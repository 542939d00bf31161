"""The parts of the screen: the board, the line at its bottom where users type, and the two dialogs."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Label, Static, TextArea

from fastzero_core.errors import FastZeroError
from fastzero_core.formats import as_dict
from fastzero_core.todo_app.due import as_typed
from fastzero_core.todo_app.models import Priority, TodoChanges, TodoState

from ..layout import for_terminal, printable
from . import keys
from .drawing import Drawing
from .selection import Board

if TYPE_CHECKING:
    from fastzero_core import Todo


def bindings(of: tuple[keys.Key, ...]) -> list[Any]:
    """Return bindings with priority: they act before the next key is read, so that it goes to what they have opened."""
    return [Binding(*key, show=False, priority=True) for key in of]


class BoardView(Widget, can_focus=True):
    """The columns. Has the keys of the board while the user types nothing."""

    BINDINGS = bindings(keys.BOARD)

    def __init__(self, board: Board, selected: Callable[[], None]) -> None:
        super().__init__()
        self.drawing = Drawing()
        self._board, self._selected = board, selected

    def render(self) -> Text:
        lines = self.drawing.lines(self._board, *self.size)
        return Text.from_ansi("\n".join(lines), no_wrap=True, end="")

    def action_go(self, columns: int, rows: int) -> None:
        self._board.go(columns, rows)
        self._selected()

    def on_click(self, event: events.Click) -> None:
        if place := self.drawing.card_at(event.x, event.y):
            self._board.column, self._board.row = place
            self._selected()

    def on_mouse_scroll_down(self) -> None:
        self.action_go(0, 1)

    def on_mouse_scroll_up(self) -> None:
        self.action_go(0, -1)


class Prompt(Horizontal):
    """A line in which the user types a title or a search, while it is open."""

    BINDINGS = [Binding("escape", "close", show=False)]  # noqa: RUF012 - as Textual declares it

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._label, self.input = Label(), Input(compact=True)

    def compose(self) -> ComposeResult:
        yield self._label
        yield self.input

    def open(self, label: str, name: str, text: str = "") -> None:
        """Open it for a purpose, which is the `id` of the events of its input."""
        self._label.update(f"{label} ")
        self.purpose = name
        with self.input.prevent(Input.Changed):
            self.input.value = text
        self.input.cursor_position = len(text)
        self.display = True
        self.screen.set_focus(self.input)  # at once, for the next key

    def action_close(self) -> None:
        self.close()

    def close(self) -> None:
        self.display = False
        self.screen.set_focus(self.screen.query_one(BoardView))


class Help(ModalScreen[None]):
    """The keys of the board."""

    BINDINGS = [Binding("escape,q,enter,question_mark", "dismiss", show=False)]  # noqa: RUF012

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Label("Keys", classes="title")
            yield Static("\n".join(keys.help_lines()), markup=False)
            yield Label("Escape closes this", classes="hint")


FIELDS: dict[str, tuple[str, list[str]]] = {
    "title": ("", []),
    "state": (" | ".join(TodoState), [*TodoState]),
    "priority": (" | ".join(Priority), [*Priority]),
    "due": ("fri, +3d, 2026-12-24, 2026-12-24 18:00 or none", ["today", "tomorrow", "none"]),
    "tags": ("separated by spaces", []),
}


class Form(ModalScreen[None]):
    """The fields of a todo. `save` gets the fields that the user has changed, and the form stays open if it fails."""

    BINDINGS = bindings(keys.FORM)

    def __init__(self, todo: "Todo", save: Callable[[TodoChanges], Awaitable[None]]) -> None:
        super().__init__()
        self._todo, self._save = todo, save

    def compose(self) -> ComposeResult:
        texts = texts_of(self._todo)
        with Vertical(classes="dialog"):
            yield Label(f"Todo {self._todo.id}", classes="title")
            for name, (placeholder, choices) in FIELDS.items():
                suggester = SuggestFromList(choices) if choices else None
                with Horizontal(classes="field"):
                    yield Label(name)
                    yield Input(
                        texts[name], placeholder, id=name, suggester=suggester, compact=True, select_on_focus=False
                    )
            with Vertical(classes="field", id="wide"):
                yield Label("description")
                yield TextArea(texts["description"], id="description", compact=True)
            yield Label("Enter or Ctrl+S saves, Tab goes to the next field, Escape cancels", classes="hint")
            yield Static(id="problem", markup=False)

    def on_mount(self) -> None:
        self._before = self._texts()  # as the widgets return them, which change line ends

    def on_input_submitted(self) -> None:
        self.action_save()

    def action_cancel(self) -> None:
        self.dismiss()

    def action_save(self) -> None:
        self.run_worker(self._try(), exclusive=True)

    async def _try(self) -> None:
        if changes := changes_of(self._before, self._texts()):
            try:
                await self._save(changes)
            except FastZeroError as error:
                self.query_one("#problem", Static).update(told(error))
                return
        self.dismiss()

    def _texts(self) -> dict[str, str]:
        texts = {name: self.query_one(f"#{name}", Input).value for name in FIELDS}
        return {**texts, "description": self.query_one(TextArea).text}


def texts_of(todo: "Todo") -> dict[str, str]:
    """Return the fields of a todo as users type them."""
    fields = as_dict(todo)
    return {
        **{name: printable(fields[name]) for name in ("title", "state", "priority")},
        "description": todo.description,
        "due": as_typed(todo.due),
        "tags": " ".join(todo.tags),
    }


def changes_of(before: dict[str, str], after: dict[str, str]) -> TodoChanges:
    """Return the fields that differ, for the core: of tags those that are new or gone, so that others are kept."""
    changes: Any = {name: text for name, text in after.items() if text != before[name]}
    if "tags" in changes:
        old, new = ({*texts["tags"].replace(",", " ").split()} for texts in (before, after))
        del changes["tags"]
        changes |= {"add_tags": sorted(new - old)} if new - old else {}
        changes |= {"remove_tags": sorted(old - new)} if old - new else {}
    if not changes.get("due", "-").strip():
        changes["due"] = "none"
    return cast("TodoChanges", changes)


def told(error: FastZeroError) -> str:
    """Return an error with its remedy in one line."""
    return for_terminal(f"Error: {error.message}" + (f". {error.hint}" if error.hint else ""))
