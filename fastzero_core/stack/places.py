"""A stack whose database can change its place: to a newer PostgreSQL, to the other runtime, and back."""

from ..errors import InvalidInputError
from ..project import Place
from . import decide, relocate
from .perform import engine_answers
from .relocate import PlaceStatus, Relocation
from .session import Session
from .spec import major_of, with_major
from .stack import Stack


class MovableStack(Stack):
    """A stack with the places of its database: the one it is at, and those that are kept."""

    def upgrade(self, major: int, *, timeout: float | None = None) -> Place | None:
        """Bring the database to a newer major version of PostgreSQL, in a volume of its own; the one before is kept.

        Its content is dumped, restored and compared; while that goes on, it can be read but not written. Returns where
        the database was; of one that has that version already None, and it is started as `up` does. Raises
        InvalidInputError unless it runs in containers, or for an older version. Whatever fails or is killed, the data
        stays in service where it was, or will with the next `up` or when this is called again.
        """
        with self.session(timeout) as session:
            image = self._image_for(session, major)
            if image is None:
                session.ensure_up()
                return None
            return Relocation(session, "docker", image).run()

    def _image_for(self, session: Session, major: int) -> str | None:
        """The image of that version, None where the database has it. Raises InvalidInputError."""
        runtime = session.known.runtime
        if runtime != "docker":
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
        """Go back to the database as it was before the last `upgrade`, in its volume. Returns where it was until now.

        What was written since stays in the volume that is left, which is kept: `use_place` returns to it. Raises
        InvalidInputError, DataGoneError with nothing changed.
        """
        with self.session(timeout) as session:
            return relocate.use(session, relocate.before_upgrade(session))

    @property
    def kept_before_upgrade(self) -> Place:
        """Where `roll_back_upgrade` would go back to. Raises InvalidInputError if that is nowhere, DataGoneError."""
        session = self.look()
        place = relocate.before_upgrade(session)
        relocate.refuse_gone(session, place)
        return place

    def move(self, runtime: str, *, timeout: float | None = None) -> Place | None:
        """Bring the project to the other runtime with all of its data, as `upgrade` does; the place before is kept.

        Returns where the database was; of one that has that runtime already None, and it is started as `up` does.
        Raises InvalidInputError for an unknown runtime, VersionMismatchError for a PostgreSQL older than the data's.
        """
        with self.session(timeout) as session:
            if decide.choose_runtime(self.settings, runtime, engine_answers) == session.known.runtime:
                session.ensure_up()
                return None
            return Relocation(session, runtime, self.settings.postgres_image).run()

    def places(self) -> list[PlaceStatus]:
        """Where the database is, and the places that it was moved from and that are kept, the latest last."""
        return relocate.places(self.look())

    def use_place(self, name: str, *, timeout: float | None = None) -> Place:
        """Put the database at a kept place into service again. Returns the place that is left, which is kept.

        Raises NotFoundError, DataGoneError with nothing changed.
        """
        with self.session(timeout) as session:
            return relocate.use(session, relocate.kept_place(session.known, name))

    def discard_place(self, name: str, *, timeout: float | None = None) -> Place:
        """Destroy the data at a kept place. Returns it. Raises NotFoundError, UnavailableError."""
        with self.session(timeout) as session:
            [place] = relocate.discard(session, (relocate.kept_place(session.known, name),))
            return place

    @property
    def kept(self) -> tuple[Place, ...]:
        """The places that the database was moved from, the latest last: their data is as it was."""
        record = self.project.record
        return record.kept if record else ()

    def discard_kept(self, *, timeout: float | None = None) -> tuple[Place, ...]:
        """Destroy the data at all of those places, or at none. Returns them. Raises UnavailableError."""
        with self.session(timeout) as session:
            return relocate.discard(session, session.known.kept)
