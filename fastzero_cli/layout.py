"""Format records as text for a terminal: cells, columns that fit, ages and sizes. Prints nothing."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import zip_longest
from typing import Any

from fastzero_core.formats import Record

from .columns import Column
from .style import symbols

STATE_STYLES = {
    "draft": "dim",
    "todo": "cyan",
    "doing": "yellow",
    "done": "green",
    "trash": "dim red",
    "running": "green",
    "stopped": "yellow",
    "unhealthy": "red",
    "absent": "dim",
    "current": "green",
    "pending": "yellow",
    "ok": "green",
    "fixed": "green",
    "warning": "yellow",
    "failed": "red",
    "high": "red",
    "medium": "yellow",
    "low": "cyan",
}
_CODES = {"dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
STATE_CODES = {state: ";".join(map(_CODES.__getitem__, style.split())) for state, style in STATE_STYLES.items()}
NUMBERS = ("number", "count", "bytes", "share")
GAP = 2  # cells between columns
MIN_FLEXIBLE = 8  # cells; a narrower title is not readable
MIN_WHOLE = 16
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
JUST_NOW = 5  # seconds
DAY = 86_400
NEAR_DAYS = {-1: "yesterday", 0: "today", 1: "tomorrow"}
CLOSED = ("done", "trash")
AGES = ((31_536_000, "y"), (2_592_000, "mo"), (604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "min"))


Texts = Mapping[str, Sequence[str]]
"""The texts of a batch of rows: those of each column by its field."""


def texts_of(rows: Sequence[Record], columns: Sequence[Column]) -> Texts:
    return {column.field: [cell(row, column) for row in rows] for column in columns}


def lines_of(texts: Texts, columns: Sequence[Column], widths: Mapping[str, int], color: bool) -> Iterator[str]:
    """Yield the rows of a table, each of one line or more, without spaces at their ends."""
    for row in zip(*(texts[column.field] for column in columns), strict=True):
        parts = [_parts(text, column, widths[column.field]) for text, column in zip(row, columns, strict=True)]
        lines = zip_longest(*parts, fillvalue="")
        yield "\n".join(_line(cells, columns, widths, color) for cells in lines)


def code_of(text: str, column: Column) -> str:
    """Return the colour of a cell as an ANSI code."""
    if column.kind == "due":
        return due_code(text)
    return STATE_CODES.get(text, "") if column.kind in ("state", "priority") else ""


def header_of(columns: Sequence[Column], widths: Mapping[str, int], color: bool) -> str:
    line = _line([column.title for column in columns], columns, widths, False)
    return colored(line, "1" if color else "")


def colored(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _parts(text: str, column: Column, width: int) -> list[str]:
    """Return the lines of a cell."""
    return folded(text, width) if column.whole else [shortened(text, width)]


def _line(texts: Sequence[str], columns: Sequence[Column], widths: Mapping[str, int], color: bool) -> str:
    cells = (_aligned(text, column, widths[column.field], color) for text, column in zip(texts, columns, strict=True))
    return (" " * GAP).join(cells).rstrip()


def _aligned(text: str, column: Column, width: int, color: bool) -> str:
    missing = width - cells_of(text)
    filled = colored(text, code_of(text, column) if color else "")
    return " " * missing + filled if column.kind in NUMBERS else filled + " " * missing


def shortened(text: str, width: int) -> str:
    """Return a text, or its start with an ellipsis if it is wider than `width` cells."""
    if cells_of(text) <= width:
        return text
    from rich.cells import set_cell_size

    ellipsis = symbols("…")[:width]
    return set_cell_size(text, width - len(ellipsis)) + ellipsis


def cells_of(text: str) -> int:
    """Return the columns that a text takes on a terminal, without its colours."""
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fitting(
    texts: Texts, columns: Sequence[Column], header: bool, room: int
) -> tuple[list[Column], dict[str, int] | None]:
    """Return the columns to show, without spare ones if necessary, and their widths; None if a table does not fit."""
    shown = list(columns)
    while (widths := widths_of(texts, shown, header, room)) is None:
        spare = [column for column in shown if column.spare]
        if not spare:
            return list(columns), None
        shown.remove(spare[-1])
    return shown, widths


def widths_of(
    texts: Texts, columns: Sequence[Column], header: bool, room: int, before: Mapping[str, int] | None = None
) -> dict[str, int] | None:
    """Return the columns' widths in cells: as wide as their content, flexible ones as wide as the remaining room.

    Only a flexible column gets narrower than `before`. Returns None if the room is too small for a readable table.
    """
    least = {column.field: len(column.title) if header else 1 for column in columns} | dict(before or {})
    widths = {column.field: max([least[column.field], *map(cells_of, texts[column.field])]) for column in columns}
    excess = sum(widths.values()) + GAP * (len(columns) - 1) - room
    for column in columns:
        if column.flexible and excess > 0:
            narrowed = max(MIN_WHOLE if column.whole else MIN_FLEXIBLE, widths[column.field] - excess)
            excess -= max(0, widths[column.field] - narrowed)
            widths[column.field] = min(narrowed, widths[column.field])
    return None if excess > 0 else widths


def cell(row: Record, column: Column) -> str:
    value = row.get(column.field)
    match column.kind:
        case "age" | "duration" | "until":
            return when(value, column.kind) if value else ""
        case "count" if value is not None:
            return f"{value:,}"
        case "bytes" if value is not None:
            return size(value)
        case "share" if value is not None:
            return f"{value:.0%}"
        case "due":
            return due_text(row)
        case "priority" if value == "none":
            return ""
    return plain_text(value)


def plain_text(value: Any, *, multiline: bool = False) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        value = [f"{key}={each}" for key, each in value.items()]
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return printable(str(value), keep="\n" if multiline else "")


def size(count: int) -> str:
    """Return a number of bytes in a short form."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def printable(text: str, keep: str = "") -> str:
    """Return text with control characters replaced: a title must not move the cursor or change colours."""
    if text.isprintable():
        return text
    return "".join(
        character if character in keep or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp") else "\ufffd"
        for character in text
    )


def for_terminal(text: str) -> str:
    """Return untrusted text safe for a terminal: keep lines and tabs, remove colours, replace control characters."""
    lines = _COLOUR.sub("", text).split("\r\n")  # moves the cursor only to the next line
    return "\r\n".join(printable(line, keep="\n\t") for line in lines)


def escaped(text: str) -> str:
    """Return text with every invisible character escaped, so that users see all of what they consent to."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def when(moment: str, kind: str = "age") -> str:
    """Return a time relative to now: `5 min ago`; as a duration `5 min`; for a time in the future `in 5 min`."""
    elapsed = (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    if kind == "until":
        return f"in {_length(-elapsed)}" if elapsed < 0 else f"{_length(elapsed)} ago"
    if elapsed < JUST_NOW:
        return "now" if kind == "age" else f"{max(0, int(elapsed))} s"
    return f"{_length(elapsed)} ago" if kind == "age" else _length(elapsed)


def due_text(row: Record) -> str:
    """Return when a todo is due: relative to now, a day in days; of a todo that is closed, the date."""
    value = row["due"]
    if not value:
        return ""
    if row["state"] in CLOSED:
        return str(value)[:10]
    if len(value) > len("2026-12-24"):
        return when(value, "until")
    days = (date.fromisoformat(value) - datetime.now().astimezone().date()).days
    if days in NEAR_DAYS:
        return NEAR_DAYS[days]
    return f"in {_length(days * DAY)}" if days > 0 else f"{_length(-days * DAY)} ago"


def due_code(text: str) -> str:
    """Return the colour of a due date as an ANSI code: red if it is over, yellow if it is today."""
    if text == "yesterday" or text.endswith(" ago"):
        return _CODES["red"]
    is_near = text == "today" or re.fullmatch(r"in \d+ (s|min|h)", text)
    return _CODES["yellow"] if is_near else ""


def moment(value: str) -> str:
    """Return a time to the second, in UTC."""
    return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _length(seconds: float) -> str:
    for length, unit in AGES:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def wrapped(text: str, columns: int, indent: str = "  ") -> list[str]:
    """Return untrusted text as indented lines that fit."""
    width = max(MIN_FLEXIBLE, columns - 1 - len(indent))
    lines = printable(text, keep="\n").splitlines()
    return [f"{indent}{part}".rstrip() for line in lines for part in folded(line, width)]


def folded(text: str, width: int, *, chop: bool = True) -> list[str]:
    """Return a text as lines of at most `width` cells, broken at spaces; with `chop` also within longer words."""
    if cells_of(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        if not line or cells_of(line) + 1 + cells_of(word) <= width:
            line = f"{line} {word}" if line else word
        else:
            lines.append(line)
            line = word
        if chop and cells_of(line) > width:
            *whole, line = _chopped(line, width)
            lines += whole
    return [*lines, line]


def _chopped(word: str, width: int) -> list[str]:
    from rich.cells import chop_cells

    return chop_cells(word, width)


def fields_of(pairs: Sequence[tuple[str, str, str]], room: int, color: bool) -> Iterator[str]:
    """Yield the lines of one record: each title, its value, wrapped, and the colour of the value as an ANSI code."""
    first = max((len(title) for title, *_ in pairs), default=0)
    for title, value, code in pairs:
        lines = [part for line in value.split("\n") for part in folded(line, max(MIN_FLEXIBLE, room - first - GAP))]
        heading = colored(title, "1" if color else "") + " " * (first - len(title))
        for line in lines:
            shown = f"{heading}{' ' * GAP}{colored(line, code if color else '')}"
            yield shown.rstrip()
            heading = " " * first
