"""Whole stacks, driven as a person would. What a test brings up goes down with it.

`home` is an empty place for projects, `running` the stack of the default project that a worker's tests share.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastzero_core import Stack, load_settings
from fastzero_core.project import projects
from fastzero_core.testing import session_folder
from tests.cli.conftest import fastzero as fastzero
from tests.ports import any_free_port


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = folder / "home"
    monkeypatch.setenv("FASTZERO_HOME", str(home))
    # A port of its own, since others may take the usual one while a test has its stack down.
    monkeypatch.setenv("FASTZERO_DATABASE_PORT", str(any_free_port()))
    yield home
    _destroy_all(home)


@pytest.fixture(scope="module")
def shared() -> Iterator[Stack]:
    home = Path(tempfile.mkdtemp(dir=session_folder()))
    home.chmod(0o755)
    settings = load_settings(
        project="fastzero", home=home, runtime="embedded", app=False, database_port=any_free_port()
    )
    yield Stack(settings).up()
    _destroy_all(home)
    shutil.rmtree(home)


@pytest.fixture
def running(shared: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("FASTZERO_HOME", str(shared.settings.home))
    return shared


def _destroy_all(home: Path) -> None:
    for project in projects(home):
        Stack(load_settings(project=project.name, home=home)).down(volumes=True)
