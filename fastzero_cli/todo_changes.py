"""fastzero todo: change todos by their ids, or all that match filters."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from fastzero_core.errors import ConflictError, InvalidInputError
from fastzero_core.todo_app.models import TodoChanges, TodoFilters, TodoState

from . import completion
from .columns import TODO
from .options import Run, Yes
from .style import counted
from .todo_options import (
    SHOWN,
    Description,
    DryRun,
    Due,
    Ids,
    IdsOrFilters,
    InList,
    ToList,
    User,
    WhereList,
    batches,
    one_id,
    owned,
    parse_ids,
    priority_option,
    state_option,
    tag_option,
    tell,
    with_filters,
)
from .tree import Group

group = Group("changes")

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
    in_list: str | None


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
    to_list: ToList = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    in_list: WhereList = None,
    *,
    where: TodoFilters,
) -> None:
    """Change a todo's fields, or those of all todos that match filters.

    Several todos are changed all or none. `--list` moves them to another own list. Their tags: `fastzero todo tag`.
    """
    if ids and (title or description):
        ids = [str(one_id(*ids))]
    changes = TodoChanges(title=title, description=description, state=state, priority=priority, due=due, list=to_list)
    change(run, Selected(ids, where, dry_run, yes, user, in_list), changes, "changed")


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
    in_list: InList = None,
    *,
    where: TodoFilters,
) -> None:
    """Add tags to todos and remove others, all or none."""
    if not add and not remove:
        raise InvalidInputError("no tag given", field="tag", hint="Give tags: --add TAG or --remove TAG")
    changes = TodoChanges(add_tags=add or (), remove_tags=remove or ())
    change(run, Selected(ids, where, dry_run, yes, user, in_list), changes, "changed")


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
    in_list: InList = None,
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
        change(run, Selected(ids, where, dry_run, yes, user, in_list), TodoChanges(state=to), VERBS.get(to, ""))
        return
    beside: dict[str, Any] = {"before": before and one_id(before), "after": after and one_id(after)}
    with run.fastzero() as fz:
        placed = owned(run, fz, user, in_list).place(one_id(*ids or []), **beside)
    tell(run, [placed], "placed")


@group.command(example="fastzero todo start 3")
@with_filters()
def start(
    run: Run,
    ids: IdsOrFilters = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    in_list: InList = None,
    *,
    where: TodoFilters,
) -> None:
    """Start todos: move them to doing."""
    move_to(run, Selected(ids, where, dry_run, yes, user, in_list), TodoState.DOING)


@group.command(example="fastzero todo done 3 5-9\nfastzero todo list --text report -o ids | fastzero todo done -")
@with_filters()
def done(
    run: Run,
    ids: IdsOrFilters = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    in_list: InList = None,
    *,
    where: TodoFilters,
) -> None:
    """Complete todos: move them to done."""
    move_to(run, Selected(ids, where, dry_run, yes, user, in_list), TodoState.DONE)


@group.command(example="fastzero todo reopen 3")
@with_filters()
def reopen(
    run: Run,
    ids: IdsOrFilters = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    in_list: InList = None,
    *,
    where: TodoFilters,
) -> None:
    """Reopen todos: move them back to todo."""
    move_to(run, Selected(ids, where, dry_run, yes, user, in_list), TodoState.TODO)


@group.command(example="fastzero todo trash 3\nfastzero todo trash --state done --created-before 2026-01-01")
@with_filters()
def trash(
    run: Run,
    ids: IdsOrFilters = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    user: User = None,
    in_list: InList = None,
    *,
    where: TodoFilters,
) -> None:
    """Move todos to the trash.

    `restore` takes them out again.
    """
    move_to(run, Selected(ids, where, dry_run, yes, user, in_list), TodoState.TRASH)


@group.command(example="fastzero todo restore 3")
def restore(
    run: Run,
    ids: Ids,
    to: Annotated[str, state_option("--to")] = TodoState.TODO.value,
    user: User = None,
    in_list: InList = None,
) -> None:
    """Take todos out of the trash.

    Those that are not in it stay as they are.
    """
    wanted = parse_ids(ids)
    with run.fastzero() as fz:
        todos = owned(run, fz, user, in_list)
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
    in_list: InList = None,
) -> None:
    """Permanently delete todos in the trash."""
    wanted = list(dict.fromkeys(parse_ids(ids or [])))
    if ids and not wanted:
        raise InvalidInputError("no id given", field="id", hint="Without any id at all, the whole trash is purged")
    database = run.doomed
    with run.fastzero(autocommit=True) as fz:
        todos = owned(run, fz, user, in_list)
        for batch in batches(wanted):
            todos.require_trashed(*batch)
        count = len(wanted) or todos.count([TodoState.TRASH])
    if count:
        run.confirm(
            lambda: f"In {database.description}: {counted(count, 'todo')} in the trash will be permanently deleted.",
            yes,
        )
    with run.fastzero() as fz:
        todos = owned(run, fz, user, in_list)
        purged = sum(todos.purge(*batch) for batch in batches(wanted)) if wanted else todos.purge()
        if purged != count and not yes:
            raise ConflictError(f"the trash has {counted(purged, 'todo')} now, not {count}", hint="Nothing was deleted")
    run.render.proof({"purged": purged}, (), f"{counted(purged, 'todo')} permanently deleted")


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
        todos = owned(run, fz, selected.user, selected.in_list)
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
        todos = owned(run, fz, selected.user, selected.in_list)
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
        todos = owned(run, fz, selected.user, selected.in_list)
        changed = todos.edit_matching(changes, expected=None if selected.yes else count, **where)
    run.render.proof({"changed": changed}, (), f"{counted(changed, 'todo')} {verb}")
