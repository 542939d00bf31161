"""Split commands into words; only commands that need a shell run in one. Standard library only."""

import re
import shlex
from collections.abc import Callable

from .placeholders import Placeholder, fill

_OPERATORS = re.compile(r"^(?:[|&;<>()]+|\d*[<>]+&?\d*)$")
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*=")
_EXPANSION = re.compile(r"(?<!\\)[$`]")


def words(command: str, value: Callable[[Placeholder], str]) -> tuple[str, ...]:
    """Return the words of a command with its placeholders filled: `sh -c …` if it needs a shell.

    Raises ValueError for an unclosed quotation.
    """
    if needs_shell(command):
        filled = fill(command, lambda each: shlex.quote(value(each)))
        return ("sh", "-c", f"exec {filled}" if _is_simple(command) else filled)
    return tuple(fill(word, value) for word in shlex.split(command))


def plain_words(command: str) -> tuple[str, ...]:
    """Return the words of a command without placeholders. Uses a shell and raises ValueError like `words`."""
    return ("sh", "-c", command) if needs_shell(command) else tuple(shlex.split(command))


def needs_shell(command: str) -> bool:
    """Return whether a command has operators, leading assignments or expansions. Raises ValueError like `words`."""
    return not _is_simple(command) or bool(_EXPANSION.search(_outside_single_quotes(command)))


def _is_simple(command: str) -> bool:
    tokens = split(command)
    return not any(_OPERATORS.match(token) for token in tokens) and not _ASSIGNMENT.match(tokens[0] if tokens else "")


def split(command: str) -> list[str]:
    """Return the words of a command, with its operators as separate words. Raises ValueError like `words`."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _outside_single_quotes(command: str) -> str:
    return re.sub(r"'[^']*'", "''", command)
