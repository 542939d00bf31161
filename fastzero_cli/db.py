"""fastzero db: manage the database, wherever it runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.errors import InvalidInputError, NotFoundError

from . import archive as archives
from . import completion
from .columns import BACKUP, INDEX, KEPT, PLACE, RESTORED, SERVICE, STATS, TABLE
from .ending import tell_of_plan
from .layout import size
from .options import MoveServers, MoveTo, NoBackup, Run, Timeout, Yes
from .style import counted
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core.backup.restore import Restored, RestorePlan
    from fastzero_core.care import DatabaseCare, Stack
    from fastzero_core.project import Place
    from fastzero_core.stack.relocate import PlaceStatus

INDEXES_SHOWN = 12  # the largest ones, so that the statistics fit a screen

group = Group(
    "db",
    example="fastzero db backup\nfastzero db backup list\nfastzero db restore before-holidays",
)
backups = Group(
    "backup",
    "Take and manage backups. Alone: take one.",
    default="take",
    example="fastzero db backup\nfastzero db backup list",
)
group.add_imported(backups)
group.add_group(
    "archive", "archive", "Archive the database continuously, to recover it to any second. Alone: show its state."
)
group.add_commands("servers", "status", "failover")
STREAM = "-"

BACKUP_HELP = "A backup's name, or its file as a path with a slash in it."
Archive = Annotated[str, typer.Argument(metavar="FILE|NAME", help=BACKUP_HELP, autocompletion=completion.backups)]
Trusted = Annotated[
    bool, typer.Option("--trusted", help="Run the code in the backup with the database's own role; keep owners.")
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
    if file and name:
        raise InvalidInputError("a file or a name, not both", field="name")
    if file == STREAM:
        with _stdout() as stream:
            run.database.write_to(stream)
        run.render.message("A stream has no manifest: pg_restore reads it, fastzero db restore does not.")
        return
    backup = run.database.backup(Path(file) if file else None, name=name)
    where = backup.file if file else backup.name
    run.render.outcome([backup], BACKUP, f"Backup taken: {where}", counted(backup.rows, "row"), size(backup.size))


@backups.command("list", example="fastzero db backup list -o json")
def list_(run: Run) -> None:
    """List the database's backups, oldest first; also those of a project that was destroyed."""
    run.render.many(run.database.backups(), BACKUP, none="No backups yet.")


@backups.command(example="fastzero db backup prune --keep 5 --yes")
def prune(
    run: Run,
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=0, help="How many of the newest stay.")],
    yes: Yes = False,
) -> None:
    """Delete old backups, and the databases kept from before a restore.

    Places that an upgrade or a move left stay: see `fastzero db place`.
    """
    database = run.doomed
    surplus = database.surplus(keep)
    names = [*(backup.name for backup in surplus.backups), *(f"database {kept.database}" for kept in surplus.databases)]
    if names:
        run.confirm(lambda: f"Of {database.description}, these will be permanently deleted: {', '.join(names)}.", yes)
    pruned = database.prune(keep)
    for kept in pruned.databases:
        run.render.message(f"Dropped database {kept.database} ({size(kept.size)}).")
    freed = sum(each.size for each in pruned.backups) + sum(each.size for each in pruned.databases)
    gone = [counted(len(pruned.backups), "backup"), counted(len(pruned.databases), "database")]
    text = f"Deleted {' and '.join(gone)}" if names else "No backup to delete"
    run.render.outcome(pruned.backups, BACKUP, text, size(freed) if names else "")


@group.command(example="fastzero db verify before-holidays")
def verify(run: Run, archive: Archive, trusted: Trusted = False) -> None:
    """Verify that a backup can be restored.

    Its hash is checked; it is restored into a scratch database, compared with its manifest, and dropped again. Code in
    the backup runs as a role made for it, if the database's role may create one.
    """
    found = run.database.verify(archive, trusted=trusted)
    proved = f"{counted(found.tables, 'table')}, {counted(found.rows, 'row')}"
    run.render.proof(
        found, BACKUP, f"Backup verified: {proved}", size(found.size), f"PostgreSQL {found.server_version}"
    )


@group.command(
    example="fastzero db restore before-holidays\nfastzero db restore --undo\n"
    "fastzero db restore --to-time 2026-11-24T18:00Z"
)
def restore(
    run: Run,
    archive: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|NAME]", help=BACKUP_HELP, autocompletion=completion.backups),
    ] = None,
    into_empty: Annotated[
        bool, typer.Option("--into-empty", help="Into the database itself, which must have no tables.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Put the database back that the last restore replaced.")] = False,
    to_time: Annotated[
        str | None,
        typer.Option("--to-time", metavar="TIME|latest", help="From the archive, as the database was at this time."),
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar=archives.URL, help="With --to-time: another archive.")
    ] = None,
    from_project: Annotated[
        str | None,
        typer.Option("--from-project", metavar="NAME", help="With --from: the project that was archived, if not this."),
    ] = None,
    endpoint_url: archives.Endpoint = None,
    credentials_file: archives.CredentialsFile = None,
    trusted: Trusted = False,
    no_backup: NoBackup = False,
    yes: Yes = False,
) -> None:
    """Restore a backup, or the database as it was at a time.

    It is restored beside the database, compared with its manifest, and swapped in within a moment. The database
    before it is kept until `db restore --undo` or `db backup prune`. A name is looked up among the backups of the
    database itself: one of another database is given as a path with a slash in it. Code in the backup runs as a role
    made for it, if the database's role may create one; then everything belongs to the owner of the database.

    With --to-time the database is recovered from its archive to a new place, its pages are checked, and it is put
    into service; the place before is kept. A database with standbys gets them back after that. --from restores a
    project that no longer exists, or with --from-project another one into this project.
    """
    if undo:
        _undo(run, archive, yes)
        return
    if to_time is not None:
        if archive is not None:
            raise InvalidInputError("a backup or --to-time, not both", field="to_time")
        archives.restore_to_time(run, to_time, from_, from_project, endpoint_url, credentials_file, yes)
        return
    if from_ is not None:
        raise InvalidInputError("--from needs a time", field="to_time", hint="Say when: --to-time TIME, or latest")
    if archive is None:
        raise InvalidInputError("which backup?", field="archive", hint="See which there are: fastzero db backup list")
    database = run.doomed
    plan = database.plan_restore(archive, into_empty=into_empty, trusted=trusted)
    run.confirm(lambda: _planned(database, plan), yes)
    _tell_of(run, database.restore(plan, no_backup=no_backup), f"Restored {plan.archive.stem}")


@group.command(example="fastzero db reset --yes")
def reset(run: Run, no_backup: NoBackup = False, yes: Yes = False) -> None:
    """Empty the database and migrate its schema to head.

    It is backed up first; until it is empty, it can be read but not written.
    """
    database = run.doomed
    run.confirm(lambda: f"All that is in {database.description} will be gone.", yes)
    _tell_of(run, database.reset(no_backup=no_backup), "Database emptied")


@group.command(
    example="fastzero db shell\nfastzero db shell -- -c 'TABLE users'",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def shell(
    run: Run,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGUMENTS]", help="psql's own.")] = None,
    superuser: Annotated[
        bool, typer.Option("--superuser", help="As the server's superuser, not as the owner.")
    ] = False,
) -> None:
    """Open psql on the database.

    The password goes by the environment. The exit code is psql's.
    """
    from fastzero_core.backup import psql

    words = arguments or []
    target = run.own_stack.superuser_target if superuser else run.database.target
    raise typer.Exit(psql.shell(target, words[1:] if words[:1] == ["--"] else words))


@group.command(example="fastzero db url\nfastzero db url --password | docker secret create database_url -")
def url(
    run: Run,
    password: Annotated[bool, typer.Option("--password", help="With the password in it.")] = False,
) -> None:
    """Print the database's URL, without its password."""
    from fastzero_core.postgres.database import url_of

    is_given = run.settings.database_url is not None
    run.render.text(f"{url_of(run.database_url, password=password, require_auth=is_given)}\n")


@group.command(example="fastzero db stats\nfastzero db stats -o json")
def stats(run: Run) -> None:
    """Show size, rows and health of the database.

    Size, rows, how much goes by indexes and the cache, connections, the oldest transaction, bloat, revision. Rows and
    bloat are estimates.
    """
    from fastzero_core.backup.stats import stats

    found = stats(run.database_url)
    if run.render.output != "table":
        run.render.one(found, STATS)
        return
    run.render.one(found.overview(), STATS)
    for records, columns in ((found.tables, TABLE), (found.indexes[:INDEXES_SHOWN], INDEX), (found.kept, KEPT)):
        if records:
            run.render.text("\n")
            run.render.many(records, columns)
    if (more := len(found.indexes) - INDEXES_SHOWN) > 0:
        run.render.message(f"… and {more:,} smaller indexes: fastzero db stats -o json")


@group.command(example="fastzero db upgrade --to 18\nfastzero db upgrade --rollback")
def upgrade(
    run: Run,
    to: Annotated[int | None, typer.Option("--to", metavar="MAJOR", min=15, help="PostgreSQL's major version.")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Back to the database before the last upgrade.")] = False,
    yes: Yes = False,
    timeout: Timeout = None,
) -> None:
    """Upgrade the database to another major version of PostgreSQL.

    In containers. Its content is dumped, restored in a new volume and compared; until then you can read, but not write.
    The volume before is kept.
    """
    stack = run.own_stack
    if rollback is (to is not None):
        raise InvalidInputError("to which version? Or back?", field="to", hint="--to MAJOR, or --rollback")
    if rollback:
        last = stack.kept_before_upgrade
        run.confirm(f"The database will be as it was in {last}; what was written since stays where it is.", yes)
        left = stack.roll_back_upgrade(timeout=timeout)
        run.render.message(_kept(stack, left))
        run.render.outcome(stack.status(), SERVICE, "The database is as it was before the upgrade")
        return
    before = stack.upgrade(to or 0, timeout=timeout)
    kept = f"Kept: {before}. {stack.way_back('db upgrade --rollback')}"
    run.render.message(kept if before else f"Nothing to do: the database is of PostgreSQL {to}.")
    run.render.outcome(stack.status(), SERVICE, f"The database runs PostgreSQL {to}")


@group.command(example="fastzero db move --to docker\nfastzero db move --ha --dry-run\nfastzero db move --ha")
def move(
    run: Run,
    to: MoveTo = None,
    ha: MoveServers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --ha or --no-ha: only say what is done.")] = False,
    timeout: Timeout = None,
) -> None:
    """Move the project to another runtime, or its database to another number of servers, with its data.

    As `db upgrade` does; the place before is kept.
    """
    stack = run.own_stack
    if (to is None) is (ha is None):
        raise InvalidInputError("where to?", field="to", hint="--to RUNTIME or, in a swarm, --ha or --no-ha")
    if dry_run and ha is None:
        raise InvalidInputError("--dry-run needs --ha or --no-ha", field="dry_run")
    if dry_run:
        tell_of_plan(run, stack.plan_move(ha=bool(ha)))
        return
    left = stack.move(to, ha=ha, timeout=timeout)
    number = "three servers" if ha else "one server"
    now = f"project {stack.project.name} runs {to}" if to else f"the database has {number}"
    run.render.message(_kept(stack, left) if left else f"Nothing to do: {now}.")
    run.render.outcome(stack.status(), SERVICE, f"{now[0].upper()}{now[1:]}")


places = Group(
    "place",
    "Manage the places that an upgrade or a move left. Alone: list them.",
    default="list",
    example="fastzero db place\nfastzero db place use fastzero-demo-database\nfastzero db place rm NAME --yes",
)
group.add_imported(places)
PlaceName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A place, as `fastzero db place` names it.", autocompletion=completion.places),
]


@places.command("list", example="fastzero db place list -o json")
def list_places(run: Run) -> None:
    """List the places of the project's database: the one in service, and those kept."""
    run.render.many(run.own_stack.places(), PLACE)


@places.command(example="fastzero db place use fastzero-demo-database --yes")
def use(run: Run, name: PlaceName, yes: Yes = False) -> None:
    """Put the database of a kept place into service.

    Rows that were written since stay in the place that is left, which is kept.
    """
    stack = run.own_stack
    to = _kept_place(stack, name)
    run.confirm(
        lambda: (
            f"{_title(to)} will serve project {stack.project.name}. What was written since stays in the place that"
            f" is left, and is kept: {stack.description}."
        ),
        yes,
    )
    run.render.message(_kept(stack, stack.use_place(name)))
    run.render.outcome(stack.status(), SERVICE, f"{_title(to)[0].upper()}{_title(to)[1:]} is in service")


@places.command(example="fastzero db place rm fastzero-demo-database --yes")
def rm(run: Run, name: PlaceName, yes: Yes = False) -> None:
    """Destroy the data of a kept place."""
    stack = run.own_stack
    place = _kept_place(stack, name)
    others = f", with database {', '.join(place.others)}" if place.others else ""
    run.confirm(f"{_title(place)} of project {stack.project.name}{others} will be permanently deleted.", yes)
    run.render.verdict(f"Deleted: {stack.discard_place(name)}")


def _kept(stack: "Stack", left: "Place") -> str:
    return f"Kept: {left}. {stack.way_back(f'db place use {left.name}')}"


def _kept_place(stack: "Stack", name: str) -> "PlaceStatus":
    """Return a kept place by its name. Raises NotFoundError."""
    for place in stack.places():
        if place.name == name and not place.current:
            return place
    raise NotFoundError(f"place {name!r} is not kept", hint="See which there are: fastzero db place")


def _title(place: "PlaceStatus") -> str:
    return f"place {place.name} ({place.image or place.runtime})"


def _planned(database: "DatabaseCare", plan: "RestorePlan") -> str:
    """Return the text of the question before a restore."""
    origin = f" It is a backup of database {plan.origin}." if plan.origin != database.target.database else ""
    older = " Its schema is older, and will be migrated to head." if plan.upgrade else ""
    if plan.into_empty:
        return f"{plan.archive.name} will be restored into {database.description}.{origin}{older}"
    named = database.description
    return f"{named[0].upper()}{named[1:]} will be replaced by {plan.archive.name}, and kept.{origin}{older}"


def _undo(run: Run, archive: str | None, yes: bool) -> None:
    if archive is not None:
        raise InvalidInputError("--undo takes no backup: it goes back to the database kept last", field="archive")
    database = run.doomed
    last = database.last_kept()
    back = f"Database {last.database}, kept {last.kept_at}, will be in service again"
    run.confirm(lambda: f"{back} in place of {database.description}, which is kept.", yes)
    _tell_of(run, database.undo(), "Restore undone")


def _tell_of(run: Run, restored: "Restored", text: str) -> None:
    revision = f"revision {restored.revision}" if restored.revision else ""
    run.render.proof(restored, RESTORED, f"{text}: {counted(restored.rows, 'row')}", revision)


def _stdout() -> Any:
    if sys.stdout.isatty():
        raise InvalidInputError(
            "refusing to write a binary backup to a terminal",
            field="file",
            hint="Redirect it: fastzero db backup - > FILE",
        )
    return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
