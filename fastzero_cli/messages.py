"""Print messages for the user on stderr: one function for each kind of message, so that each kind has one form.

✓ Database started · PostgreSQL 18 · 1.2 s          step: a result, then details, then how long it took
✓ Backup verified: 4 tables, 300,007 rows           verdict: how the command ended
! The password may cross the network in clear       warning
Error: user 'bob' does not exist                    error: what failed, with the value in quotes
Hint: See the users: fastzero user list             hint: an imperative, with the command to type
More: fastzero docs user_not_found                  the section of the manual about the error
"""

import re
import shlex
import sys
import traceback
from itertools import pairwise

from fastzero_core import formats
from fastzero_core.errors import FastZeroError
from fastzero_core.events import RevisionApplied

from . import style
from .layout import folded, for_terminal
from .streams import write_to_person
from .style import DETAIL, paint, symbols

# A command in a hint: after a colon, in backquotes, or after another command.
COMMAND = r"(?:(?<=: )|(?<=`)|(?<=&& ))fastzero (?!-p |--project)(?=[a-z])(?![^.]*? -p )"
_WHOLE = (  # a command, and a number with its unit
    r"(?:(?<=: )|(?<=`)|(?<=&& ))fastzero [^`\n]*?(?=[.,](?: |$)| &&|`|\n|$)|\b\d+ (?=(?:s|min|B|KiB|MiB|GiB)\b)"
)
_NO_BREAK = "\x00"
_INDENT = "  "  # of the lines after the first one
_FOR_ALL = ("ls", "version", "trust", "docs")  # commands that do not work on a single project


def say(text: str, end: str = "\n") -> None:
    """Print untrusted text without colours and control characters."""
    write_to_person(f"{for_terminal(text)}{end}")


def note(text: str) -> None:
    """Print untrusted lines for a person to read."""
    _print(for_terminal(text))


def step(done: str, details: tuple[str, ...], seconds: float) -> None:
    """Print the result of a step."""
    shown = (*details, style.seconds(seconds))
    _marked("✓", "success", for_terminal(done), "".join(f"{DETAIL}{for_terminal(each)}" for each in shown if each))


def revision(applied: RevisionApplied) -> None:
    """Print a revision that was applied or reverted."""
    arrow, rest = revision_line(applied).split(" ", 1)
    name, _, duration = rest.rpartition(DETAIL)
    _marked(arrow, "accent", for_terminal(name), f"{DETAIL}{duration}")


def verdict(text: str, *details: str) -> None:
    """Print how a command ended."""
    shown = "".join(f"{DETAIL}{for_terminal(each)}" for each in details if each)
    _marked("✓", "success", paint(for_terminal(text), "strong", sys.stderr), shown)


def warning(text: str) -> None:
    """Print a warning about something that succeeded but may not be wanted."""
    _print(f"{paint('Warning:', 'warning', sys.stderr)} {for_terminal(text)}")


def error(problem: FastZeroError, output: str | None, words: list[str], *, is_usage: bool = False) -> None:
    """Print what failed, what to do, where to read more, and evidence such as a failed service's output.

    `words` is the command line. `is_usage` says that it could not be parsed, about which the manual adds nothing.
    """
    hinted, more = hint_for(problem.hint, words), f"fastzero docs {problem.code}"
    if output in ("json", "ndjson"):
        say("".join(formats.ndjson_lines([{"error": {**problem.as_dict(), "hint": hinted, "more": more}}])), end="")
        return
    if problem.evidence:
        say(problem.evidence)
    _print(f"{paint('Error:', 'error', sys.stderr)} {for_terminal(problem.message)}")
    if hinted:
        hint(hinted)
    if not is_usage:
        _print(paint(f"More: {more}", "dim", sys.stderr))


def hint(text: str) -> None:
    """Print what to do."""
    _print(f"{paint('Hint:', 'accent', sys.stderr)} {for_terminal(text)}")


def hint_for(text: str, words: list[str]) -> str:
    """Return the hint with its commands changed to use the same project or database as the failed command."""
    if project := option(words, "-p", "--project"):
        flag = f"-p {shlex.quote(project)} "
    elif option(words, "--database-url"):
        flag = "--database-url URL "
    else:
        return text
    return re.sub(COMMAND, lambda found: _with_flag(found, text, flag), text)


def _with_flag(found: re.Match[str], text: str, flag: str) -> str:
    following = re.match(r"[a-z]+", text[found.end() :])
    return found[0] if following and following[0] in _FOR_ALL else f"{found[0]}{flag}"


def option(words: list[str], *names: str) -> str | None:
    """Return the value of an option on a command line that may be invalid, None if it is not given."""
    words = words[: words.index("--")] if "--" in words else words
    for word, following in pairwise([*words, ""]):
        if word in names:
            return following
        for name in names:
            start = f"{name}=" if name.startswith("--") else name
            if word.startswith(start) and word != name:
                return word.removeprefix(start)
    return None


def bug(cause: BaseException) -> None:
    """Print the traceback of a bug."""
    say("".join(traceback.format_exception(cause)), end="")


def interrupted() -> None:
    """Print that Ctrl-C ended the command."""
    say("\nInterrupted.")


def plain(text: str) -> None:
    """Print a result that does not depend on the output format: the version, or the help."""
    sys.stdout.write(f"{text}\n")


def revision_line(applied: RevisionApplied) -> str:
    """Return a line about a revision that was applied or reverted, with its duration."""
    arrow = {"up": "↑", "down": "↓"}[applied.direction]
    return f"{arrow} {applied.revision} {applied.message}{DETAIL}{applied.seconds:.2f} s"


def _marked(symbol: str, role: str, text: str, details: str) -> None:
    _print(f"{paint(symbols(symbol), role, sys.stderr)} {symbols(text)}{paint(symbols(details), 'dim', sys.stderr)}")


def _print(text: str) -> None:
    """Print lines, on a terminal broken between words. Commands stay whole, so that they can be copied."""
    if sys.stderr.isatty():
        kept = re.sub(_WHOLE, lambda found: found[0].replace(" ", _NO_BREAK), text)
        lines = (folded(line, style.width() - len(_INDENT), chop=False) for line in kept.split("\n"))
        text = "\n".join(f"\n{_INDENT}".join(parts) for parts in lines).replace(_NO_BREAK, " ")
    write_to_person(f"{text}\n")
