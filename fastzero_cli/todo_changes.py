"""What commands of `fastzero todo` change: todos by their ids, or all that match filters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fastzero_core.errors import InvalidInputError
from fastzero_core.todo_app.models import TodoChanges, TodoFilters
from fastzero_core.todo_app.validate import BULK_MAX

from .columns import TODO
from .options import Run
from .style import counted
from .todo_options import SHOWN, owned, parse_ids

if TYPE_CHECKING:
    from fastzero_core import Todo

T = TypeVar("T")
VERBS = {
    "draft": "moved to draft",
    "todo": "reopened",
    "doing": "started",
    "done": "done",
    "trash": "moved to the trash",
}


@dataclass(frozen=True)
class Selected:
    """What a command is about: ids or filters, and how it is run."""

    ids: list[str] | None
    where: TodoFilters
    dry_run: bool
    yes: bool
    user: str | None


def move_to(run: Run, selected: Selected, state: str) -> None:
    change(run, selected, TodoChanges(state=state), VERBS[state])


def change(run: Run, selected: Selected, changes: TodoChanges, verb: str) -> None:
    """Change the todos with some ids, or all that match filters."""
    if selected.ids and (selected.where or selected.dry_run):
        raise InvalidInputError("give ids or filters, not both", field="id")
    if not selected.ids:
        _change_matching(run, selected, changes, verb)
        return
    wanted = parse_ids(selected.ids)
    with run.fastzero() as fz:
        todos = owned(run, fz, selected.user)
        changed = [todo for batch in batches(wanted) for todo in todos.edit_many(batch, **changes)]
    tell(run, changed, verb)


def _change_matching(run: Run, selected: Selected, changes: TodoChanges, verb: str) -> None:
    """Count what matches and ask, then change it by one statement, unless another number matches by then."""
    if not selected.where:
        raise InvalidInputError(
            "give ids or filters", field="id", hint="Ids as 3 5-9, or filters as --tag work --overdue"
        )
    where = TodoFilters(**{"states": SHOWN, **selected.where})
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, selected.user)
        todos.check_changes(changes)
        count = todos.count(**where)
        if selected.dry_run:
            run.render.many(todos.stream(**where), TODO, paged=True)
    if selected.dry_run:
        run.render.message(f"{counted(count, 'todo')} would be {verb}.")
        return
    if count:
        run.confirm(lambda: f"{counted(count, 'todo')} will be {verb}.", selected.yes)
    with run.fastzero() as fz:
        todos = owned(run, fz, selected.user)
        changed = todos.edit_matching(changes, expected=None if selected.yes else count, **where)
    run.render.proof({"changed": changed}, (), f"{counted(changed, 'todo')} {verb}")


def tell(run: Run, todos: "Sequence[Todo]", verb: str, title: str = "") -> None:
    """Print what happened to todos: one with its id and title, several with their number."""
    if not todos and run.render.output == "table":
        run.render.message("Nothing to do: standard input was empty.")
    elif len(todos) == 1:
        run.render.changed(todos, TODO, f"Todo {todos[0].id} {verb}", title or todos[0].title)
    else:
        run.render.changed(todos, TODO, f"{counted(len(todos), 'todo')} {verb}")


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return batches of at most BULK_MAX items, the limit of one statement. All of them run in one transaction."""
    return (items[first : first + BULK_MAX] for first in range(0, len(items), BULK_MAX))
