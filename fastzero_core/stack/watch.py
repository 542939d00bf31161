"""The files of an application of the user's own, as they change."""

import threading
from collections.abc import Iterator
from pathlib import Path

import watchfiles

from ..application.description import Application

# What an application is made of. It may write other files beside them, and must not be restarted for its own log.
SOURCES = {".py", ".toml", ".ini", ".cfg", ".env", ".html", ".jinja", ".jinja2", ".j2", ".sql", ".yaml", ".yml"}


class _Sources(watchfiles.DefaultFilter):
    """Leaves out what is no source, besides environments, caches and the like."""

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        file = Path(path)
        return (file.suffix or file.name) in SOURCES and super().__call__(change, path)


def changes(application: Application, stop: threading.Event) -> Iterator[list[str]]:
    """Yield the files that changed together, relative to the application's folder, until `stop` is set.

    Where the description says what to watch, every file counts; else those that look like sources.
    """
    folders = [application.folder / path for path in application.watch]
    is_chosen = application.watch != (application.directory,)
    counted = watchfiles.DefaultFilter() if is_chosen else _Sources()
    for changed in watchfiles.watch(*folders, watch_filter=counted, stop_event=stop, raise_interrupt=False):
        yield sorted(str(Path(path).relative_to(application.folder)) for _, path in changed)
