"""Find the commands besides the web process: workers, and the command that loads initial data."""

import re
import shlex
from collections.abc import Iterable, Iterator

from ..sources import Sources
from .findings import Finding
from .started import FoundCommand

_PYTHON = ("python", "python3")
_NAMES_OF_WORKERS = ("worker", "scheduler", "consumer", "beat")
_SEED = re.compile(r"init|seed|fixture|create|load|data")


def workers(commands: list[FoundCommand], sources: Sources, directory: str) -> Iterator[Finding]:
    """Yield the processes besides the web process, each name and each command once. They run in `directory`."""
    names: set[str] = set()
    seen: set[tuple[str, ...]] = set()
    for command in commands:
        kind = _kind(command) if command.origin != "script" else ""
        name = _process_name(command.name or kind)
        if kind and name not in names and command.words not in seen:
            names.add(name)
            seen.add(command.words)
            words = [word for word in command.words if word != "--reload"]
            yield Finding(f"processes.{name}", _in_place(words, sources, directory), command.where, kind)


def _kind(command: FoundCommand) -> str:
    """Return the kind of a worker's command, "" for other commands."""
    words = command.words[1:]
    match command.program:
        case "celery" if {"worker", "beat"} & {*words}:
            return "worker" if "worker" in words else "beat"
        case "arq" | "dramatiq" | "faststream" | "rqworker" | "saq" if words and words[0] != "--help":
            return command.program
        case "rq" | "taskiq" | "procrastinate" if {"worker", "scheduler"} & {*words}:
            return "scheduler" if "scheduler" in words else command.program
        case "litestar" if words[:2] == ("workers", "run"):
            return "worker"
        case "huey_consumer" | "huey_consumer.py" if words:
            return "huey"
        case program if program in _PYTHON and command.origin in ("procfile", "compose"):
            return command.name if command.name in _NAMES_OF_WORKERS else ""
    return ""


def _process_name(text: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-0123456789")[:40] or "worker"


def _in_place(words: Iterable[str], sources: Sources, directory: str) -> str:
    """Return a command with relative paths of its scripts, where a file has absolute ones inside an image."""

    def inside(word: str) -> str:
        parts = word.strip("/").split("/") if word.startswith("/") and word.endswith(".py") else []
        paths = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((path for path in paths if sources.has(f"{directory}/{path}".lstrip("/"))), word)

    return shlex.join(map(inside, words))


def after_migrate(commands: list[FoundCommand], sources: Sources, directory: str) -> Finding | None:
    """Return the command that loads initial data: a Python command that a script runs after the migrations.

    Its arguments must match _SEED, which excludes servers. Returns None without such a command.
    """
    for at, command in enumerate(commands):
        if command.program != "alembic" or "upgrade" not in command.words:
            continue
        for following in commands[at + 1 :]:
            if (following.file, following.name) != (command.file, command.name):
                break
            if following.program in _PYTHON and _SEED.search(" ".join(following.words[1:])):
                command_line = _in_place(following.words, sources, directory)
                return Finding("after_migrate", command_line, following.where, "after the migrations")
    return None
