"""Back up, restore and reset the database in a URL. Commands that replace it lock each other out on its server."""

import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..events import Listener, ignore
from ..settings import Settings
from .database import DatabaseCare

if TYPE_CHECKING:
    from ..backup.target import Target


class UrlDatabase(DatabaseCare):
    """The database in a URL. Commands that replace it lock each other out on its server."""

    def __init__(self, url: str, settings: Settings, *, on_event: Listener = ignore) -> None:
        self._url = url
        self.settings = settings
        self._on_event = on_event

    @property
    def target(self) -> "Target":
        from ..backup.target import Target

        return Target.of_url(self._url, self.folder)

    @property
    def folder(self) -> Path:
        from ..backup.target import backups_of_url

        return backups_of_url(self.settings.home, self._url)

    @property
    def owner(self) -> str:
        return ""

    def way_back(self, command: str) -> str:
        """Return the sentence; with the URL, but without its password, if a flag named the database."""
        if not self.settings.is_flag("database_url"):
            return f"To undo: fastzero {command}"
        from ..postgres.url import url_of

        shown = url_of(self._url, password=False)
        note = "" if shown == url_of(self._url) else " (with the password in its URL)"
        return f"To undo{note}: fastzero {command} --database-url {shlex.quote(shown)}"

    def _locked(self, cause: str, *, stop_processes: bool = False) -> AbstractContextManager[None]:
        return nullcontext()

    def _other_databases(self) -> list[str]:
        return []
