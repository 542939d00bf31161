"""The secrets of a local process: in its environment, and in files that only this user can read."""

from ...files import make_folder, read_text, write_atomically
from ...project import Project
from ..spec import CREDENTIALS, ServiceSpec, with_secrets

FOLDER = "credentials"  # in the project's folder


def secret_values(project: Project, service: ServiceSpec) -> dict[str, str]:
    """Return the secret variables of a process, by name."""
    return {name: with_secrets(text, project.secret) for name, text in service.secret_variables.items()}


def handed_over(project: Project, service: ServiceSpec) -> dict[str, str]:
    """Write each secret variable to a file. Returns the variable that names their folder, or {} if there are none."""
    values = secret_values(project, service)
    if not values:
        return {}
    folder = project.folder / FOLDER / (service.name or "command")
    make_folder(folder.parent, 0o700)
    for name, value in values.items():
        path = folder / name
        if not path.exists() or read_text(path, own=True) != value:
            write_atomically(path, value)
    return {CREDENTIALS: str(folder)}
