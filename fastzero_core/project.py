"""A project's state folder: its record, its secrets, its lock. What it holds is written whole or not at all.

<home>/locks/<project>.lock
<home>/projects/<project>/project.json    runtime, ports, where the data is
                          secrets/        0600 files in a folder only the owner may enter
                          logs/           one file a service and stream
                          processes/      one record a local process
                          data/           the embedded database, unless it has to lie elsewhere
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .errors import InvalidInputError, LockedError, NotAllowedError, ProjectNotFoundError, UnavailableError
from .events import Listener, Notice, ignore

if TYPE_CHECKING:
    from .settings import Settings

HOST = "127.0.0.1"
ROLE = "fastzero"
DATABASE = "fastzero"
SECRETS = ("database_password", "secret_key")
LOCK_NOTICE = 0.5  # seconds of waiting before it is worth a word


@dataclass(frozen=True)
class Place:
    """Where a database is: a volume and the image that serves it, or the data directory of a local process.

    `others` are databases of the user's own that stayed there when fastzero's moved away.
    """

    runtime: str
    image: str = ""
    volume: str = ""
    data: str = ""
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"volume {self.volume} of {self.image}" if self.volume else f"data directory {self.data}"
        return f"{where} with database {', '.join(self.others)}" if self.others else where


@dataclass(frozen=True)
class ProjectRecord:
    """What the first `up` decided, and later ones keep; whether there is an app, each decides anew.

    `image` is what served the data last, in containers; `volume` is set once it has been moved into one. `filling` is
    where a move is taking it, and what is there belongs to nobody yet. `kept` are the places that it was moved from,
    the latest last: their data is as it was.
    """

    runtime: str
    ports: dict[str, int] = field(default_factory=dict)
    data: str = ""
    initialised: bool = False  # whether the database has ever been ready
    app: bool = True
    image: str = ""
    volume: str = ""
    filling: Place | None = None
    kept: tuple[Place, ...] = ()

    def moved(self, before: Place, after: Place, kept: tuple[Place, ...]) -> "ProjectRecord":
        """The same with the database at another place, and the one before kept."""
        return replace(
            self,
            runtime=after.runtime,
            image=after.image,
            volume=after.volume,
            data=after.data,
            filling=None,
            kept=(*kept, before),
        )


def _place(written: dict[str, Any]) -> Place:
    return Place(**{**written, "others": tuple(written.get("others", ()))})


class Project:
    """One project's folder under `home`. Making one touches nothing."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.folder = home / "projects" / name

    @property
    def record(self) -> ProjectRecord | None:
        """What was decided, or None before the first `up`."""
        try:
            written = json.loads(_read(self.folder / "project.json"))
        except FileNotFoundError:
            return None
        filling = written.get("filling")
        places = {
            "filling": _place(filling) if filling else None,
            "kept": tuple(_place(place) for place in written.get("kept", ())),
        }
        return ProjectRecord(**{**written, **places})

    def save(self, record: ProjectRecord) -> None:
        write_atomically(self.folder / "project.json", json.dumps(asdict(record), indent=2) + "\n")

    def secret(self, name: str) -> str:
        """A secret of this project. Raises ProjectNotFoundError if it is not there."""
        try:
            return _read(self._secret_file(name))
        except FileNotFoundError:
            raise ProjectNotFoundError(
                f"project {self.name} has no secret {name}", hint=f"It should be in {self._secret_file(name)}"
            ) from None

    def ensure_secret(self, name: str) -> None:
        """Generate the secret unless it is there."""
        path = self._secret_file(name)
        if not path.exists():
            make_folder(path.parent, 0o700)
            write_atomically(path, secrets.token_urlsafe(32))

    @property
    def current_user(self) -> str | None:
        """Whom `fastzero user use` chose."""
        try:
            return _read(self.folder / "user").strip() or None
        except FileNotFoundError:
            return None

    @current_user.setter
    def current_user(self, username: str | None) -> None:
        write_atomically(self.folder / "user", f"{username or ''}\n")

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def container_secret(self, name: str) -> Path:
        """A copy of a secret for a container to read: its user is another, so the folder guards it, not its mode.

        `database_url` is the database's URL as it is inside the project's network.
        """
        value = self._url_inside() if name == "database_url" else self.secret(name)
        path = self.folder / "container-secrets" / name
        make_folder(path.parent, 0o700)
        if not path.exists() or path.read_text(encoding="utf-8") != value:
            write_atomically(path, value)
            path.chmod(0o444)
        return path

    def _url_inside(self) -> str:
        return url(self.secret("database_password"), 5432, host="database")

    def _secret_file(self, name: str) -> Path:
        return self.folder / "secrets" / name

    @contextmanager
    def lock(self, timeout: float, on_event: Listener = ignore) -> Iterator[None]:
        """Hold the project for one command; the lock dies with its holder. Raises LockedError after `timeout` s."""
        from filelock import FileLock, Timeout

        path = self.home / "locks" / f"{self.name}.lock"
        make_folder(path.parent, 0o755)
        with _writing(path), path.open("a"):
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

    def database_url(self) -> str:
        """The URL of this project's database, password included. Raises ProjectNotFoundError before the first `up`."""
        record = self.record
        if record is None or "database" not in record.ports:
            raise ProjectNotFoundError(f"project {self.name} has no stack yet")
        return url(self.secret("database_password"), record.ports["database"])


def url(password: str, port: int, *, host: str = HOST) -> str:
    return f"postgresql://{ROLE}:{quote(password, safe='')}@{host}:{port}/{DATABASE}"


def project_of(settings: "Settings") -> Project:
    return Project(settings.project, settings.home)


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


def projects(home: Path) -> list[Project]:
    """Every project under `home` that has had an `up`, by name."""
    folder = home / "projects"
    found = [Project(path.name, home) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return [project for project in found if project.record is not None]


def make_folder(path: Path, mode: int) -> None:
    """The folder with its parents. Those in between may be entered, since PostgreSQL may run as another user."""
    with _writing(path):
        missing = [path, *(parent for parent in path.parents)]
        for folder in reversed([folder for folder in missing if not folder.exists()]):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode if folder == path else 0o711)


def write_atomically(path: Path, text: str) -> None:
    """A 0600 file that has either its old content or the new, also after a crash."""
    make_folder(path.parent, 0o711)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _writing(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise NotAllowedError(
            f"cannot write {path}: {error.strerror}", hint="Set FASTZERO_HOME to a folder of yours"
        ) from error
    except OSError as error:
        raise UnavailableError(
            f"cannot write {path}: {error.strerror}", hint="Free some space, or set FASTZERO_HOME to another folder"
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except PermissionError as error:
        raise NotAllowedError(
            f"cannot read {path}: {error.strerror}", hint="It belongs to the user who ran `fastzero up` first"
        ) from error
