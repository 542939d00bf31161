"""Watch the files of a user's application for changes."""

import glob
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import watchfiles

from ..application.description import Application

# The sources of an application. It may write other files next to them, such as a log, which must not restart it.
SOURCES = {".py", ".toml", ".ini", ".cfg", ".env", ".html", ".jinja", ".jinja2", ".j2", ".sql", ".yaml", ".yml"}


class _Sources(watchfiles.DefaultFilter):
    """Ignores files that are not sources, as well as environments, caches and the like."""

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        file = Path(path)
        return (file.suffix or file.name) in SOURCES and super().__call__(change, path)


def changes(application: Application, stop: threading.Event) -> Iterator[list[str]]:
    """Yield the files that changed at the same time, relative to the application's folder, until `stop` is set.

    If the description says what to watch, every file counts; otherwise only sources do.
    """
    folders = [application.folder / path for path in application.watch]
    is_chosen = application.watch != (application.directory,)
    counted = watchfiles.DefaultFilter() if is_chosen else _Sources()
    for changed in watchfiles.watch(*folders, watch_filter=counted, stop_event=stop, raise_interrupt=False):
        paths = sorted(Path(path) for _, path in changed)
        for path in paths:
            _remove_bytecode(path)
        yield [str(path.relative_to(application.folder)) for path in paths]


def _remove_bytecode(source: Path) -> None:
    """Remove what Python cached of a source: it cannot tell apart two versions of the same second and size."""
    for cached in source.parent.glob(f"__pycache__/{glob.escape(source.stem)}.*.pyc"):
        with suppress(PermissionError):  # another user's cache, which this application could not have written either
            cached.unlink(missing_ok=True)
