"""The servers of a database with standbys: their state, and which of them accepts writes."""

from ..errors import InvalidInputError
from ..ha.cluster import Cluster, State
from . import standbys
from .scaling import ScalableStack
from .session import Session


class ReplicatedStack(ScalableStack):
    """A stack whose database can have standbys."""

    def servers(self) -> State:
        """Return the state of each server of the database.

        Raises InvalidInputError for a database with one server, UnavailableError if no server answers.
        """
        return _cluster(self.look()).state()

    def fail_over(self, to: str | None = None, *, timeout: float | None = None) -> str:
        """Make a standby the primary: the named one, or the best. Returns its name. Writes stop for a few seconds.

        Raises NotFoundError, ConflictError if the standby does not follow the primary, UnavailableError, and as
        `servers` does.
        """
        with self.session(timeout) as session:
            return _cluster(session).switch_over(to)


def _cluster(session: Session) -> Cluster:
    """Return the servers of the project's database. Raises InvalidInputError if there is one alone."""
    record = session.known
    if not record.members:
        raise InvalidInputError(
            f"the database of project {session.project.name} has no standbys",
            field="project",
            hint=(
                "Give it two, with its data: fastzero db move --ha"
                if record.runtime == "swarm"
                else "Make a project with them, in a swarm: fastzero up --runtime swarm --ha -p NAME"
            ),
        )
    return standbys.cluster_of(session.project, record, session.performer.swarm())
