"""Several replicas over one database: what one refuses, all do."""

from collections.abc import Iterator

import pytest

from fastzero_core.testing import Databases, session_folder
from tests.ports import any_free_port

from .client import Account, Client
from .conftest import Served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def replicas(fastzero_databases: Databases) -> Iterator[list[Client]]:
    """Three processes for all tests here: each has a user of its own."""
    folder = session_folder()
    variables = {"HOME": str(folder), "FASTZERO_HOME": str(folder / "nothing")}
    with fastzero_databases.temporary() as url:
        started = [Served(folder, any_free_port(), url=url, **variables) for _ in range(3)]
        yield [Client(each.until_it_answers().port) for each in started]
        for each in started:
            each.kill()


@pytest.fixture
def ana(replicas: list[Client]) -> Account:
    return replicas[0].sign_up()


def test_failed_logins_are_counted_together(replicas: list[Client], ana: Account) -> None:
    one, two, three = replicas
    tries = [one, two, three, one, two]
    assert [replica.log_in(ana.username, "wrong").status for replica in tries] == [401] * 5
    assert three.log_in(ana.username).status == 429, "it has seen one of them"


def test_a_token_holds_on_all_and_is_revoked_on_all(replicas: list[Client], ana: Account) -> None:
    assert {replica.get("/todos/", ana.token).status for replica in replicas} == {200}
    assert replicas[1].post("/auth/logout", token=ana.token).status == 200
    assert {replica.get("/todos/", ana.token).status for replica in replicas} == {401}


def test_a_deleted_account_is_gone_on_all(replicas: list[Client], ana: Account) -> None:
    assert {replica.get("/todos/", ana.token).status for replica in replicas} == {200}
    assert replicas[2].delete(f"/users/{ana.id}", ana.token).status == 200
    assert {replica.get("/todos/", ana.token).status for replica in replicas} == {401}
