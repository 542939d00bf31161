"""Every command explains itself."""

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest

from fastzero_core import __version__

from .conftest import Run
from .tree import COMMANDS, ROOT

every_command = pytest.mark.parametrize("path", COMMANDS)
PIPE = re.compile(r"[|>&]+")


def _examples(command: Any) -> list[str]:
    _, _, examples = command.epilog.partition("Example:\n")
    return [line.strip() for line in examples.splitlines()]


@every_command
def test_every_command_has_help_with_an_example_of_itself(path: str, fastzero: Run) -> None:
    result = fastzero(*path.split(), "--help")
    assert result.code == 0
    assert result.err == ""
    _, _, examples = result.out.partition("\n  Example:\n")
    assert f"fastzero {path}".strip() in examples
    assert COMMANDS[path].help


def test_every_option_and_argument_is_documented() -> None:
    parameters = [(path, parameter) for path, command in COMMANDS.items() for parameter in command.params]
    assert [f"{path} {each.name}" for path, each in parameters if not getattr(each, "help", None)] == []


@pytest.mark.parametrize("example", sorted({line for command in COMMANDS.values() for line in _examples(command)}))
def test_every_example_is_a_command_line_that_parses(example: str) -> None:
    for part in PIPE.split(example.replace('eval "$(', "").replace(')"', "")):
        program, *words = shlex.split(part) or [""]
        if program == "fastzero":
            command = ROOT
            while hasattr(command, "commands") and words and words[0] in command.commands:
                command = command.commands[words.pop(0)]
            command.make_context("fastzero", words)


def test_every_command_takes_the_global_options() -> None:
    wanted = {"-p", "--project", "--database-url", "-o", "--output", "-q", "--quiet", "--no-input", "--color"}
    for path, command in COMMANDS.items():
        assert wanted <= {option for parameter in command.params for option in parameter.opts}, path


def test_no_option_takes_a_password() -> None:
    for command in COMMANDS.values():
        taking = [parameter for parameter in command.params if not getattr(parameter, "is_flag", False)]
        assert "--password" not in [option for parameter in taking for option in parameter.opts]


@pytest.mark.parametrize("path", ["", "todo", "todo add"])
def test_short_help_is_the_same(path: str, fastzero: Run) -> None:
    assert fastzero(*path.split(), "-h") == fastzero(*path.split(), "--help")


@pytest.mark.parametrize("words", [[], ["todo"], ["user"]])
def test_a_group_alone_shows_what_there_is(words: list[str], fastzero: Run) -> None:
    result = fastzero(*words)
    assert (result.code, result.err) == (0, "")
    assert ("Commands:" if words else "Start here:") in result.out


def test_the_version_is_an_option_too(fastzero: Run) -> None:
    assert fastzero("--version") == (0, f"fastzero {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["statsu"], "status"),
        (["tood", "list"], "todo"),
        (["todo", "lst"], "list"),
        (["user", "passwrd", "ana"], "passwd"),
        (["migrate", "donw", "-1"], "down"),
        (["todo", "list", "--limt", "3"], "--limit"),
    ],
)
def test_a_mistyped_word_suggests_the_nearest(words: list[str], nearest: str, fastzero: Run) -> None:
    result = fastzero(*words)
    assert result.code == 2
    assert nearest in result.err.splitlines()[0]
    assert "--help" in result.err.splitlines()[1]


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "fastzero_cli", "version", "-o", "json"]
    assert '"fastzero"' in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_as_a_module_it_returns_the_exit_code() -> None:
    done = subprocess.run([sys.executable, "-m", "fastzero_cli", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
