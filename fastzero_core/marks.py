"""Mark the folders that fastzero created for a project. A folder without a mark is never deleted.

A project's folder has a unique mark, and its data directories have the same mark, wherever they are. So a data
directory of another project, or any other folder, cannot be deleted by naming it. Older versions wrote no marks: the
next `up` marks their folders if they are in the default location and contain only files that fastzero creates.
"""

import re
import secrets
from pathlib import Path

from . import folders
from .errors import ConflictError, ForeignStackError

# The names that fastzero creates in a project's folder, also before the folder has its mark.
_OWN_NAMES = re.compile(
    r"project\.json|secrets|credentials|logs|processes|services|user|moving|container-secrets|volume-owner|data(-[0-9a-f]{8})?"
    r"|\.data.*\.archive|\.data.*\.init-[0-9a-f]{8}|\..+\.partial-[0-9a-f]{8}|\.fastzero.*"
)


def give(folder: Path, project: str) -> None:
    """Mark a project's folder."""
    folders.write_mark(folder, f"made by fastzero for project {project}\nid {secrets.token_hex(16)}\n")


def can_be_given(folder: Path) -> bool:
    """Return whether a project's folder has no mark and contains only files that fastzero creates there."""
    return not folders.mark_of(folder) and _foreign_names(folder) == []


def refuse_foreign_files(folder: Path) -> None:
    """Raise ConflictError for an unmarked folder that contains files which fastzero does not create."""
    if not folders.mark_of(folder) and (foreign := _foreign_names(folder)):
        raise ConflictError(
            f"{folder} was not created by fastzero: it contains {foreign[0]}",
            hint="Use another project, -p NAME, or set FASTZERO_HOME to another folder",
        )


def refuse_unmarked(data: Path, folder: Path) -> None:
    """Raise ForeignStackError for a data directory without the mark of the project's folder."""
    mark = folders.mark_of(folder)
    if not mark or folders.mark_of(data) != mark:
        raise ForeignStackError(
            f"{data} is not marked as created for project {folder.name}",
            hint="It was not deleted. If you no longer need it, delete it yourself",
        )


def _foreign_names(folder: Path) -> list[str]:
    return [name for name in folders.names_in(folder) if not _OWN_NAMES.fullmatch(name)]
