"""Which folders have an application that no fastzero.toml describes."""

from pathlib import Path

import pytest

from fastzero_core.application.undescribed import signs_of_application

FOLDERS: dict[str, tuple[dict[str, str], list[str]]] = {
    "alembic": ({"alembic.ini": "[alembic]\n"}, ["alembic.ini"]),
    "django": (
        {"manage.py": "", "requirements.txt": "Django>=5  # web\n"},
        ["manage.py", "django in requirements.txt"],
    ),
    "fastapi": (
        {"pyproject.toml": '[project]\ndependencies = ["fastapi[standard]>=0.1"]\n'},
        ["fastapi in pyproject.toml"],
    ),
    "a group": ({"pyproject.toml": '[dependency-groups]\nweb = ["litestar"]\n'}, ["litestar in pyproject.toml"]),
    "poetry": ({"pyproject.toml": '[tool.poetry.dependencies]\nflask = "^3"\n'}, ["flask in pyproject.toml"]),
    "nothing": ({"README.md": "fastapi\n", "requirements.txt": "-r other.txt\nfastapi-users\n"}, []),
    "not a web application": ({"pyproject.toml": '[project]\nkeywords = ["flask"]\ndependencies = ["rich"]\n'}, []),
    "broken": ({"pyproject.toml": '[project\n"fastapi"', "requirements.txt": "\0"}, []),
    "fastzero itself": ({"pyproject.toml": '[project]\nname = "fastzero"\ndependencies = ["fastapi"]\n'}, []),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_an_application_is_told_from_its_files(name: str, tmp_path: Path) -> None:
    files, signs = FOLDERS[name]
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    assert signs_of_application(tmp_path) == signs
