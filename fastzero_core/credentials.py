"""The credentials with which the app connects to its database. They can be rotated while the app runs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .files import read_text
from .postgres.roles import APP, OWNER
from .postgres.url import parse
from .project import PASSWORDS, database_url, mounted_secret, project_of

if TYPE_CHECKING:
    from .settings import Settings

ReadPasswords = Callable[[], Sequence[str]]


def app_url(settings: "Settings") -> str:
    """Return the database URL for serving: with split roles, the one of the app's own role."""
    if settings.database_url is not None or not settings.split_roles:
        return database_url(settings)
    return project_of(settings).app_url()


def app_passwords(settings: "Settings") -> ReadPasswords | None:
    """Return a function that reads the app's passwords, of which one is valid.

    None if they are not in a file of fastzero. There is a second one while the password is rotated in a swarm, whose
    tasks do not see changes of their secrets.
    """
    if settings.database_url is None:
        project, name = project_of(settings), PASSWORDS[APP if settings.split_roles else OWNER]
        return lambda: [project.secret(name)]
    mounted = mounted_secret("database_url", settings.database_url.get_secret_value())
    if mounted is None:
        return None
    return lambda: [parse(url).get("password", "") for url in read_text(mounted).strip().split("\n")]
