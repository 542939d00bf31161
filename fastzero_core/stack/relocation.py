"""Bringing a project's data to another place: another major version of PostgreSQL, or another runtime.

The new place is filled and compared beside the old one, as a project within the project, `next`, which is nobody's yet.
Then everything is stopped and the project's record is written anew: that one write decides which place is the data's.
Whatever a killed command leaves of `next` is removed by the next one; the data that the record names is never touched.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import DockerUnavailableError, InvalidInputError, UnavailableError, VersionMismatchError
from . import ports
from .plan import Action, Verb
from .process import wait_until
from .project import HOST, Project, ProjectRecord, make_folder, write_atomically
from .spec import DATABASE_SERVICE, DEFAULT_PORTS, StackSpec, database_image, image_of_major, major_of

if TYPE_CHECKING:
    from ..backup.target import Listener
    from ..settings import Settings
    from .runtime import Runtime

SpecOf = Callable[[ProjectRecord], StackSpec]
LOCK_TIMEOUT = "30s"
PATIENCE = 60  # seconds for a server on a new place to answer


@dataclass(frozen=True)
class Moved:
    """Where a project's data is now, and where the place is kept that it was in before."""

    runtime: str
    place: str
    kept_runtime: str
    kept: str


class Staging(Project):
    """The project within a project that a new place is filled as."""

    def __init__(self, main: Project) -> None:
        super().__init__(f"{main.name}.next", main.home)
        self.folder = main.folder / "next"
        self.owner = main.name

    def prepare(self, main: Project, record: ProjectRecord) -> None:
        """Write down what is to be made, before anything is."""
        make_folder(self.folder / "secrets", 0o700)
        write_atomically(self.folder / "secrets" / "database_password", main.secret("database_password"))
        self.save(record)


class _Former(Project):
    """A project as it was at another place."""

    def __init__(self, main: Project, record: ProjectRecord) -> None:
        super().__init__(main.name, main.home)
        self._former = record

    @property
    def record(self) -> ProjectRecord:
        return self._former


def upgraded(record: ProjectRecord, settings: "Settings", project: Project, major: int) -> dict[str, str]:
    """The place for data of another major version. Raises InvalidInputError where there is none to go to."""
    if record.runtime != "docker":
        raise InvalidInputError(
            f"project {project.name} runs {record.runtime}; its PostgreSQL is the one that is installed",
            field="to",
            hint="In containers there is a choice: fastzero db move --to docker",
        )
    image = database_image(settings, record)
    if major <= major_of(image):
        raise InvalidInputError(f"PostgreSQL {major} is not newer than {major_of(image)}", field="to")
    return {**record.place, "volume": _new_volume(project), "image": image_of_major(image, major)}


def moved(record: ProjectRecord, settings: "Settings", project: Project, runtime: str) -> dict[str, str]:
    """The place in another runtime. Raises InvalidInputError for the one it has, VersionMismatchError."""
    if runtime == record.runtime:
        raise InvalidInputError(f"project {project.name} runs {runtime} already", field="to")
    if runtime == "docker":
        image = settings.postgres_image
        return {"runtime": runtime, "data": "", "volume": _new_volume(project), "image": image}
    from .binaries import find_binaries
    from .embedded import place_for_data
    from .user import service_user

    here, there = find_binaries().major, major_of(database_image(settings, record))
    if here < there:
        raise VersionMismatchError(
            f"the data is of PostgreSQL {there}; on this machine there is {here}",
            hint=f"Nothing was changed. Install PostgreSQL {there}, or newer",
        )
    data = place_for_data(project, f"data-{secrets.token_hex(4)}", service_user())
    return {"runtime": runtime, "data": str(data), "volume": "", "image": ""}


@contextmanager
def frozen(project: Project) -> Iterator[None]:
    """Let everyone read and nobody write for one block; a killed holder lets go. The block may stop the server."""
    from ..backup import content
    from ..database import create_engine
    from ..errors import FastZeroError

    settings = {**content.SESSION, "lock_timeout": LOCK_TIMEOUT}
    connection = create_engine(project.database_url(), settings=settings).connect()
    try:
        content.lock_tables(connection, "EXCLUSIVE")
        yield
    finally:
        with suppress(FastZeroError):  # of a server that is stopped
            connection.close()


def fill(main: Project, record: ProjectRecord, spec_of: SpecOf, timeout: float, tell: "Listener") -> None:
    """Make the place that a record names, and bring the project's data there. Its server is stopped in the end."""
    from ..backup import dump, restore
    from ..backup.server import at_server
    from ..backup.target import target_of_project

    staging = Staging(main)
    port = ports.next_free(HOST, DEFAULT_PORTS[DATABASE_SERVICE] + 1, record.ports.values())
    staging.prepare(main, replace(record, ports={DATABASE_SERVICE: port}, previous={}, initialised=False))
    archive = staging.folder / "transfer.dump"
    manifest = dump.backup(target_of_project(main), archive, tell=tell)
    spec = spec_of(_record_of(staging))
    runtime = _runtime_of(staging)
    runtime.apply(_action(Verb.CREATE), spec, timeout=timeout, tell=_silent)
    _wait(staging, runtime, timeout)
    staging.save(replace(_record_of(staging), initialised=True))
    target = target_of_project(staging)
    with at_server(target.url) as server:
        options = restore.ownership(server, manifest, tell)
        restore.fill(target, server, server.name, archive, manifest, options=options, tell=tell)
        restore.analyze(target.url)
    runtime.apply(_action(Verb.STOP), spec, timeout=timeout, tell=_silent)
    runtime.finish_down()


def discard(main: Project, spec_of: SpecOf) -> None:
    """Remove what is left of filling a new place, but for data that is the project's by now."""
    staging = Staging(main)
    if not staging.folder.exists():
        return
    record, own = staging.record, _record_of(main)
    if record is not None:
        try:
            _remove(staging, spec_of(record), keep_data=(own.volume, own.data) == (record.volume, record.data))
        except DockerUnavailableError:
            if own.runtime != record.runtime:
                return  # it harms nobody until the engine is back
            raise
    shutil.rmtree(staging.folder)


def _remove(staging: Staging, spec: StackSpec, *, keep_data: bool) -> None:
    runtime = _runtime_of(staging)
    runtime.apply(_action(Verb.STOP), spec, timeout=PATIENCE, tell=_silent)
    runtime.finish_down()
    if not keep_data:
        runtime.apply(_action(Verb.DESTROY), spec, timeout=PATIENCE, tell=_silent)


def destroy_previous(main: Project, spec: StackSpec) -> None:
    """Destroy the place that was kept when the data moved."""
    record = _record_of(main)
    if record.previous:
        former = _Former(main, record.moved(record.previous))
        _runtime_of(former).apply(_action(Verb.DESTROY), spec, timeout=PATIENCE, tell=_silent)


def described(record: ProjectRecord) -> Moved:
    """Where the data is, and where it was."""
    return Moved(
        runtime=record.runtime,
        place=_shown(record.place),
        kept_runtime=record.previous.get("runtime", ""),
        kept=_shown(record.previous),
    )


def _shown(place: Mapping[str, str]) -> str:
    return place.get("data") or place.get("volume") or "its first volume"


def _new_volume(project: Project) -> str:
    return f"fastzero-{project.name}-{DATABASE_SERVICE}-{secrets.token_hex(4)}"


def _record_of(project: Project) -> ProjectRecord:
    record = project.record
    assert record is not None, "a place is written down before it is made"
    return record


def _runtime_of(project: Project) -> "Runtime":
    from .stack import make_runtime

    return make_runtime(_record_of(project).runtime, project)


def _wait(project: Project, runtime: "Runtime", timeout: float) -> None:
    from . import probe

    url = project.database_url()

    def answers() -> bool:
        with suppress(UnavailableError):
            probe.revision_of(url)
            return True
        return False

    if not wait_until(lambda: answers() or not runtime.is_alive(DATABASE_SERVICE), timeout) or not answers():
        raise UnavailableError(
            "the new place's server does not answer",
            hint=f"Nothing was changed. It said: {runtime.evidence(DATABASE_SERVICE)[-500:]}",
        )


def _action(verb: Verb) -> Action:
    return Action(verb, DATABASE_SERVICE, "the data moves")


def _silent(text: str) -> None:
    """Of the steps beneath nobody need hear."""
