"""The marks of a project: on the folders that fastzero made for it. What bears none is never deleted.

A project's folder has a mark of its own, which its data directories bear as well, wherever they lie: so nobody can name
one of another project, or of something else, and have it deleted. Folders from before there were marks are given one by
the next `up`, if they are where fastzero makes them and hold nothing else.
"""

import re
import secrets
from pathlib import Path

from . import folders
from .errors import ConflictError, ForeignStackError

# What fastzero made in a project's folder before it marked what it makes, and makes until it has.
_MADE_HERE = re.compile(
    r"project\.json|secrets|logs|processes|user|moving|container-secrets|volume-owner|data(-[0-9a-f]{8})?"
    r"|\.data.*\.init-[0-9a-f]{8}|\..+\.partial-[0-9a-f]{8}|\.fastzero.*"
)


def give(folder: Path, project: str) -> None:
    """Mark a project's folder."""
    folders.write_mark(folder, f"made by fastzero for project {project}\nid {secrets.token_hex(16)}\n")


def can_be_given(folder: Path) -> bool:
    """Return whether a project's folder has no mark yet, and holds nothing but what fastzero makes there."""
    return not folders.mark_of(folder) and _strangers(folder) == []


def refuse_strangers(folder: Path) -> None:
    """Raises ConflictError for a folder that is not a project's yet, and holds what fastzero does not make."""
    if not folders.mark_of(folder) and (strangers := _strangers(folder)):
        raise ConflictError(
            f"{folder} was not made by fastzero: there is {strangers[0]} in it",
            hint="Use another project, -p NAME, or set FASTZERO_HOME to another folder",
        )


def refuse_unmarked(data: Path, folder: Path) -> None:
    """Raises ForeignStackError for data that does not bear the mark of the project's folder."""
    mark = folders.mark_of(folder)
    if not mark or folders.mark_of(data) != mark:
        raise ForeignStackError(
            f"{data} is not marked as made for project {folder.name}",
            hint="It is not deleted. If you do not need it any more, delete it yourself",
        )


def _strangers(folder: Path) -> list[str]:
    return [name for name in folders.names_in(folder) if not _MADE_HERE.fullmatch(name)]
