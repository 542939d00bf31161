"""How an application's dependencies are installed, and with which Python."""

import sys
from pathlib import Path

import pytest

from fastzero_core.application.discover.project import discover
from fastzero_core.application.installation import (
    allowed_minors,
    declared,
    environment_folder,
    installation,
    interpreter,
    interpreters,
    project_of,
    python_command,
)
from fastzero_core.application.writing import draft
from tests.application.folders import write_files

PROJECT = "[project]\nname = 'x'\ndependencies = ['fastapi>=0.1', 'alembic']\n"


@pytest.mark.parametrize(
    ("files", "tool", "command"),
    [
        ({"uv.lock": "", "pyproject.toml": PROJECT}, "uv", "uv sync --frozen"),
        ({"poetry.lock": ""}, "poetry", "poetry install --no-root"),
        ({"pdm.lock": ""}, "pdm", "pdm sync --no-self"),
        ({"Pipfile.lock": "", "Pipfile": ""}, "pipenv", "pipenv sync --dev"),
        ({"Pipfile": ""}, "pipenv", "pipenv install --dev"),
        ({"pyproject.toml": "[tool.poetry.dependencies]\nfastapi = '*'"}, "poetry", "poetry install --no-root"),
        ({"pyproject.toml": PROJECT + "[tool.uv]\n"}, "uv", "uv sync"),
        (
            {"pyproject.toml": PROJECT},
            "project",
            "python3 -m venv .venv && .venv/bin/pip install 'fastapi>=0.1' alembic",
        ),
        (
            {"requirements.txt": "x", "requirements-dev.txt": "y"},
            "requirements",
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt -r requirements-dev.txt",
        ),
        (
            {"requirements/base.txt": "x"},
            "requirements",
            "python3 -m venv .venv && .venv/bin/pip install -r requirements/base.txt",
        ),
        ({"uv.lock": "", "requirements.txt": "x"}, "uv", "uv sync --frozen"),
    ],
)
def test_the_files_tell_how(files: dict[str, str], tool: str, command: str, tmp_path: Path) -> None:
    found = installation(write_files(tmp_path, files), tmp_path)
    assert found is not None
    assert (found.tool, found.command) == (tool, command)


@pytest.mark.parametrize(
    ("lock", "command"),
    [
        ("uv.lock", "uv sync --frozen --extra pg --group server"),
        ("poetry.lock", "poetry install --no-root --extras pg --with server"),
        ("pdm.lock", "pdm sync --no-self --group pg --group server"),
    ],
)
def test_extras_and_groups_are_installed_too(lock: str, command: str, tmp_path: Path) -> None:
    found = installation(write_files(tmp_path, {lock: ""}), tmp_path, ("pg",), ("server",))
    assert found is not None
    assert found.command == command


def test_a_lock_of_a_workspace_counts_from_above(tmp_path: Path) -> None:
    write_files(tmp_path, {"uv.lock": "", "backend/pyproject.toml": PROJECT, ".git/HEAD": ""})
    found = installation(tmp_path / "backend", tmp_path / "backend")
    assert found is not None
    assert found.file == tmp_path / "uv.lock"


def test_a_lock_above_the_repository_does_not(tmp_path: Path) -> None:
    write_files(tmp_path, {"uv.lock": "", "shop/pyproject.toml": PROJECT, "shop/.git/HEAD": ""})
    found = installation(tmp_path / "shop", tmp_path / "shop")
    assert found is not None
    assert found.tool == "project"


def test_nothing_is_installed_where_nothing_is_declared(tmp_path: Path) -> None:
    assert installation(tmp_path, tmp_path) is None


def test_dependencies_are_known_by_name_and_group(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "pyproject.toml": """
                [project]
                dependencies = ["FastAPI[standard]>=0.1"]
                [project.optional-dependencies]
                pg = ["psycopg2_binary"]
                [dependency-groups]
                dev = ["uvicorn", {include-group = "test"}]
                """
        },
    )
    assert declared(project_of(tmp_path)) == {
        "fastapi": "",
        "fastapi[standard]": "",
        "psycopg2-binary": "pg",
        "uvicorn": "dev",
    }


@pytest.mark.parametrize(
    ("files", "minors"),
    [
        ({"pyproject.toml": "[project]\nrequires-python = '>=3.12,<3.14'"}, (12, 13)),
        ({"pyproject.toml": "[project]\nrequires-python = '==3.14.*'"}, (14,)),
        ({"pyproject.toml": "[project]\nrequires-python = '==3.11.7'"}, (11,)),
        ({"pyproject.toml": "[tool.poetry.dependencies]\npython = '^3.13'"}, (13, 14, 15)),
        ({"pyproject.toml": "[tool.poetry.dependencies]\npython = '3.11.7'"}, (11,)),
        ({"pyproject.toml": "[tool.poetry.dependencies]\npython = '~3.12'"}, (12,)),
        ({"pyproject.toml": "[project]\nrequires-python = '>=3.13'", ".python-version": "3.14\n"}, (14, 13, 15)),
        ({"Dockerfile": "FROM python:3.12-slim\n"}, (12, 10, 11, 13, 14, 15)),
        ({}, tuple(dict.fromkeys([sys.version_info.minor, 10, 11, 12, 13, 14, 15]))),
    ],
)
def test_the_files_tell_which_python(files: dict[str, str], minors: tuple[int, ...], tmp_path: Path) -> None:
    write_files(tmp_path, files)
    assert allowed_minors(tmp_path, tmp_path) == minors


def test_the_lowest_allowed_python_that_is_there_is_taken(tmp_path: Path) -> None:
    write_files(tmp_path, {"pyproject.toml": "[project]\nrequires-python = '>=3.11'"})
    for minor in (10, 12, 13):
        write_files(tmp_path, {f"bin/python3.{minor}": ""})
        (tmp_path / f"bin/python3.{minor}").chmod(0o755)
    assert interpreter(tmp_path, tmp_path, (tmp_path / "bin",)) == tmp_path / "bin/python3.12"


def test_no_python_is_taken_where_none_is_allowed(tmp_path: Path) -> None:
    write_files(tmp_path, {"pyproject.toml": "[project]\nrequires-python = '>=3.11'"})
    assert interpreter(tmp_path, tmp_path, ()) is None


def test_pip_gets_an_environment_of_the_version_in_the_dockerfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"Dockerfile": "FROM python:3.13\n", "requirements.txt": "x", "bin/python3.13": "", "bin/python3.12": ""}
    write_files(tmp_path, files)
    for name in ("python3.12", "python3.13"):
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert python_command(tmp_path, tmp_path) == "python3.13"
    found = {each.key: each.value for each in discover(tmp_path).findings}
    assert found["install"].startswith("python3.13 -m venv .venv && ")


def test_shims_are_no_interpreters(tmp_path: Path) -> None:
    write_files(tmp_path, {"shims/python3.12": ""})
    (tmp_path / "shims/python3.12").chmod(0o755)
    assert interpreters((tmp_path / "shims",)) == {}


@pytest.mark.parametrize("place", ["api/.venv", ".venv", "api/venv"])
def test_an_environment_that_is_there_is_found(place: str, tmp_path: Path) -> None:
    write_files(tmp_path, {f"{place}/bin/python": "", "api/x": ""})
    assert environment_folder(tmp_path, tmp_path / "api") == tmp_path / place


@pytest.mark.parametrize(
    "text",
    [
        "project = 3",
        "tool = 'x'",
        "[tool]\npoetry = 1\nuv = 2\npdm = []\nalembic = 3\npoe = 4\nfastapi = 5",
        "[project]\nname = 7\ndependencies = 3\noptional-dependencies = []\nrequires-python = 3",
        "[project]\ndependencies = [1, {}]\n[dependency-groups]\nweb = 'fastapi'",
        "[tool.poetry.dependencies]\nflask = {extras = 1}\n[tool.poetry.group]\ndev = 'x'",
    ],
)
def test_a_pyproject_with_values_of_the_wrong_type_is_read_without_them(text: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"pyproject.toml": text, "app.py": "from fastapi import FastAPI\napp = FastAPI()\n"})
    assert set(declared(project_of(tmp_path))) <= {"flask"}
    assert '"app:app"' in draft(discover(tmp_path)).text
