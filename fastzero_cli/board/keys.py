"""The keys of the board and what each does: the bindings, and the text of its help."""

from typing import NamedTuple


class Key(NamedTuple):
    """Keys as Textual names them, separated by commas; an action; and what it does."""

    keys: str
    action: str
    help: str


BOARD = (
    Key("h,left", "go(-1, 0)", "Go to the column on the left"),
    Key("j,down", "go(0, 1)", "Go down"),
    Key("k,up", "go(0, -1)", "Go up"),
    Key("l,right", "go(1, 0)", "Go to the column on the right"),
    Key("g,home", "go(0, -1000)", "Go to the first todo"),
    Key("G,end", "go(0, 1000)", "Go to the last todo"),
    Key("ctrl+d,pagedown", "go(0, 10)", "Go 10 down"),
    Key("ctrl+u,pageup", "go(0, -10)", "Go 10 up"),
    Key("H,shift+left", "app.move(-1)", "Move the todo to the column on the left"),
    Key("L,shift+right", "app.move(1)", "Move the todo to the column on the right"),
    Key("J,shift+down", "app.place(1)", "Place the todo further down"),
    Key("K,shift+up", "app.place(-1)", "Place the todo further up"),
    Key("a,n", "app.add", "Add a todo to this column"),
    Key("e,enter", "app.edit", "Edit all fields of the todo"),
    Key("x,d,delete", "app.trash", "Move the todo to the trash"),
    Key("u", "app.undo", "Undo the last change, whatever it was made with"),
    Key("ctrl+r", "app.redo", "Redo what was undone"),
    Key("slash", "app.search", "Search titles and descriptions; nothing shows all"),
    Key("question_mark", "app.help", "Show the keys"),
    Key("q", "app.quit", "Quit"),
)
FORM = (
    Key("ctrl+s", "save", "Save"),
    Key("escape", "cancel", "Cancel"),
)
HINTS = "? keys  a add  e edit  H/L move  x trash  u undo  / search  q quit"
_NAMES = {
    "slash": "/",
    "question_mark": "?",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "ctrl+": "Ctrl+",
    "shift+": "Shift+",
}


def help_lines() -> list[str]:
    """Return a line for each key of the board."""
    named = [(" ".join(map(name_of, key.keys.split(","))), key.help) for key in BOARD]
    first = max(len(keys) for keys, _ in named)
    return [f"{keys:<{first}}  {help}" for keys, help in named]


def name_of(key: str) -> str:
    """Return a key as a person knows it."""
    parts = (part if len(part) == 1 else _NAMES.get(part, part.capitalize()) for part in key.split("+"))
    return "+".join(parts)
