"""The history of a user's todos: undo, redo and the log, which are commands of `fastzero todo`."""

from typing import TYPE_CHECKING, Annotated

import typer

from .columns import ENTRY
from .options import Run
from .style import counted
from .todo_options import InList, User, whose
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core.todo_app.results import Entry

group = Group("history")

Steps = Annotated[int, typer.Argument(metavar="[N]", help="How many changes; by default the last one.")]


@group.command(example="fastzero todo undo\nfastzero todo undo 3")
def undo(run: Run, steps: Steps = 1, user: User = None, in_list: InList = None) -> None:
    """Undo the last changes.

    A change is what one command or one request of the web app did, whatever it was made with. All are undone or none.
    Everybody undoes their own changes: in a shared list with `--list`.
    """
    with run.fastzero() as fz:
        _tell(run, fz.history(whose(run, user), list=in_list).undo(steps), "undone")


@group.command(example="fastzero todo redo")
def redo(run: Run, steps: Steps = 1, user: User = None, in_list: InList = None) -> None:
    """Redo the changes that were undone last. A new change ends what can be redone."""
    with run.fastzero() as fz:
        _tell(run, fz.history(whose(run, user), list=in_list).redo(steps), "redone")


@group.command(example="fastzero todo log\nfastzero todo log --limit 100 -o json")
def log(
    run: Run,
    limit: Annotated[int, typer.Option("-n", "--limit", help="How many.")] = 20,
    user: User = None,
    in_list: InList = None,
) -> None:
    """List the last changes, the newest first."""
    with run.fastzero() as fz:
        run.render.many(fz.history(whose(run, user), list=in_list).log(limit), ENTRY, none="Nothing was changed yet.")


def _tell(run: Run, entries: "list[Entry]", verb: str) -> None:
    run.render.changed(entries, ENTRY, *verdict(entries, verb))


def verdict(entries: "list[Entry]", verb: str) -> tuple[str, ...]:
    """Return what happened to changes, and what a single one was."""
    details = [_what(entry) for entry in entries] if len(entries) == 1 else []
    return f"{counted(len(entries), 'change')} {verb}", *details


def _what(entry: "Entry") -> str:
    """Return what a change did, as `added 3 todos`, or with the title of a single todo."""
    parts = {"added": entry.added, "changed": entry.changed, "removed": entry.removed}
    done = [(verb, number) for verb, number in parts.items() if number]
    if sum(parts.values()) == 1:
        return f"{done[0][0]}: {entry.title}"
    return ", ".join(f"{verb} {counted(number, 'todo')}" for verb, number in done)
