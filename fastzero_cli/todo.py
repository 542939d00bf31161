"""fastzero todo: the todos of one user."""

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from fastzero_core.errors import ConflictError, InvalidInputError
from fastzero_core.events import Progress
from fastzero_core.todo_app import validate
from fastzero_core.todo_app.models import NewTodo, Priority, TodoChanges, TodoFilters, TodoState

from . import completion, history, todo_views, transfer
from .columns import TODO
from .options import Run, Yes
from .style import counted
from .todo_changes import VERBS, Selected, batches, change, move_to, tell
from .todo_options import (
    Description,
    DryRun,
    Due,
    Ids,
    IdsOrFilters,
    User,
    one_id,
    owned,
    parse_ids,
    priority_option,
    state_option,
    tag_option,
    with_filters,
)
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core import Todo
    from fastzero_core.todo_app.todos import Todos

group = Group(
    "todo",
    "Add, list and change todos.",
    example="fastzero todo add 'Write the report' --due fri\nfastzero todo list\nfastzero todo done 1",
)

T = TypeVar("T")
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")  # how Python decodes bytes that are not UTF-8
Tags = Annotated[list[str] | None, tag_option("--tag", help="A tag; may repeat.")]


@group.command(
    example="fastzero todo add 'Write the report' --due fri --priority high --tag work\n"
    "cat titles.txt | fastzero todo add -",
)
def add(
    run: Run,
    title: Annotated[
        str,
        typer.Argument(
            metavar="TITLE|-", help="The title. - reads one title a line; put -- before one that starts with a dash."
        ),
    ],
    description: Description = None,
    state: Annotated[str, state_option("-s", "--state")] = TodoState.TODO.value,
    priority: Annotated[str, priority_option("--priority")] = Priority.NONE.value,
    due: Due = None,
    tag: Tags = None,
    user: User = None,
) -> None:
    """Add a todo, or one for each line of standard input.

    With - each line of standard input is a title; all are added, or none.
    """
    titles = _titles() if title == "-" else []
    fields: Any = {
        "description": description or "",
        "state": state,
        "priority": priority,
        "due": due,
        "tags": tag or (),
    }
    with run.fastzero() as fz:
        todos = owned(run, fz, user)
        if title == "-":
            added = _add_many(run, todos, [NewTodo(each, **fields) for each in titles])
        else:
            added = [todos.add(title, **fields)]
    tell(run, added, "added", added[0].title if len(added) == 1 else "")


group.include(todo_views.group)
group.include(history.group)
group.include(transfer.group)


@group.command(example="fastzero todo show 3\nfastzero todo show 3 5-9 -o json")
def show(run: Run, ids: Ids, user: User = None) -> None:
    """Show todos with all their fields."""
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user)
        found = [todo for batch in batches(parse_ids(ids)) for todo in todos.get_many(batch)]
    if len(found) == 1:
        run.render.one(found[0], TODO)
    else:
        run.render.each(found, TODO)


@group.command(
    example="fastzero todo edit 3 --title 'Write the whole report' --due +3d\n"
    "fastzero todo edit --tag work --overdue --priority high"
)
@with_filters(renamed=True)
def edit(
    run: Run,
    ids: IdsOrFilters = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT", help="The new title.")] = None,
    description: Description = None,
    state: Annotated[str | None, state_option("-s", "--state", help="The new state: ")] = None,
    priority: Annotated[str | None, priority_option("--priority", help="The new priority: ")] = None,
    due: Due = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    *,
    where: TodoFilters,
) -> None:
    """Change a todo's fields, or those of all todos that match filters.

    Several todos are changed all or none. Their tags: `fastzero todo tag`.
    """
    if ids and (title or description):
        ids = [str(one_id(*ids))]
    changes = TodoChanges(title=title, description=description, state=state, priority=priority, due=due)
    change(run, Selected(ids, where, dry_run, yes, user), changes, "changed")


@group.command(example="fastzero todo tag 3 5-9 --add work --remove home\nfastzero todo tag --text report --add work")
@with_filters()
def tag(
    run: Run,
    ids: IdsOrFilters = None,
    add: Annotated[list[str] | None, tag_option("--add", help="A tag to add; may repeat.")] = None,
    remove: Annotated[list[str] | None, tag_option("--remove", help="A tag to remove; may repeat.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    *,
    where: TodoFilters,
) -> None:
    """Add tags to todos and remove others, all or none."""
    if not add and not remove:
        raise InvalidInputError("no tag given", field="tag", hint="Give tags: --add TAG or --remove TAG")
    changes = TodoChanges(add_tags=add or (), remove_tags=remove or ())
    change(run, Selected(ids, where, dry_run, yes, user), changes, "changed")


@group.command(example="fastzero todo move 3 5-9 --to doing\nfastzero todo move 3 --before 5")
@with_filters()
def move(
    run: Run,
    ids: IdsOrFilters = None,
    to: Annotated[str | None, state_option("--to")] = None,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="ID", help="Place it before this todo.", autocompletion=completion.todo_ids),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="ID", help="Place it after this todo.", autocompletion=completion.todo_ids),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    *,
    where: TodoFilters,
) -> None:
    """Move todos to a state, all or none, or one to its place in the order made by hand.

    Lists with `--sort position` and the board are in that order.
    """
    if (to is None) == (before is None and after is None):
        hint = "Use: fastzero todo move ID --to STATE"
        raise InvalidInputError("give one of --to, --before and --after", field="to", hint=hint)
    if to is not None:
        change(run, Selected(ids, where, dry_run, yes, user), TodoChanges(state=to), VERBS.get(to, ""))
        return
    beside: dict[str, Any] = {"before": before and one_id(before), "after": after and one_id(after)}
    with run.fastzero() as fz:
        placed = owned(run, fz, user).place(one_id(*ids or []), **beside)
    tell(run, [placed], "placed")


@group.command(example="fastzero todo start 3")
@with_filters()
def start(
    run: Run,
    ids: IdsOrFilters = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    *,
    where: TodoFilters,
) -> None:
    """Start todos: move them to doing."""
    move_to(run, Selected(ids, where, dry_run, yes, user), TodoState.DOING)


@group.command(example="fastzero todo done 3 5-9\nfastzero todo list --text report -o ids | fastzero todo done -")
@with_filters()
def done(
    run: Run,
    ids: IdsOrFilters = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    *,
    where: TodoFilters,
) -> None:
    """Complete todos: move them to done."""
    move_to(run, Selected(ids, where, dry_run, yes, user), TodoState.DONE)


@group.command(example="fastzero todo reopen 3")
@with_filters()
def reopen(
    run: Run,
    ids: IdsOrFilters = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    *,
    where: TodoFilters,
) -> None:
    """Reopen todos: move them back to todo."""
    move_to(run, Selected(ids, where, dry_run, yes, user), TodoState.TODO)


@group.command(example="fastzero todo trash 3\nfastzero todo trash --state done --created-before 2026-01-01")
@with_filters()
def trash(
    run: Run,
    ids: IdsOrFilters = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    *,
    where: TodoFilters,
) -> None:
    """Move todos to the trash.

    `restore` takes them out again.
    """
    move_to(run, Selected(ids, where, dry_run, yes, user), TodoState.TRASH)


@group.command(example="fastzero todo restore 3")
def restore(
    run: Run,
    ids: Ids,
    to: Annotated[str, state_option("--to")] = TodoState.TODO.value,
    user: User = None,
) -> None:
    """Take todos out of the trash.

    Those that are not in it stay as they are.
    """
    wanted = parse_ids(ids)
    with run.fastzero() as fz:
        todos = owned(run, fz, user)
        restored = [todo for batch in batches(wanted) for todo in todos.restore(*batch, to=to)]
    tell(run, restored, "restored")


@group.command(example="fastzero todo purge 3\nfastzero todo purge --yes")
def purge(
    run: Run,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Ids as `3 5-9`, or - for standard input; without any, the whole trash."),
    ] = None,
    yes: Yes = False,
    user: User = None,
) -> None:
    """Permanently delete todos in the trash."""
    wanted = list(dict.fromkeys(parse_ids(ids or [])))
    if ids and not wanted:
        raise InvalidInputError("no id given", field="id", hint="Without any id at all, the whole trash is purged")
    database = run.doomed
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user)
        for batch in batches(wanted):
            todos.require_trashed(*batch)
        count = len(wanted) or todos.count([TodoState.TRASH])
    if count:
        run.confirm(
            lambda: f"In {database.description}: {counted(count, 'todo')} in the trash will be permanently deleted.",
            yes,
        )
    with run.fastzero() as fz:
        todos = owned(run, fz, user)
        purged = sum(todos.purge(*batch) for batch in batches(wanted)) if wanted else todos.purge()
        if purged != count and not yes:
            raise ConflictError(f"the trash has {counted(purged, 'todo')} now, not {count}", hint="Nothing was deleted")
    run.render.proof({"purged": purged}, (), f"{counted(purged, 'todo')} permanently deleted")


def _add_many(run: Run, todos: "Todos", new: list[NewTodo]) -> "list[Todo]":
    """Add todos in one transaction, and show the progress."""
    added: list[Todo] = []
    for batch in batches(new) if new else [[]]:
        run.render.event(Progress("Adding todos", len(added), len(new), "todos"))
        added += todos.add_many(batch)
    return added


def _titles() -> list[str]:
    """Return a title for each line that is not blank. Raises InvalidInputError with the number of an invalid line."""
    titles = []
    for number, line in enumerate(sys.stdin.read().split("\n"), 1):
        if _NOT_UTF_8.search(line):
            raise InvalidInputError(f"line {number} is not UTF-8", field="title", hint="Convert it: iconv -t UTF-8")
        if line.strip():
            try:
                titles.append(validate.title(line))
            except InvalidInputError as error:
                raise InvalidInputError(f"line {number}: {error.message}", field="title") from None
    return titles
