"""Generate a Dockerfile for an application without one: install the locked dependencies, then copy the files.

Reads the application's files, and has no side effects. The Dockerfile does not use RUN --mount or heredocs, so that the
engine's own builder can build it too.
"""

import shlex
from os.path import relpath
from pathlib import PurePosixPath

from ..errors import InvalidInputError
from .description import Application
from .installation import Installation, allowed_minors, declared, installation, project_of

IMAGE = "python:3.{}-slim"
PREFERRED_MINOR = 13
USER = "10001:10001"
REQUIREMENTS = "/requirements.txt"
# Without a lock, only the dependencies of pyproject.toml: installing the application itself would leave a copy of it.
_FROM_PROJECT = (
    "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project'];"
    " print(*project.get('dependencies', []), *sum([project['optional-dependencies'][name] for name in {extras}], []),"
    " sep='\\n')"
)


def dockerfile(application: Application) -> str:
    """Return the text of the Dockerfile. Its build context is the application's folder.

    Raises InvalidInputError if no file declares dependencies, or if their lock is outside of the folder.
    """
    found = installation(application.folder, application.root, application.extras, application.groups)
    if found is None:
        raise InvalidInputError(
            f"nothing in {application.folder} says what the application depends on",
            hint="Add a requirements.txt or a pyproject.toml, or a Dockerfile",
        )
    if not found.file.is_relative_to(application.folder):
        raise InvalidInputError(
            f"{found.file} lies out of the folder of fastzero.toml, so that no image can have it",
            hint="Move fastzero.toml there and set directory, or write a Dockerfile and set context",
        )
    files = " ".join(_copied(application, found))
    folder = PurePosixPath("/app", application.directory)
    return f"""\
FROM {_image(application)} AS dependencies
WORKDIR /lock
COPY {files} ./
RUN {_export(application, found)}
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir{_whole(found)} -r {REQUIREMENTS}{_server(application)}

FROM {_image(application)}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
COPY --from=dependencies /venv /venv
COPY . /app
WORKDIR {folder}
USER {USER}
"""


def _image(application: Application) -> str:
    if application.build.image:
        return application.build.image
    allowed = allowed_minors(application.root, application.folder)
    older = [minor for minor in allowed if minor <= PREFERRED_MINOR]
    return IMAGE.format(max(older) if older else min(allowed, default=PREFERRED_MINOR))


def _copied(application: Application, found: Installation) -> list[str]:
    """Return the files that list the dependencies, as quoted paths in the build context."""
    beside = [found.file, found.file.parent / "pyproject.toml", found.file.parent / "Pipfile"]
    lists = sorted(found.file.parent.glob("*.txt")) if found.tool == "requirements" else []
    present = dict.fromkeys(path for path in (*beside, *lists) if path.is_file())
    return [shlex.quote(relpath(path, application.folder)) for path in present]


def _export(application: Application, found: Installation) -> str:
    """Return the command that writes the requirements, with exactly the versions of the lock."""
    extras, groups = application.extras, application.groups
    named = " ".join([*(f"--extra {each}" for each in extras), *(f"--group {each}" for each in groups)])
    match found.tool:
        case "uv" if found.file.name == "uv.lock":
            options = f"--frozen --no-emit-workspace --no-default-groups {named}"
            return f"pip install --no-cache-dir uv && uv export {options} -o {REQUIREMENTS}"
        case "poetry":
            lock = "" if found.file.name == "poetry.lock" else "poetry lock && "
            chosen = " ".join([*(f"--extras {each}" for each in extras), *(f"--with {each}" for each in groups)])
            tools = "poetry poetry-plugin-export"
            return f"pip install --no-cache-dir {tools} && {lock}poetry export {chosen} -o {REQUIREMENTS}"
        case "pdm" if found.file.name == "pdm.lock":
            return f"pip install --no-cache-dir pdm && pdm export --prod -o {REQUIREMENTS}"
        case "pipenv":
            return f"pip install --no-cache-dir pipenv && pipenv requirements > {REQUIREMENTS}"
        case "requirements":
            return f"cp ./*.txt / && cp {found.file.name} {REQUIREMENTS}"
    return f'python -c "{_FROM_PROJECT.format(extras=list(extras))}" > {REQUIREMENTS}'


def _whole(found: Installation) -> str:
    """Return the option of pip for a list from a lock, which is complete: with hashes, pip accepts nothing else."""
    return " --no-deps" if found.file.name in ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock") else ""


def _server(application: Application) -> str:
    """Return the command that installs the servers that processes run and the project's own dependencies lack.

    It is a second command, since a list with hashes accepts no package without them.
    """
    names = declared(project_of(application.root))
    used = [
        name for name in ("uvicorn", "gunicorn") if any(f"-m {name} " in each.command for each in application.processes)
    ]
    lacking = [name for name in used if names and names.get(name, "dev") and not _has_standard(names)]
    return f" \\\n && /venv/bin/pip install --no-cache-dir {' '.join(lacking)}" if lacking else ""


def _has_standard(names: dict[str, str]) -> bool:
    """Return whether an extra of FastAPI installs uvicorn."""
    return any(names.get(f"fastapi[{extra}]") == "" for extra in ("standard", "all"))
