"""Read the two configuration files of a folder: `.env` and `fastzero.toml`.

The folder may have been cloned from an untrusted source. So each file is read only once, reading never blocks, and size
and nesting are limited: the bytes that are checked, shown, trusted and used are the same.
"""

import os
import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InvalidInputError
from .files import open_regular, reading
from .toml_lines import MAX_DEPTH, has_long_key, line_numbers

PREFIX = "FASTZERO_"
DOTENV = ".env"
PROJECT_FILE = "fastzero.toml"
LIMIT = 128 * 1024  # bytes per file
SUBSTITUTED = 8 * LIMIT  # characters of all values of a `.env`, after substitution
# The pattern of python-dotenv, with limits on names and defaults: without them it takes quadratic time.
_REFERENCE = r"\$\{([^}:]{0,100})(?::-([^}]{0,500}))?\}"
SHOWN = 80  # characters of a line quoted in an error
_LINE_END = r"\r\n|\r|\n"
_LONG_BLANK = r"[^\S\r\n]{1000}"  # takes python-dotenv quadratic time


class Variable(NamedTuple):
    """The value of a variable in a `.env`, and its line."""

    value: str
    line: int


@dataclass(frozen=True)
class Folder:
    """The contents of the files. `variables` are the FASTZERO_ variables of `.env`, keyed by lower-case name."""

    path: Path
    variables: Mapping[str, Variable] = field(default_factory=dict)
    toml_text: str = ""
    toml: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def toml_lines(self) -> dict[tuple[str, ...], int]:
        """The line number of each table and key in `fastzero.toml`."""
        return line_numbers(self.toml_text)


def read_folder(path: Path) -> Folder:
    """Read the files of a folder; a file that does not exist counts as empty.

    Raises InvalidInputError for a file that is too large, not regular, not UTF-8 or not valid; NotAllowedError or
    UnavailableError for a file that cannot be read.
    """
    toml_text = read_bounded(path / PROJECT_FILE)
    return Folder(path, _variables(path / DOTENV), toml_text, parse_toml(toml_text, path / PROJECT_FILE))


def read_bounded(path: Path) -> str:
    """Return the text of a file of at most LIMIT bytes; "" if it does not exist or is a folder."""
    if path.is_dir():  # some virtual environments are called .env
        return ""
    try:
        with reading(path, absent=True), open_regular(path) as file:
            content = file.read(LIMIT + 1)
    except FileNotFoundError:
        return ""
    if len(content) > LIMIT:
        raise InvalidInputError(f"{path} is larger than {LIMIT:,} bytes", hint="Make it smaller, or remove it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8 text: {error.reason}", hint="Save it as UTF-8") from None


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """Parse TOML. Raises InvalidInputError, which names `path`."""
    if not text:
        return {}
    import tomllib

    try:
        if has_long_key(text):
            raise RecursionError
        parsed = tomllib.loads(text)
        if _is_deeper(parsed, MAX_DEPTH):
            raise RecursionError
    except RecursionError:
        raise InvalidInputError(f"{path} is nested more than {MAX_DEPTH} levels deep", hint="Reduce nesting") from None
    except ValueError as error:
        raise InvalidInputError(f"{path} is not valid TOML: {error}", hint="Correct that line") from None
    return parsed


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [each for container in layer for each in _children(container)]
    return bool(layer)


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


# -- .env ------------------------------------------------------------------------------------------------------


def _variables(path: Path) -> dict[str, Variable]:
    """Return the FASTZERO_ variables. Other variables belong to an application, but can be referenced."""
    text = read_bounded(path)
    if PREFIX not in text.upper():
        return {}
    if re.search(_LONG_BLANK, text):
        raise InvalidInputError(f"{path} contains 1,000 consecutive blanks", hint="Remove them")
    return {
        name.lower(): variable
        for name, variable in substituted(_bindings(text, path), path).items()
        if name.upper().startswith(PREFIX) and variable.value
    }


def _bindings(text: str, path: Path) -> Iterator[tuple[str, Variable]]:
    from dotenv.parser import parse_stream

    for binding in parse_stream(StringIO(text)):
        written = binding.original.string.lstrip("\r\n")
        skipped = binding.original.string[: -len(written) or None]
        line = binding.original.line + len(re.findall(_LINE_END, skipped))
        if binding.error and PREFIX in written.upper():
            raise InvalidInputError(
                f"{path}:{line} cannot be read: {written.strip()[:SHOWN]!r}", hint="Write NAME=value"
            )
        if binding.key is not None and binding.value is not None:
            yield binding.key, Variable(binding.value, line)


def substituted(bindings: Iterable[tuple[str, Variable]], path: Path) -> dict[str, Variable]:
    """Replace each `${NAME}` and `${NAME:-default}` by an earlier variable or by one of the environment.

    Raises InvalidInputError for values that together are too long: each could be several times the one before.
    """
    values: dict[str, str] = {}
    found: dict[str, Variable] = {}
    known = ChainMap(values, os.environ)
    remaining = SUBSTITUTED

    def replacement(reference: re.Match[str]) -> str:
        return known.get(reference[1], reference[2] or "")

    for name, (text, line) in bindings:
        remaining -= len(text) + sum(len(replacement(each)) for each in re.finditer(_REFERENCE, text))
        if remaining < 0:
            raise InvalidInputError(
                f"{path}:{line}: the values have more than {SUBSTITUTED:,} characters", hint="Shorten them"
            )
        values[name] = re.sub(_REFERENCE, replacement, text)
        found[name] = Variable(values[name], line)
    return found
