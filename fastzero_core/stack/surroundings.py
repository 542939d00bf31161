"""The environment in which a user's application and its services run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..postgres.roles import APP, OWNER
from ..project import DATABASE

if TYPE_CHECKING:
    from ..application.description import Process


@dataclass(frozen=True)
class Surroundings:
    """Where an application runs: in containers of an image, or as local processes in its own Python environment.

    `ports` are those on this machine, by service. `programs` is the folder of the application's own programs, `state`
    the project's folder, in which local services keep their data. `database` is the name of the application's database,
    `test_database` that of the database for its tests. With `split_roles`, processes use the app's role, and other
    commands, such as migrations, the owner's.
    """

    ports: Mapping[str, int]
    image: str = ""
    programs: str = ""
    state: str = ""
    database: str = DATABASE
    test_database: str = ""
    split_roles: bool = False

    def role_of(self, process: "Process | None") -> str:
        """Return the role with which a process logs in, or another command if `process` is None."""
        return APP if process and self.split_roles else OWNER

    @property
    def in_containers(self) -> bool:
        return bool(self.image)
