"""The environment in which a user's application and its services run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..postgres.roles import APP, OWNER, STAND_INS
from ..project import DATABASE, PASSWORDS

if TYPE_CHECKING:
    from ..application.description import Process

STAND_IN_PASSWORD = "stand_in_password"  # noqa: S105 - the name of a secret, which exists during a rotation


@dataclass(frozen=True)
class Surroundings:
    """Where an application runs: in containers of an image, or as local processes in its own Python environment.

    `ports` are those on this machine, by service. `programs` is the folder of the application's own programs, `state`
    the project's folder, in which local services keep their data. `database` is the name of the application's database,
    `test_database` that of the database for its tests. With `split_roles`, processes use the app's role, and other
    commands, such as migrations, the owner's. `database_at` are the options of the URL by which one of several servers
    is reached. With `stand_in`, processes log in as the stand-in of their role.
    """

    ports: Mapping[str, int]
    image: str = ""
    programs: str = ""
    state: str = ""
    database: str = DATABASE
    test_database: str = ""
    split_roles: bool = False
    database_at: Mapping[str, str] = field(default_factory=dict)
    stand_in: bool = False

    def role_of(self, process: "Process | None") -> str:
        """Return the role with which a process logs in, or another command if `process` is None."""
        return APP if process and self.split_roles else OWNER

    def login_of(self, process: "Process | None") -> tuple[str, str]:
        """Return the role whose login a process uses, and the name of the secret with its password."""
        role = self.role_of(process)
        return (STAND_INS[role], STAND_IN_PASSWORD) if process and self.stand_in else (role, PASSWORDS[role])

    @property
    def in_containers(self) -> bool:
        return bool(self.image)
