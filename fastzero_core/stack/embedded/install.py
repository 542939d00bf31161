"""Install the dependencies of a user's application with its own tool."""

import os
import subprocess
from pathlib import Path

from ...errors import DependenciesMissingError
from ...events import Listener, Progress

LAST_LINES = 20  # of the tool's output
# By default some tools create an application's environment outside its folder.
ENVIRONMENT_INSIDE = {
    "POETRY_VIRTUALENVS_IN_PROJECT": "true",
    "PIPENV_VENV_IN_PROJECT": "1",
    "PDM_VENV_IN_PROJECT": "1",
}


def install(folder: Path, command: str, on_event: Listener) -> None:
    """Run the command that installs an application's dependencies.

    Raises DependenciesMissingError with the last lines of its output.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    environment = {**inherited, **ENVIRONMENT_INSIDE}
    said: list[str] = []
    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            said.append(line.rstrip())
            on_event(Progress(said[-1]))
    if process.returncode:
        evidence = "\n".join(said[-LAST_LINES:])
        raise DependenciesMissingError(f"`{command}` failed with exit code {process.returncode}", evidence=evidence)
