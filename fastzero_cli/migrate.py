"""fastzero migrate: upgrade and downgrade the schema."""

from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .columns import APPLIED, LINT, REVISION
from .messages import revision_line
from .options import NoBackup, Run, Timeout, Yes
from .style import counted
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core.schema.migrate import SchemaStatus

group = Group("migrate", alone_is_help=False)

Revision = Annotated[
    str,
    typer.Argument(
        metavar="REV",
        help="A revision, `head`, `base`, or steps as +1 and -1.",
        autocompletion=completion.revisions,
    ),
]
STEPS = {"ignore_unknown_options": True}  # otherwise -1 would be read as an option


@group.callback(invoke_without_command=True, example="fastzero migrate")
def migrate(run: Run, timeout: Timeout = None) -> None:
    """Migrate the database's schema, up or down. Without a command: to head."""
    if run.subcommand is None:
        to_head(run, "head", timeout)


@group.command(
    example="fastzero migrate up\nfastzero migrate up 0001\nfastzero migrate up --rehearse", context_settings=STEPS
)
def up(
    run: Run,
    revision: Revision = "head",
    rehearse: Annotated[bool, typer.Option("--rehearse", help="First on a copy of the database, to see.")] = False,
    timeout: Timeout = None,
) -> None:
    """Upgrade to a revision, to head without one.

    With --rehearse the revisions first run on a copy of the database: how long each takes and what it locks is told,
    and if one fails nothing is changed.
    """
    if rehearse:
        for step in run.database.rehearse(revision, timeout=timeout):
            run.render.message(f"On a copy: {revision_line(step)}, locked {', '.join(step.locked) or 'nothing'}")
    to_head(run, revision, timeout)


@group.command(example="fastzero migrate down -1\nfastzero migrate down base --yes", context_settings=STEPS)
def down(run: Run, revision: Revision, no_backup: NoBackup = False, yes: Yes = False, timeout: Timeout = None) -> None:
    """Downgrade to a revision. What later revisions hold is lost.

    The database is backed up first; a project's app is stopped before, and started again afterwards. Other writes
    cannot be held: what they change between the backup and the downgrade is not in the backup.
    """
    database = run.doomed
    current = run.schema.status(run.database_url, drift=False).current
    lost = f"From {current or 'base'} down to {revision}: what the revisions taken back hold will be gone."
    run.confirm(lambda: f"In {database.description}: {lost}", yes)
    _tell(run, database.migrate_down(revision, no_backup=no_backup, timeout=timeout))


@group.command(example="fastzero migrate status -o json")
def status(run: Run) -> None:
    """Show where the database is.

    The current revision, the head, what is pending, and where the live schema differs from the code.
    """
    found = run.schema.status(run.database_url)
    run.render.one(found, APPLIED)
    if found.pending:
        run.render.message(f"{counted(len(found.pending), 'revision')} to apply: {run.command('migrate')}")
    elif found.drift:
        run.render.warning("the schema differs from the models")
    else:
        run.render.verdict(f"The schema is at head: {found.current}")


@group.command(example="fastzero migrate history")
def history(run: Run) -> None:
    """List every revision and its state."""
    run.render.many(run.schema.history(run.database_url), REVISION)


@group.command(example="fastzero migrate new 'add due dates' --autogenerate")
def new(
    run: Run,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="What it does, in a few words.")],
    autogenerate: Annotated[
        bool, typer.Option("--autogenerate", help="Fill it with what differs between models and database.")
    ] = False,
) -> None:
    """Write a new revision on top of the head."""
    path = run.schema.new(message, url=run.database_url if autogenerate else None)
    run.render.text(f"{path}\n")


@group.command(example="fastzero migrate check && echo ready")
def check(run: Run) -> None:
    """Succeed only if the schema is up to date.

    That is: at head, and as the models say. Exit 7 otherwise. Of pending revisions it lists what they lock or lose.
    """
    if findings := run.schema.lint(run.database_url):
        run.render.many(findings, LINT)
    found = run.schema.check(run.database_url)
    run.render.proof(found, APPLIED, f"The schema is at head: {found.current}", "it matches the models")


@group.command(example="fastzero migrate sql > upgrade.sql\nfastzero migrate sql 0001:head")
def sql(
    run: Run,
    revision: Annotated[str, typer.Argument(metavar="REV", help="Up to this one, or `from:to`.")] = "head",
) -> None:
    """Print an upgrade instead of running it."""
    run.render.text(run.schema.sql(revision))


@group.command(example="fastzero migrate stamp head")
def stamp(run: Run, revision: Revision, timeout: Timeout = None) -> None:
    """Record a revision without running it."""
    stamped = run.schema.stamp(run.database_url, revision, timeout=timeout or run.settings.timeout)
    run.render.proof(stamped, APPLIED, f"Recorded revision {stamped.current or 'base'}", "nothing was run")


def to_head(run: Run, revision: str = "head", timeout: float | None = None) -> None:
    """Upgrade to head, or to a revision before it."""
    status = run.schema.up(
        run.database_url, revision, timeout=timeout or run.settings.timeout, on_event=run.render.event
    )
    _tell(run, status)


def _tell(run: Run, status: "SchemaStatus") -> None:
    at = f"at head: {status.current}" if not status.pending else f"at {status.current or 'base'}; head is {status.head}"
    run.render.proof(status, APPLIED, f"The schema is {at}")
