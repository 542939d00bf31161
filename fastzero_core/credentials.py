"""The credentials with which the app connects to its database. They can be rotated while the app runs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .files import read_text
from .postgres.roles import APP, OWNER
from .postgres.url import parse
from .project import PASSWORDS, database_url, mounted_secret, project_of

if TYPE_CHECKING:
    from .settings import Settings

ReadPassword = Callable[[], str]


def app_url(settings: "Settings") -> str:
    """Return the database URL for serving: with split roles, the one of the app's own role."""
    if settings.database_url is not None or not settings.split_roles:
        return database_url(settings)
    return project_of(settings).app_url()


def app_password(settings: "Settings") -> ReadPassword | None:
    """Return a function that reads the app's current password; None if the password is not in a file of fastzero."""
    if settings.database_url is None:
        project, name = project_of(settings), PASSWORDS[APP if settings.split_roles else OWNER]
        return lambda: project.secret(name)
    mounted = mounted_secret("database_url", settings.database_url.get_secret_value())
    return (lambda: parse(read_text(mounted).strip()).get("password", "")) if mounted else None
