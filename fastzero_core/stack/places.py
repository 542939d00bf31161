"""Move the database of a stack to a newer PostgreSQL, to another runtime, and back."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import InvalidInputError
from ..project import Place
from . import commands, decide, relocate
from .actions import Action
from .decide import Flags
from .perform import engine_answers
from .relocate import PlaceStatus, Relocation
from .servers import ReplicatedStack
from .session import Session
from .spec import major_of, with_major

if TYPE_CHECKING:
    from .resize import Resizing


class MovableStack(ReplicatedStack):
    """A stack with the places of its database: the current one, and the kept ones that it was moved from."""

    def upgrade(self, major: int, *, timeout: float | None = None) -> Place | None:
        """Move the database to a newer major version of PostgreSQL, in a new volume. The old volume is kept.

        The content is dumped, restored and compared; during this it can be read but not written. Returns the old place.
        If the database already has that version, starts the stack as `up` does, and returns None. If the upgrade fails,
        the old place stays in service; if it is killed, the next `up` or `upgrade` starts the place in service again.
        A database with standbys is moved to one server of that version, which then moves to three. Raises
        InvalidInputError if the database does not run in containers, for an older version, or for too few nodes.
        """
        with self.session(timeout) as session:
            image = self._image_for(session, major)
            if image and not session.known.members:
                return Relocation(session, session.known.runtime, image).run()
            if image:
                _refuse_too_few_nodes(session)
                _resizing(session, ha=False, image=image).run()
            if left := _place_with_standbys(session):
                _restore_standbys(session)
                return left
            session.ensure_up()
            return None

    def _image_for(self, session: Session, major: int) -> str | None:
        """Return the image of that version, None if the database already has it. Raises InvalidInputError."""
        runtime = session.known.runtime
        if runtime == "embedded":
            raise InvalidInputError(
                f"project {self.project.name} runs {runtime}: its PostgreSQL is the one that is installed",
                field="to",
                hint="Move it into containers first: fastzero db move --to docker",
            )
        image, wanted = session.place.image, self.settings.postgres_image
        if major < major_of(image):
            raise InvalidInputError(f"the database is of PostgreSQL {major_of(image)} already", field="to")
        if major == major_of(image):
            return None
        is_named = self.settings.names("postgres_image") and major_of(wanted) == major
        return wanted if is_named else with_major(image, major)

    def roll_back_upgrade(self, *, timeout: float | None = None) -> Place:
        """Go back to the database as it was before the last `upgrade`, in its old volume. Returns the newer place.

        What was written since then stays in the newer volume, which is kept: `use_place` returns to it. Raises
        InvalidInputError, DataGoneError, without changing anything.
        """
        with self.session(timeout) as session:
            return relocate.use(session, relocate.before_upgrade(session))

    @property
    def kept_before_upgrade(self) -> Place:
        """The place that `roll_back_upgrade` would go back to. Raises InvalidInputError without one, DataGoneError."""
        session = self.look()
        place = relocate.before_upgrade(session)
        relocate.refuse_gone(session, place)
        return place

    def move(self, runtime: str | None = None, *, ha: bool | None = None, timeout: float | None = None) -> Place | None:
        """Move the project's database to another runtime, as `upgrade` does. The old place is kept.

        With `ha` instead, move it within its swarm: to three servers with standbys, or to one if it is false. Returns
        the old place. If the database is there already, starts the stack as `up` does, and returns None. Raises
        InvalidInputError for an unknown runtime or too few nodes, VersionMismatchError for a PostgreSQL older than the
        data's, UnavailableError if the data is on another node than this manager.
        """
        with self.session(timeout) as session:
            if ha is not None:
                return self._resize(session, runtime, ha=ha)
            if runtime is None:
                raise InvalidInputError("a move needs a runtime, or a number of servers", field="to")
            if decide.choose_runtime(self.settings, runtime, engine_answers) == session.known.runtime:
                session.ensure_up()
                return None
            return Relocation(session, runtime, self.settings.postgres_image).run()

    def plan_move(self, runtime: str | None = None, *, ha: bool) -> list[Action]:
        """Return the actions that `move` within a swarm would perform now, with their causes. Raises as `move` does."""
        session = self.look()
        _refuse_both(session, runtime)
        resizing = _resizing(session, ha=ha)
        return commands.plan_up(session, Flags()) if resizing.is_done else resizing.planned()

    def _resize(self, session: Session, runtime: str | None, *, ha: bool) -> Place | None:
        _refuse_both(session, runtime)
        resizing = _resizing(session, ha=ha)
        if resizing.is_done:
            session.ensure_up()
            return None
        return resizing.run()

    def places(self) -> list[PlaceStatus]:
        """Return the current place of the database, and the kept places that it was moved from, the latest last."""
        return relocate.places(self.look())

    def use_place(self, name: str, *, timeout: float | None = None) -> Place:
        """Use the database at a kept place again. Returns the place used until now, which is kept.

        Raises NotFoundError, DataGoneError, without changing anything.
        """
        with self.session(timeout) as session:
            return relocate.use(session, relocate.kept_place(session.known, name))

    def discard_place(self, name: str, *, timeout: float | None = None) -> Place:
        """Destroy the data at a kept place. Returns the place. Raises NotFoundError, UnavailableError."""
        with self.session(timeout) as session:
            [place] = relocate.discard(session, (relocate.kept_place(session.known, name),))
            return place

    @property
    def kept(self) -> tuple[Place, ...]:
        """The places that the database was moved from, the latest last. Their data is unchanged."""
        record = self.project.record
        return record.kept if record else ()

    def discard_kept(self, *, timeout: float | None = None) -> tuple[Place, ...]:
        """Destroy the data at all kept places. Returns the places.

        Raises UnavailableError, before it destroys anything, if a place cannot be reached.
        """
        with self.session(timeout) as session:
            return relocate.discard(session, session.known.kept)


def _refuse_both(session: Session, runtime: str | None) -> None:
    """Raise InvalidInputError if a move should change both the runtime and the number of servers."""
    if runtime not in (None, session.known.runtime):
        raise InvalidInputError("a move changes the runtime or the number of servers, not both", field="to")


def _resizing(session: Session, *, ha: bool, image: str = "") -> "Resizing":
    from .resize import Resizing  # other moves do not need it

    return Resizing(session, ha=ha, image=image)


def _refuse_too_few_nodes(session: Session) -> None:
    """Raise InvalidInputError if an upgraded database could not have its standbys again."""
    from .in_swarm import with_members

    with_members(replace(session.known, members=()), session.machine)


def _place_with_standbys(session: Session) -> Place | None:
    """Return the place before an upgrade that has not made the standbys of the new one yet, None without one."""
    now = session.place
    for last in session.known.kept[-1:]:
        if last.members and now.runtime == last.runtime and not now.members:
            return last if major_of(last.image) < major_of(now.image) else None
    return None


def _restore_standbys(session: Session) -> None:
    """Give an upgraded database its standbys, and destroy the copy with one server that was between."""
    from .resize import add_standbys  # other moves do not need it

    alone = session.place
    add_standbys(session, "upgraded")
    relocate.discard(session, (alone,))
