"""What a person is told, on stderr: one function for each kind of message, so that each has one shape.

✓ Database started · PostgreSQL 18 · 1.2 s          step: a result, then details, then how long it took
✓ Backup verified: 4 tables, 300,007 rows           verdict: how the command ended
! The password may cross the network in clear       warning
Error: user 'bob' does not exist                    error: what failed, with the value in quotes
Hint: See the users: fastzero user list             hint: an imperative, with the command to type
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
from .layout import for_terminal
from .streams import write_to_person
from .style import DETAIL, paint, symbols

# As hints write it: after a colon, in quotes or after another.
COMMAND = re.compile(r"(?:(?<=: )|(?<=`)|(?<=&& ))fastzero (?!-p |--project)(?=[a-z])(?![^.]*? -p )")
_FOR_ALL = ("ls", "version", "trust", "docs")  # commands that are about no single project


def say(text: str, end: str = "\n") -> None:
    """Tell a person something of any origin, without what would steer a terminal."""
    write_to_person(f"{for_terminal(text)}{end}")


def step(done: str, details: tuple[str, ...], seconds: float) -> None:
    """Tell the result of a step."""
    shown = (*details, style.seconds(seconds))
    _marked("✓", "success", for_terminal(done), "".join(f"{DETAIL}{for_terminal(each)}" for each in shown if each))


def revision(applied: RevisionApplied) -> None:
    """Tell of a revision that was applied, or taken back."""
    arrow, rest = revision_line(applied).split(" ", 1)
    name, _, duration = rest.rpartition(DETAIL)
    _marked(arrow, "accent", for_terminal(name), f"{DETAIL}{duration}")


def verdict(text: str, *details: str) -> None:
    """Tell how a command ended."""
    shown = "".join(f"{DETAIL}{for_terminal(each)}" for each in details if each)
    _marked("✓", "success", paint(for_terminal(text), "strong", sys.stderr), shown)


def warning(text: str) -> None:
    """Tell of something that went well and may not be wanted."""
    write_to_person(f"{paint('Warning:', 'warning', sys.stderr)} {for_terminal(text)}\n")


def error(problem: FastZeroError, output: str | None, words: list[str]) -> None:
    """Tell what failed, what to do and what a failed service left behind. `words` is the command line."""
    hinted = hint_for(problem.hint, words)
    if output in ("json", "ndjson"):
        say("".join(formats.ndjson_lines([{"error": {**problem.as_dict(), "hint": hinted}}])), end="")
        return
    if problem.evidence:
        say(problem.evidence)
    write_to_person(f"{paint('Error:', 'error', sys.stderr)} {for_terminal(problem.message)}\n")
    if hinted:
        hint(hinted)


def hint(text: str) -> None:
    """Tell what to do."""
    write_to_person(f"{paint('Hint:', 'accent', sys.stderr)} {for_terminal(text)}\n")


def hint_for(text: str, words: list[str]) -> str:
    """A hint whose commands are about the same project or database as the command that failed."""
    if project := option(words, "-p", "--project"):
        flag = f"-p {shlex.quote(project)} "
    elif option(words, "--database-url"):
        flag = "--database-url URL "
    else:
        return text
    return COMMAND.sub(lambda found: _with_flag(found, text, flag), text)


def _with_flag(found: re.Match[str], text: str, flag: str) -> str:
    following = re.match(r"[a-z]+", text[found.end() :])
    return found[0] if following and following[0] in _FOR_ALL else f"{found[0]}{flag}"


def option(words: list[str], *names: str) -> str | None:
    """The value of an option on a command line that may be wrong; None if it is not given."""
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
    """Tell where a bug happened."""
    say("".join(traceback.format_exception(cause)), end="")


def interrupted() -> None:
    """Tell that Ctrl-C ended the command."""
    say("\nInterrupted.")


def plain(text: str) -> None:
    """Print a result that has no format: the version, or the help."""
    sys.stdout.write(f"{text}\n")


def revision_line(applied: RevisionApplied) -> str:
    """A revision that was applied or taken back, with how long it took."""
    arrow = {"up": "↑", "down": "↓"}[applied.direction]
    return f"{arrow} {applied.revision} {applied.message}{DETAIL}{applied.seconds:.2f} s"


def _marked(symbol: str, role: str, text: str, details: str) -> None:
    line = f"{paint(symbols(symbol), role, sys.stderr)} {symbols(text)}{paint(symbols(details), 'dim', sys.stderr)}\n"
    write_to_person(line)
