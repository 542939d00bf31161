"""Small applications, written by the tests that look at them."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files by their paths below a folder; texts may be indented. Returns the folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(dedent(text).lstrip("\n"))
    return folder


def revision(name: str, after: str | None = None, body: str = "pass") -> str:
    """Return a revision file of Alembic."""
    head = f'"""{name}"""\nfrom alembic import op\n\nrevision = {name!r}\ndown_revision = {after!r}\n'
    return f"{head}\n\ndef upgrade():\n    {body}\n"
