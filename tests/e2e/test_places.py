"""fastzero db place: the places that an upgrade left, which are listed, returned to, and destroyed only by name."""

import pytest

from fastzero_core import Stack
from tests.cli.conftest import Run, records
from tests.stack.conftest import Contained, add_user, app_image, contained, engine, users_of

pytestmark = [pytest.mark.slow, pytest.mark.docker]
__all__ = ["app_image", "contained", "engine"]  # fixtures of whole stacks, which these tests share

OLD = "postgres:17"


@pytest.fixture
def upgraded(contained: Contained, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A project whose database was upgraded when it had ana, and which has got bob since."""
    stack = contained.stack(postgres_image=OLD).up()
    add_user(stack)
    stack.upgrade(18)
    add_user(stack, "bob")
    for name, value in contained.environment().items():
        monkeypatch.setenv(name, value)
    return stack


def test_places_are_listed_and_returned_to_with_the_rows_of_each(upgraded: Stack, fastzero: Run) -> None:
    now, kept = records(fastzero("db", "place", "-o", "json"))
    assert (now["current"], kept["current"]) == (True, False)
    assert (now["image"], kept["image"]) == ("postgres:18", OLD)

    used = fastzero("db", "place", "use", kept["name"], "--yes")
    assert used.code == 0
    assert f"To undo: fastzero db place use {now['name']}" in used.err
    assert users_of(upgraded) == ["ana"]
    assert fastzero("db", "place", "use", now["name"], "--yes").code == 0
    assert users_of(upgraded) == ["ana", "bob"]


def test_prune_leaves_places_and_rm_destroys_the_one_that_is_named(upgraded: Stack, fastzero: Run) -> None:
    now, kept = records(fastzero("db", "place", "-o", "json"))
    assert fastzero("db", "backup", "prune", "--keep", "0", "--yes").code == 0
    assert len(records(fastzero("db", "place", "-o", "json"))) == 2

    asked = fastzero("db", "place", "rm", kept["name"])
    assert asked.code == 2
    assert kept["name"] in asked.err
    assert fastzero("db", "place", "rm", now["name"], "--yes").code == 3
    assert fastzero("db", "place", "rm", kept["name"], "--yes").code == 0
    assert [place["name"] for place in records(fastzero("db", "place", "-o", "json"))] == [now["name"]]
    assert users_of(upgraded) == ["ana", "bob"]
