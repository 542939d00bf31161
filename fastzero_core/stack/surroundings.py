"""The environment in which a user's application and its services run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..project import DATABASE


@dataclass(frozen=True)
class Surroundings:
    """Where an application runs: in containers of an image, or as local processes in its own Python environment.

    `ports` are those on this machine, by service. `programs` is the folder of the application's own programs, `state`
    the project's folder, in which local services keep their data. `database` is the name of the application's database,
    `test_database` that of the database for its tests.
    """

    ports: Mapping[str, int]
    image: str = ""
    programs: str = ""
    state: str = ""
    database: str = DATABASE
    test_database: str = ""

    @property
    def in_containers(self) -> bool:
        return bool(self.image)
