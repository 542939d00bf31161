"""Define the look of all screens: colours by role, symbols with ASCII replacements, and separators within a line.

CONTRIBUTING.md ("Screens") describes the design. Import only fast modules here: every command uses this module.
"""

import os
import sys
from contextlib import suppress
from typing import TextIO

ROLES = {
    "success": "32",  # green
    "warning": "33",  # yellow
    "error": "1;31",  # bold red
    "accent": "36",  # cyan: what the user may copy, such as commands and URLs
    "dim": "2",
    "strong": "1",
}
ASCII = {"✓": "+", "✗": "x", "·": "-", "…": "...", "↑": "^", "↓": "v", "→": "->", "━": "#", "─": "-", "│": "|"}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_SPINNER = "|/-\\"
DETAIL = " · "

_chosen = "auto"


def choose_color(when: str) -> None:
    """Set the value of `--color` or its setting: auto, always or never."""
    global _chosen
    _chosen = when


def has_color(stream: TextIO) -> bool:
    """Return whether to write colours to a stream."""
    if _chosen != "auto":
        return _chosen == "always"
    return not os.environ.get("NO_COLOR") and is_capable(stream)


def is_capable(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can move its cursor and show colours."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, role: str, stream: TextIO) -> str:
    """Return text in the colour of its role, if the stream shows colours."""
    return f"\x1b[{ROLES[role]}m{text}\x1b[0m" if text and has_color(stream) else text


def is_ascii() -> bool:
    """Return whether the locale does not use UTF-8, or the terminal cannot show symbols."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "UTF-8"
    return os.environ.get("TERM") == "dumb" or "UTF8" not in locale.upper().replace("-", "")


def symbols(text: str) -> str:
    """Return a text of fastzero itself, with ASCII in place of symbols where symbols cannot be shown."""
    return text.translate({ord(symbol): plain for symbol, plain in ASCII.items()}) if is_ascii() else text


def width() -> int:
    """Return the columns of the terminal, even if stdout is not one; 80 without a terminal."""
    if (given := os.environ.get("COLUMNS", "")).isdecimal() and int(given):
        return int(given)
    for stream in (sys.__stdout__, sys.__stderr__, sys.__stdin__):
        with suppress(AttributeError, ValueError, OSError):  # closed, or not a terminal
            if columns := os.get_terminal_size(stream.fileno()).columns:  # type: ignore[union-attr]
                return columns
    return 80


def spinner() -> str:
    """Return the frames of the spinner."""
    return ASCII_SPINNER if is_ascii() else SPINNER


def seconds(duration: float) -> str:
    """Return a duration as text: 0.3 s, 42 s, 3 min 5 s."""
    if duration < 9.95:
        return f"{duration:.1f} s"
    if duration < 59.5:
        return f"{duration:.0f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 1 row, 300,007 rows."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
