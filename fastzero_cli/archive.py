"""fastzero db archive: archive the database continuously, and recover it to a point in time."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastzero_core.errors import InvalidInputError

from .columns import ARCHIVE, ARCHIVED, BASE_BACKUP, SERVICE
from .layout import size
from .options import Run, Timeout, Yes
from .style import counted
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core.archive.description import Archive

group = Group(
    "archive",
    default="status",
    example="fastzero db archive enable --to s3://bucket/prefix\nfastzero db archive verify",
)
URL = "s3://BUCKET/PREFIX|file:///PATH"
SECRETS = {"AWS_ACCESS_KEY_ID": True, "AWS_SECRET_ACCESS_KEY": True, "AWS_SESSION_TOKEN": False}  # whether it is needed
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
Endpoint = Annotated[
    str | None,
    typer.Option("--endpoint-url", metavar="URL", help="Where the bucket is, if it is not at AWS."),
]
CredentialsFile = Annotated[
    str | None,
    typer.Option("--credentials-file", metavar="FILE", help="Credentials in the form of ~/.aws/credentials."),
]


@group.command(
    example="fastzero db archive enable --to s3://bucket/prefix --keep 7d\n"
    "fastzero db archive enable --to file:///mnt/backup"
)
def enable(
    run: Run,
    to: Annotated[str, typer.Option("--to", metavar=URL, help="Where to.")],
    endpoint_url: Endpoint = None,
    credentials_file: CredentialsFile = None,
    keep: Annotated[
        str, typer.Option("--keep", metavar="7d|N", help="How many days, or base backups, to keep; by default all.")
    ] = "",
    max_kept_wal: Annotated[
        str | None,
        typer.Option("--max-kept-wal", metavar="SIZE", help="Pause when more waits to be archived; by default 10GiB."),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Archive the database, beginning with a base backup. Restarts it.

    The credentials are those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or of a file. They are kept as a secret of
    the project. Without containers S3 needs barman: pip install 'fastzero[archive]'.
    """
    from fastzero_core.archive.description import bytes_of, checked_keep, checked_url

    url, keep = checked_url(to), checked_keep(keep)
    limit = bytes_of(max_kept_wal) if max_kept_wal else None
    credentials = _credentials(credentials_file) if url.startswith("s3:") else None
    archive = run.own_stack.enable_archive(
        url, endpoint_url=endpoint_url or "", keep=keep, max_kept=limit, credentials=credentials, timeout=timeout
    )
    run.render.outcome([archive], ARCHIVED, f"Database archived to {archive}")


@group.command(example="fastzero db archive disable --yes")
def disable(run: Run, yes: Yes = False, timeout: Timeout = None) -> None:
    """Stop archiving. Restarts the database. What is archived stays."""
    stack = run.own_stack
    run.confirm(f"The database of project {stack.project.name} will no longer be archived.", yes)
    archive = stack.disable_archive(timeout=timeout)
    run.render.outcome([archive], ARCHIVED, f"Archive disabled: what is in {archive} stays there")


@group.command(example="fastzero db archive status\nfastzero db archive status -o json")
def status(run: Run) -> None:
    """Show whether archiving works, what waits, and the age of the newest base backup."""
    run.render.one(run.own_stack.archive_status(), ARCHIVE)


@group.command("list", example="fastzero db archive list\nfastzero db archive list -o json")
def list_(run: Run) -> None:
    """List the base backups in the archive, oldest first. A recovery can end at any time after one."""
    run.render.many(run.own_stack.archive_backups(), BASE_BACKUP, none="No base backups yet.")


@group.command(example="fastzero db archive backup")
def backup(run: Run, timeout: Timeout = None) -> None:
    """Take a base backup now, and delete what is no longer kept. Resumes archiving if it was paused."""
    taken = run.own_stack.back_up_to_archive(timeout=timeout)
    run.render.outcome([taken], BASE_BACKUP, f"Base backup taken: {taken.id}", size(taken.size))


@group.command(example="fastzero db archive verify")
def verify(run: Run, timeout: Timeout = None) -> None:
    """Verify that the archive can be recovered.

    Its newest base backup and all segments after it are recovered beside the database, each page is checked, and the
    copy is deleted.
    """
    found = run.own_stack.verify_archive(timeout=timeout)
    until = found.reachable.isoformat() if found.reachable else ""
    run.render.proof(found, (), f"Archive verified: {counted(found.segments, 'segment')}", until)


def restore_to_time(
    run: Run,
    to_time: str,
    url: str | None,
    of: str | None,
    endpoint_url: str | None,
    credentials_file: str | None,
    yes: bool,
) -> None:
    """Recover the project's database to a time, from its own archive or from that of the project `of` at `url`."""
    from fastzero_core.archive.recovery import shown, time_of

    time = time_of(to_time, datetime.now(UTC))
    stack = run.own_stack
    if of and not url:
        raise InvalidInputError("--from-project needs --from", field="from_project", hint="Say where its archive is")
    archive = _archive(url, of or stack.project.name, endpoint_url) if url else None
    credentials = Path(credentials_file) if credentials_file else None
    found = stack.plan_recovery(time, archive, credentials)
    until = shown(time) if time else "the end of its archive"
    if stack.exists:
        run.confirm(lambda: f"The {stack.description} will be as it was at {until}, and kept as it is now.", yes)
    left = stack.recover(found)
    if left:
        run.render.message(f"Kept: {left}. {stack.way_back(f'db place use {left.name}')}")
    if archive:
        run.render.message("It is not archived yet: fastzero db archive enable --to URL")
    run.render.outcome(stack.status(), SERVICE, f"The database is as it was at {until}")


def _archive(url: str, project: str, endpoint_url: str | None) -> "Archive":
    from fastzero_core.archive.description import Archive, checked_project, checked_url

    return Archive(checked_url(url), checked_project(project), endpoint_url=endpoint_url or "")


def _credentials(file: str | None) -> str | None:
    """Return the credentials in a file, else those in the environment, as the text of such a file; None without any."""
    if file is not None:
        try:
            return Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"cannot read {file}: {error}", field="credentials_file") from None
    import configparser
    import io

    given = {name.lower(): os.environ[name] for name in SECRETS if os.environ.get(name)}
    if not all(name.lower() in given for name, is_needed in SECRETS.items() if is_needed):
        return None
    region = next((os.environ[name] for name in REGIONS if os.environ.get(name)), None)
    written = configparser.ConfigParser(interpolation=None)
    written["default"] = {**given, **({"region": region} if region else {})}
    text = io.StringIO()
    written.write(text)
    return text.getvalue()
