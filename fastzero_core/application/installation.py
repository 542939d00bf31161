"""Find out from an application's files how to install its dependencies, and with which Python."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .sources import table_at, text_of, toml_of

if TYPE_CHECKING:  # importing packaging takes longer than reading all these files, and only an application needs it
    from packaging.specifiers import SpecifierSet

PROJECT = "pyproject.toml"
ENVIRONMENTS = (".venv", "venv")
NEWEST_MINOR = 15
_MINOR = re.compile(r"\b3\.(\d+)")
_FROM = re.compile(r"^FROM\s+(?:\S+/)?python:3\.(\d+)", re.MULTILINE | re.IGNORECASE)

Tool = Literal["uv", "poetry", "pdm", "pipenv", "requirements", "project"]
_LOCKS: dict[str, Tool] = {
    "uv.lock": "uv",
    "poetry.lock": "poetry",
    "pdm.lock": "pdm",
    "Pipfile.lock": "pipenv",
    "Pipfile": "pipenv",
}
_REQUIREMENTS = (
    "requirements.txt",
    "requirements/dev.txt",
    "requirements/development.txt",
    "requirements/local.txt",
    "requirements/base.txt",
    "requirements/production.txt",
    "requirements/prod.txt",
)
_FOR_TESTS = ("requirements-dev.txt", "requirements-test.txt", "dev-requirements.txt", "requirements_dev.txt")


@dataclass(frozen=True)
class Installation:
    """How to install dependencies. `file` is the lock or the list that names them.

    `command` runs in the application's directory, and creates the environment if it does not exist. `requirements` are
    those of a project without a lock. The project itself is not installed, since most applications are not packages.
    """

    tool: Tool
    file: Path
    command: str
    requirements: tuple[str, ...] = ()


# -- declared dependencies -------------------------------------------------------------------------------------


def project_of(root: Path) -> Mapping[str, Any]:
    """Return the pyproject.toml of a folder, empty if it does not exist or cannot be parsed."""
    return toml_of(text_of(root / PROJECT) or "")


def declared(project: Mapping[str, Any]) -> dict[str, str]:
    """Return the dependencies that a pyproject.toml declares: their normalized names, and where each is declared.

    That is "" for the project itself, else the extra or group. A requirement with extras has additional names, such as
    `fastapi[standard]`.
    """
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    for group, requirements in _requirement_lists(project):
        for text in requirements:
            for name in requirement_names(text):
                found.setdefault(name, group)
    for group, names in _poetry(project):
        for name in names:
            found.setdefault(canonicalize_name(name), group)
    return found


def requirement_names(text: Any) -> list[str]:
    """Return the names of a requirement: its own and `name[extra]` for each extra. Empty for an invalid requirement."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        requirement = Requirement(text.partition(" #")[0].strip())
    except (InvalidRequirement, AttributeError):
        return []
    name = canonicalize_name(requirement.name)
    return [name, *(f"{name}[{extra}]" for extra in sorted(requirement.extras))]


def _requirement_lists(project: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    lists = [
        ("", table_at(project, "project").get("dependencies")),
        *table_at(project, "project", "optional-dependencies").items(),
        *table_at(project, "dependency-groups").items(),
        *table_at(project, "tool", "pdm", "dev-dependencies").items(),
        ("dev", table_at(project, "tool", "uv").get("dev-dependencies")),
    ]
    return ((group, found) for group, found in lists if isinstance(found, list))


def _poetry(project: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    poetry = table_at(project, "tool", "poetry")
    main = table_at(poetry, "dependencies")
    extras = [
        f"{name}[{extra}]"
        for name, value in main.items()
        if isinstance(value, dict) and isinstance(value.get("extras"), list)
        for extra in value["extras"]
    ]
    yield "", [*main, *extras]
    yield "dev", list(table_at(poetry, "dev-dependencies"))
    for name in table_at(poetry, "group"):
        yield name, list(table_at(poetry, "group", name, "dependencies"))


# -- the command that installs them ----------------------------------------------------------------------------


def installation(
    folder: Path,
    root: Path,
    extras: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    *,
    python: str = "python3",
) -> Installation | None:
    """Return how to install the dependencies of an application, None if no file declares any.

    `root` is its directory, `folder` the folder of fastzero.toml. A uv.lock in a folder above `folder` counts
    too, as in a workspace. `python` is the interpreter for an environment that pip installs into.
    """
    places = list(dict.fromkeys([root, folder]))
    for name, tool in _LOCKS.items():
        for place in [*places, *_above(folder)] if tool == "uv" else places:
            if (place / name).is_file():
                return Installation(tool, place / name, _command(tool, place / name, extras, groups))
    for place in places:
        if (found := _listed(place, root, python)) or (found := _declared(place, extras, groups, python)):
            return found
    return None


def _listed(place: Path, root: Path, python: str) -> Installation | None:
    """Return the installation of requirements files, unless a pyproject.toml next to them declares dependencies."""
    lists = [place / name for name in _REQUIREMENTS if (place / name).is_file()]
    if not lists or _manager(place):
        return None
    files = [lists[0], *(place / name for name in _FOR_TESTS if (place / name).is_file())]
    words = _each("-r", tuple(os.path.relpath(each, root) for each in files))
    return Installation("requirements", lists[0], _pip(python, words))


def _declared(place: Path, extras: tuple[str, ...], groups: tuple[str, ...], python: str) -> Installation | None:
    """Return the installation of a pyproject.toml, None if it does not declare dependencies."""
    tool = _manager(place)
    if tool is None:
        return None
    file = place / PROJECT
    if tool != "project":
        return Installation(tool, file, _command(tool, file, extras, groups))
    wanted = {"", "dev", *extras, *groups}
    lists = _requirement_lists(project_of(place))
    requirements = tuple(text for name, texts in lists if name in wanted for text in texts if isinstance(text, str))
    return Installation(tool, file, _pip(python, list(requirements)), requirements)


def _above(folder: Path) -> list[Path]:
    """Return up to four parent folders, within the repository: a workspace has its lock in one of them."""
    above: list[Path] = []
    for parent in folder.parents[:4]:
        if (folder / ".git").exists() or (above and (above[-1] / ".git").exists()):
            break
        above.append(parent)
    return above


def _manager(place: Path) -> Tool | None:
    project = project_of(place)
    tools = table_at(project, "tool")
    if not declared(project):
        return None
    if "poetry" in tools and "project" not in project:
        return "poetry"
    return "uv" if "uv" in tools else "pdm" if "pdm" in tools else "project"


def _command(tool: Tool, file: Path, extras: tuple[str, ...], groups: tuple[str, ...]) -> str:
    chosen = [word for extra in extras for word in ("--extra", extra)]
    match tool:
        case "uv":
            frozen = ["--frozen"] if file.name == "uv.lock" else []
            return shlex.join(["uv", "sync", *frozen, *chosen, *_each("--group", groups)])
        case "poetry":
            return shlex.join(["poetry", "install", "--no-root", *_each("--extras", extras), *_each("--with", groups)])
        case "pdm":
            return shlex.join(["pdm", "sync", "--no-self", *_each("--group", (*extras, *groups))])
    return "pipenv sync --dev" if file.name == "Pipfile.lock" else "pipenv install --dev"


def _each(option: str, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _pip(python: str, words: list[str]) -> str:
    return f"{python} -m venv .venv && .venv/bin/pip install {shlex.join(words)}"


# -- the interpreter -------------------------------------------------------------------------------------------


def environment_folder(folder: Path, root: Path, lock: Path | None = None) -> Path | None:
    """Return the existing virtual environment, None if it does not exist."""
    places = dict.fromkeys([root, folder, *([lock.parent] if lock else [])])
    found = (place / name for place in places for name in ENVIRONMENTS)
    return next((path for path in found if (path / "bin" / "python").exists()), None)


def allowed_minors(root: Path, folder: Path) -> tuple[int, ...]:
    """Return the minor versions of Python 3 that an application allows, the preferred one first.

    The preferred one is that in `.python-version`, else the lowest that pyproject.toml allows, since locks often have
    wheels for older versions only. If neither names a version, it is that of the Dockerfile or, without one, that of
    this interpreter, and 3.10 and later are allowed.
    """
    texts = [text_of(place / ".python-version") or "" for place in dict.fromkeys([root, folder])]
    pinned = next((int(match[1]) for text in texts if (match := _MINOR.search(text))), None)
    required = _required_python(project_of(root)) or _required_python(project_of(folder))
    if not required and pinned is None:
        images = [text_of(place / "Dockerfile") or "" for place in dict.fromkeys([root, folder])]
        pinned = next((int(match[1]) for text in images if (match := _FROM.search(text))), sys.version_info.minor)
        required = ">=3.10"
    minors = [minor for minor in range(8, NEWEST_MINOR + 1) if _some_patch_in(specifiers(required), minor)]
    return tuple(dict.fromkeys([pinned, *minors] if pinned else minors))


def _required_python(project: Mapping[str, Any]) -> str:
    poetry = table_at(project, "tool", "poetry", "dependencies").get("python")
    text = table_at(project, "project").get("requires-python") or poetry
    return text if isinstance(text, str) else ""


def _some_patch_in(allowed: "SpecifierSet", minor: int) -> bool:
    return any(f"3.{minor}.{patch}" in allowed for patch in range(30))


def specifiers(text: str) -> "SpecifierSet":
    """Return version specifiers, including Poetry's caret and tilde; empty if they cannot be parsed."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    parts = [part.strip() for part in text.split(",") if part.strip() not in ("", "*")]
    try:
        return SpecifierSet(",".join(filter(None, map(_plain_specifier, parts))))
    except InvalidSpecifier:
        return SpecifierSet()


def _plain_specifier(part: str) -> str:
    if part.startswith("^"):
        return f">={part[1:]},<{int(part[1:].split('.')[0]) + 1}" if part[1:2].isdigit() else ""
    if part.startswith("~") and not part.startswith("~="):
        return f"~={part[1:]}.0" if part.count(".") == 1 else f"~={part[1:]}"
    return f"=={part}" if re.fullmatch(r"[\d.]+(\.\*)?", part) else part


def interpreters(search: tuple[Path, ...] | None = None) -> dict[int, Path]:
    """Return the interpreters of this machine by minor version: those on PATH, and those that uv and pyenv installed.

    Leaves out the shims of pyenv and asdf: a shim can exist for a version that its folder does not allow.
    """
    if search is None:
        home = Path.home()
        managed = (home / ".local/share/uv/python", home / ".pyenv/versions")
        installed = [each / "bin" for place in managed if place.is_dir() for each in sorted(place.iterdir())]
        search = (*map(Path, filter(None, os.environ.get("PATH", "").split(":"))), *installed)
    found: dict[int, Path] = {}
    for place in (each for each in search if each.name != "shims"):
        for minor in range(8, NEWEST_MINOR + 1):
            path = place / f"python3.{minor}"
            if minor not in found and os.access(path, os.X_OK):
                found[minor] = path
    return found


def interpreter(root: Path, folder: Path, search: tuple[Path, ...] | None = None) -> Path | None:
    """Return the interpreter of the first allowed minor version that this machine has, None if it has none of them."""
    present = interpreters(search)
    return next((present[minor] for minor in allowed_minors(root, folder) if minor in present), None)


def python_command(root: Path, folder: Path) -> str:
    """Return the command of the interpreter for a new environment: a name on PATH, else a path."""
    found = interpreter(root, folder)
    if found is None:
        return "python3"
    return found.name if shutil.which(found.name) == str(found) else shlex.quote(str(found))
