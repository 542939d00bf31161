"""Pictures of a terminal, made from real runs: a project on a fresh home, one command after the other."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.cli.shell import Terminal

COLUMNS = 100
PATIENCE = 120  # seconds until a command that hangs is given up
# Each picture: its name, and the words of its commands.
PICTURES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "up": (("up", "--runtime", "embedded"),),
    "todos": (
        ("user", "add", "ana", "--email", "ana@example.com", "--password-file", "password"),
        ("todo", "add", "Write the report", "--state", "doing"),
        ("todo", "add", "Buy milk"),
        ("todo", "list"),
    ),
    "status": (("status",),),
    "backup": (("db", "backup", "--name", "before-holidays"), ("db", "verify", "before-holidays")),
    "dry-run": (("up", "--port", "5433", "--dry-run"),),
    "errors": (("todo", "show", "99"), ("db", "restore", "nosuch")),
}
_TRANSIENT = re.compile(r"[^\n]*\r\x1b\[K")  # what a terminal shows only while it lasts
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # from the internet: readers have fonts of their own


def take(folder: Path) -> None:
    """Write every picture into a folder, as `NAME.svg`."""
    folder.mkdir()
    with _fresh_home() as home:
        for name, commands in PICTURES.items():
            screen = "\n".join(_screen(words, home) for words in commands)
            (folder / f"{name}.svg").write_text(_picture(name, screen), encoding="utf-8")


def _screen(words: tuple[str, ...], home: Path) -> str:
    """What a terminal shows of a command and its output when it has ended."""
    environment = {"FASTZERO_HOME": str(home / "fastzero"), "HOME": str(home)}
    with Terminal(*words, columns=COLUMNS, environment=environment) as terminal:
        said = _TRANSIENT.sub("", terminal.end(PATIENCE).out).replace(str(home / "fastzero"), "~/.local/share/fastzero")
    shown = " ".join(f"'{word}'" if " " in word else word for word in words)
    return f"$ fastzero {shown}\n{said.rstrip()}\n"


def _picture(name: str, screen: str) -> str:
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(Text.from_ansi(screen))
    return _FONT.sub("", console.export_svg(title="fastzero", unique_id=name))


@contextmanager
def _fresh_home() -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        os.chdir(home)
        (home / "password").write_text("correct horse\n", encoding="utf-8")
        try:
            yield home
        finally:
            _screen(("down", "--volumes", "--no-backup", "--yes"), home)
            os.chdir(before)
