"""What the README shows is run, and its list of commands is what the help says."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fastzero_core import load_settings
from fastzero_core.application.reading import parse

from .reference import README, readme_with_reference

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = BLOCK.findall(README.read_text(encoding="utf-8"))
SET_UP = "python3 -m venv"  # makes an environment: what continuous integration does with it


def _blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language and not text.startswith(SET_UP)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_the_list_of_commands_is_current() -> None:
    assert README.read_text(encoding="utf-8") == readme_with_reference(), "run: poe reference"


def test_the_shell_examples_run_one_after_the_other(folder: Path) -> None:
    examples = "\n".join(_blocks("sh"))
    assert "fastzero up" in examples
    script = f"set -euo pipefail\n{examples}\nfastzero down --volumes --yes\n"
    run = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=_environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert run.returncode == 0, run.stderr
    assert "Write the report" in run.stdout


def test_no_example_gives_a_program_a_password_as_an_argument() -> None:
    commands = re.findall(r"curl [^|\n]*", "\n".join([*_blocks("sh"), *_blocks("console")]))
    assert len(commands) >= 4
    assert not [command for command in commands if re.search(r'password["=]', command)]


@pytest.mark.parametrize("program", _blocks("python"))
def test_the_python_examples_run_as_they_are(program: str, folder: Path) -> None:
    clean_up = "\nStack('demo').down(volumes=True)\n"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + clean_up], cwd=folder, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.usefixtures("trusted_folder")
def test_the_configuration_file_is_understood(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (example,) = [text for text in _blocks("toml") if "[application" not in text]
    (folder / "fastzero.toml").write_text(example, encoding="utf-8")
    monkeypatch.chdir(folder)
    settings = load_settings()
    for name, value in tomllib.loads(example).items():
        assert getattr(settings, name) == value


def test_the_description_of_an_application_is_understood(folder: Path) -> None:
    (example,) = [text for text in _blocks("toml") if "[application]" in text]
    application = parse(example, folder)
    assert application is not None
    assert [process.name for process in application.processes] == ["web", "worker"]


def test_the_description_of_services_is_understood(folder: Path) -> None:
    (example,) = [text for text in _blocks("toml") if "[services." in text]
    application = parse(f"[application]\n{example}", folder)
    assert application is not None
    assert [(service.name, service.ports) for service in application.services] == [
        ("redis", (6379,)),
        ("mailpit", (8025, 1025)),
    ]


def test_the_python_example_of_the_library_is_the_same_as_the_readme_s() -> None:
    import fastzero_core

    assert "with FastZero(stack.database_url) as fz:" in (fastzero_core.__doc__ or "")
