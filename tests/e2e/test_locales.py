"""A home whose name is not ASCII, where Python takes file names for ASCII: the same stack in every locale."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import PATIENCE, SCRIPT

pytestmark = pytest.mark.slow

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
UTF_8 = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


def fastzero(locale: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [SCRIPT, *words],
        env={**os.environ, **locale},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def foreign_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home and a working directory with names that ASCII does not have."""
    foreign = home / "Größe 日本"
    (foreign / "work").mkdir(parents=True)
    monkeypatch.setenv("FASTZERO_HOME", str(foreign))
    monkeypatch.chdir(foreign / "work")
    yield foreign
    fastzero(UTF_8, "down", "--all", "--volumes", "--yes", "--no-backup")


@pytest.mark.parametrize(("first", "then"), [(ASCII, ASCII), (ASCII, UTF_8), (UTF_8, ASCII)])
def test_a_stack_lives_in_a_home_of_any_name(first: dict[str, str], then: dict[str, str], foreign_home: Path) -> None:
    fastzero(first, "up", "--no-app", "--runtime", "embedded")
    assert "running" in fastzero(then, "status")
    fastzero(then, "restart")
    fastzero(then, "doctor")
    fastzero(then, "db", "backup", "take")
    fastzero(then, "down")
    assert "stopped" in fastzero(first, "status")
    fastzero(first, "up", "--no-app")
    assert "running" in fastzero(then, "status")


@pytest.mark.parametrize("locale", [ASCII, UTF_8])
def test_a_path_is_shown_as_it_is(locale: dict[str, str], foreign_home: Path) -> None:
    assert str(foreign_home) in fastzero(locale, "config")
