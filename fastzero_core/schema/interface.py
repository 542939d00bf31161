"""The interface of a schema. The module `schema.migrate` implements it for the built-in application."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..events import Listener, ignore

if TYPE_CHECKING:
    from .lint import LintFinding
    from .migrate import Revision, SchemaStatus


class Schema(Protocol):
    """The schema that an application's code needs, and the operations that migrate a database to it."""

    def head(self) -> str:
        """Return the revision that the code needs, empty if it is unknown."""

    def is_behind(self, revision: str) -> bool:
        """Return whether a restored database at `revision` needs an upgrade. Raises SchemaNewerError if unknown."""

    def up(
        self, url: str, revision: str = "head", *, timeout: float = 60, on_event: Listener = ignore
    ) -> "SchemaStatus":
        """Upgrade a database to a revision. `timeout` is in seconds."""

    def down(self, url: str, revision: str, *, timeout: float = 60, on_event: Listener = ignore) -> "SchemaStatus":
        """Downgrade a database to a revision. `timeout` is in seconds."""

    def status(self, url: str, *, drift: bool = True) -> "SchemaStatus":
        """Return the revision of a database and, with `drift`, its differences from the models."""

    def check(self, url: str) -> "SchemaStatus":
        """Return the status of a database. Raises if it is not at head or differs from the models."""

    def history(self, url: str | None = None) -> "list[Revision]":
        """Return every revision, oldest first."""

    def lint(self, url: str) -> "list[LintFinding]":
        """Return the risky statements in the pending revisions of a database."""

    def stamp(self, url: str, revision: str, *, timeout: float = 60) -> "SchemaStatus":
        """Record that a database is at a revision, without running it."""

    def sql(self, revision: str = "head") -> str:
        """Return the SQL of an upgrade."""

    def new(self, message: str, *, url: str | None = None) -> Path:
        """Create a revision file. Returns its path."""
