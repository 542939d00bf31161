"""Print all output: results to stdout, and messages for the user through `messages` and `progress`.

Names, log lines and errors come from untrusted servers, manifests and files, so text for a person does not contain
their control characters. Text for a program, in a pipe, is exact; JSON escapes such characters.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any

from fastzero_core import formats
from fastzero_core.events import ActionDone, ActionStarted, Event, Notice, Progress, RevisionApplied
from fastzero_core.formats import Record, as_dict

from . import messages, style
from .columns import Column
from .layout import (
    cell,
    code_of,
    due_text,
    fields_of,
    fitting,
    for_terminal,
    header_of,
    lines_of,
    moment,
    plain_text,
    texts_of,
    when,
    widths_of,
    wrapped,
)
from .progress import LIVE, Steps
from .streams import guarded

if TYPE_CHECKING:
    from fastzero_core.stack.lines import LogLine

BATCH = 200  # rows to format at a time; the first ones determine the columns


class Renderer:
    """Print in one format. `output` None means a table on a terminal and TSV elsewhere."""

    def __init__(self, output: str | None, *, quiet: bool = False) -> None:
        self.output = output or ("table" if sys.stdout.isatty() else "tsv")
        self._quiet = quiet
        self._steps = Steps(quiet=quiet)

    # -- results -----------------------------------------------------------------------------------------------

    def many(
        self,
        records: Iterable[Any],
        columns: Sequence[Column],
        *,
        header: bool = True,
        none: str = "Nothing there.",
        paged: bool = False,
    ) -> None:
        """Print a list of records as they come. `none` is the message for an empty list.

        With `paged`, a terminal shows a list that is longer than the screen in a pager.
        """
        rows = (record if isinstance(record, dict) else as_dict(record) for record in records)
        if self.output != "table":
            self._write(self._exact(formats.LINES[self.output](rows)))
        elif paged:
            from .pager import Pager

            self._clear()
            with Pager(self._write_one) as pager:
                self._table(takewhile(lambda _: not pager.has_ended, rows), columns, header, none, pager.write)
        else:
            self._table(rows, columns, header, none, self._write_one)

    def each(self, records: Sequence[Any], columns: Sequence[Column]) -> None:
        """Print several records with all their fields, on a terminal one below the other."""
        if self.output != "table":
            self.many(records, columns)
            return
        for index, record in enumerate(records):
            self._write_one("\n" if index else "")
            self._fields(as_dict(record), columns)

    def again(self, records: Iterable[Any], columns: Sequence[Column]) -> None:
        """Print the same list again: on a terminal in place of the old one, elsewhere below it."""
        if self.output == "table" and sys.stdout.isatty():
            self._write(["\033[H\033[2J"])
        self.many(records, columns)

    def one(self, record: Any, columns: Sequence[Column]) -> None:
        """Print one record: on a terminal all its fields below each other, in JSON an object."""
        row = record if isinstance(record, dict) else as_dict(record)
        if self.output == "json":
            self._write([formats.json_object(row)])
        elif self.output == "table":
            self._fields(row, columns)
        else:
            self._write(self._exact(formats.LINES[self.output]([row])))

    def changed(self, records: Iterable[Any], columns: Sequence[Column], text: str, *details: str) -> None:
        """Print what a command created or changed: a verdict for a person, records for a program."""
        if self.output == "table":
            self.verdict(text, *details)
        else:
            self.many(records, columns, none="")

    def outcome(self, records: Iterable[Any], columns: Sequence[Column], text: str, *details: str) -> None:
        """Print the same for a command that shows its steps. The verdict ends the steps in every format."""
        if self.output != "table":
            self.many(records, columns, none="")
        self.verdict(text, *details)

    def proof(self, record: Any, columns: Sequence[Column], text: str, *details: str) -> None:
        """Print the same for a command with one record as its result."""
        if self.output != "table":
            self.one(record, columns)
        self.verdict(text, *details)

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names with values that the user may copy, on a terminal."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self._write([f"  {name:<{width}}  {style.paint(for_terminal(value), 'accent', sys.stdout)}\n"])

    def text(self, text: str) -> None:
        """Print a text that is a result."""
        self._write(self._exact([text]))

    def texts(self, lines: Iterable[str]) -> None:
        """Print a result of any length line by line."""
        self._write(self._exact(lines))

    def object(self, record: Record) -> None:
        """Print one JSON object, in every format."""
        self._write([formats.json_object(record)])

    def lines(self, draw: Callable[[int, bool], Iterable[str]]) -> None:
        """Print the lines that a function draws for so many columns, with or without colours."""
        self._write(f"{line}\n" for line in draw(style.width(), style.has_color(sys.stdout)))

    def logs(self, lines: "Iterable[LogLine]", services: list[str]) -> None:
        """Print log lines as they come, on stdout: with the names of their services, or as JSON."""
        if self.output in ("json", "ndjson"):
            self._write(formats.ndjson_lines(as_dict(line) for line in lines), flush=True)
        else:
            from .logs import shown

            self._write(shown(lines, services), flush=True)

    # -- messages ----------------------------------------------------------------------------------------------

    def message(self, text: str) -> None:
        """Print a line for the user, on stderr."""
        if not self._quiet:
            LIVE.clear()
            messages.note(style.symbols(text))

    def warning(self, text: str) -> None:
        """Print a warning, on stderr."""
        if not self._quiet:
            LIVE.clear()
            messages.warning(text)

    def verdict(self, text: str, *details: str) -> None:
        """Print how the command ended, on stderr, as its last message."""
        if not self._quiet:
            self._steps.end_phase()
            LIVE.clear()
            messages.verdict(text, *details)

    def confirms(self, question: str) -> bool:
        """Return whether the user agrees. Asks on stderr."""
        import typer

        LIVE.clear()
        return typer.confirm(for_terminal(question), err=True)

    def review(self, text: str) -> None:
        """Print what a question is about, on stderr, even with `quiet`; exactly, since the user consents to it."""
        LIVE.clear()
        messages.say(text)

    def event(self, event: Event) -> None:
        """Print an event of a running command. A terminal shows long operations while they run."""
        match event:
            case Notice(text):
                self.message(text)
            case ActionStarted(action):
                self._steps.begin(action)
            case ActionDone(action):
                self._steps.end(action)
            case RevisionApplied():
                self._steps.revision(event)
            case Progress():
                self._steps.progress(event)

    # -- output ------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Make room for a result, since the live line may be on the same terminal."""
        self._steps.end_phase()
        LIVE.clear()

    def _write_one(self, text: str) -> None:
        self._write([text])

    def _write(self, lines: Iterable[str], *, flush: bool = False) -> None:
        self._clear()

        def write() -> None:
            for line in lines:
                sys.stdout.write(line)
                if flush:
                    sys.stdout.flush()
            sys.stdout.flush()

        guarded(write)

    def _exact(self, lines: Iterable[str]) -> Iterable[str]:
        """Return exact lines for a program, safe lines for a terminal. JSON is safe for both."""
        return map(for_terminal, lines) if sys.stdout.isatty() and "json" not in self.output else lines

    def _table(
        self, rows: Iterator[Record], columns: Sequence[Column], header: bool, none: str, write: Callable[[str], None]
    ) -> None:
        first = list(islice(rows, BATCH))
        if not first:
            self.message(none)
            return
        notes = [column.field for column in columns if column.kind == "note"]
        texts = texts_of(first, [column for column in columns if column.kind != "note"])
        shown = [column for column in columns if any(texts.get(column.field, ()))]
        room, color = style.width(), style.has_color(sys.stdout)
        shown, widths = fitting(texts, shown, header, room)
        if widths is None:
            for index, row in enumerate(chain(first, rows)):
                self._write_one("\n" if index else "")
                self._pairs([(column, cell(row, column)) for column in columns])
            return
        if header:
            write(f"{header_of(shown, widths, color)}\n")
        batch = first
        while batch:
            lines = lines_of(texts, shown, widths, color)
            write("".join(f"{line}\n" for line in _with_notes(lines, batch, notes, room)))
            batch = list(islice(rows, BATCH))
            texts = texts_of(batch, shown)
            # Later ids are longer: the columns grow with them.
            widths = widths_of(texts, shown, False, room, widths) or widths

    def _fields(self, row: Record, columns: Sequence[Column]) -> None:
        known = {column.field: column for column in columns}
        shown = []
        for name, value in row.items():
            column = known.get(name) or Column(name, kind="age" if name.endswith("_at") else "text")
            text = plain_text(value, multiline=True)
            if column.kind == "due" and value:
                text = f"{text if len(text) == len('2026-12-24') else moment(value)} ({due_text(row)})"
            elif column.kind in ("age", "duration", "until") and value:
                text = f"{moment(value)} ({when(value, 'until' if column.kind == 'until' else 'age')})"
            elif column.kind in ("bytes", "share", "count"):
                text = cell(row, column)
            shown.append((column, text or ("none" if name in known else "")))
        self._pairs(shown)

    def _pairs(self, shown: Sequence[tuple[Column, str]]) -> None:
        """Print the fields of one record that are not empty, below each other."""
        pairs = [(column.title, text, code_of(text, column)) for column, text in shown if text]
        self._write(f"{line}\n" for line in fields_of(pairs, style.width(), style.has_color(sys.stdout)))


def _with_notes(lines: Iterable[str], rows: Sequence[Record], notes: Sequence[str], room: int) -> Iterator[str]:
    """Yield the lines of a table, and below each the notes of its row, which are too long for a column."""
    for line, row in zip(lines, rows, strict=True):
        yield line
        yield from (text for name in notes if row.get(name) for text in wrapped(str(row[name]), room))
