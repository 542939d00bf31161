"""The only place that prints: results to stdout, messages and progress to stderr.

Names, log lines and errors come from servers, manifests and files of others: what a person reads has no control
characters of theirs. What a program reads, since it is piped, is exact; JSON writes such characters as escapes.
"""

import codecs
import errno
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import TextIOWrapper
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from fastzero_core import formats
from fastzero_core.errors import FastZeroError, UnavailableError
from fastzero_core.events import ActionDone, ActionStarted, Event, Notice, Progress, RevisionApplied
from fastzero_core.formats import Record, as_dict

from .columns import Column
from .layout import (
    PREFIX_STYLES,
    STATE_STYLES,
    age,
    cell,
    for_terminal,
    plain_text,
    printable,
    size,
    table_of,
    widths_of,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fastzero_core.stack.lines import LogLine

PROGRESS_EVERY = 0.1  # seconds
BAR = 30  # cells
BATCH = 200  # rows whose widths decide the table's, and that are laid out at a time
FILE_NAMES = "fastzero-file-names"  # how the streams write what is no text
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Renderer:
    """Prints in one format. `output` None means a table on a terminal and TSV elsewhere."""

    def __init__(self, output: str | None, color: str = "auto", *, quiet: bool = False) -> None:
        self.output = output or ("table" if sys.stdout.isatty() else "tsv")
        self._color = color
        self._quiet = quiet
        self._progress_open = False
        self._progress_step, self._progress_at = "", 0.0

    # -- results -----------------------------------------------------------------------------------------------

    def many(
        self,
        records: Iterable[Any],
        columns: Sequence[Column],
        *,
        header: bool = True,
        none: str = "Nothing there.",
    ) -> None:
        """A list of records, printed as they come; `none` tells a person that there are none."""
        rows = (record if isinstance(record, dict) else as_dict(record) for record in records)
        if self.output == "table":
            self._table(rows, columns, header, none)
        else:
            self._write(self._exact(formats.LINES[self.output](rows)))

    def again(self, records: Iterable[Any], columns: Sequence[Column]) -> None:
        """The same list again: on a terminal in place of the old one, elsewhere below it."""
        if self.output == "table" and sys.stdout.isatty():
            self._write(["\033[H\033[2J"])
        self.many(records, columns)

    def one(self, record: Any, columns: Sequence[Column]) -> None:
        """One record: on a terminal all its fields below each other, in JSON an object."""
        row = record if isinstance(record, dict) else as_dict(record)
        if self.output == "json":
            self._write([formats.json_object(row)])
        elif self.output == "table":
            self._fields(row, columns)
        else:
            self._write(self._exact(formats.LINES[self.output]([row])))

    def changed(self, records: Iterable[Any], columns: Sequence[Column]) -> None:
        """What a command has made or changed: like a list, without a header."""
        self.many(records, columns, header=False)

    def text(self, text: str) -> None:
        """Text that is a result as it is."""
        self._write(self._exact([text]))

    def object(self, record: Record) -> None:
        """One JSON object, whatever the format."""
        self._write([formats.json_object(record)])

    def board(self, columns: dict[str, tuple[list[str], int]]) -> None:
        """States side by side: for each the titles to show and how many more there are."""
        from rich.table import Table
        from rich.text import Text

        console = self._console()
        table = Table(box=None, expand=True, padding=(0, 1))
        cells = []
        for state, (titles, more) in columns.items():
            heading = Text(f"{state} {len(titles) + more}", style=f"bold {STATE_STYLES[state]}")
            table.add_column(heading, ratio=1, no_wrap=True)
            lines = [Text(printable(title), no_wrap=True, overflow="ellipsis") for title in titles]
            if more:
                lines.append(Text(f"… {more} more", style="dim"))
            cells.append(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))
        table.add_row(*cells)
        self._print(console, table)

    def logs(self, lines: "Iterable[LogLine]") -> None:
        """Log lines, each on the stream it was written to; in JSON all on stdout."""
        if self.output in ("json", "ndjson"):
            self._write(formats.ndjson_lines(as_dict(line) for line in lines), flush=True)
            return
        for line in lines:
            stream = sys.stdout if line.stream == "stdout" else sys.stderr
            shown = for_terminal(line.text) if stream.isatty() else line.text
            self._guard(lambda stream=stream, shown=shown: print(shown, file=stream, flush=True))  # type: ignore[misc]

    def attached(self, lines: "Iterable[LogLine]") -> None:
        """Log lines of several services as one stream, each behind the name of its service."""
        colors: dict[str, str] = {}
        console = self._console()
        for line in lines:
            color = colors.setdefault(line.service, PREFIX_STYLES[len(colors) % len(PREFIX_STYLES)])
            with console.capture() as prefix:
                console.print(f"{line.service:<8} | ", style=color, end="")
            shown = for_terminal(line.text) if sys.stdout.isatty() else line.text
            self._write([f"{prefix.get()}{shown}\n"], flush=True)

    # -- messages ----------------------------------------------------------------------------------------------

    def message(self, text: str) -> None:
        """A line for the person, on stderr."""
        if not self._quiet:
            self._clear_progress()
            _say(text)

    def confirms(self, question: str) -> bool:
        """Whether the person agrees, asked on stderr."""
        import typer

        return typer.confirm(for_terminal(question), err=True)

    def review(self, text: str) -> None:
        """What a question is about, on stderr, also where no messages are wanted."""
        self._clear_progress()
        _say(text)

    def event(self, event: Event) -> None:
        """What happens while a command works: what takes a while shows on a terminal as long as it lasts."""
        match event:
            case Notice(text):
                self.message(text)
            case ActionStarted(action):
                self._show_while_it_lasts(action_line(action))
            case ActionDone(action, seconds):
                self.message(f"✓ {action_line(action)} ({seconds:.1f} s)")
            case RevisionApplied():
                self.message(revision_line(event))
            case Progress() if self._is_due(event):
                self._show_while_it_lasts(_progress(event))

    def _show_while_it_lasts(self, text: str) -> None:
        if sys.stderr.isatty() and not self._quiet:
            self._clear_progress()
            _say(f"… {text}", end="")
            self._progress_open = True

    def _is_due(self, progress: Progress) -> bool:
        """Whether a terminal's reader can see it: a new step at once, more of the same ten times a second."""
        now = time.monotonic()
        if progress.step == self._progress_step and now - self._progress_at < PROGRESS_EVERY:
            return False
        self._progress_step, self._progress_at = progress.step, now
        return True

    def _clear_progress(self) -> None:
        if self._progress_open:
            _write_to_person("\r\033[K")
            self._progress_open = False

    # -- how ---------------------------------------------------------------------------------------------------

    def _write(self, lines: Iterable[str], *, flush: bool = False) -> None:
        self._clear_progress()  # which may be on the same terminal

        def write() -> None:
            for line in lines:
                sys.stdout.write(line)
                if flush:
                    sys.stdout.flush()
            sys.stdout.flush()

        self._guard(write)

    def _exact(self, lines: Iterable[str]) -> Iterable[str]:
        """Lines as they are for a program; JSON is harmless for a terminal too."""
        return map(for_terminal, lines) if sys.stdout.isatty() and "json" not in self.output else lines

    def _print(self, console: "Console", table: "Table") -> None:
        # Rich has an opinion of its own on what a closed pipe means.
        with console.capture() as captured:
            console.print(table)
        self._write([captured.get()])

    def _guard(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BrokenPipeError:
            close_output()

    def _console(self) -> "Console":
        from rich.console import Console

        color = {"always": True, "never": False}.get(self._color)
        if color is None and not os.environ.get("NO_COLOR"):
            color = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        return Console(
            force_terminal=bool(color), no_color=not color, highlight=False, markup=False, emoji=False, soft_wrap=False
        )

    def _table(self, rows: Iterator[Record], columns: Sequence[Column], header: bool, none: str) -> None:
        first = list(islice(rows, BATCH))
        if not first:
            self.message(none)
            return
        shown = [column for column in columns if any(cell(row, column) for row in first)]
        console = self._console()
        widths = widths_of(first, shown, header, console.width)
        if widths is None:
            for row in chain(first, rows):
                self._fields(row, columns)
            return
        batch = first
        while batch:
            # Later ids are longer: the columns grow with them.
            widths = widths_of(batch, shown, header, console.width, widths) or widths
            table = table_of(batch, shown, widths, header)
            self._print(console, table)
            header = False
            batch = list(islice(rows, BATCH))

    def _fields(self, row: Record, columns: Sequence[Column]) -> None:
        from rich.table import Table
        from rich.text import Text

        kinds = {column.field: column.kind for column in columns}
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in row.items():
            kind = kinds.get(name, "age" if name.endswith("_at") else "text")
            shown = plain_text(value, multiline=True)
            if kind == "age" and value:
                shown = f"{value} ({age(value)})"
            elif kind in ("bytes", "share"):
                shown = cell(row, Column(name, kind=kind))
            style = STATE_STYLES.get(shown, "") if kind == "state" else ""
            table.add_row(Text(name, style="bold"), Text(shown, style=style))
        console = self._console()
        self._print(console, table)


def error(problem: FastZeroError, output: str | None) -> None:
    """What is wrong, what to do and, for a failed service, what it left behind."""
    if output in ("json", "ndjson"):
        _say("".join(formats.ndjson_lines([{"error": problem.as_dict()}])), end="")
        return
    if problem.evidence:
        _say(problem.evidence)
    _say(f"Error: {problem.message}")
    if problem.hint:
        _say(f"Hint: {problem.hint}")


def bug(cause: BaseException) -> None:
    """Where a bug happened."""
    _say("".join(traceback.format_exception(cause)), end="")


def plain(text: str) -> None:
    """A result that has no format: the version, or what there is to choose from."""
    print(text)


def interrupted() -> None:
    _say("\nInterrupted.")


def prepare() -> None:
    """Give the streams UTF-8 in every locale, and a place to go where the caller has closed them."""
    codecs.register_error(FILE_NAMES, _as_file_names_are)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape" if name == "stdin" else FILE_NAMES)


def _as_file_names_are(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes of a file name that this locale cannot decode as they are; anything else as its number."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def close_output() -> NoReturn:
    """The reader has gone, as `head` does when it has enough: end well, and let nothing more be written."""
    _discard(sys.stdout)
    _discard(sys.stderr)
    raise SystemExit(0)


def unwritable(problem: OSError) -> FastZeroError:
    """The error of a full disk under the output, of which nothing more is written."""
    _discard(sys.stdout)
    return UnavailableError(
        f"the result cannot be written: {problem.strerror}",
        hint="Make room for it. What the command has changed is changed; only its result is lost",
    )


def _say(text: str, end: str = "\n") -> None:
    """Something for the person, without what would steer a terminal."""
    _write_to_person(f"{for_terminal(text)}{end}")


def _write_to_person(text: str) -> None:
    """Write to stderr. That nobody listens is no reason to leave work half done."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def action_line(action: Any) -> str:
    """An action of a plan, and why it is done."""
    return f"{action}: {action.cause}"


def revision_line(applied: RevisionApplied) -> str:
    """A revision that was applied or taken back."""
    arrow = {"up": "↑", "down": "↓"}[applied.direction]
    return f"{arrow} {applied.revision} {applied.message} ({applied.seconds:.2f} s)"


def _progress(progress: Progress) -> str:
    done = size(progress.done) if progress.unit == "bytes" else f"{progress.done:,} {progress.unit}"
    if not progress.total:
        return f"{progress.step} {done if progress.done else ''}".rstrip()
    share = min(1.0, progress.done / progress.total)
    filled = round(BAR * share)
    return f"{progress.step} {'━' * filled}{'─' * (BAR - filled)} {share:4.0%} {done}"
