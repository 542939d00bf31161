"""Suggest what the user may have meant: commands of other tools, titles without quotes, misspelt words."""

import os
import re
from difflib import get_close_matches
from typing import Any

from fastzero_core.errors import DatabaseLoginError, DatabaseUnreachableError, FastZeroError, InvalidInputError
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
        "lists": "list list",
        "share": "list share",
        "projects": "ls",
        "inspect": "status -o json",
        "port": "status",
        "pause": "down",
        "setup": "up",
        "initdb": "up",
        "redeploy": "up --build",
        "update": "up --pull",
        "events": "logs",
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
        "alembic": "migrate",
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
        "task": "todo",
        "add": "todo add",
        "show": "todo show",
        "edit": "todo edit",
        "board": "todo board",
        "done": "todo done",
        "runserver": "serve",
        "server": "serve",
        "health": "doctor",
        "check": "doctor",
        "diagnose": "doctor",
        "logout": "user logout",
        "seed": "run",
        "tests": "test",
        "doc": "docs",
        "secrets": "secret",
        "settings": "config",
        "configuration": "config",
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
    "list": {
        "create": "list add",
        "new": "list add",
        "delete": "list rm",
        "del": "list rm",
        "remove": "list rm",
        "ls": "list list",
        "get": "list show",
        "info": "list show",
        "view": "list show",
        "edit": "list rename",
        "mv": "list rename",
        "invite": "list share",
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
        "query": "db shell",
        "sql": "db shell",
        "diff": "migrate check",
        "lint": "migrate check",
        "push": "migrate",
        "pull": "migrate new MESSAGE --autogenerate",
        "seed": "run",
        "rollback": "db restore --undo",
        "prune": "db backup prune",
        "create": "up",
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
        "heads": "migrate history",
        "diff": "migrate check",
        "pending": "migrate status",
        "reset": "db reset",
        "redo": "migrate down -1 && fastzero migrate",
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
# Options of the same tools, and what to do instead; by command, "" for those of every command.
OPTIONS: dict[str, dict[str, str]] = {
    "": {
        "--json": "Use: -o json",
        "--csv": "Use: -o csv",
        "--format": "Use: --output FORMAT",
        "--verbose": "Read the logs: fastzero logs",
        "--debug": "Read the logs: fastzero logs",
        "--force": "Skip the confirmation: --yes",
        "--db": "Use: --database-url URL",
        "--url": "Use: --database-url URL",
        "--name": "Name the project: -p NAME",
        "--file": "Change into the folder of fastzero.toml first",
        "--env-file": "Name the file as env_from in fastzero.toml: fastzero docs application",
        "--profile": "Describe what runs in fastzero.toml: fastzero docs application",
    },
    "up": {
        **dict.fromkeys(
            ("-d", "--detach", "--wait"), "Leave it out: `up` ends when the stack is ready, and it keeps running"
        ),
        **dict.fromkeys(("--force-recreate", "--no-deps"), "Restart a service: fastzero restart SERVICE"),
        "--remove-orphans": "Leave it out: `up` removes what is not described any more",
        "--scale": "Set `replicas` in fastzero.toml: fastzero docs application",
        "-f": "Change into the folder of fastzero.toml first",
    },
    "down": {
        "--rmi": "Remove images with Docker: docker image rm IMAGE",
        "--remove-orphans": "Leave it out: `down` stops everything in the project",
        "-f": "Skip the confirmation: --yes",
        "-t": "Use: --timeout SECONDS",
    },
    "logs": {
        "-t": "Leave it out: lines begin with their time",
        "--timestamps": "Leave it out: lines begin with their time",
        "--lines": "Use: --tail N",
    },
    "migrate new": {"-m": "Give the message alone: fastzero migrate new MESSAGE"},
    "migrate": {"-1": "Use: fastzero migrate down -1", "+1": "Use: fastzero migrate up +1"},
    "todo purge": {"-f": "Skip the confirmation: --yes"},
    "user rm": {"-f": "Skip the confirmation: --yes"},
    "db reset": {"-f": "Skip the confirmation: --yes"},
    "db restore": {"-f": "Skip the confirmation: --yes"},
}
# What to do instead of giving words to a command that takes none.
WORDS: dict[str, str] = {
    "up": "`up` starts every service. Restart one: fastzero restart SERVICE",
    "down": "`down` stops every service. Restart one: fastzero restart SERVICE",
    "status": "`status` shows every service. The log of one: fastzero logs SERVICE",
    "config": "`config` only shows settings. Set them in fastzero.toml: fastzero docs settings",
    "todo list": "Filter with options: -s STATE, -t TEXT",
}
# The groups whose commands are about these things, for words in the order of a sentence, such as `list users`.
NOUNS = {
    "todo": "todo",
    "task": "todo",
    "user": "user",
    "backup": "db backup",
    "migration": "migrate",
    "revision": "migrate",
}
_UNKNOWN = re.compile(r"No such command ['\"](.+?)['\"]")
_OPTION = re.compile(r"No such option: (\S+)")
_ONE_OF = re.compile(r"'(.*)' is not one of (.*)$")
_NUMBER = re.compile(r"Input should be a valid (?:integer|number).*")
_EXTRA = re.compile(r"unexpected extra argument(?:s|\(s\))? \((.*)\)$")


def error_of(message: str, context: Any, words: list[str]) -> InvalidInputError:
    """Return the error for a command line that the parser refused, from the parser's message."""
    path = context.command_path if context else "fastzero"
    see = f"See: {path} --help"
    command = path.partition(" ")[2]
    if found := _UNKNOWN.match(message):
        ours = _reordered(context, command, words) or ALIASES.get(command, {}).get(found[1])
        if ours:
            return InvalidInputError(f"unknown command {found[1]!r}", hint=f"Use: fastzero {ours}. {see}")
    if (found := _OPTION.match(message)) and (hint := _instead_of(found[1], command)):
        return InvalidInputError(f"no such option: {found[1]}", hint=f"{hint}. {see}")
    message = _NUMBER.sub("use a whole number", f"{message[:1].lower()}{message[1:]}".rstrip("."))
    if found := _EXTRA.search(message):
        message = f"unexpected argument {found[1]!r}"
        see = (_quote(context, path, found[1]) if context else "") or WORDS.get(command) or see
    elif message == "missing option '--to'":
        see = f"Use: fastzero todo move ID --to STATE. {see}"
    return InvalidInputError(message, hint=see)


def _instead_of(option: str, command: str) -> str | None:
    if command.startswith("todo ") and option[1:].isdecimal():
        return "Ids are positive numbers"
    return OPTIONS.get(command, {}).get(option) or OPTIONS[""].get(option)


def _reordered(context: Any, command: str, words: list[str]) -> str:
    """Return the command that the user means by its words in another order, such as `list users`; "" if none is."""
    names = [word for word in words if not word.startswith("-")]
    if command and context and len(names) > 2 and names[0] == command and names[2] in context.command.commands:
        return f"{command} {names[2]} {names[1]}"
    if not context or len(names) < 2 or command not in ("", names[0]):
        return ""
    if (group := NOUNS.get(names[1].removesuffix("s"))) is None:
        return ""
    found = context.find_root().command
    for name in group.split():
        found = found.commands[name]
    return f"{group} {names[0]}" if names[0] in found.commands else ALIASES.get(group, {}).get(names[0], "")


def with_remedy(error: FastZeroError, words: list[str], root: Any) -> FastZeroError:
    """Return the error. If it is about a value and has no hint, the hint is the nearest value or the command's help."""
    if error.exit_code != InvalidInputError.exit_code or error.hint:
        return error
    found = _ONE_OF.search(error.message)
    known = found[2].split(", ") if found else []
    if found and found[1].startswith("-") and "exec" in words:
        error.hint = f"Leave {found[1]} out: `exec` uses this terminal if there is one"
    elif found and (near := get_close_matches(found[1].lower(), known, n=1)):
        error.hint = f"Did you mean {near[0]}?"
    else:
        error.hint = f"See: {_path_of(words, root)} --help"
    return error


def _path_of(words: list[str], root: Any) -> str:
    """Return the command that words name, with its groups."""
    path, command = ["fastzero"], root
    for word in words:
        if found := getattr(command, "commands", {}).get(word):
            path, command = [*path, word], found
    return " ".join(path)


def with_database(error: FastZeroError, words: list[str]) -> FastZeroError:
    """Return the error. If a database given by a flag or the environment cannot be reached, the hint names it."""
    given = option(words, "--database-url")
    if given and error.code == DatabaseLoginError.code:
        error.hint = error.hint.replace("DATABASE_URL", "--database-url")
    if error.code == DatabaseUnreachableError.code and error.hint == DatabaseUnreachableError.default_hint:
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
