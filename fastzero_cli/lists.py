"""fastzero list: lists of todos, and the users who share them."""

from typing import Annotated

import typer

from fastzero_core.todo_app.models import Role

from . import completion
from .columns import LIST, MEMBER
from .options import Run, Yes, complete_from
from .style import counted
from .todo_options import User, whose
from .tree import Group

group = Group(
    "list",
    example="fastzero list add Work\nfastzero todo add 'Write the report' --list Work\nfastzero list share Work bob",
)

Key = Annotated[
    str,
    typer.Argument(metavar="LIST", help="The name or id of your list, or OWNER/NAME.", autocompletion=completion.lists),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The name, without '/'; case is ignored.")]
MemberName = Annotated[
    str, typer.Argument(metavar="USER", help="A username or id.", autocompletion=completion.usernames)
]


@group.command(example="fastzero list add Work")
def add(run: Run, name: Name, user: User = None) -> None:
    """Add a list. Todos that are in no list are in `inbox`."""
    with run.fastzero() as fz:
        added = fz.lists(whose(run, user)).add(name)
    run.render.changed([added], LIST, f"List {added.name} added")


@group.command("list", example="fastzero list list\nfastzero list list -o json")
def list_(run: Run, user: User = None) -> None:
    """List your lists, then those that others share with you."""
    with run.fastzero(autocommit=True) as fz:
        run.render.many(fz.lists(whose(run, user)).list(), LIST, none="No lists; all todos are in inbox.")


@group.command(example="fastzero list show ana/Work")
def show(run: Run, key: Key, user: User = None) -> None:
    """Show a list with all fields."""
    with run.fastzero(autocommit=True) as fz:
        run.render.one(fz.lists(whose(run, user)).get(key), LIST)


@group.command(example="fastzero list rename Work Office")
def rename(run: Run, key: Key, name: Name, user: User = None) -> None:
    """Give a list another name."""
    with run.fastzero() as fz:
        renamed = fz.lists(whose(run, user)).rename(key, name)
    run.render.changed([renamed], LIST, f"List renamed to {renamed.name}")


@group.command(example="fastzero list rm Work")
def rm(run: Run, key: Key, yes: Yes = False, user: User = None) -> None:
    """Delete one of your lists and move its todos to the trash.

    `fastzero todo undo` takes the todos out again, into the inbox. The members lose their access.
    """
    with run.fastzero(autocommit=True) as fz:
        found = fz.lists(whose(run, user)).get(key)
        count = fz.todos(whose(run, user), list=found.id).count()
    gone = f"List {found.name} will be deleted, and {counted(count, 'todo')} moved to the trash"
    others = f"; {counted(found.members, 'member')} will lose access" if found.members else ""
    run.confirm(f"{gone}{others}.", yes)
    with run.fastzero() as fz:
        trashed = fz.lists(whose(run, user)).remove(found.id)
    run.render.proof({"trashed": trashed}, (), f"List {found.name} deleted", f"{counted(trashed, 'todo')} in the trash")


@group.command(example="fastzero list members Work")
def members(run: Run, key: Key, user: User = None) -> None:
    """List the members of a list and their roles."""
    with run.fastzero(autocommit=True) as fz:
        run.render.many(fz.lists(whose(run, user)).members(key), MEMBER, none="It is not shared.")


@group.command(example="fastzero list share Work bob\nfastzero list share Work bob --role viewer")
def share(
    run: Run,
    key: Key,
    member: MemberName,
    role: Annotated[
        str,
        typer.Option(
            "--role",
            metavar="ROLE",
            help=" | ".join(Role),
            autocompletion=complete_from(*(each.value for each in Role)),
        ),
    ] = Role.EDITOR.value,
    user: User = None,
) -> None:
    """Share a list with a user, or give a member another role.

    A viewer reads the todos, an editor changes them too, an owner also renames the list and chooses its members.
    """
    with run.fastzero() as fz:
        shared = fz.lists(whose(run, user)).share(key, member, role)
    run.render.changed([shared], MEMBER, f"List {key} shared with {shared.username}", shared.role.value)


@group.command(example="fastzero list unshare Work bob")
def unshare(run: Run, key: Key, member: MemberName, user: User = None) -> None:
    """End a user's membership in a list."""
    with run.fastzero() as fz:
        ended = fz.lists(whose(run, user)).unshare(key, member)
    run.render.changed([ended], MEMBER, f"List {key} not shared with {ended.username} any more")


@group.command(example="fastzero list leave ana/Work")
def leave(run: Run, key: Key, user: User = None) -> None:
    """Leave a list that another user shares."""
    with run.fastzero() as fz:
        left = fz.lists(whose(run, user)).leave(key)
    run.render.changed([left], LIST, f"List {left.owner}/{left.name} left")
