"""What an application of the user's own depends on, installed by a tool of its own."""

import os
import subprocess
from pathlib import Path

from ...errors import DependenciesMissingError
from ...events import Listener, Progress

LAST_LINES = 20  # of what the tool said
# Some tools would make the environment of an application elsewhere.
ENVIRONMENT_INSIDE = {
    "POETRY_VIRTUALENVS_IN_PROJECT": "true",
    "PIPENV_VENV_IN_PROJECT": "1",
    "PDM_VENV_IN_PROJECT": "1",
}


def install(folder: Path, command: str, on_event: Listener) -> None:
    """Run what installs an application's dependencies. Raises DependenciesMissingError with its last words."""
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
