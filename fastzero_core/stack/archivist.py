"""Operate on an archive where its server's programs and data are: in this process, or in a container."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .. import errors
from ..archive.description import ARCHIVER, CREDENTIALS, ERROR, PART, RESULT, STEP, Archive, state_folder
from ..errors import FastZeroError, NotFoundError, ProgramFailedError, UnavailableError, UnhealthyError
from ..events import Listener, Progress
from ..files import read_text
from ..folders import mark_of
from ..postgres.account import service_user
from ..postgres.binaries import Binaries, find_binaries, reachable_by
from ..postgres.url import database_url
from ..project import DATABASE, DATABASE_PORT, PASSWORDS, Place
from . import decide
from .archiver import MODULES, PYTHON, SOCKETS, worker
from .observed import Observed, ServiceState
from .perform import engine_answers
from .pulling import plan_images
from .session import Session
from .spec import ServiceSpec, StackSpec, major_of, with_major
from .status import ServiceStatus

if TYPE_CHECKING:
    from ..archive.operations import Operations
    from ..archive.recovery import RecoveryPlan
    from ..archive.segments import BaseBackup
    from ..archive.status import Condition
    from .docker.runtime import DockerRuntime


NO_FOLDER = "bind source path does not exist"  # in the engine's message


class Archivist(Protocol):
    """The operations on one archive. Each raises the errors of its storage."""

    def check(self) -> int:
        """Raise an error unless the archive can be reached. Returns the free space where the data is, in bytes."""

    def system(self) -> str:
        """Return the identifier of the server whose write-ahead log the archive has, "" if it has none."""

    def archiver(self) -> str:
        """Return the name of the archiver whose server accepts writes, "" if no server of several does."""

    def reaches_server(self) -> bool:
        """Return whether a running server can be reached from here."""

    def condition(self) -> "Condition":
        """Return how it is doing, without asking the archive."""

    def resume(self) -> None:
        """Archive again if archiving was paused."""

    def backups(self) -> "list[BaseBackup]":
        """Return the base backups, oldest first."""

    def take(self, major: int) -> "BaseBackup":
        """Take a base backup of the running server, and delete what is no longer kept."""

    def plan(self, time: datetime | None) -> "RecoveryPlan":
        """Return what a recovery to a time needs. Raises BackupNotFoundError, ArchiveIncompleteError."""

    def verify(self) -> None:
        """Recover all that is archived to another place, check every page, and delete it again."""

    def recover(self, found: "RecoveryPlan", place: Place) -> None:
        """Create the data at a new place as it was at a time, with the passwords of the project."""


def archivist_of(
    session: Session, archive: Archive, credentials: Path | None = None, *, runtime: str = ""
) -> Archivist:
    """Return what operates on an archive in a runtime, by default that of the project.

    `credentials` is a file in the form of AWS, by default the project's. Raises NotFoundError if it does not exist.
    """
    if credentials and not credentials.exists():
        raise NotFoundError(
            f"{credentials} does not exist", hint="Give the file of the credentials: --credentials-file"
        )
    file = credentials or session.project.secret_file(CREDENTIALS)
    match runtime or runtime_for(session):
        case "embedded":
            return LocalArchivist(session, archive, file)
        case "swarm":
            from .archivist_in_swarm import DeployedArchivist

            return DeployedArchivist(session, archive, file)
    return ContainedArchivist(session, archive, file)


def with_archiver(found: list[ServiceStatus], session: Session, archive: Archive) -> list[ServiceStatus]:
    """Return the status of services, that of the archiver in charge with what keeps it from archiving."""
    archivist = archivist_of(session, archive)
    name = archivist.archiver()
    return [_told(each, archivist) if each.service == name else each for each in found]


def _told(status: ServiceStatus, archivist: Archivist) -> ServiceStatus:
    if status.state is not ServiceState.RUNNING:
        return status
    found = archivist.condition()
    is_well = found.state == "archiving"
    return status if is_well else replace(status, state=ServiceState.UNHEALTHY, detail=found.detail)


def runtime_for(session: Session) -> str:
    """Return the runtime of the project, or the one that its first `up` would choose."""
    if session.record:
        return session.record.runtime
    return decide.choose_runtime(session.settings, None, engine_answers, session.machine.host)


def programs_for(major: int) -> Binaries:
    """Return the programs of that version, in a folder that the server's account can reach."""
    from .embedded.data import SHARED_HOME

    binaries, user = find_binaries(major), service_user()
    return reachable_by(binaries, user, SHARED_HOME) if user else binaries


class LocalArchivist:
    """Operates in this process, on the archive of a local server."""

    def __init__(self, session: Session, archive: Archive, credentials: Path) -> None:
        self._session, self._archive, self._credentials = session, archive, credentials

    def _at(self, place: Place | None = None) -> "Operations":
        from ..archive.operations import Operations
        from ..archive.store import store_of

        session = self._session
        at = place or (session.record.place if session.record else None)
        data = Path(at.data if at and at.data else session.project.home)
        store = store_of(self._archive, self._credentials)
        state, user = state_folder(data), service_user()
        return Operations(self._archive, store, data, state, programs_for, user, session.on_event)

    def check(self) -> int:
        return self._at().check()

    def system(self) -> str:
        return self._at().system()

    def archiver(self) -> str:
        return ARCHIVER

    def reaches_server(self) -> bool:
        return True

    def condition(self) -> "Condition":
        return self._at().condition()

    def resume(self) -> None:
        self._at().resume()

    def backups(self) -> "list[BaseBackup]":
        return self._at().backups()

    def take(self, major: int) -> "BaseBackup":
        return self._at().take(self._session.project.superuser_url(), major)

    def plan(self, time: datetime | None) -> "RecoveryPlan":
        return self._at().plan(time, str(self._archive))

    def verify(self) -> None:
        self._at().verify(str(self._archive))

    def recover(self, found: "RecoveryPlan", place: Place) -> None:
        project = self._session.project
        passwords = {role: project.secret(PASSWORDS[role]) for role in place.roles}
        mark = mark_of(project.folder) or ""
        self._at(place).recover(found.time, str(self._archive), passwords=passwords, mark=mark)


class ContainedArchivist:
    """Operates in containers of the archiver's image: on the running server in the archiver, else in new ones."""

    def __init__(self, session: Session, archive: Archive, credentials: Path) -> None:
        self._session, self._archive, self._credentials = session, archive, credentials
        record, settings = session.record, session.settings
        self._base = decide.image_of(settings, record) if record else settings.postgres_image

    @property
    def _runtime(self) -> "DockerRuntime":
        from .docker.runtime import DockerRuntime

        runtime = self._session.performer.runtime("docker")
        assert isinstance(runtime, DockerRuntime), "it is the one of that name"
        return runtime

    def check(self) -> int:
        if self._archive.is_folder:
            self._alone("prepare")
        return int(self._alone("check"))

    def system(self) -> str:
        return str(self._alone("system"))

    def archiver(self) -> str:
        return ARCHIVER

    def reaches_server(self) -> bool:
        return True

    def condition(self) -> "Condition":
        from ..archive.status import STOPPED, Condition

        if not self._runtime.is_alive(ARCHIVER):
            return STOPPED
        try:
            return Condition(**self._inside("condition"))
        except UnhealthyError as error:
            return replace(STOPPED, detail=error.message)

    def resume(self) -> None:
        self._inside("resume")

    def backups(self) -> "list[BaseBackup]":
        from ..archive.segments import BaseBackup

        found = self._inside("backups") if self._is_served else self._alone("backups")
        return [BaseBackup.of_dict(each) for each in found]

    @property
    def _is_served(self) -> bool:
        """Whether the archiver of the project runs, and archives to this archive."""
        record = self._session.record
        return record is not None and record.archive == self._archive and self._runtime.is_alive(ARCHIVER)

    def take(self, major: int) -> "BaseBackup":
        from ..archive.segments import BaseBackup

        user = self._session.known.roles[0]
        url = database_url(user, None, SOCKETS, DATABASE_PORT, DATABASE)
        return BaseBackup.of_dict(self._inside("take", url=url, major=major))

    def plan(self, time: datetime | None) -> "RecoveryPlan":
        from ..archive.recovery import RecoveryPlan

        backups = self.backups()
        early = [each for each in backups if time is None or each.ended <= time] or backups
        base = self._image_for(early[-1].major) if early else self._base
        return RecoveryPlan.of_dict(self._alone("plan", base, **self._asked(time)))

    def verify(self) -> None:
        self._alone("verify", self._image_for(self.plan(None).backup.major), name=str(self._archive))

    def recover(self, found: "RecoveryPlan", place: Place) -> None:
        project = self._session.project
        names = {role: PASSWORDS[role] for role in place.roles}
        secrets = {name: project.secret(name) for name in names.values()}
        asked = {**self._asked(found.time), "roles": names}
        self._alone("recover", place.image, volume=place.volume, secrets=secrets, **asked)

    def _asked(self, time: datetime | None) -> dict[str, Any]:
        return {"time": time.isoformat() if time else "", "name": str(self._archive)}

    def _image_for(self, major: int) -> str:
        return self._base if major == major_of(self._base) else with_major(self._base, major)

    def _inside(self, operation: str, **given: Any) -> Any:
        """Perform an operation in the archiver, which has the data, the server's socket and the credentials."""
        answer = Answer(self._session.on_event)
        command = [*PYTHON, f"{MODULES}.worker", operation, json.dumps(given)]
        _, said = self._runtime.pipe(self.archiver(), command, write=answer.write)
        return answer.result(said)

    def _alone(
        self,
        operation: str,
        base: str = "",
        *,
        volume: str = "",
        secrets: Mapping[str, str] | None = None,
        **given: Any,
    ) -> Any:
        """Perform an operation in a container of its own, whose image is built from `base`."""
        base = base or self._base
        image = self._session.machine.archiver_image(base)
        return self._run(worker(self._archive, base, image, operation, given, volume=volume), secrets or {})

    def _run(self, service: ServiceSpec, secrets: Mapping[str, str]) -> Any:
        """Run a worker, with the credentials and these secrets, and return its result."""
        observed = Observed(images=self._runtime.images([service.image]))
        self._session.run(plan_images(StackSpec(self._session.project.name, (service,)), observed))
        answer = Answer(self._session.on_event)
        text = read_text(self._credentials, own=True) if self._credentials.exists() else ""
        try:
            said = self._runtime.run_alone(service, {CREDENTIALS: text, **secrets}, answer.write)
        except UnavailableError as error:
            raise self._explained(error) from error
        return answer.result(said)

    def _explained(self, error: UnavailableError) -> FastZeroError:
        if NO_FOLDER not in error.message:
            return error
        record = self._session.record
        folder, host = self._archive.folder.parent, record.host if record else self._session.machine.host
        where = f" on {host}" if host else ""
        return NotFoundError(
            f"the folder {folder} does not exist{where}", hint=f"Create it, or mount it: mkdir -p {folder}"
        )


class Answer:
    """What a worker prints: passes its steps on as progress, and keeps its result or its error."""

    def __init__(self, on_event: Listener) -> None:
        self._on_event, self._rest = on_event, b""
        self._told: dict[str, Any] = {}
        self._parts = ""
        self._else: list[str] = []

    def write(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._read(line.decode("utf-8", "replace"))

    def _read(self, line: str) -> None:
        try:
            told = json.loads(line)
        except ValueError:
            self._else.append(line)
            return
        if STEP in told:
            self._on_event(Progress(told[STEP]))
        elif PART in told:
            self._parts += told[PART]
        else:
            self._told = told

    def _whole(self) -> dict[str, Any]:
        """Return the last line that it printed, which it has printed in parts if it is long; {} if it did not end."""
        with suppress(ValueError):
            return dict(json.loads(self._parts)) if self._parts else self._told
        return {}

    def result(self, said: str) -> Any:
        """Return the result. Raises the error that the worker had, ProgramFailedError if it was killed."""
        whole = self._whole()
        if RESULT in whole:
            return whole[RESULT]
        if ERROR in whole:
            told = whole[ERROR]
            raise _error_class(told["class"])(told["message"], hint=told["hint"], evidence=told["evidence"])
        evidence = "\n".join([*self._else, said.strip()])
        raise ProgramFailedError("the operation on the archive was killed, or failed", evidence=evidence)


def _error_class(name: str) -> type[FastZeroError]:
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, FastZeroError) else FastZeroError
