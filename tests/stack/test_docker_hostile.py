"""A backup of a stranger in the docker runtime: its code runs as a role without rights, in the database's container."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fastzero_core import Stack
from fastzero_core.backup import dump
from fastzero_core.backup.target import Target
from fastzero_core.errors import DatabasePrivilegeError
from tests.core.backup import execute, target
from tests.core.hostile import mallory
from tests.core.test_backup_hostile import FOR_SUPERUSERS, hostile, is_privileged, owners, ran_as

from .conftest import Contained, add_user, users_of

__all__ = ["hostile", "mallory", "target"]
pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def stack(contained: Contained) -> Iterator[Stack]:
    """A stack with a user, in containers."""
    stack = contained.stack().up()
    add_user(stack)
    yield stack
    left = "SELECT rolname FROM pg_roles WHERE rolname ~ '_restoring_'"
    with psycopg.connect(stack.superuser_url) as session:
        assert session.execute(left).fetchall() == []


def test_it_gets_no_rights(stack: Stack, hostile: Path, mallory: str) -> None:
    execute(stack.superuser_url, f"CREATE ROLE {psycopg.conninfo.conninfo_to_dict(mallory)['user']}")
    assert stack.verify(hostile).rows > 0
    assert users_of(stack) == ["ana"]

    stack.restore(hostile, upgrade=True)

    assert ran_as(stack.database_url)
    assert all("_restoring_" in name for name in ran_as(stack.database_url))
    assert owners(stack.database_url) == {"fastzero"}
    assert not is_privileged(stack.superuser_target, mallory)
    stack.undo()
    assert users_of(stack) == ["ana"]


def test_what_only_a_superuser_may_create_is_refused(stack: Stack, target: Target) -> None:
    for number, statement in enumerate(FOR_SUPERUSERS):
        schema = f"s{number}"
        execute(target.url, f"CREATE SCHEMA {schema}; SET search_path = {schema}; {statement}")
        archive = Path(dump.take(target).file)
        for operation in (stack.verify, stack.restore):
            with pytest.raises(DatabasePrivilegeError, match="the backup cannot be restored"):
                operation(archive)
        execute(target.url, "DROP EVENT TRIGGER IF EXISTS e", f"DROP SCHEMA {schema} CASCADE")
    assert users_of(stack) == ["ana"]
