"""The state folder of a project: its record, secrets and lock. Its files are written atomically.

<home>/locks/<project>.lock
<home>/projects/<project>/project.json    runtime, ports, location of the data
                          secrets/        files with mode 0600, in a folder that only the owner may enter
                          logs/           one file per service and stream
                          processes/      one record per local process
                          data/           the embedded database, unless it has to be elsewhere
                          .fastzero       the mark: a folder without one is never deleted
"""

import secrets
from collections.abc import Iterator, Mapping
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
    take_lock,
    write_atomically,
    writing,
)
from .postgres.roles import APP, OWNER, REPLICATION, REPLICATION_PASSWORD, SUPERUSER
from .postgres.url import database_url as make_url
from .postgres.url import parse, render
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
DATABASE_PORT = 5432  # in the project's own network
HOST = "127.0.0.1"
ROLE = OWNER
DATABASE = "fastzero"
AUTHENTICATION = "scram-sha-256"  # with it the server, too, proves that it knows the password
PASSWORDS = {SUPERUSER: "superuser_password", OWNER: "database_password", APP: "app_password"}
SECRETS = (*PASSWORDS.values(), "secret_key")
LOCK_NOTICE = 0.5  # seconds of waiting before the user is told


class Project:
    """The folder of one project under `home`. Creating the object does not access the disk."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.folder = home / "projects" / name

    @property
    def record(self) -> ProjectRecord | None:
        """The record, read from its file; None before the first `up`. Raises RecordError."""
        path = self.folder / RECORD
        text = self._text(path)
        return None if text is None else parse_record(text, path, owner=self._owner_of_before)

    @property
    def archive(self) -> Path:
        """The folder for the dump that a move makes of the database."""
        return self.folder / "moving"

    def new_archive(self) -> Path:
        """Create that folder."""
        make_folder(self.archive, 0o700)
        folders.write_mark(self.archive, "a dump that a move makes\n")
        return self.archive

    def remove_archive(self) -> None:
        """Delete that folder if it has a mark."""
        with writing(self.archive, HOME):
            if folders.mark_of(self.archive):
                folders.remove(self.archive)

    def save(self, record: ProjectRecord) -> None:
        """Write the record atomically. Raises ConflictError if fastzero did not create the folder."""
        with writing(self.folder, HOME):
            if not (self.folder / RECORD).exists():
                marks.refuse_foreign_files(self.folder)
        self._write(self.folder / RECORD, record.as_text())

    def _write(self, path: Path, text: str) -> None:
        make_folder(self.folder, 0o711)
        with writing(self.folder, HOME):
            if marks.can_be_given(self.folder):
                marks.give(self.folder, self.name)
        write_atomically(path, text)

    def forget(self) -> None:
        """Delete the record and the mark, as if `up` had never run."""
        for name in (RECORD, folders.MARK):
            (self.folder / name).unlink(missing_ok=True)

    def _text(self, path: Path) -> str | None:
        """Return the text of a file; None if it does not exist. Raises RecordError if it cannot be read as text."""
        try:
            return read_text(path, denied=OF_ANOTHER_USER, own=True)
        except FileNotFoundError:
            return None
        except InvalidInputError as error:
            raise RecordError(error.message) from None

    def _owner_of_before(self) -> str:
        return self._text(self.folder / "volume-owner") or ""

    def has_secret(self, name: str) -> bool:
        return self.secret_file(name).exists()

    def secret(self, name: str) -> str:
        """Return a secret of this project. Raises ProjectNotFoundError if it does not exist."""
        path = self.secret_file(name)
        secret = self._text(path)
        if secret is None:
            raise ProjectNotFoundError(f"project {self.name} has no secret {name}", hint=f"It should be in {path}")
        return secret

    def ensure_secret(self, name: str) -> None:
        """Generate the secret unless it exists."""
        path = self.secret_file(name)
        if not path.exists():
            make_folder(path.parent, 0o700)
            self._write(path, secrets.token_urlsafe(32))

    def replace_secret(self, name: str, value: str) -> None:
        """Change the value of a secret, atomically."""
        self._write(self.secret_file(name), value)

    def remove_secret(self, name: str) -> None:
        """Delete a secret if it exists."""
        with writing(self.secret_file(name), HOME):
            self.secret_file(name).unlink(missing_ok=True)

    @property
    def current_user(self) -> str | None:
        """The default user, as set by `fastzero user use`."""
        return (self._text(self.folder / "user") or "").strip() or None

    @current_user.setter
    def current_user(self, username: str | None) -> None:
        self._write(self.folder / "user", f"{username or ''}\n")

    def remove(self) -> bool:
        """Delete the folder if it has a mark, otherwise only the record. Return whether the folder is gone."""
        with writing(self.folder, HOME):
            if folders.mark_of(self.folder):
                folders.remove(self.folder)
            else:
                self.forget()
        return not self.folder.exists()

    def file_for_compose(self, name: str, content: str) -> Path:
        """Write a file for Docker Compose. A container's user reads it, so the folder protects it, not its mode."""
        path = self.folder / "container-secrets" / name
        make_folder(path.parent, 0o700)
        if self._text(path) != content:
            write_atomically(path, content)
            path.chmod(0o444)
        return path

    def secret_inside(self, name: str, role: str, at: Mapping[str, str] | None = None, *, both: bool = False) -> str:
        """Return a secret for a container; `database_url` is the URL for `role` in the project's network.

        `at` are the options of the URL by which a database with standbys is reached. With `both`, a second
        line has the URL with the role's next password while it is rotated.
        """
        if name != "database_url":
            return self.secret(name)
        url = self.url(role, DATABASE_PORT, host="database")
        url = render({**parse(url), **at}) if at else url
        following = next_secret(role)
        if not both or not self.has_secret(following) or self.secret(following) == self.secret(password_name(role)):
            return url
        return f"{url}\n{render({**parse(url), 'password': self.secret(following)})}"

    def secret_file(self, name: str) -> Path:
        """Return the path of a secret."""
        return self.folder / "secrets" / name

    @contextmanager
    def lock(self, timeout: float, on_event: Listener = ignore) -> Iterator[None]:
        """Lock the project for one command. The lock ends with its process. Raises LockedError after `timeout` s."""
        path = self.home / "locks" / f"{self.name}.lock"
        make_folder(path.parent, 0o700)
        with writing(path, HOME):
            path.parent.chmod(0o700)  # who can open the file can take the lock; older versions let every user
            file = open_append(path, 0o600)
        with file:
            if not take_lock(file, min(LOCK_NOTICE, timeout)):
                on_event(Notice(f"another fastzero command is running on project {self.name}; waiting for it to end"))
                if not take_lock(file, timeout):
                    raise LockedError(f"another fastzero command is running on project {self.name}")
            yield

    def url(self, role: str, port: int, *, host: str = HOST) -> str:
        """Return the URL of the database for one of the stack's roles.

        It requires SCRAM, so another program on that port does not get the password. Raises ProjectNotFoundError if the
        role has no secret.
        """
        return make_url(role, self.secret(PASSWORDS[role]), host, port, DATABASE, require_auth=AUTHENTICATION)

    def passwords(self) -> dict[str, str]:
        """Return the password of each role of the stack."""
        return {role: self.secret(name) for role, name in PASSWORDS.items()}

    def database_url(self) -> str:
        """Return the URL of the database for its owner, with password.

        Raises ProjectNotFoundError before the first `up`.
        """
        return self.url(OWNER, self._port())

    def superuser_url(self) -> str:
        """Return the URL for the server's superuser, for what the owner of a database may not do.

        Raises ProjectNotFoundError before the first `up`.
        """
        record = self.record
        return self.url(record.roles[0] if record else SUPERUSER, self._port())

    def app_url(self) -> str:
        """Return the URL for the app's role, for split roles. Raises ProjectNotFoundError before the first `up`."""
        return self.url(APP, self._port())

    def _port(self) -> int:
        record = self.record
        if record is None or "database" not in record.ports:
            error = not_there(self)
            error.hint += ". Or use another database: DATABASE_URL"
            raise error
        if record.host and record.runtime != "embedded":
            from .tunnel import forward_ports

            forward_ports(record.host, [record.ports["database"]])
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
    """Raise InvalidInputError if the project runs the user's own application, which has no users and todos."""
    if settings.database_url is not None:
        return
    record = project_of(settings).record
    if record and record.application:
        raise InvalidInputError(
            f"project {settings.project} runs your own application: users and todos belong to the built-in one",
            field="project",
            hint="Use that application: fastzero run -- COMMAND. Or a project with the built-in one: -p NAME",
        )


def database_url(settings: "Settings") -> str:
    """Return the URL of the database: DATABASE_URL, else that of the project's stack."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return project_of(settings).database_url()


def secret_key(settings: "Settings") -> str:
    """Return the key for signing tokens: SECRET_KEY, else the project's. Raises InvalidInputError without one."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    project = project_of(settings)
    if project.record is None:
        raise InvalidInputError(
            "SECRET_KEY is not set: it is required to sign tokens",
            field="secret_key",
            hint="Set SECRET_KEY to 32 random bytes or more, or start the project, which creates one: fastzero up",
        )
    return project.secret("secret_key")


def secret_key_file(settings: "Settings") -> Path | None:
    """Return the file that contains the secret key; None if it comes from the environment or a flag."""
    if settings.secret_key is None:
        return project_of(settings).secret_file("secret_key")
    return mounted_secret("secret_key", settings.secret_key.get_secret_value())


def password_name(role: str) -> str:
    """Return the name of the secret with the password of a role."""
    return REPLICATION_PASSWORD if role == REPLICATION else PASSWORDS[role]


def next_secret(role: str) -> str:
    """Return the name of the secret with the next password of a role, while it is rotated."""
    return f"{password_name(role)}.next"


def mounted_secret(name: str, value: str) -> Path | None:
    """Return the secret file in this container if it, or its first line, has this value, else None."""
    from .settings import SECRETS_FOLDER

    mounted = SECRETS_FOLDER / name
    with suppress(OSError, FastZeroError):
        text = read_text(mounted).strip()
        return mounted if value in (text, text.partition("\n")[0]) else None
    return None


def projects(home: Path) -> list[Project]:
    """Return every project under `home` that has a record, even one that cannot be read, sorted by name."""
    folder = home / "projects"
    folders.refuse_weak(home)
    with reading(folder, Hints(OF_ANOTHER_USER, HOME.full, HOME.other)):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        return [Project(path.name, home) for path in paths if (path / RECORD).exists()]


def ports_of_others(project: Project) -> frozenset[int]:
    """Return the ports in the records of the home's other projects. Records that cannot be read are skipped."""
    taken: set[int] = set()
    for other in projects(project.home):
        with suppress(FastZeroError):
            record = other.record if other.name != project.name else None
            taken |= set(record.ports.values()) if record else set()
    return frozenset(taken)
