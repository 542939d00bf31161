"""The record of a project: what its first `up` decided, and its file format."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from . import __version__
from .errors import RecordError
from .files import path_as_text, path_from_text
from .postgres.roles import OWNER, SUPERUSER

if TYPE_CHECKING:
    from .archive.description import Archive

FORMAT = 6  # of the record
FORMAT_WITHOUT_STANDBYS = 5
FORMAT_WITHOUT_SWARM = 4
FORMAT_OF_BEFORE = 3  # of a record without an archive, whose containers run on this machine's engine
FORMAT_OF_ONE_ROLE = 2  # of a record whose databases all have the single role of older versions
RUNTIMES = ("embedded", "docker", "swarm")
ROLES = (SUPERUSER, OWNER)
ROLES_OF_BEFORE = (OWNER,)  # of older versions: the superuser is the owner


@dataclass(frozen=True)
class Place:
    """The location of a database: a volume and the image that serves it, or the data directory of a local process.

    `roles` are the known roles of the stack on that server, the superuser first. `others` are the user's own databases,
    which stayed there when fastzero's was moved. `members` are the nodes with its servers if it has standbys: each
    server has a volume whose name begins with `volume`.
    """

    runtime: str
    image: str = ""
    volume: str = ""
    data: str = ""
    others: tuple[str, ...] = ()
    roles: tuple[str, ...] = ROLES
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name for commands: the volume, or the last part of the data directory."""
        return self.volume or Path(self.data).name

    def __str__(self) -> str:
        volumes = ", ".join(f"{self.volume}-{number}" for number, _ in enumerate(self.members, 1))
        where = f"volume {self.volume} of {self.image}" if self.volume else f"data directory {self.data}"
        where = f"volumes {volumes} of {self.image}" if self.members else where
        return f"{where} with database {', '.join(self.others)}" if self.others else where


@dataclass(frozen=True)
class ProjectRecord:
    """What the first `up` decided. Later ones keep it, except `processes`, which each `up` sets again.

    `application` is the folder whose `fastzero.toml` describes the application; "" for the built-in one. `data`,
    `image` and `volume` are the location of the database; `image` is the one that served it last. `filling` is the
    target of a move that is not complete: its data is not in service. `leaving` is the source of the last move if what
    served the database there may still have to be removed. `kept` are the locations before earlier moves, the latest
    last, with their data unchanged. `owner` is the label of all objects of this project on an engine. `host` is the
    machine of the engine, `ssh://…`; "" for this one. `archive` is where its write-ahead log and base backups go.
    `node` is the node of a swarm whose disk has the data, and `replicas` are the numbers that `scale` chose, by
    service. `members` are the nodes with the servers of a database with standbys, by their number; empty without.
    """

    runtime: str
    ports: dict[str, int] = field(default_factory=dict)
    data: str = ""
    initialised: bool = False  # whether the database has ever been ready
    processes: tuple[str, ...] = ("app",)
    application: str = ""
    image: str = ""
    volume: str = ""
    filling: Place | None = None
    leaving: Place | None = None
    kept: tuple[Place, ...] = ()
    owner: str = ""
    roles: tuple[str, ...] = ROLES
    host: str = ""
    archive: "Archive | None" = None
    node: str = ""
    replicas: dict[str, int] = field(default_factory=dict)
    members: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """The location of the database."""
        return Place(
            self.runtime,
            image=self.image,
            volume=self.volume,
            data=self.data,
            roles=self.roles,
            members=self.members,
        )

    def at(self, place: Place) -> Self:
        """Return a copy with the database at another location."""
        return replace(
            self,
            runtime=place.runtime,
            image=place.image,
            volume=place.volume,
            data=place.data,
            roles=place.roles,
            members=place.members,
        )

    def moved(self, before: Place, after: Place, kept: tuple[Place, ...]) -> Self:
        """Return a copy with the database at `after`, and `before` added to the kept locations."""
        is_served_alike = (before.runtime, bool(before.members)) == (after.runtime, bool(after.members))
        leaving = None if is_served_alike else before
        return replace(self.at(after), filling=None, leaving=leaving, kept=(*kept, before))

    def as_text(self) -> str:
        """Return the text of the record's file."""
        written = {"format": FORMAT, "written_by": __version__, **asdict(self)}
        places = _places(written)
        for each in places:
            each["data"] = path_as_text(each["data"])
        written["application"] = path_as_text(self.application)
        # Older versions know none of these.
        if not any(each["members"] for each in places):
            written["format"] = FORMAT_WITHOUT_STANDBYS
        for each in places:
            if not each["members"]:
                del each["members"]
        if self.runtime != "swarm":
            del written["node"], written["replicas"]
            written["format"] = FORMAT_WITHOUT_SWARM
        if not self.host:
            del written["host"]
        if self.archive is None:
            del written["archive"]
        is_as_before = self.runtime != "swarm" and not self.host and self.archive is None
        if is_as_before:
            written["format"] = FORMAT_OF_BEFORE
        if is_as_before and all(each["roles"] == ROLES_OF_BEFORE for each in places):
            del written["application"]  # older versions know only the built-in one
            written["format"] = FORMAT_OF_ONE_ROLE
            for each in places:
                del each["roles"]
        return json.dumps(written, indent=2) + "\n"


def parse_record(text: str, path: Path, *, owner: Callable[[], str] = str) -> ProjectRecord:
    """Parse a record. `owner` returns the owner for a record of format 1, which has none.

    Raises RecordError if it is damaged or has a newer format.
    """
    try:
        written = json.loads(text)
        made_by = written.pop("written_by", "an older version")
        version = written.pop("format", 1)
        if version > FORMAT:
            raise RecordError(
                f"{path} was written by fastzero {made_by}; this version cannot read it",
                hint=f"Use fastzero {made_by} or newer for this project",
            )
        return _record(_upgraded(written, version, owner))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path} is damaged: {error}") from None


def _upgraded(written: dict[str, Any], version: int, owner: Callable[[], str]) -> dict[str, Any]:
    """Convert a record of format 1, with one process and no owner, or of format 2, with one role."""
    if version <= FORMAT_OF_ONE_ROLE:
        for each in _places(written):
            each["roles"] = ROLES_OF_BEFORE
    if version > 1:
        return written
    processes = ["app"] if written.pop("app", True) else []
    return {**written, "processes": processes, "owner": owner()}


def _places(written: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a written record that describe a location: the record itself and its other places."""
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
            "application": path_from_text(written.get("application", "")),
            "roles": tuple(written["roles"]),
            "processes": tuple(written.get("processes", ("app",))),
            "members": tuple(written.get("members", ())),
            "filling": _place(written.get("filling")),
            "leaving": _place(written.get("leaving")),
            "archive": _archive_of(written.get("archive")),
            "kept": tuple(place for each in written.get("kept", ()) if (place := _place(each))),
        }
    )


def _place(written: dict[str, Any] | None) -> Place | None:
    if not written:
        return None
    lists = {name: tuple(written.get(name, ())) for name in ("others", "members")}
    return Place(**{**written, **lists, "roles": tuple(written["roles"])})


def _archive_of(written: dict[str, Any] | None) -> "Archive | None":
    if not written:
        return None
    from .archive.description import Archive  # few projects have one

    return Archive(**written)
