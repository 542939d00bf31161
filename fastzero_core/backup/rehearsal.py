"""Pending revisions tried on a copy of the database, to know beforehand what they take."""

import tempfile
from pathlib import Path

from .. import database, migrate
from ..migrate import Applied
from . import dump, restore
from .progress import Listener, Progress, silent
from .server import at_server
from .target import Target


def rehearse(target: Target, revision: str = "head", *, timeout: float = 60, tell: Listener = silent) -> list[Applied]:
    """Run the revisions up to `revision` on a copy. Returns each with its seconds and what it locked.

    Raises what `migrate.up` would. The database itself is only read; the copy is dropped in any case.
    """
    with tempfile.TemporaryDirectory(prefix="fastzero-") as folder:
        archive = Path(folder) / "copy.dump"
        manifest = dump.backup(target, archive, tell=tell)
        applied: list[Applied] = []
        with at_server(target.url) as server, server.scratch() as name:
            restore.fill(target, server, name, archive, manifest, tell=tell)
            tell(Progress("rehearse"))
            migrate.up(database.url_of(target.url, name), revision, timeout=timeout, on_applied=applied.append)
    return applied
