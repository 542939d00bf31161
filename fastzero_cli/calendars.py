"""fastzero user calendar: the secret URL at which a calendar program reads a user's todos."""

from typing import Annotated

import typer

from . import completion
from .columns import CALENDAR, CALENDAR_STATE
from .options import Run
from .todo_options import owned
from .tree import Group

group = Group(
    "calendar",
    default="show",
    example="fastzero user calendar renew ana\nfastzero user calendar revoke ana",
)

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[USER]",
        help="A username, e-mail address or id; by default the user of todo commands.",
        autocompletion=completion.usernames,
    ),
]


@group.command(example="fastzero user calendar show ana")
def show(run: Run, user: Name = None) -> None:
    """Show since when the calendar has its URL. The URL itself is shown only when it is made."""
    with run.fastzero(autocommit=True) as fz:
        run.render.one(fz.calendar(owned(run, fz, user).owner_id).show(), CALENDAR_STATE)


@group.command(example="fastzero user calendar renew ana")
def renew(run: Run, user: Name = None) -> None:
    """Give the calendar a new secret URL, and revoke the one before.

    Prints the path; put the address of the app before it. Whoever knows the URL can read the todos.
    """
    with run.fastzero() as fz:
        calendar = fz.calendar(owned(run, fz, user).owner_id).renew()
    run.render.one(calendar, CALENDAR)


@group.command(example="fastzero user calendar revoke ana")
def revoke(run: Run, user: Name = None) -> None:
    """Revoke the URL: the calendar can no longer be read."""
    with run.fastzero() as fz:
        revoked = fz.calendar(owned(run, fz, user).owner_id).revoke()
    run.render.changed([revoked], CALENDAR_STATE, "Calendar revoked")
