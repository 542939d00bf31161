"""Find out cheaply whether a folder without a description has an application of the user's."""

from collections.abc import Container, Iterator
from pathlib import Path

from .installation import PROJECT, declared, project_of, requirement_names
from .sources import table_at, text_of

FRAMEWORKS = ("fastapi", "django", "flask", "litestar", "starlette", "quart")
FILES = ("alembic.ini", "manage.py")
REQUIREMENTS = "requirements.txt"


def signs_of_application(folder: Path) -> list[str]:
    """Return what shows that a folder has an application, such as `alembic.ini` or `fastapi in pyproject.toml`."""
    project = project_of(folder)
    if table_at(project, "project").get("name") == "fastzero":  # its checkout, whose application is the built-in one
        return []
    requirements = (text_of(folder / REQUIREMENTS) or "").splitlines()
    files = [name for name in FILES if (folder / name).is_file()]
    required = [name for line in requirements for name in requirement_names(line)]
    return [*files, *_frameworks(declared(project), PROJECT), *_frameworks(required, REQUIREMENTS)]


def _frameworks(names: Container[str], file: str) -> Iterator[str]:
    return (f"{name} in {file}" for name in FRAMEWORKS if name in names)
