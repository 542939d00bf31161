"""fastzero db: take care of the database, wherever it runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.errors import InvalidInputError

from . import completion
from .options import NoBackup, Run, Timeout, Yes
from .render import BACKUP, INDEX, KEPT, RESTORED, SERVICE, STATS, TABLE, size
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core import Stack

group = Group(
    "db",
    "Back the database up, bring it back, look after it.",
    example="fastzero db backup\nfastzero db backup list\nfastzero db restore before-holidays",
)
backups = Group(
    "backup",
    "Take a backup, or look after those there are. Alone: take one.",
    default="take",
    example="fastzero db backup\nfastzero db backup list",
)
group.add_group(backups)
STREAM = "-"
UNDO = "db restore --undo"

Archive = Annotated[
    str, typer.Argument(metavar="FILE|NAME", help="A backup's file, or its name.", autocompletion=completion.backups)
]


@backups.command(
    example="fastzero db backup take\nfastzero db backup --name before-holidays\nfastzero db backup - | pg_restore -l"
)
def take(
    run: Run,
    file: Annotated[str | None, typer.Argument(metavar="[FILE|-]", help="Where to; - is standard output.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Its name among the backups.")] = None,
) -> None:
    """Take a backup.

    In pg_dump's custom format, with a manifest beside it that `db verify` and `db restore` go by. Without FILE it goes
    to the project's backups.
    """
    from fastzero_core.backup import dump, shelf

    if file and name:
        raise InvalidInputError("a file or a name, not both", field="name")
    if file == STREAM:
        with _stdout() as stream:
            dump.write_backup(run.target, stream, on_event=run.render.event)
        run.render.message("A stream has no manifest: pg_restore reads it, fastzero db restore does not.")
        return
    path = Path(file).absolute() if file else shelf.new_path(run.target.folder, run.target.database, name)
    dump.backup(run.target, path, on_event=run.render.event)
    run.render.changed([shelf.described(path)], BACKUP)


@backups.command("list", example="fastzero db backup list -o json")
def list_(run: Run) -> None:
    """List the project's backups, oldest first; also those of one that was destroyed."""
    from fastzero_core.backup import shelf
    from fastzero_core.backup.target import backups_folder
    from fastzero_core.project import project_of

    run.render.many(shelf.backups(backups_folder(project_of(run.settings))), BACKUP, none="No backups yet.")


@backups.command(example="fastzero db backup prune --keep 5 --yes")
def prune(
    run: Run,
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=0, help="How many of the newest stay.")],
    yes: Yes = False,
) -> None:
    """Delete old backups, and the databases kept from before a restore, an upgrade or a move."""
    from fastzero_core.backup import restore, shelf

    old, kept = shelf.surplus(run.target.folder, keep), restore.kept_databases(run.target)
    places = () if run.settings.database_url else run.stack.kept
    if old or kept or places:
        databases = [f"database {database.database}" for database in kept]
        what = [*(backup.name for backup in old), *databases, *map(str, places)]
        run.confirm(f"These will be gone for ever: {', '.join(what)}.", yes)
    run.render.many(shelf.prune(run.target.folder, keep), BACKUP, header=False, none="No backup to delete.")
    for database in restore.drop_kept(run.target):
        run.render.message(f"Dropped database {database.database} ({size(database.size)}).")
    for place in run.stack.discard_kept() if places else ():
        run.render.message(f"Destroyed the {place}.")


@group.command(example="fastzero db verify before-holidays")
def verify(run: Run, archive: Archive) -> None:
    """Prove that a backup can be restored.

    Its hash is checked; it is restored into a scratch database, compared with its manifest, and dropped again.
    """
    from fastzero_core.backup import restore, shelf

    path = shelf.find(run.target.folder, archive)
    run.render.one(restore.verify(run.target, path, on_event=run.render.event), BACKUP)


@group.command(example="fastzero db restore before-holidays\nfastzero db restore --undo")
def restore(
    run: Run,
    archive: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|NAME]", help="A backup's file, or its name.", autocompletion=completion.backups),
    ] = None,
    into_empty: Annotated[
        bool, typer.Option("--into-empty", help="Into the database itself, which must have no tables.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put the database back that the last restore replaced.")] = False,
    no_backup: NoBackup = False,
    yes: Yes = False,
) -> None:
    """Bring a backup back.

    It is restored beside the database, compared with its manifest, and swapped in within a moment. The database
    before it is kept until `db restore --undo` or `db backup prune`.
    """
    from fastzero_core.backup import restore, shelf

    if undo:
        _undo(run, archive, yes)
        return
    if archive is None:
        raise InvalidInputError("which backup?", field="archive", hint="See which there are: fastzero db backup list")
    path = shelf.find(run.target.folder, archive)
    upgrade = restore.needs_upgrade(path)
    also = " Its schema is older, and will be migrated to head." if upgrade else ""
    origin = shelf.described(path).database
    if origin != run.target.database:
        also = f" It is a backup of database {origin}.{also}"
    if into_empty:
        run.confirm(f"{path.name} will be restored into database {run.target.database}.{also}", yes)
        result = restore.restore_into_empty(run.target, path, upgrade=upgrade, on_event=run.render.event)
    else:
        run.confirm(f"Database {run.target.database} will be replaced by {path.name}, and kept.{also}", yes)
        restore.check(run.target, path, upgrade=upgrade, on_event=run.render.event)
        run.back_up_first(no_backup)
        result = restore.restore(run.target, path, upgrade=upgrade, on_event=run.render.event)
        run.render.message(f"The database before is kept as {result.kept}. {run.way_back(UNDO)}")
    run.render.one(result, RESTORED)


@group.command(example="fastzero db reset --yes")
def reset(run: Run, no_backup: NoBackup = False, yes: Yes = False) -> None:
    """Empty the database and bring its schema to head."""
    from fastzero_core.backup import restore

    run.confirm(f"All that is in database {run.target.database} will be gone.", yes)
    restore.refuse_unless_able(run.target)
    run.back_up_first(no_backup)
    run.render.one(restore.reset(run.target, on_event=run.render.event), RESTORED)


@group.command(
    example="fastzero db shell\nfastzero db shell -- -c 'TABLE users'",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def shell(
    run: Run,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGUMENTS]", help="psql's own.")] = None,
) -> None:
    """Open psql on the database.

    The password goes by the environment. The exit code is psql's.
    """
    from fastzero_core.backup import psql

    words = arguments or []
    raise typer.Exit(psql.shell(run.target, words[1:] if words[:1] == ["--"] else words))


@group.command(example="fastzero db url\nfastzero db url --password | docker secret create database_url -")
def url(
    run: Run,
    password: Annotated[bool, typer.Option("--password", help="With the password in it.")] = False,
) -> None:
    """Print the database's URL, without its password."""
    from fastzero_core.postgres.database import url_of

    run.render.text(f"{url_of(run.database_url, password=password)}\n")


@group.command(example="fastzero db stats\nfastzero db stats -o json")
def stats(run: Run) -> None:
    """Show the database at a glance.

    Size, rows, how much goes by indexes and the cache, connections, the oldest transaction, bloat, revision. Rows and
    bloat are estimates.
    """
    from fastzero_core.backup.stats import stats

    found = stats(run.target.url)
    if run.render.output != "table":
        run.render.one(found, STATS)
        return
    run.render.one(found.overview(), STATS)
    run.render.many(found.tables, TABLE, none="No tables.")
    run.render.many(found.indexes, INDEX, none="")
    run.render.many(found.kept, KEPT, none="")


@group.command(example="fastzero db upgrade --to 18\nfastzero db upgrade --rollback")
def upgrade(
    run: Run,
    to: Annotated[int | None, typer.Option("--to", metavar="MAJOR", min=15, help="PostgreSQL's major version.")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Back to the database before the last upgrade.")] = False,
    yes: Yes = False,
    timeout: Timeout = None,
) -> None:
    """Bring the database to another major version of PostgreSQL.

    In containers. Its content is dumped, restored in a new volume and compared; meanwhile it can be read, not written.
    The volume before is kept.
    """
    stack = _own_stack(run)
    if rollback is (to is not None):
        raise InvalidInputError("to which version? Or back?", field="to", hint="--to MAJOR, or --rollback")
    if rollback:
        last = stack.kept_before_upgrade
        run.confirm(f"The database will be as it was in {last}; what was written since stays where it is.", yes)
        left = stack.roll_back_upgrade(timeout=timeout)
        run.render.message(f"Kept: {left}.")
    else:
        before = stack.upgrade(to or 0, timeout=timeout, on_event=run.render.event)
        kept = f"Kept: {before}. {run.way_back('db upgrade --rollback')}"
        run.render.message(kept if before else f"Nothing to do: the database is of PostgreSQL {to}.")
    run.render.many(stack.status(), SERVICE)


@group.command(example="fastzero db move --to docker")
def move(
    run: Run,
    to: Annotated[str, typer.Option("--to", metavar="RUNTIME", help="embedded | docker")],
    timeout: Timeout = None,
) -> None:
    """Bring the project to the other runtime, with its data.

    As `db upgrade` does; the place before is kept.
    """
    stack = _own_stack(run)
    left = stack.move(to, timeout=timeout, on_event=run.render.event)
    run.render.message(f"Kept: {left}." if left else f"Nothing to do: project {stack.project.name} runs {to}.")
    run.render.many(stack.status(), SERVICE)


def _own_stack(run: Run) -> "Stack":
    if run.settings.database_url:
        raise InvalidInputError(
            "DATABASE_URL names a database that is not this stack's, and it stays where it is",
            field="database_url",
            hint="Unset DATABASE_URL to go on with the stack's own",
        )
    return run.stack


def _undo(run: Run, archive: str | None, yes: bool) -> None:
    from fastzero_core.backup import restore

    if archive is not None:
        raise InvalidInputError("--undo takes no backup: it goes back to the database kept last", field="archive")
    last = restore.last_kept(run.target)
    run.confirm(f"Database {last.database}, kept {last.kept_at}, will be in service again.", yes)
    result = restore.undo(run.target)
    run.render.message(f"The database before is kept as {result.kept}. {run.way_back(UNDO)}")
    run.render.one(result, RESTORED)


def _stdout() -> Any:
    if sys.stdout.isatty():
        raise InvalidInputError(
            "a backup is nothing for a terminal", field="file", hint="Redirect it: fastzero db backup - > FILE"
        )
    return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
