"""Pending revisions tried on a copy of the database, to know beforehand what they take."""

import tempfile
from pathlib import Path

from ..errors import RevisionFailedError
from ..events import Listener, Progress, silent
from ..postgres import database
from ..schema import migrate
from ..schema.migrate import Applied
from . import dump, restore
from .server import at_server
from .target import Target


def rehearse(target: Target, revision: str = "head", *, timeout: float = 60, tell: Listener = silent) -> list[Applied]:
    """Run the revisions up to `revision` on a copy. Returns each with its seconds and what it locked.

    Raises what `migrate.up` would. The database itself is only read; the copy is dropped in any case.
    """
    with tempfile.TemporaryDirectory(prefix="fastzero-") as folder:
        archive = Path(folder) / "copy.dump"
        restore.refuse_unless_able(target)
        manifest = dump.backup(target, archive, tell=tell)
        applied: list[Applied] = []
        with at_server(target.url) as server, server.scratch() as name:
            restore.fill(target, server, name, archive, manifest, tell=tell)
            tell(Progress("rehearse"))
            try:
                migrate.up(database.url_of(target.url, name), revision, timeout=timeout, on_applied=applied.append)
            except RevisionFailedError as error:
                raise RevisionFailedError(
                    f"on the copy {error.message}", hint="The database itself is as it was"
                ) from error
    return applied
