"""Run Alembic as a library: one migration at a time, short locks, one transaction per revision, a verified head.

Concurrent migrations wait by polling an advisory lock on a separate connection: a blocking lock would deadlock when a
revision builds an index CONCURRENTLY. `lock_timeout` limits how long the application's queries queue while a migration
waits for a table lock; a revision that does not get its lock is retried until the deadline.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import (
    DatabaseBusyError,
    DatabaseError,
    FastZeroError,
    InvalidInputError,
    LockedError,
    NotAllowedError,
    RevisionFailedError,
    RevisionNotFoundError,
    SchemaDriftError,
    SchemaNewerError,
    SchemaOutdatedError,
    UnavailableError,
)
from ..events import Listener, ignore
from ..postgres import database
from ..todo_app import validate
from . import environment
from .drift import differences
from .lint import LintFinding, lint_script
from .revisions import head_revision, is_installed, revision_of
from .watch import RevisionWatch

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Engine

LOCK_KEY = 0x6661_7374_7A65_726F  # "fastzero" as a bigint
LOCK_TIMEOUT = "3s"
POLL = 0.1  # seconds between two tries at the advisory lock
BACK_OFF = (0.2, 0.5, 1, 2, 5)  # seconds before each retry of a revision


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision. `state` is applied, current or pending; empty if no database was read."""

    revision: str
    down_revision: str | None
    message: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The status of a schema: `current` and `head` are revisions, `drift` lists differences from the models."""

    current: str | None
    head: str
    pending: list[str]
    drift: list[str]

    @property
    def up_to_date(self) -> bool:
        return self.current == self.head


def head() -> str:
    """Return the revision that the code needs."""
    return head_revision()


def up(url: str, revision: str = "head", *, timeout: float = 60, on_event: Listener = ignore) -> SchemaStatus:
    """Upgrade to `revision`: `head`, a revision, or relative as `+1`. Returns the status without drift.

    `timeout` is in seconds and limits all waiting. Raises SchemaNewerError before any change if the database is at a
    revision that the code does not know, RevisionNotFoundError, LockedError, DatabaseBusyError.
    """
    return _run("upgrade", url, revision, timeout, on_event)


def down(url: str, revision: str, *, timeout: float = 60, on_event: Listener = ignore) -> SchemaStatus:
    """Downgrade to `revision`: `base`, a revision, or relative as `-1`. Raises the errors of `up`."""
    return _run("downgrade", url, revision, timeout, on_event)


def refuse_unknown(url: str, revision: str) -> None:
    """Raise what `down` would for a revision that does not exist, or for more steps back than there are."""
    _check_spelling(revision)
    steps = re.fullmatch(r"-(\d+)", revision)
    if steps is None and not re.search("[+-]", revision) and revision not in ("base", "head", "heads"):
        with environment.alembic_errors():
            environment.scripts().get_revision(revision)
    applied = len(history()) - len(pending(revision_of(url)))
    if steps and int(steps[1]) > applied:
        raise InvalidInputError(
            f"{revision} goes back further than the first revision: {applied} are applied",
            field="revision",
            hint="Go back to the beginning: fastzero migrate down base",
        )


def status(url: str, *, drift: bool = True) -> SchemaStatus:
    """Return the schema status. With `drift`, compare the live schema with the models. Raises SchemaNewerError."""
    current = revision_of(url)
    drift_found = differences(url) if drift and current == head_revision() else []
    return SchemaStatus(current, head_revision(), [step.revision for step in pending(current)], drift_found)


def history(url: str | None = None) -> list[Revision]:
    """Return every revision, oldest first; with a URL, each with its state in that database."""
    current = status(url, drift=False).current if url else None
    pending_revisions = {step.revision for step in pending(current)} if url else set()
    return [
        Revision(
            script.revision,
            _single(script.down_revision),
            script.doc,
            "" if not url else _state_of(script.revision, current, pending_revisions),
        )
        for script in reversed(list(environment.scripts().walk_revisions()))
    ]


def pending(current: str | None) -> list[Revision]:
    """Return the revisions after a database's revision up to the head, oldest first. Raises SchemaNewerError."""
    scripts = environment.scripts()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise SchemaNewerError(f"the database is at revision {current}, which this version of fastzero does not know")
    steps = scripts.iterate_revisions("head", current or "base")
    return [Revision(step.revision, _single(step.down_revision), step.doc) for step in reversed(list(steps))]


def is_behind(revision: str) -> bool:
    """Return whether a restored database at `revision` needs an upgrade. Raises SchemaNewerError if unknown."""
    return bool(pending(revision))


def check(url: str) -> SchemaStatus:
    """Return the status. Raises SchemaOutdatedError before head, SchemaDriftError if the models differ."""
    found = status(url)
    if not found.up_to_date:
        raise SchemaOutdatedError(f"the schema is at {found.current or 'base'}; pending: {', '.join(found.pending)}")
    if found.drift:
        raise SchemaDriftError(f"the schema differs from the models: {'; '.join(found.drift)}")
    return found


def lint(url: str) -> list[LintFinding]:
    """Return the findings in the pending revisions of a database. Raises SchemaNewerError."""
    current = status(url, drift=False).current
    return lint_script(sql(f"{current or 'base'}:head")) if current != head_revision() else []


def stamp(url: str, revision: str, *, timeout: float = 60) -> SchemaStatus:
    """Record that the database is at `revision`, without running it. Raises RevisionNotFoundError."""
    return _run("stamp", url, revision, timeout, ignore)


def sql(revision: str = "head") -> str:
    """Return the SQL of an upgrade as a script, for example to run it as another role; `from:to` is a range."""
    from alembic import command

    for part in revision.split(":", 1):
        _check_spelling(part)
    script = StringIO()
    config = environment.config()
    config.output_buffer = script
    with environment.alembic_errors():
        command.upgrade(config, revision, sql=True)
    return script.getvalue()


def new(message: str, *, url: str | None = None) -> Path:
    """Create a revision file after the head; with a URL, autogenerate it from the differences to that database.

    Returns its path. Raises InvalidInputError if the migrations are part of an installed package, and
    SchemaOutdatedError if the database is not at head.
    """
    from alembic import command

    _refuse_if_installed()
    if not validate.text(message, "message").strip():
        raise InvalidInputError("message must not be empty", field="message")
    number = f"{len(history()) + 1:04d}"
    slug = re.sub(r"\W+", "_", message.lower()).strip("_")[:40]
    config = environment.config()
    if url:
        config.attributes["connection"] = database.create_engine(url)
    config.set_main_option("file_template", f"{number}_{slug}")
    with environment.alembic_errors(), redirect_stdout(StringIO()):
        script = command.revision(config, message, autogenerate=url is not None, rev_id=number)
    head_revision.cache_clear()
    return Path(script.path)  # type: ignore[union-attr]


def _refuse_if_installed() -> None:
    if is_installed():
        raise InvalidInputError(
            "these are fastzero's own migrations, part of the installed package",
            hint="Work in a checkout of fastzero, installed with: pip install -e .",
        )


def engine_from_settings() -> "Engine":
    """Return the engine for plain `alembic`: DATABASE_URL, else the project's database."""
    from ..project import database_url
    from ..settings import load_settings

    return database.create_engine(database_url(load_settings()), settings=_MIGRATION_SETTINGS)


_MIGRATION_SETTINGS = {"lock_timeout": LOCK_TIMEOUT}
_REVISION = re.compile(r"\w+([+-]\d+)?|[+-]\d+")


def _run(verb: str, url: str, revision: str, timeout: float, on_event: Listener) -> SchemaStatus:
    _check_spelling(revision)
    deadline = time.monotonic() + timeout
    engine = database.create_engine(url, settings=_MIGRATION_SETTINGS)
    with _only_runner(engine, deadline):
        pending(revision_of(url))  # raises if the database is newer than the code
        config = environment.config()
        config.attributes.update(connection=engine, on_version_apply=RevisionWatch(engine, on_event).applied)
        _retry_until(deadline, lambda: _alembic(verb, engine, config, revision))
    found = status(url, drift=False)
    if verb == "upgrade" and revision in ("head", "heads") and not found.up_to_date:
        raise DatabaseError(f"the upgrade finished, but the database is at {found.current or 'base'}, not {found.head}")
    return found


def _check_spelling(revision: str) -> None:
    # Alembic raises an AssertionError for some invalid revisions.
    if not _REVISION.fullmatch(revision):
        raise InvalidInputError(
            f"invalid revision {revision!r}: use a revision, head, base, +1 or -1",
            field="revision",
            hint=RevisionNotFoundError.default_hint,
        )


def _alembic(verb: str, engine: "Engine", config: "Config", revision: str) -> None:
    from alembic import command

    if verb == "upgrade":
        _drop_invalid_indexes(engine)
    with environment.alembic_errors():
        try:
            getattr(command, verb)(config, revision)
        except (UnavailableError, NotAllowedError):
            raise
        except FastZeroError as error:
            raise RevisionFailedError(f"a revision failed: {error.message}") from error


@contextmanager
def only_runner(url: str, timeout: float) -> Iterator[None]:
    """Make other migrations of a database wait during one block. Raises LockedError after `timeout` seconds."""
    with _only_runner(database.create_engine(url), time.monotonic() + timeout):
        yield


@contextmanager
def _only_runner(engine: "Engine", deadline: float) -> Iterator[None]:
    from sqlalchemy import text

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}).scalar_one():
            if time.monotonic() > deadline:
                raise LockedError("another migration of this database is running")
            time.sleep(POLL)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})


def _retry_until(deadline: float, attempt: Callable[[], None]) -> None:
    """Retry while a table is locked. Applied revisions are kept, since each has its own transaction."""
    for pause in _pauses():
        try:
            attempt()
            return
        except DatabaseBusyError:
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    yield from BACK_OFF
    while True:
        yield BACK_OFF[-1]


def _drop_invalid_indexes(engine: "Engine") -> None:
    """Drop invalid indexes that an interrupted CREATE INDEX CONCURRENTLY left: the next try would fail."""
    from sqlalchemy import text

    from ..todo_app.tables import metadata

    ours = [table.name for table in metadata.sorted_tables]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        names = connection.execute(
            text(
                "SELECT quote_ident(n.nspname) || '.' || quote_ident(i.relname)"
                " FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid"
                " JOIN pg_namespace n ON n.oid = i.relnamespace"
                " WHERE NOT x.indisvalid AND t.relname = ANY(:ours) AND n.nspname = current_schema()"
            ),
            {"ours": ours},
        ).scalars()
        for name in names.all():
            connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))


def _state_of(revision: str, current: str | None, pending: set[str]) -> str:
    if revision == current:
        return "current"
    return "pending" if revision in pending else "applied"


def _single(down_revision: Any) -> str | None:
    return down_revision if isinstance(down_revision, str) else None
