"""A database with standbys in containers: one for the tests of a module, which leave it whole."""

from collections.abc import Iterator

import pytest

from .world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    import docker

    engine = docker.from_env()
    made = World(engine)
    try:
        made.start()
        yield made
    finally:
        made.close()
        engine.close()
