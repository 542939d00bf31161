"""What the app logs in to its database with, which may be rotated while it runs."""

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
    """Return the URL of the app while it serves: it has a role of its own where the roles are split."""
    if settings.database_url is not None or not settings.split_roles:
        return database_url(settings)
    return project_of(settings).app_url()


def app_password(settings: "Settings") -> ReadPassword | None:
    """Return what reads the password that the app logs in with; None where no file of fastzero's has it."""
    if settings.database_url is None:
        project, name = project_of(settings), PASSWORDS[APP if settings.split_roles else OWNER]
        return lambda: project.secret(name)
    mounted = mounted_secret("database_url", settings.database_url.get_secret_value())
    return (lambda: parse(read_text(mounted).strip()).get("password", "")) if mounted else None
