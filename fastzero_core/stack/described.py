"""Find the application that a folder describes."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..project import ProjectRecord
from ..settings import folder_trust

if TYPE_CHECKING:
    from ..application.description import Application

TABLES = ("application", "services")  # the tables of fastzero.toml that describe an application


def described_in(folder: Path, *, to_run: bool = False) -> "Application | None":
    """Return the application that a folder describes, None if it describes none.

    Raises InvalidInputError for mistakes; with `to_run`, UntrustedFolderError for a description that is not trusted.
    """
    trust = folder_trust(folder)
    if not set(TABLES) & trust.folder.toml.keys():
        return None
    if to_run:
        trust.require(*TABLES)
    from ..application.reading import parse

    return parse(trust.folder.toml_text, Path(trust.folder.path))


def remembered(record: ProjectRecord) -> "Application":
    """Return an application without its description, from a record: enough to observe it and to stop it."""
    from ..application.description import Application, Process

    processes = tuple(Process(name, "", record.ports.get(name), None) for name in record.processes)
    return Application(Path(record.application), processes=processes)
