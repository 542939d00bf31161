"""A project's state folder: its record, its secrets, its lock. What it holds is written whole or not at all.

<home>/locks/<project>.lock
<home>/projects/<project>/project.json    runtime, ports, where the data is
                          secrets/        0600 files in a folder only the owner may enter
                          logs/           one file a service and stream
                          processes/      one record a local process
                          data/           the embedded database, unless it has to lie elsewhere
                          .fastzero       the mark: what bears none was not made here, and is not deleted
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from . import __version__, folders, marks
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
    path_as_text,
    path_from_text,
    read_text,
    reading,
    write_atomically,
    writing,
)
from .postgres.url import database_url as make_url

if TYPE_CHECKING:
    from .settings import Settings

FORMAT = 2  # of the record
RECORD = "project.json"
RUNTIMES = ("embedded", "docker")
OF_ANOTHER_USER = "It belongs to the user who ran `fastzero up` first"
DATABASE_PORT = 5432  # inside a network of its own
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

    @property
    def name(self) -> str:
        """What it is called in commands: the volume, or the last part of the data directory."""
        return self.volume or Path(self.data).name

    def __str__(self) -> str:
        where = f"volume {self.volume} of {self.image}" if self.volume else f"data directory {self.data}"
        return f"{where} with database {', '.join(self.others)}" if self.others else where


@dataclass(frozen=True)
class ProjectRecord:
    """What the first `up` decided, and later ones keep; which processes run, each decides anew.

    `data`, `image` and `volume` are the place of the database; `image` is what served it last. `filling` is where a
    move is taking it, and what is there belongs to nobody yet; `leaving` is where it was moved from and what served it
    there may not be taken away yet. `kept` are the places that it was moved from, the latest last: their data is as it
    was. `owner` is what everything of this project on an engine is labelled with.
    """

    runtime: str
    ports: dict[str, int] = field(default_factory=dict)
    data: str = ""
    initialised: bool = False  # whether the database has ever been ready
    processes: tuple[str, ...] = ("app",)
    image: str = ""
    volume: str = ""
    filling: Place | None = None
    leaving: Place | None = None
    kept: tuple[Place, ...] = ()
    owner: str = ""

    @property
    def place(self) -> Place:
        """Where the database is."""
        return Place(self.runtime, image=self.image, volume=self.volume, data=self.data)

    def at(self, place: Place) -> Self:
        """The same with the database at another place."""
        return replace(self, runtime=place.runtime, image=place.image, volume=place.volume, data=place.data)

    def moved(self, before: Place, after: Place, kept: tuple[Place, ...]) -> Self:
        """The same with the database at another place, and the one before kept."""
        leaving = before if before.runtime != after.runtime else None
        return replace(self.at(after), filling=None, leaving=leaving, kept=(*kept, before))

    def as_text(self) -> str:
        """The file's text."""
        written = {"format": FORMAT, "written_by": __version__, **asdict(self)}
        for each in _places(written):
            each["data"] = path_as_text(each["data"])
        return json.dumps(written, indent=2) + "\n"


def parse_record(text: str, path: Path, *, owner: str = "") -> ProjectRecord:
    """A record from its file's text; `owner` is for one that was written before records had any.

    Raises RecordError for one that is damaged, or of a format that this version does not know.
    """
    try:
        written = json.loads(text)
        made_by = written.pop("written_by", "an older version")
        version = written.pop("format", 1)
        if version > FORMAT:
            raise RecordError(
                f"{path} was written by fastzero {made_by}, which this version does not understand",
                hint=f"Use fastzero {made_by} or newer for this project",
            )
        return _record(_upgraded(written, owner) if version < FORMAT else written)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path} is damaged: {error}") from None


def _upgraded(written: dict[str, Any], owner: str) -> dict[str, Any]:
    """A record of format 1, which knew of one process and had no owner."""
    processes = ["app"] if written.pop("app", True) else []
    return {**written, "processes": processes, "owner": owner}


def _places(written: dict[str, Any]) -> list[dict[str, Any]]:
    """Whatever of a written record has a data directory: itself and its other places."""
    others = [written.get("filling"), written.get("leaving"), *written.get("kept", ())]
    return [each for each in (written, *others) if each]


def _record(written: dict[str, Any]) -> ProjectRecord:
    for each in _places(written):
        each["data"] = path_from_text(each.get("data", ""))
    if written["runtime"] not in RUNTIMES:
        raise ValueError(f"runtime {written['runtime']!r} is not one of {', '.join(RUNTIMES)}")
    ports = {str(service): int(port) for service, port in written.get("ports", {}).items()}
    return ProjectRecord(
        **{
            **written,
            "ports": ports,
            "processes": tuple(written.get("processes", ("app",))),
            "filling": _place(written.get("filling")),
            "leaving": _place(written.get("leaving")),
            "kept": tuple(place for each in written.get("kept", ()) if (place := _place(each))),
        }
    )


def _place(written: dict[str, Any] | None) -> Place | None:
    return Place(**{**written, "others": tuple(written.get("others", ()))}) if written else None


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
        if not (self.folder / RECORD).exists():
            marks.refuse_strangers(self.folder)
        self._write(self.folder / RECORD, record.as_text())

    def _write(self, path: Path, text: str) -> None:
        make_folder(self.folder, 0o711)
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

    def file_for_compose(self, name: str) -> Path:
        """A copy of a secret for Docker Compose: its reader is another user, so the folder guards it, not its mode."""
        value = self.secret_inside(name)
        path = self.folder / "container-secrets" / name
        make_folder(path.parent, 0o700)
        if self._text(path) != value:
            write_atomically(path, value)
            path.chmod(0o444)
        return path

    def secret_inside(self, name: str) -> str:
        """A secret as a container has it; `database_url` is the database's URL inside the project's network."""
        if name == "database_url":
            return url(self.secret("database_password"), DATABASE_PORT, host="database")
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

    def database_url(self) -> str:
        """The URL of this project's database, password included. Raises ProjectNotFoundError before the first `up`."""
        record = self.record
        if record is None or "database" not in record.ports:
            raise ProjectNotFoundError(f"project {self.name} has no stack yet")
        return url(self.secret("database_password"), record.ports["database"])


def url(password: str, port: int, *, host: str = HOST) -> str:
    """The URL of the database of a stack."""
    return make_url(ROLE, password, host, port, DATABASE)


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


def secret_key_file(settings: "Settings") -> Path | None:
    """The file that `secret_key` is read from; None where the environment or a flag gives it."""
    from .settings import SECRETS_FOLDER

    if settings.secret_key is None:
        return project_of(settings).secret_file("secret_key")
    mounted = SECRETS_FOLDER / "secret_key"
    with suppress(OSError, ValueError):
        if mounted.read_text(encoding="utf-8").strip() == settings.secret_key.get_secret_value():
            return mounted
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
