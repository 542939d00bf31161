"""Import and export of a user's todos, which are commands of `fastzero todo`."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from fastzero_core.errors import InvalidInputError
from fastzero_core.events import Progress
from fastzero_core.formats import as_dict
from fastzero_core.todo_app.models import TodoFilters

from .options import Run, complete_from
from .style import counted
from .todo_options import SHOWN, InList, User, owned, with_filters
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core.todo_app.transfer.records import Found, Invalid

group = Group("transfer")

# As in the core, whose module is imported only by these commands.
FORMATS = ("csv", "json", "ndjson", "todotxt", "taskwarrior", "icalendar")
SHOWN_MAX = 100  # invalid lines; more are counted
EVERY = 1000  # todos, between two lines of progress


def format_option(help: str) -> Any:
    return typer.Option(
        "--format", metavar="FORMAT", help=" | ".join(FORMATS) + help, autocompletion=complete_from(*FORMATS)
    )


@group.command(
    "import",
    example="fastzero todo import todo.txt --dry-run\ntask export | fastzero todo import - --format taskwarrior",
)
def import_(
    run: Run,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A file in UTF-8; - is standard input.")],
    format: Annotated[str | None, format_option("; without it by the ending of FILE.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every todo, and add none.")] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave invalid todos out, and list their lines.")
    ] = False,
    user: User = None,
    in_list: InList = None,
) -> None:
    """Add the todos of a file, all or none. Those that were imported before are changed.

    Todos are known by the ids that the file has for them. `fastzero todo undo` takes the whole import back.
    """
    from fastzero_core.todo_app.transfer import files

    chosen = format or files.format_of(file)
    report = _Report(run)
    with _opened(file) as stream, run.fastzero() as fz:
        imported = owned(run, fz, user, in_list).import_each(
            _watched(run, files.read(stream, chosen)),
            dry_run=dry_run,
            on_invalid=report.add if dry_run or skip_invalid else None,
        )
    report.end()
    valid = imported.added + imported.changed + imported.unchanged
    if imported.invalid and not skip_invalid:
        raise InvalidInputError(
            f"{imported.invalid:,} of {counted(valid + imported.invalid, 'todo')} are invalid",
            hint="Correct these lines, or leave them out: --skip-invalid",
        )
    verb = "would be added" if dry_run else "added"
    others = {"changed": imported.changed, "unchanged": imported.unchanged, "skipped": imported.invalid}
    details = [f"{count:,} {name}" for name, count in others.items() if count]
    if imported.left_out:
        names = ", ".join(f"{name} ({count:,})" for name, count in imported.left_out.items())
        run.render.warning(f"left out, since todos have no field for it: {names}")
    run.render.proof(as_dict(imported), (), f"{counted(imported.added, 'todo')} {verb}", *details)


@group.command(example="fastzero todo export > todos.json\nfastzero todo export --format todotxt --tag work")
@with_filters()
def export(
    run: Run,
    format: Annotated[str, format_option("; json without it.")] = "json",
    all: Annotated[bool, typer.Option("-a", "--all", help="Include the trash.")] = False,
    user: User = None,
    in_list: InList = None,
    *,
    where: TodoFilters,
) -> None:
    """Print todos for other programs, or for `fastzero todo import`."""
    filters: Any = {"states": None if all else SHOWN, **where}
    with run.fastzero(autocommit=True) as fz:
        run.render.texts(owned(run, fz, user, in_list).export(format, **filters))


class _Report:
    """The invalid lines of a file: the first ones are printed, all are counted."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.count = 0

    def add(self, invalid: "Invalid") -> None:
        self.count += 1
        if self.count <= SHOWN_MAX:
            self._run.render.warning(f"line {invalid.line}: {invalid.reason}")

    def end(self) -> None:
        if self.count > SHOWN_MAX:
            self._run.render.warning(f"… and {self.count - SHOWN_MAX:,} more lines")


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except OSError as problem:
        raise InvalidInputError(f"{name} cannot be read: {problem.strerror}", field="file") from None


def _watched(run: Run, found: "Iterator[Found]") -> "Iterator[Found]":
    """Show the progress. How many there are is not known before the end."""
    for number, each in enumerate(found, 1):
        if number % EVERY == 0:
            run.render.event(Progress("Reading todos", number, None, "todos"))
        yield each
