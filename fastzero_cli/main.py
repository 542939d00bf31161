"""The command tree, and the only error boundary. Open this first.

main()  → the tree parses → a command calls the core once → render prints
        ← any FastZeroError becomes two lines on stderr and its exit code; only a bug shows a traceback
"""

import os
import sys
from typing import Annotated

import typer

from fastzero_core import __version__
from fastzero_core.errors import FastZeroError, InvalidInputError

from . import application, docs, render, stack, trust
from .options import Run
from .tree import Group

INTERRUPTED = 130

root = Group(
    "fastzero",
    "A whole stack behind one command: PostgreSQL, its schema, and users and todos in it.",
    add_completion=True,
)
root.include(stack.group)
root.include(application.group)
root.add_group(stack.export)
root.include(trust.group)
root.include(docs.group)
root.add("migrate", "migrate")
root.add("db", "db")
root.add("user", "user")
root.add("todo", "todo")
root.add("secret", "secret")


def _show_version(wanted: bool) -> None:
    if wanted:
        render.plain(f"fastzero {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)]


@root.callback(
    example="fastzero up\nfastzero user add ana --email ana@example.com\nfastzero todo add 'Write the report'"
)
def fastzero(run: Run, version: Version = False) -> None:
    """The options that every command takes."""


def main() -> int:
    """Run the command line. Returns the exit code: see the manual's page of exit codes."""
    render.prepare()
    try:
        code = root.app(prog_name="fastzero", standalone_mode=False)
        sys.stdout.flush()
    except FastZeroError as error:
        return _failed(error)
    except typer.Abort:
        return _interrupted()
    except typer.TyperException as error:
        return _misused(error)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        render.close_output()
    except Exception as error:
        if isinstance(error, OSError) and error.errno in render.DISK_FULL:
            return _failed(render.unwritable(error))
        return _failed(_bug(error))
    return _interrupted() if code == INTERRUPTED else code or 0


def _bug(error: Exception) -> FastZeroError:
    bug = FastZeroError(f"{type(error).__name__}: {error}", hint="This is a bug: please report it with the above")
    bug.__cause__ = error
    return bug


def _failed(error: FastZeroError) -> int:
    if error.exit_code == 1:
        render.bug(error.__cause__ or error)
    render.error(error, _wanted_output())
    return error.exit_code


def _misused(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "fastzero"
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        render.plain(message)
        return 0
    render.error(InvalidInputError(message, hint=f"See: {path} --help"), _wanted_output())
    return 2


def _interrupted() -> int:
    render.interrupted()
    return INTERRUPTED


def _wanted_output() -> str | None:
    """The format asked for, also where the command line could not be understood."""
    words = sys.argv[1:]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-o", "--output"):
            return following
        for prefix in ("--output=", "-o"):
            if word.startswith(prefix):
                return word.removeprefix(prefix)
    return os.environ.get("FASTZERO_OUTPUT")
