"""Read the configuration, revisions and heads of the application's own Alembic, without importing its code.

Standard library only.
"""

import ast
import configparser
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .description import AlembicCommand
from .sources import MOST, parse_python, table_at, text_of, toml_of

DEFAULT_COMMAND = "alembic upgrade head"
INI = "alembic.ini"
PROJECT = "pyproject.toml"
_RUNNERS = (("uv", "run"), ("poetry", "run"), ("pdm", "run"), ("pipenv", "run"), ("hatch", "run"), ("python", "-m"))
_OPTIONS = {"-c": "config", "--config": "config", "-n": "section", "--name": "section"}
_SEPARATORS = {"os": ":", "space": " ", "newline": "\n", ":": ":", ";": ";", " ": " "}


@dataclass(frozen=True)
class Revision:
    """One revision file. `down` are the revisions that it follows, `labels` its branch labels."""

    revision: str
    path: Path
    message: str = ""
    down: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlembicProject:
    """The contents of an application's Alembic files. `is_async`: its env.py uses an async engine."""

    config: Path
    script_folder: Path
    revisions: tuple[Revision, ...] = ()
    version_table: str = "alembic_version"
    version_table_schema: str | None = None
    is_async: bool = False

    @property
    def heads(self) -> tuple[str, ...]:
        """The revisions that no other revision follows, sorted."""
        followed = {down for each in self.revisions for down in each.down}
        return tuple(sorted({each.revision for each in self.revisions} - followed))


# -- its command -----------------------------------------------------------------------------------------------


def alembic_command(command: str) -> AlembicCommand | None:
    """Return the options and the target of an `alembic upgrade`, None for any other command."""
    try:
        words = without_runner(shlex.split(command))
    except ValueError:
        return None
    if not words or Path(words[0]).name != "alembic":
        return None
    options, rest = _options(words[1:])
    match rest:
        case ["upgrade", target]:
            return AlembicCommand(**{**options, "target": target})
    return None


def without_runner(words: list[str]) -> list[str]:
    """Return a command without a runner before it, such as `uv run` or `poetry run`."""
    for runner in _RUNNERS:
        if tuple(words[:2]) == runner:
            return without_runner([word for word in words[2:] if word != "--"] if runner[1] == "run" else words[2:])
    return words


def _options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options that select the configuration, and the words that are not options."""
    options: dict[str, str] = {}
    rest: list[str] = []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name in _OPTIONS:
            options[_OPTIONS[name]] = value if equals else next(left, "")
        elif word == "-x":
            next(left, "")
        else:
            rest.append(word)
    return options, rest


# -- its files -------------------------------------------------------------------------------------------------


def has_alembic(root: Path) -> bool:
    """Return whether `alembic` without options finds a configuration in this folder."""
    return (root / INI).is_file() or bool(_tool_alembic(root / PROJECT))


def alembic_project(root: Path, command: AlembicCommand | None = None) -> AlembicProject | None:
    """Return the contents of Alembic's files, None if they do not name an existing folder of scripts.

    `root` is the folder where the command runs. Relative paths start there, as in Alembic.
    """
    command = command or AlembicCommand()
    config, options = _options_of(root, command)
    script_folder = _script_folder(root, config, options.get("script_location"))
    if script_folder is None:
        return None
    tree = parse_python(text_of(script_folder / "env.py") or "") or ast.Module([], [])
    arguments = dict(_arguments(tree, ("version_table", "version_table_schema")))
    return AlembicProject(
        config if config.is_file() else root / PROJECT,
        script_folder,
        tuple(_revisions(_versions(root, script_folder, options), options)),
        arguments.get("version_table") or "alembic_version",
        arguments.get("version_table_schema"),
        any(isinstance(node, ast.Name | ast.alias) and "async" in _called(node) for node in ast.walk(tree)),
    )


def script_folder_of(root: Path, command: AlembicCommand) -> Path | None:
    """Return the folder of Alembic's scripts, None if the configuration does not name an existing one."""
    config, options = _options_of(root, command)
    return _script_folder(root, config, options.get("script_location"))


def _options_of(root: Path, command: AlembicCommand) -> tuple[Path, dict[str, str]]:
    config = root / command.config
    return config, {**_tool_alembic(root / PROJECT), **_ini(config, command.section)}


def _tool_alembic(path: Path) -> dict[str, str]:
    tool = table_at(toml_of(text_of(path) or ""), "tool", "alembic")
    here = str(path.parent)
    texts = {key: "\n".join(value) if isinstance(value, list) else str(value) for key, value in tool.items()}
    listed = {"path_separator": "newline"} if isinstance(tool.get("version_locations"), list) else {}
    return {**{key: value.replace("%(here)s", here) for key, value in texts.items()}, **listed}


def _ini(path: Path, section: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text_of(path) or "")
    except configparser.Error:
        return {}
    if not parser.has_section(section):
        return {}
    return {key: value.replace("%(here)s", str(path.parent)) for key, value in parser.items(section)}


def _script_folder(root: Path, config: Path, location: str | None) -> Path | None:
    if location is None:
        beside = config.parent  # the layout of Flask-Migrate
        return beside if (beside / "env.py").is_file() else None
    folder = _located(root, location)
    return folder if folder.is_dir() else None


def _located(root: Path, location: str) -> Path:
    """Return the folder of a location in Alembic's configuration: a path, or a package and a path in it."""
    package, colon, inside = location.partition(":")
    if colon:
        return root / package.replace(".", "/") / inside
    return root / location


def _versions(root: Path, script_folder: Path, options: Mapping[str, str]) -> list[Path]:
    locations = options.get("version_locations")
    if not locations:
        return [script_folder / "versions"]
    separator = _SEPARATORS.get(options.get("path_separator") or options.get("version_path_separator") or "", "")
    parts = locations.split(separator) if separator else re.split(r"[, \n]+|:(?=/)", locations)
    return [_located(root, part.strip()) for part in parts if part.strip()]


def _revisions(folders: list[Path], options: Mapping[str, str]) -> Iterator[Revision]:
    pattern = "**/*.py" if options.get("recursive_version_locations", "").lower() == "true" else "*.py"
    for folder in folders:
        for path in sorted(folder.glob(pattern))[:MOST]:
            tree = parse_python(text_of(path) or "")
            if tree and (revision := _revision(tree, path)):
                yield revision


def _revision(tree: ast.Module, path: Path) -> Revision | None:
    values = dict(assignments(tree))
    if not isinstance(values.get("revision"), str):
        return None
    message = (ast.get_docstring(tree) or "").partition("\n")[0]
    down, depends_on, labels = (_several(values.get(name)) for name in ("down_revision", "depends_on", "branch_labels"))
    return Revision(values["revision"], path, message, down, depends_on, labels)


def _several(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, tuple | list | set) else ()


def assignments(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Yield the names to which a module assigns a literal, with the literal's value."""
    for node in tree.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                continue
        try:
            yield name, ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # not a literal
            continue


def _arguments(tree: ast.Module, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the keyword arguments with these names that are strings, given directly or by a constant."""
    constants = dict(assignments(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in names:
            value = (
                constants.get(node.value.id) if isinstance(node.value, ast.Name) else getattr(node.value, "value", None)
            )
            if isinstance(value, str):
                yield node.arg, value


def _called(node: ast.Name | ast.alias) -> str:
    return node.id if isinstance(node, ast.Name) else node.name
