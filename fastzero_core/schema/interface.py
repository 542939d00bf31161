"""What a schema answers and does, whichever application it is of. `schema.migrate` is that of the built-in one."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..events import Listener, ignore

if TYPE_CHECKING:
    from .lint import LintFinding
    from .migrate import Revision, SchemaStatus


class Schema(Protocol):
    """The schema that the code of an application needs, and what brings a database to it."""

    def head(self) -> str:
        """The revision that the code needs; empty where nothing tells."""

    def is_behind(self, revision: str) -> bool:
        """Whether a restore is to upgrade a database of that revision. Raises SchemaNewerError for an unknown one."""

    def up(
        self, url: str, revision: str = "head", *, timeout: float = 60, on_event: Listener = ignore
    ) -> "SchemaStatus":
        """Upgrade a database to a revision."""

    def down(self, url: str, revision: str, *, timeout: float = 60, on_event: Listener = ignore) -> "SchemaStatus":
        """Downgrade a database to a revision."""

    def status(self, url: str, *, drift: bool = True) -> "SchemaStatus":
        """Where a database is."""

    def check(self, url: str) -> "SchemaStatus":
        """The status of a database that is at head and as the models say."""

    def history(self, url: str | None = None) -> "list[Revision]":
        """Every revision, oldest first."""

    def lint(self, url: str) -> "list[LintFinding]":
        """What the pending revisions of a database lock or lose."""

    def stamp(self, url: str, revision: str, *, timeout: float = 60) -> "SchemaStatus":
        """Write down that a database is at a revision."""

    def sql(self, revision: str = "head") -> str:
        """The statements of an upgrade."""

    def new(self, message: str, *, url: str | None = None) -> Path:
        """Write a new revision."""
