"""Find the commands that start a project's programs, in all files that may contain them."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..commands import split
from ..migrations import without_runner
from ..sources import Sources, table_at, toml_of
from .compose import compose_files, services_of

# By priority: commands that run in production or next to the database first.
ORIGINS = ("procfile", "compose", "dockerfile", "task", "script")
LONGEST = 4_000  # characters of a line
_OPERATOR = re.compile(r"[|&;()]+")
_INSTRUCTION = re.compile(r"^\s*(CMD|ENTRYPOINT|FROM)\s+(.*)", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_TASK = re.compile(r"^([\w-]+)\s*(?:[^:=]*):(?!=)")


@dataclass(frozen=True)
class FoundCommand:
    """A simple command. `name` is that of the process, service or task. It runs in `folder`, if that is known."""

    words: tuple[str, ...]
    where: str
    origin: str
    name: str = ""
    folder: str = ""

    @property
    def program(self) -> str:
        return self.words[0].rpartition("/")[2]

    @property
    def file(self) -> str:
        return self.where.rpartition(":")[0]

    def option(self, *names: str) -> str | None:
        """Return the value of an option, from `--name value` or `--name=value`; None without the option."""
        for word, following in zip(self.words, (*self.words[1:], ""), strict=True):
            name, equals, value = word.partition("=")
            if name in names:
                return value if equals else following
        return None


def found_commands(sources: Sources) -> list[FoundCommand]:
    """Return all commands in the files of a project, sorted by the priority of their origin."""
    found = [*_procfiles(sources), *_compose(sources), *_dockerfiles(sources), *_tasks(sources), *_scripts(sources)]
    return sorted(found, key=lambda each: ORIGINS.index(each.origin))


def simple_commands(line: str, folder: str = "") -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the commands of a shell line, without their wrappers, and the folder of each."""
    try:
        tokens = split(line) if len(line) <= LONGEST else []
    except ValueError:
        return
    command: list[str] = []
    for token in [*tokens, ";"]:
        if not _OPERATOR.fullmatch(token):
            command.append(token)
            continue
        words = _bare(command)
        if words[:1] == ["cd"] and len(words) == 2:
            folder = _joined(folder, words[1])
        elif words:
            yield tuple(words), folder
        command = []


def _bare(words: list[str]) -> list[str]:
    """Return a command without the assignments, `exec` and runners such as `uv run` before it."""
    while words and (_ASSIGNMENT.match(words[0]) or words[0] in ("exec", "env", "then", "do", "time")):
        words = words[1:]
    if words[:2] in (["sh", "-c"], ["bash", "-c"]) and len(words) == 3:
        return next((list(inner) for inner, _ in simple_commands(words[2])), [])
    return without_runner(words)


def _joined(folder: str, below: str) -> str:
    parts = [part for part in f"{folder}/{below}".split("/") if part not in ("", ".")]
    return "" if below.startswith(("/", "$", "..")) else "/".join(parts)


def _of(line: str, where: str, origin: str, name: str = "", folder: str = "") -> Iterator[FoundCommand]:
    for words, place in simple_commands(line, folder):
        yield FoundCommand(words, where, origin, name, place)


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


# -- the files -------------------------------------------------------------------------------------------------


def _procfiles(sources: Sources) -> Iterator[FoundCommand]:
    for path in sources.named("Procfile"):
        for number, line in enumerate(sources.text(path).splitlines(), 1):
            name, colon, command = line.partition(":")
            if colon and not name.strip().startswith("#"):
                yield from _of(command, f"{path}:{number}", "procfile", name.strip(), folder_of(path))


def _compose(sources: Sources) -> Iterator[FoundCommand]:
    for path in compose_files(sources):
        for service in services_of(sources, path):
            if service.command:
                yield from _of(service.command, service.where, "compose", service.name, folder_of(path))


def _dockerfiles(sources: Sources) -> Iterator[FoundCommand]:
    for path in dockerfiles(sources):
        yield from _dockerfile(sources, path)


def dockerfiles(sources: Sources) -> list[str]:
    """Return the Dockerfiles of a project."""
    names = [(path, path.rpartition("/")[2].lower()) for path in sources.files]
    return [path for path, name in names if "dockerfile" in name and not name.endswith(("ignore", ".md", ".py"))]


def _dockerfile(sources: Sources, path: str) -> Iterator[FoundCommand]:
    """Yield the command of the last stage: once as arguments of its entrypoint, once alone."""
    last: dict[str, tuple[str, int]] = {}
    for number, line in whole_lines(sources.text(path)):
        if match := _INSTRUCTION.match(line):
            if match[1].upper() == "FROM":
                last = {}
            last[match[1].upper()] = (_as_line(match[2]), number)
    command, number = last.get("CMD", ("", 0))
    entrypoint, other = last.get("ENTRYPOINT", ("", number))
    for text in dict.fromkeys([f"{entrypoint} {command}", command]):
        yield from _of(text, f"{path}:{number or other}", "dockerfile", folder=folder_of(path))


def image_variables(sources: Sources) -> dict[str, tuple[str, str]]:
    """Return the variables that Dockerfiles set to plain values, each with its value and its place."""
    found: dict[str, tuple[str, str]] = {}
    for path in dockerfiles(sources):
        for number, line in whole_lines(sources.text(path)):
            if match := re.match(r"\s*ENV\s+(.*)", line, re.IGNORECASE):
                for name, value in _pairs(match[1]):
                    if value and "$" not in value:
                        found.setdefault(name, (value, f"{path}:{number}"))
    return found


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError:
        return
    if words and "=" not in words[0]:
        yield words[0], " ".join(words[1:])
        return
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            yield name, value


def _as_line(instruction: str) -> str:
    """Return an instruction as a command line, from its JSON form or its shell form."""
    if instruction.lstrip().startswith("["):
        try:
            return shlex.join(map(str, json.loads(instruction)))
        except (ValueError, RecursionError):
            return ""
    return instruction


def _tasks(sources: Sources) -> Iterator[FoundCommand]:
    """Yield the commands in tasks of poe and taskipy."""
    for path in sources.named("pyproject.toml"):
        project = project_at(sources, path)
        for runner in ("poe", "taskipy"):
            for name, task in table_at(project, "tool", runner, "tasks").items():
                for line in _lines_of_task(task):
                    yield from _of(line, f"{path}:{_line_with(sources, path, line)}", "task", name, folder_of(path))


def _lines_of_task(task: Any) -> list[str]:
    if isinstance(task, str):
        return [task]
    if isinstance(task, dict):
        return [line for key in ("cmd", "shell") if isinstance(line := task.get(key), str)]
    return [each for each in task if isinstance(each, str)] if isinstance(task, list) else []


def _scripts(sources: Sources) -> Iterator[FoundCommand]:
    for path in [*sources.ending(".sh"), *sources.named("Makefile", "justfile", "Justfile", "Taskfile.yml", "run")]:
        is_recipes = not path.endswith(".sh")
        name = ""
        for number, line in whole_lines(sources.text(path)):
            if is_recipes and (match := _TASK.match(line)):
                name = match[1]
            command = line.strip().removeprefix("@").removeprefix("- ").strip()
            if command and not command.startswith("#"):
                yield from _of(command, f"{path}:{number}", "script", name, _script_folder(path))


def _script_folder(path: str) -> str:
    """Return the folder where a script runs: its own folder, or the parent of a folder for scripts."""
    folder = folder_of(path)
    return folder_of(folder) if folder.rpartition("/")[2] in ("scripts", "bin", "docker", "entrypoints") else folder


def whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers. Joins lines that end in a backslash with the next one.

    Skips lines longer than LONGEST, since a person does not type such lines.
    """
    begun, parts = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) + len(parts) > LONGEST:
            continue
        begun = begun or number
        if line.rstrip().endswith("\\"):
            parts += line.rstrip()[:-1] + " "
            continue
        yield begun, parts + line
        begun, parts = 0, ""


def project_at(sources: Sources, path: str) -> dict[str, Any]:
    """Return a pyproject.toml, empty if it cannot be parsed."""
    return toml_of(sources.text(path))


def _line_with(sources: Sources, path: str, text: str) -> int:
    needle = text.splitlines()[0] if text else ""
    lines = sources.text(path).splitlines()
    return next((number for number, line in enumerate(lines, 1) if needle and needle in line), 1)
