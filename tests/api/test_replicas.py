"""Several replicas over one database: what one refuses, all do."""

import pytest

from .client import Account, Client
from .conftest import FastzeroServe

pytestmark = pytest.mark.slow


@pytest.fixture
def replicas(fastzero_serve: FastzeroServe, database_url: str, monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    for name, value in (("TIME", "2"), ("MEMORY", "19456"), ("PARALLELISM", "1")):
        monkeypatch.setenv(f"FASTZERO_ARGON2_{name}", value)
    started = [fastzero_serve(url=database_url) for _ in range(3)]
    return [Client(each.until_it_answers().port) for each in started]


@pytest.fixture
def ana(replicas: list[Client]) -> Account:
    return replicas[0].sign_up()


def test_failed_logins_are_counted_together(replicas: list[Client], ana: Account) -> None:
    one, two, three = replicas
    tries = [one, two, three, one, two]
    assert [replica.log_in(ana.username, "wrong").status for replica in tries] == [401] * 5
    assert {replica.log_in(ana.username).status for replica in replicas} == {429}


def test_a_token_holds_on_all_and_is_revoked_on_all(replicas: list[Client], ana: Account) -> None:
    assert {replica.get("/todos/", ana.token).status for replica in replicas} == {200}
    assert replicas[1].post("/auth/logout", token=ana.token).status == 200
    assert {replica.get("/todos/", ana.token).status for replica in replicas} == {401}


def test_a_deleted_account_is_gone_on_all(replicas: list[Client], ana: Account) -> None:
    assert {replica.get("/todos/", ana.token).status for replica in replicas} == {200}
    assert replicas[2].delete(f"/users/{ana.id}", ana.token).status == 200
    assert {replica.get("/todos/", ana.token).status for replica in replicas} == {401}
