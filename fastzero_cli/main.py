"""The command tree, and the only error boundary. Open this first.

main()  → the tree parses → a command calls the core once → render prints
        ← any FastZeroError becomes two lines on stderr and its exit code; only a bug shows a traceback
"""

import os
import sys
from typing import Annotated

import typer

from fastzero_core import __version__
from fastzero_core.errors import FastZeroError

from . import messages, streams
from .options import Run
from .progress import LIVE
from .tree import Group

INTERRUPTED = 130
COMPLETES = "_FASTZERO_COMPLETE"  # set by the completion scripts of shells

root = Group(
    "fastzero",
    "Run PostgreSQL, its schema and a web app with one command, with or without Docker.",
    add_completion=True,
    sections={
        "Start here": ("init", "up", "doctor", "docs"),
        "Stack": ("down", "status", "logs", "restart", "exec", "run", "serve", "test", "ls", "export", "secret"),
        "Swarm": ("scale", "rebalance"),
        "Database": ("db", "migrate"),
        "Todos": ("todo", "list", "user"),
        "Tools": ("env", "config", "trust", "version"),
    },
)
root.add_commands("stack", "up", "serve", "exec", "down", "status", "logs", "restart", "ls")
root.add_commands("swarm", "scale", "rebalance")
root.add_commands("application", "init", "run", "test")
root.add_commands("surroundings", "env", "config", "doctor", "version")
root.add_commands("trust", "trust")
root.add_commands("docs", "docs")
root.add_group("export", "export", "Export the stack to other tools.")
root.add_group("migrate", "migrate", "Migrate the database's schema, up or down. Without a command: to head.")
root.add_group("db", "db", "Back up, restore, inspect and move the database.")
root.add_group("user", "user", "Add, list and change users.")
root.add_group("todo", "todo", "Add, list and change todos.")
root.add_group("list", "lists", "Add, list and share lists of todos.")
root.add_group("secret", "secret", "Change the secrets of a project.")


def _show_version(wanted: bool) -> None:
    if wanted:
        messages.plain(f"fastzero {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)]


@root.callback(
    example="fastzero up\nfastzero user add ana --email ana@example.com\nfastzero todo add 'Write the report'"
)
def fastzero(run: Run, version: Version = False) -> None:
    """The options that every command takes."""


def main() -> int:
    """Run the command line. Returns the exit code: see the page about exit codes in the manual."""
    streams.prepare()
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
        streams.close_output()
    except Exception as error:
        if isinstance(error, OSError) and error.errno in streams.DISK_FULL:
            return _failed(streams.unwritable(error))
        return _failed(_bug(error))
    return _interrupted() if code == INTERRUPTED else code or 0


def _bug(error: Exception) -> FastZeroError:
    bug = FastZeroError(f"{type(error).__name__}: {error}", hint="This is a bug: please report it with the above")
    bug.__cause__ = error
    return bug


def _failed(error: FastZeroError) -> int:
    LIVE.clear()
    if error.exit_code == 1:
        messages.bug(error.__cause__ or error)
    from .mistakes import with_database, with_remedy

    words = sys.argv[1:]
    told = with_remedy(with_database(error, words), words, typer.main.get_command(root.app))
    messages.error(told, _wanted_output(), words)
    return error.exit_code


def _misused(error: typer.TyperException) -> int:
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        messages.plain(message)
        return 0
    from .mistakes import error_of

    LIVE.clear()
    words = sys.argv[1:]
    messages.error(error_of(message, getattr(error, "ctx", None), words), _wanted_output(), words, is_usage=True)
    return 2


def _interrupted() -> int:
    LIVE.clear()
    if COMPLETES not in os.environ:  # otherwise it would appear in the line of the shell's prompt
        messages.interrupted()
    return INTERRUPTED


def _wanted_output() -> str | None:
    """Return the requested output format, even if the command line cannot be parsed."""
    return messages.option(sys.argv[1:], "-o", "--output") or os.environ.get("FASTZERO_OUTPUT")
