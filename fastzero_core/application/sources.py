"""Read the files of an untrusted folder: within limits, without executing them or following links out of the folder.

Standard library only.
"""

import ast
import os
import re
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from ..toml_lines import has_long_key

LARGEST = 2**19  # bytes of a file
MOST = 5_000  # files
DEEPEST = 8  # folders
SKIPPED = {
    "node_modules",
    "__pycache__",
    "site-packages",
    "venv",
    "env",
    "virtualenv",
    "dist",
    "build",
    "htmlcov",
    "static",
    "assets",
}


# The first line of a top-level statement, but not a line that continues the statement before it.
_BEGINS = re.compile(r"""(?!else\b|elif\b|except\b|finally\b|\"{3}|'{3})[A-Za-z_@"']""")


def text_of(path: Path) -> str | None:
    """Return the text of a regular file of at most LARGEST bytes, None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        try:
            content = file.read(LARGEST + 1) or b""
        except OSError:  # a folder
            return None
    try:
        return content.decode("utf-8-sig") if len(content) <= LARGEST else None
    except UnicodeDecodeError:
        return None


def parse_python(text: str) -> ast.Module | None:
    """Return the syntax tree of a source, None if it cannot be parsed.

    For a source that needs a newer Python, the tree has the top-level statements that this version can parse.
    """
    if tree := _parsed(text):
        return tree
    statements = [node for line, block in _blocks(text) for node in _statements(block, line)]
    return ast.Module(statements, []) if statements else None


def _parsed(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are about the application's source
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _statements(block: str, line: int) -> list[ast.stmt]:
    tree = _parsed(block)
    return [ast.increment_lineno(node, line) for node in tree.body] if tree else []


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield each block of lines that begins at the left margin, with the number of lines before it."""
    lines = text.splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if _BEGINS.match(line)]
    # A decorator belongs to the definition after it.
    starts = [here for before, here in pairwise([-1, *begins]) if before < 0 or lines[before][0] != "@"]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield start, "".join(lines[start:end])


def toml_of(text: str) -> dict[str, Any]:
    """Return the content of a TOML text, empty if it cannot be parsed."""
    try:
        return {} if has_long_key(text) else tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def table_at(document: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the table below the keys, empty if there is none or if a value is not a table."""
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, dict) else {}


def source_of(node: ast.AST) -> str:
    """Return the source of a syntax tree, "" if it is nested too deeply."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return ""


class Sources:
    """The readable files below a folder, as relative paths in a stable order, those in shallow folders first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._texts: dict[str, str | None] = {}
        self._trees: dict[str, ast.Module | None] = {}

    @cached_property
    def files(self) -> tuple[str, ...]:
        """At most MOST relative paths, with slashes."""
        found: list[str] = []
        level = [""]
        for _ in range(DEEPEST):
            level = [below for folder in level[:MOST] for below in self._list(folder, found)]
        return tuple(found[:MOST])

    @cached_property
    def truncated(self) -> bool:
        """Whether the limit of files was reached, so that `files` may be incomplete."""
        return len(self.files) == MOST

    def _list(self, folder: str, found: list[str]) -> list[str]:
        """Add the files of one folder to `found`, and return its subfolders to search."""
        below: list[str] = []
        if len(found) >= MOST:
            return below
        try:
            entries = sorted(islice(os.scandir(self.folder / folder), MOST), key=lambda entry: entry.name)
        except OSError:
            return below
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in SKIPPED:
                    below.append(path)
            elif self._is_inside(entry):
                found.append(path)
        return below

    def _is_inside(self, entry: "os.DirEntry[str]") -> bool:
        if not entry.is_symlink():
            return entry.is_file()
        target = Path(entry.path).resolve()
        return target.is_file() and target.is_relative_to(self.folder)

    def named(self, *names: str) -> Iterator[str]:
        """Yield the files that have one of these names, in any folder."""
        for path in self.files:
            if path.rpartition("/")[2] in names:
                yield path

    def ending(self, *suffixes: str) -> Iterator[str]:
        """Yield the files with one of these suffixes."""
        for path in self.files:
            if path.endswith(suffixes):
                yield path

    def has(self, path: str) -> bool:
        """Return whether this path is one of the files."""
        return path in self._set

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(self.files)

    def text(self, path: str) -> str:
        """Return the text of one of the files, "" if it is too large or not text."""
        if path not in self._texts:
            self._texts[path] = text_of(self.folder / path)
        return self._texts[path] or ""

    def tree(self, path: str) -> ast.Module | None:
        """Return the syntax tree of one of the files, None if it cannot be parsed."""
        if path not in self._trees:
            self._trees[path] = parse_python(self.text(path))
        return self._trees[path]
