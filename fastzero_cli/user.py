"""fastzero user: the accounts that own todos."""

from typing import Annotated

import typer

from . import completion
from .columns import INVITATION, USER
from .options import NoBackup, PasswordFile, PasswordStdin, Run, Yes
from .style import counted
from .tree import Group

group = Group(
    "user",
    example="fastzero user add ana --email ana@example.com\nfastzero user list",
)
group.add_group(
    "calendar",
    "calendars",
    "Give calendar programs a secret URL for a user's todos. Alone: show since when there is one.",
)

Name = Annotated[
    str,
    typer.Argument(metavar="USER", help="A username, e-mail address or id.", autocompletion=completion.usernames),
]


@group.command(example="fastzero user add ana --email ana@example.com")
def add(
    run: Run,
    username: Annotated[str, typer.Argument(metavar="USERNAME", help="Letters, digits and . _ + -, not digits alone.")],
    email: Annotated[str, typer.Option("-e", "--email", metavar="ADDRESS", help="The e-mail address.")],
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
) -> None:
    """Add a user. The password is asked for twice, unless it is handed over."""
    password = run.password(password_stdin, password_file, of=(username, email))
    with run.fastzero() as fz:
        user = fz.users.add(username, email=email, password=password)
    run.render.changed([user], USER, f"User {user.username} added", user.email)


@group.command("list", example="fastzero user list -o json")
def list_(
    run: Run,
    after: Annotated[int | None, typer.Option("--after", metavar="ID", help="Start after this user.")] = None,
    limit: Annotated[int | None, typer.Option("-n", "--limit", metavar="N", help="Maximum number to show.")] = None,
) -> None:
    """List the users."""
    with run.fastzero(autocommit=True) as fz:
        users = fz.users.stream(after=after) if limit is None else fz.users.list(after=after, limit=limit)
        run.render.many(users, USER)


@group.command(example="fastzero user show ana")
def show(run: Run, user: Name) -> None:
    """Show one user with all fields."""
    with run.fastzero(autocommit=True) as fz:
        run.render.one(fz.users.get(user), USER)


@group.command(example="fastzero user edit ana --username anna")
def edit(
    run: Run,
    user: Name,
    username: Annotated[str | None, typer.Option("--username", metavar="NAME", help="The new name.")] = None,
    email: Annotated[str | None, typer.Option("-e", "--email", metavar="ADDRESS", help="The new address.")] = None,
) -> None:
    """Change a user's name or e-mail address."""
    with run.fastzero() as fz:
        before = fz.users.get(user)
        after = fz.users.edit(before.id, username=username, email=email)
    if _chosen(run) == before.username:
        _choose(run, after.username)
    run.render.changed([after], USER, f"User {after.username} changed", after.email)


@group.command(example="fastzero user passwd ana")
def passwd(run: Run, user: Name, password_stdin: PasswordStdin = False, password_file: PasswordFile = None) -> None:
    """Give a user another password and end its sessions.

    The current password is not needed: whoever runs this command owns the database.
    """
    password = run.password(password_stdin, password_file, of=(user, user))
    with run.fastzero() as fz:
        changed = fz.users.set_password(user, password)
    run.render.changed([changed], USER, f"Password of {changed.username} changed", "all sessions ended")


@group.command(example="fastzero user logout ana")
def logout(run: Run, user: Name) -> None:
    """End all sessions of a user: no token that was issued before is accepted."""
    with run.fastzero() as fz:
        changed = fz.users.void_tokens(user)
    run.render.changed([changed], USER, f"All sessions of {changed.username} ended")


@group.command(example="fastzero user invite --expires 24")
def invite(
    run: Run,
    expires: Annotated[
        float, typer.Option("--expires", metavar="HOURS", help="How long the code can be used.", min=0, max=8760)
    ] = 168,
) -> None:
    """Print a code with which one user can sign up over HTTP.

    It is needed where FASTZERO_SIGNUP=invite, as the field `invitation` of POST /users/. It works once.
    """
    from datetime import timedelta

    with run.fastzero() as fz:
        invitation = fz.invitations.add(timedelta(hours=expires))
    run.render.one(invitation, INVITATION)


@group.command(example="fastzero user use ana")
def use(run: Run, user: Name) -> None:
    """Set the default user for todo commands."""
    with run.fastzero(autocommit=True) as fz:
        chosen = fz.users.get(user)
    _choose(run, chosen.username)
    used = f"Todo commands of project {run.settings.project} now use {chosen.username}"
    run.render.outcome([chosen], USER, used)


@group.command(example="fastzero user rm ana")
def rm(run: Run, user: Name, no_backup: NoBackup = False, yes: Yes = False) -> None:
    """Remove a user with all todos.

    The database is backed up first; until the user is removed, it can be read but not written.
    """
    database = run.doomed
    with run.fastzero(autocommit=True) as fz:
        found = fz.users.get(user)
        count = fz.todos(found).count()
    gone = f"User {found.username} and {count} todo{'' if count == 1 else 's'} will be permanently deleted."
    run.confirm(lambda: f"In {database.description}: {gone}", yes)
    removed = database.remove_user(found.id, todos=None if yes else count, no_backup=no_backup)
    if _chosen(run) == removed.username:
        _choose(run, None)
    run.render.changed([removed], USER, f"User {removed.username} deleted", counted(count, "todo"))


def _chosen(run: Run) -> str | None:
    from fastzero_core.project import project_of

    return project_of(run.settings).current_user


def _choose(run: Run, username: str | None) -> None:
    from fastzero_core.project import project_of

    project_of(run.settings).current_user = username
