"""Suggest what the user may have meant: commands of other tools, titles without quotes, misspelt words."""

import os
import re
from typing import Any

from fastzero_core.errors import DatabaseUnreachableError, FastZeroError, InvalidInputError
from fastzero_core.postgres.url import address

from .messages import option

# The names of commands in well-known tools, such as Docker Compose, git, Taskwarrior, Django and the Supabase CLI, and
# the command of fastzero for each; by the path of the group after which the user typed them.
ALIASES: dict[str, dict[str, str]] = {
    "": {
        "ps": "status",
        "info": "status",
        "top": "status",
        "start": "up",
        "create": "up",
        "deploy": "export compose",
        "dev": "up --reload",
        "build": "up --build",
        "pull": "up --pull",
        "stop": "down",
        "kill": "down",
        "halt": "down",
        "rm": "down --volumes",
        "remove": "down --volumes",
        "delete": "down --volumes",
        "destroy": "down --volumes",
        "clean": "down --volumes",
        "list": "ls",
        "projects": "ls",
        "log": "logs",
        "tail": "logs -f",
        "attach": "up --attach",
        "sh": "exec app -- sh",
        "bash": "exec app -- bash",
        "ssh": "exec app -- sh",
        "enter": "exec app -- sh",
        "shell": "db shell",
        "psql": "db shell",
        "console": "db shell",
        "dbshell": "db shell",
        "connect": "db shell",
        "backup": "db backup",
        "dump": "db backup",
        "backups": "db backup list",
        "restore": "db restore",
        "reset": "db reset",
        "url": "db url",
        "upgrade": "migrate",
        "downgrade": "migrate down",
        "rollback": "migrate down -1",
        "makemigrations": "migrate new",
        "revision": "migrate new",
        "migration": "migrate new",
        "migrations": "migrate history",
        "users": "user list",
        "createuser": "user add",
        "adduser": "user add",
        "register": "user add",
        "login": "user use",
        "passwd": "user passwd",
        "todos": "todo list",
        "tasks": "todo list",
        "add": "todo add",
        "done": "todo done",
        "runserver": "serve",
        "server": "serve",
        "health": "doctor",
        "check": "doctor",
        "diagnose": "doctor",
        "settings": "config",
        "environment": "env",
        "help": "--help",
    },
    "todo": {
        "delete": "todo trash",
        "del": "todo trash",
        "remove": "todo trash",
        "rm": "todo trash",
        "ls": "todo list",
        "all": "todo list --all",
        "search": "todo list --text",
        "find": "todo list --text",
        "grep": "todo list --text",
        "board": "todo list --board",
        "new": "todo add",
        "create": "todo add",
        "complete": "todo done",
        "finish": "todo done",
        "close": "todo done",
        "check": "todo done",
        "begin": "todo start",
        "stop": "todo reopen",
        "open": "todo reopen",
        "modify": "todo edit",
        "update": "todo edit",
        "change": "todo edit",
        "rename": "todo edit",
        "mv": "todo move",
        "get": "todo show",
        "view": "todo show",
        "info": "todo show",
        "untrash": "todo restore",
        "empty": "todo purge",
    },
    "user": {
        "create": "user add",
        "new": "user add",
        "register": "user add",
        "delete": "user rm",
        "del": "user rm",
        "remove": "user rm",
        "ls": "user list",
        "get": "user show",
        "info": "user show",
        "view": "user show",
        "password": "user passwd",
        "update": "user edit",
        "modify": "user edit",
        "rename": "user edit",
        "switch": "user use",
        "select": "user use",
        "login": "user use",
    },
    "db": {
        "dump": "db backup",
        "export": "db backup",
        "save": "db backup",
        "import": "db restore",
        "load": "db restore",
        "psql": "db shell",
        "console": "db shell",
        "connect": "db shell",
        "drop": "db reset",
        "clear": "db reset",
        "wipe": "db reset",
        "size": "db stats",
        "info": "db stats",
        "check": "db verify",
        "test": "db verify",
        "list": "db backup list",
        "backups": "db backup list",
        "migrate": "migrate",
        "start": "up",
        "stop": "down",
    },
    "db archive": {
        "start": "db archive enable",
        "on": "db archive enable",
        "stop": "db archive disable",
        "off": "db archive disable",
        "show": "db archive status",
        "ls": "db archive list",
        "check": "db archive verify",
        "take": "db archive backup",
        "restore": "db restore --to-time TIME",
    },
    "migrate": {
        "upgrade": "migrate up",
        "head": "migrate up",
        "apply": "migrate up",
        "downgrade": "migrate down",
        "rollback": "migrate down -1",
        "current": "migrate status",
        "show": "migrate history",
        "log": "migrate history",
        "list": "migrate history",
        "revision": "migrate new",
        "make": "migrate new",
        "create": "migrate new",
        "generate": "migrate new",
        "fake": "migrate stamp",
        "verify": "migrate check",
    },
}
_UNKNOWN = re.compile(r"No such command ['\"](.+?)['\"]")
_EXTRA = re.compile(r"unexpected extra argument(?:s|\(s\))? \((.*)\)$")


def error_of(message: str, context: Any) -> InvalidInputError:
    """Return the error for a command line that the parser refused, from the parser's message."""
    path = context.command_path if context else "fastzero"
    see = f"See: {path} --help"
    if found := _UNKNOWN.match(message):
        group = path.partition(" ")[2]
        if ours := ALIASES.get(group, {}).get(found[1]):
            return InvalidInputError(f"unknown command {found[1]!r}", hint=f"Use: fastzero {ours}. {see}")
    message = f"{message[:1].lower()}{message[1:]}"
    found = _EXTRA.search(message.rstrip("."))
    if found:
        message = f"unexpected argument {found[1]!r}"
    hint = _quote(context, path, found[1]) if context and found else ""
    return InvalidInputError(message, hint=hint or see)


def with_database(error: FastZeroError, words: list[str]) -> FastZeroError:
    """Return the error. If a database given by a flag or the environment cannot be reached, the hint names it."""
    if error.code == DatabaseUnreachableError.code and error.hint == DatabaseUnreachableError.default_hint:
        given = option(words, "--database-url")
        of_environment = None if option(words, "-p", "--project") else os.environ.get("DATABASE_URL")
        if url := given or of_environment:
            name = "--database-url" if given else "DATABASE_URL"
            error.hint = f"Check that PostgreSQL runs at {address(url)}, or correct {name}"
    return error


def _quote(context: Any, path: str, extra: str) -> str:
    """Return the hint to quote words that belong together, "" if the command has no such words."""
    given = {name: value for name, value in context.params.items() if isinstance(value, str)}
    option = {"edit": f"{given.get('id', 'ID')} --title ", "list": "--text "}.get(path.rpartition(" ")[2], "")
    for name in ("title", "message", "text"):
        if name in given:
            return f"Quote the {name}: {path} {option}{_quoted(f'{given[name]} {extra}')}"
    return ""


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\$`])', r"\\\1", text) + '"' if "'" in text else f"'{text}'"
