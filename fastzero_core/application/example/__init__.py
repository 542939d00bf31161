"""Write a small application to start from. Its files are templates: each is written without `.template`."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ...errors import ConflictError
from ...files import CHOSEN, write_atomically, writing

SUFFIX = ".template"
_HIDDEN = {"gitignore": ".gitignore"}


def write_example(folder: Path) -> None:
    """Write the example into a folder that is empty or does not exist.

    Raises ConflictError if the folder is not empty; NotAllowedError, UnavailableError if it cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConflictError(f"{folder} is not empty", hint="Choose another folder: fastzero init --example FOLDER")
        _copy(files(__package__) / "files", folder)


def _copy(source: Traversable, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for each in source.iterdir():
        if each.is_dir():
            _copy(each, target / each.name)
        elif each.name.endswith(SUFFIX):
            name = each.name.removesuffix(SUFFIX)
            write_atomically(target / _HIDDEN.get(name, name), each.read_text("utf-8"), hints=CHOSEN)
