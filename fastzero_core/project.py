"""A project's state folder: its record, its secrets, its lock. What it holds is written whole or not at all.

<home>/locks/<project>.lock
<home>/projects/<project>/project.json    runtime, ports, where the data is
                          secrets/        0600 files in a folder only the owner may enter
                          logs/           one file a service and stream
                          processes/      one record a local process
                          data/           the embedded database, unless it has to lie elsewhere
                          .fastzero       the mark: what bears none was not made here, and is not deleted
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from . import folders, marks
from .errors import (
    FastZeroError,
    InvalidInputError,
    LockedError,
    ProjectNotFoundError,
    RecordError,
)
from .events import Listener, Notice, ignore
from .files import (
    HOME,
    Hints,
    make_folder,
    open_append,
    read_text,
    reading,
    write_atomically,
    writing,
)
from .postgres.roles import APP, OWNER, SUPERUSER
from .postgres.url import database_url as make_url
from .record import FORMAT as FORMAT
from .record import ROLES as ROLES
from .record import ROLES_OF_BEFORE as ROLES_OF_BEFORE
from .record import RUNTIMES as RUNTIMES
from .record import Place as Place
from .record import ProjectRecord as ProjectRecord
from .record import parse_record as parse_record

if TYPE_CHECKING:
    from .settings import Settings

RECORD = "project.json"
OF_ANOTHER_USER = "It belongs to the user who ran `fastzero up` first"
DATABASE_PORT = 5432  # inside a network of its own
HOST = "127.0.0.1"
ROLE = OWNER
DATABASE = "fastzero"
AUTHENTICATION = "scram-sha-256"  # by it a server proves that it knows the password too
PASSWORDS = {SUPERUSER: "superuser_password", OWNER: "database_password", APP: "app_password"}
SECRETS = (*PASSWORDS.values(), "secret_key")
LOCK_NOTICE = 0.5  # seconds of waiting before it is worth a word


class Project:
    """One project's folder under `home`. Making one touches nothing."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.folder = home / "projects" / name

    @property
    def record(self) -> ProjectRecord | None:
        """What was decided, read from the file; None before the first `up`. Raises RecordError."""
        path = self.folder / RECORD
        text = self._text(path)
        return None if text is None else parse_record(text, path, owner=self._text(self.folder / "volume-owner") or "")

    @property
    def archive(self) -> Path:
        """The folder of the dump that a move copies the database through."""
        return self.folder / "moving"

    def new_archive(self) -> Path:
        """Make that folder."""
        make_folder(self.archive, 0o700)
        folders.write_mark(self.archive, "a dump that a move makes\n")
        return self.archive

    def remove_archive(self) -> None:
        """Remove it, if it is marked as one."""
        with writing(self.archive, HOME):
            if folders.mark_of(self.archive):
                folders.remove(self.archive)

    def save(self, record: ProjectRecord) -> None:
        """Write the record. It is whole, or as it was. Raises ConflictError where its folder is of something else."""
        with writing(self.folder, HOME):
            if not (self.folder / RECORD).exists():
                marks.refuse_strangers(self.folder)
        self._write(self.folder / RECORD, record.as_text())

    def _write(self, path: Path, text: str) -> None:
        make_folder(self.folder, 0o711)
        with writing(self.folder, HOME):
            if marks.can_be_given(self.folder):
                marks.give(self.folder, self.name)
        write_atomically(path, text)

    def forget(self) -> None:
        """Remove the record and the mark: no `up` has been."""
        for name in (RECORD, folders.MARK):
            (self.folder / name).unlink(missing_ok=True)

    def _text(self, path: Path) -> str | None:
        """What a file of the folder says, None if it is not there. Raises RecordError for what is no text."""
        try:
            return read_text(path, denied=OF_ANOTHER_USER, own=True)
        except FileNotFoundError:
            return None
        except InvalidInputError as error:
            raise RecordError(error.message) from None

    def has_secret(self, name: str) -> bool:
        return self.secret_file(name).exists()

    def secret(self, name: str) -> str:
        """A secret of this project. Raises ProjectNotFoundError if it is not there."""
        path = self.secret_file(name)
        secret = self._text(path)
        if secret is None:
            raise ProjectNotFoundError(f"project {self.name} has no secret {name}", hint=f"It should be in {path}")
        return secret

    def ensure_secret(self, name: str) -> None:
        """Generate the secret unless it is there."""
        path = self.secret_file(name)
        if not path.exists():
            make_folder(path.parent, 0o700)
            self._write(path, secrets.token_urlsafe(32))

    def replace_secret(self, name: str, value: str) -> None:
        """Give a secret another value. The file is whole, or as it was."""
        self._write(self.secret_file(name), value)

    @property
    def current_user(self) -> str | None:
        """Whom `fastzero user use` chose."""
        return (self._text(self.folder / "user") or "").strip() or None

    @current_user.setter
    def current_user(self, username: str | None) -> None:
        self._write(self.folder / "user", f"{username or ''}\n")

    def remove(self) -> bool:
        """Delete the folder with all that is in it if it has a mark, else the record alone. Returns whether it did."""
        with writing(self.folder, HOME):
            if folders.mark_of(self.folder):
                folders.remove(self.folder)
            else:
                self.forget()
        return not self.folder.exists()

    def file_for_compose(self, name: str, content: str) -> Path:
        """A file for Docker Compose: its reader is another user, so the folder guards it, not its mode."""
        path = self.folder / "container-secrets" / name
        make_folder(path.parent, 0o700)
        if self._text(path) != content:
            write_atomically(path, content)
            path.chmod(0o444)
        return path

    def secret_inside(self, name: str, role: str) -> str:
        """A secret as a container has it; `database_url` is the URL for `role` inside the project's network."""
        if name == "database_url":
            return self.url(role, DATABASE_PORT, host="database")
        return self.secret(name)

    def secret_file(self, name: str) -> Path:
        """Where a secret of this project is kept."""
        return self.folder / "secrets" / name

    @contextmanager
    def lock(self, timeout: float, on_event: Listener = ignore) -> Iterator[None]:
        """Hold the project for one command; the lock dies with its holder. Raises LockedError after `timeout` s."""
        from filelock import FileLock, Timeout

        path = self.home / "locks" / f"{self.name}.lock"
        make_folder(path.parent, 0o755)
        with writing(path, HOME), open_append(path, 0o666):
            pass
        lock = FileLock(path, poll_interval=0.05)
        try:
            lock.acquire(timeout=min(LOCK_NOTICE, timeout))
        except Timeout:
            on_event(Notice(f"another fastzero command is at work on project {self.name}; waiting for it to end"))
            try:
                lock.acquire(timeout=timeout)
            except Timeout:
                raise LockedError(f"another fastzero command is at work on project {self.name}") from None
        try:
            yield
        finally:
            lock.release()

    def url(self, role: str, port: int, *, host: str = HOST) -> str:
        """Return the URL of the database for one of the stack's roles.

        No other program on that port is told the password. Raises ProjectNotFoundError without the role's secret.
        """
        return make_url(role, self.secret(PASSWORDS[role]), host, port, DATABASE, require_auth=AUTHENTICATION)

    def passwords(self) -> dict[str, str]:
        """Return the password of each role that the stack may have."""
        return {role: self.secret(name) for role, name in PASSWORDS.items()}

    def database_url(self) -> str:
        """The URL of this project's database, password included. Raises ProjectNotFoundError before the first `up`."""
        return self.url(OWNER, self._port())

    def superuser_url(self) -> str:
        """Return the same for the server's superuser, for what no owner of a database may do.

        Raises ProjectNotFoundError before the first `up`.
        """
        record = self.record
        return self.url(record.roles[0] if record else SUPERUSER, self._port())

    def app_url(self) -> str:
        """Return the same for the app where the roles are split. Raises ProjectNotFoundError before the first `up`."""
        return self.url(APP, self._port())

    def _port(self) -> int:
        record = self.record
        if record is None or "database" not in record.ports:
            error = not_there(self)
            error.hint += ". Or use another database: DATABASE_URL"
            raise error
        return record.ports["database"]


def not_there(project: Project) -> ProjectNotFoundError:
    """The error of a project that has had no `up`, or was destroyed: its hint names the nearest that there is."""
    from difflib import get_close_matches

    try:
        names = [other.name for other in projects(project.home)]
    except FastZeroError:  # of the home, which is not what was asked for
        names = []
    error = ProjectNotFoundError(f"project {project.name} has no stack yet")
    for name in get_close_matches(project.name, names, 1):
        error.hint = f"Did you mean -p {name}? {error.hint}"
    return error


def refuse_unknown(settings: "Settings") -> None:
    """Raise ProjectNotFoundError unless the project has had an `up`."""
    if project_of(settings).record is None:
        raise not_there(project_of(settings))


def project_of(settings: "Settings") -> Project:
    return Project(settings.project, settings.home)


def refuse_another_application(settings: "Settings") -> None:
    """Raise InvalidInputError where users and todos are asked for and the project runs another application."""
    if settings.database_url is not None:
        return
    record = project_of(settings).record
    if record and record.application:
        raise InvalidInputError(
            f"project {settings.project} runs your own application: users and todos belong to the built-in one",
            field="project",
            hint="Work in that application: fastzero run -- COMMAND. Or choose a project of the built-in one: -p NAME",
        )


def database_url(settings: "Settings") -> str:
    """The database that the settings name: DATABASE_URL, else that of the project's stack."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return project_of(settings).database_url()


def secret_key(settings: "Settings") -> str:
    """The key that tokens are signed with: SECRET_KEY, else the project's. Raises InvalidInputError without one."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    project = project_of(settings)
    if project.record is None:
        raise InvalidInputError(
            "there is no SECRET_KEY to sign tokens with",
            field="secret_key",
            hint="Set SECRET_KEY to 32 random bytes or more, or start the project, which makes one: fastzero up",
        )
    return project.secret("secret_key")


def secret_key_file(settings: "Settings") -> Path | None:
    """The file that `secret_key` is read from; None where the environment or a flag gives it."""
    if settings.secret_key is None:
        return project_of(settings).secret_file("secret_key")
    return mounted_secret("secret_key", settings.secret_key.get_secret_value())


def mounted_secret(name: str, value: str) -> Path | None:
    """Return the file of a container that has this secret, None where it has another or none."""
    from .settings import SECRETS_FOLDER

    mounted = SECRETS_FOLDER / name
    with suppress(OSError, ValueError):
        return mounted if mounted.read_text(encoding="utf-8").strip() == value else None
    return None


def projects(home: Path) -> list[Project]:
    """Every project under `home` that has had an `up`, by name, also where its record cannot be read."""
    folder = home / "projects"
    folders.refuse_weak(home)
    with reading(folder, Hints(OF_ANOTHER_USER, HOME.full, HOME.other)):
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        return [Project(path.name, home) for path in there if (path / RECORD).exists()]


def ports_of_others(project: Project) -> frozenset[int]:
    """The ports that the other projects of the same home keep. One that cannot be read keeps none."""
    taken: set[int] = set()
    for other in projects(project.home):
        with suppress(FastZeroError):
            record = other.record if other.name != project.name else None
            taken |= set(record.ports.values()) if record else set()
    return frozenset(taken)
