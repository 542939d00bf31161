"""The schema of a user's application, read from its Alembic files and changed by its own Alembic.

Commands run in the application's place and environment. The interface is that of `schema.migrate` for the built-in
application.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..application.description import Application
from ..application.migrations import AlembicProject, alembic_project
from ..application.migrations import Revision as File
from ..errors import (
    FastZeroError,
    InvalidInputError,
    RevisionFailedError,
    RevisionNotFoundError,
    SchemaDriftError,
    SchemaNewerError,
    SchemaOutdatedError,
)
from ..events import Listener, ignore
from ..postgres.url import parse
from ..schema.lint import LintFinding, lint_script
from ..schema.migrate import Revision, SchemaStatus, only_runner
from . import application as applications
from . import probe, provisions
from .perform import EVIDENCE_LINES
from .session import Session
from .spec import Release, ServiceSpec

if TYPE_CHECKING:
    from ..backup.target import Target

# What shows the state of migrations that another tool manages, by a part of the command that migrates.
_SHOWS = {
    "flask db": "flask db current",
    "litestar database": "litestar database show-current-revision",
    "manage.py": "python manage.py showmigrations",
    "aerich": "aerich heads",
}
_WRITTEN = re.compile(r"Generating (?P<path>.+?\.py)\s")  # in the output of `alembic revision`


class ApplicationSchema:
    """The schema of the application of one session's project."""

    def __init__(self, session: Session, application: Application) -> None:
        self._session = session
        self._application = application

    def head(self) -> str:
        """Return the head revisions, as `1a2b` or `1a2b,3c4d`, "" without Alembic."""
        found = self._files(needed=False)
        return ",".join(found.heads) if found else ""

    def is_behind(self, revision: str) -> bool:
        """Return False: the application's code must not run on untrusted content. The next `up` migrates it to head."""
        return False

    def up(self, url: str, revision: str = "head", *, timeout: float = 60, on_event: Listener = ignore) -> SchemaStatus:
        """Upgrade to `revision`; for head, run the commands of fastzero.toml. Raises RevisionFailedError, LockedError.

        `timeout` is the number of seconds to wait for another migration to end.
        """
        provisions.provide(self._session.project, parse(url)["dbname"], self._application.database)
        if revision in ("head", "heads"):
            commands = self._release(url).commands
        else:
            commands = (self._alembic("upgrade", revision),)
        return self._changed(url, commands, timeout)

    def down(self, url: str, revision: str, *, timeout: float = 60, on_event: Listener = ignore) -> SchemaStatus:
        """Downgrade to `revision`. Raises as `up` does."""
        return self._changed(url, (self._alembic("downgrade", revision),), timeout)

    def stamp(self, url: str, revision: str, *, timeout: float = 60) -> SchemaStatus:
        """Record that the database is at `revision` without running anything. Raises as `up` does."""
        return self._changed(url, (self._alembic("stamp", revision),), timeout)

    def status(self, url: str, *, drift: bool = True) -> SchemaStatus:
        """Return the state of the database's schema. Raises SchemaNewerError for a revision without a file."""
        current = self._current(url)
        pending = [each.revision for each in self._pending(current)]
        found = self._drift(url) if drift and not pending else None
        return SchemaStatus(current, self.head(), pending, found or [])

    def check(self, url: str) -> SchemaStatus:
        """Return the status if the schema is at head and matches the models.

        Raises SchemaOutdatedError or SchemaDriftError otherwise, InvalidInputError if Alembic is older than 1.9.
        """
        found = self.status(url, drift=False)
        if not found.up_to_date:
            raise SchemaOutdatedError(
                f"the schema is at {found.current or 'base'}; pending: {', '.join(found.pending)}"
            )
        drift = self._drift(url)
        if drift is None:
            raise InvalidInputError("the application's Alembic has no check", hint="Install Alembic 1.9 or later")
        if drift:
            raise SchemaDriftError(f"the schema differs from the models: {'; '.join(drift)}")
        return found

    def history(self, url: str | None = None) -> list[Revision]:
        """Return every revision, oldest first; with a URL, each with its state in that database."""
        files = self._in_order()
        if url is None:
            return [_shown(each, "") for each in files]
        current = self._current(url)
        pending = self._pending(current)
        at = (current or "").split(",")
        states = {each.revision: "current" if each.revision in at else "applied" for each in files}
        states |= {each.revision: "pending" for each in pending}
        return [_shown(each, states[each.revision]) for each in files]

    def lint(self, url: str) -> list[LintFinding]:
        """Return what the statements of the pending revisions would lock, and which data they would lose."""
        current = self._current(url)
        return lint_script(self.sql(f"{current or 'base'}:head", url=url)) if self._pending(current) else []

    def sql(self, revision: str = "head", *, url: str = "") -> str:
        """Return the statements of an upgrade as a script; `from:to` for a range. Raises RevisionFailedError."""
        return self._run(url or self._session.project.database_url(), self._alembic("upgrade", revision, "--sql"))

    def new(self, message: str, *, url: str | None = None) -> Path:
        """Write a new revision file; with a URL, generated from the differences to that database. Returns its path.

        Raises InvalidInputError for an application in containers: its files are in the image. Raises
        RevisionFailedError if Alembic fails.
        """
        if self._session.known.runtime != "embedded":
            raise InvalidInputError(
                "a revision is written where the application's files are, not into a container",
                hint="Run it in the application's own environment: alembic revision -m MESSAGE",
            )
        options = ["--autogenerate"] if url else []
        target = url or self._session.project.database_url()
        said = self._run(target, self._alembic("revision", "-m", message, *options))
        if not (written := _WRITTEN.search(said)):
            raise RevisionFailedError("alembic does not say which file it wrote", evidence=said)
        return Path(re.sub(r"\s+", "", written["path"]))

    # -- internals -----------------------------------------------------------------------------------------------

    def _changed(self, url: str, commands: tuple[tuple[str, ...], ...], timeout: float) -> SchemaStatus:
        with only_runner(url, timeout):
            for command in commands:
                self._run(url, command)
        return self.status(url, drift=False)

    def _run(self, url: str, command: tuple[str, ...]) -> str:
        """Run a command on the URL's database. Returns its output.

        Raises RevisionFailedError, RevisionNotFoundError.
        """
        code, said = self._session.runtime.run_once(self._surrounded(url), command)
        if code == 0:
            return said
        raise _failure(f"`{shlex.join(command)}` failed with exit code {code}", said)

    def _surrounded(self, url: str) -> ServiceSpec:
        self._session.require_trust()
        return self._release(url).service

    def _release(self, url: str) -> Release:
        """Return what migrates the schema of the URL's database to head."""
        name = parse(url)["dbname"]
        where = replace(self._session.surroundings, database=name, test_database=name)
        return applications.release_of(self._application, where)

    def _alembic(self, *words: str) -> tuple[str, ...]:
        command = self._application.migrate.alembic
        if command is None:
            raise _no_alembic(self._application)
        return ("alembic", "-c", command.config, "-n", command.section, *words)

    def _current(self, url: str) -> str | None:
        return probe.revision_of(url, applications.version_table(self._application))

    def _drift(self, url: str) -> list[str] | None:
        """Return the differences that `alembic check` reports, [] if there are none, None if Alembic has no check."""
        code, said = self._session.runtime.run_once(self._surrounded(url), self._alembic("check"))
        if code != 0 and "invalid choice: 'check'" in said:
            return None
        return [] if code == 0 else [said.strip().splitlines()[-1]]

    def _files(self, *, needed: bool = True) -> AlembicProject | None:
        command = self._application.migrate.alembic
        found = alembic_project(self._application.root, command) if command else None
        if found is None and needed:
            raise _no_alembic(self._application)
        return found

    def _in_order(self) -> list[File]:
        """Return every revision, each after the ones that it follows or depends on."""
        found = self._files()
        left = {each.revision: each for each in found.revisions} if found else {}
        ordered: list[File] = []
        while left:
            ready = [each for each in left.values() if not {*each.down, *each.depends_on} & left.keys()]
            if not ready:
                raise InvalidInputError("the revisions follow each other in a circle", hint="See: alembic history")
            ordered += sorted(ready, key=lambda each: each.revision)
            left = {name: each for name, each in left.items() if each not in ready}
        return ordered

    def _pending(self, current: str | None) -> list[File]:
        """Return the revisions that are not applied yet, oldest first. Raises SchemaNewerError."""
        files = self._in_order()
        by_name = {each.revision: each for each in files}
        at = [name for name in (current or "").split(",") if name]
        if unknown := [name for name in at if name not in by_name]:
            raise SchemaNewerError(
                f"the database is at revision {unknown[0]}, which no file of the application has",
                hint="Nothing was changed. Use the version of the application that made this database",
            )
        applied = set(_with_ancestors(at, by_name))
        return [each for each in files if each.revision not in applied]


def with_schema(target: "Target", session: Session) -> "Target":
    """Return the target with the schema of the project's application if it is a user's application."""
    application = session.application
    if application is None:
        return target
    table = applications.version_table(application)
    return replace(target, schema=ApplicationSchema(session, application), version_table=table)


def _with_ancestors(names: list[str], by_name: dict[str, File]) -> Iterator[str]:
    left = list(names)
    while left:
        name = left.pop()
        yield name
        left += [below for below in (*by_name[name].down, *by_name[name].depends_on) if below in by_name]


def _shown(file: File, state: str) -> Revision:
    return Revision(file.revision, ", ".join(file.down) or None, file.message, state)


def _failure(message: str, said: str) -> FastZeroError:
    evidence = "\n".join(said.splitlines()[-EVIDENCE_LINES:])
    if "Can't locate revision" in said or "No such revision" in said:
        return RevisionNotFoundError(message, evidence=evidence)
    return RevisionFailedError(message, evidence=evidence)


def _no_alembic(application: Application) -> InvalidInputError:
    command = application.migrate.command
    if command is None:
        text, hint = f"the application in {application.folder} has no migrations", "Set migrate in fastzero.toml"
    else:
        text = f"fastzero cannot read the migrations that {command!r} runs"
        shows = next((shows for tool, shows in _SHOWS.items() if tool in command), "COMMAND")
        hint = f"Ask their own tool: fastzero run -- {shows}. To migrate: fastzero migrate up"
    return InvalidInputError(text, field="migrate", hint=hint)
