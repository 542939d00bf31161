"""Run pending revisions on a copy of the database, to measure their duration and their locks."""

import tempfile
from pathlib import Path

from ..errors import RevisionFailedError
from ..events import Event, Listener, Progress, RevisionApplied, ignore
from ..schema import migrate
from . import dump, restore
from .fill import fill
from .scratch import scratch
from .server import open_server
from .target import Target


def rehearse(
    target: Target, revision: str = "head", *, timeout: float = 60, on_event: Listener = ignore
) -> list[RevisionApplied]:
    """Run the revisions up to `revision` on a copy. Returns each with its duration in seconds and its locks.

    Reads the database, and always drops the copy. Raises the errors of `migrate.up`.
    """
    with tempfile.TemporaryDirectory(prefix="fastzero-") as folder:
        archive = Path(folder) / "copy.dump"
        restore.refuse_unless_able(target)
        manifest = dump.backup(target, archive, on_event=on_event)
        applied: list[RevisionApplied] = []

        def note(event: Event) -> None:
            if isinstance(event, RevisionApplied):
                applied.append(event)

        # The migrations of the user's own application run as the owner of the database.
        trusted = target.schema is not None
        with open_server(target.server_url) as server, scratch(server, target, trusted=trusted) as new:
            fill(target, server, new, archive, manifest, on_event=on_event)
            on_event(Progress("rehearse"))
            try:
                (target.schema or migrate).up(new.url, revision, timeout=timeout, on_event=note)
            except RevisionFailedError as error:
                raise RevisionFailedError(
                    f"on the copy {error.message}", hint="The database was not changed"
                ) from error
    return applied
