"""The Dockerfile that fastzero makes for an application without one."""

from pathlib import Path

import pytest

from fastzero_core.application.dockerfile import dockerfile
from fastzero_core.application.reading import parse
from tests.application.folders import write_files

LOCKED = "[project]\nname = 'x'\ndependencies = ['fastapi']\n[dependency-groups]\ndev = ['uvicorn']\n"


def made(files: dict[str, str], folder: Path) -> str:
    application = parse('[application]\nasgi = "main:app"\n', write_files(folder, files))
    assert application is not None
    return dockerfile(application)


@pytest.mark.parametrize("lock", ["uv.lock", "poetry.lock", "pdm.lock"])
def test_the_list_of_a_lock_is_complete(lock: str, tmp_path: Path) -> None:
    text = made({lock: "", "pyproject.toml": LOCKED}, tmp_path)
    assert "/venv/bin/pip install --no-cache-dir --no-deps -r /requirements.txt" in text


def test_pip_finds_what_a_list_of_requirements_needs(tmp_path: Path) -> None:
    text = made({"requirements.txt": "fastapi\nuvicorn\n"}, tmp_path)
    assert "/venv/bin/pip install --no-cache-dir -r /requirements.txt\n" in text


def test_a_server_without_a_hash_is_installed_apart(tmp_path: Path) -> None:
    text = made({"uv.lock": "", "pyproject.toml": LOCKED}, tmp_path)
    assert "-r /requirements.txt \\\n && /venv/bin/pip install --no-cache-dir uvicorn\n" in text


def test_poetry_makes_a_lock_that_is_not_there(tmp_path: Path) -> None:
    text = made({"pyproject.toml": "[tool.poetry.dependencies]\npython = '^3.11'\nfastapi = '*'\n"}, tmp_path)
    assert "&& poetry lock && poetry export" in text
