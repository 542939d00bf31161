"""The calendar over HTTP: read by its secret URL alone, which no log has."""

from typing import Any

import pytest

from fastzero_core.polling import wait_until

from .client import PATIENCE
from .conftest import Account, Answer, Client, FastzeroServe

TODO = {"title": "Report", "due": "2026-12-24"}


@pytest.fixture
def path(api: Client, ana: Account) -> str:
    api.post("/todos/", TODO, ana.token)
    created = api.post("/calendar", token=ana.token)
    assert created.status == 200
    return str(created.json["path"])


def ask(api: Client, path: str, **headers: str) -> Answer:
    return api.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_whoever_knows_the_url_reads_the_calendar(api: Client, ana: Account, path: str) -> None:
    found = api.get(path)
    assert (found.status, found.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
    assert found.text.startswith("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n")
    assert "\r\nSUMMARY:Report\r\n" in found.text
    assert "\r\nDUE;VALUE=DATE:20261224\r\n" in found.text
    assert api.get("/calendar", ana.token).json.keys() == {"created_at"}


def test_a_calendar_that_has_not_changed_is_not_sent_again(api: Client, ana: Account, path: str) -> None:
    found = api.get(path)
    assert found.headers["cache-control"] == "private, no-cache"
    assert found.headers["last-modified"].endswith("GMT")
    etag = found.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = ask(api, path, If_None_Match=known)
        assert (again.status, again.text, again.headers["etag"]) == (304, "", etag)
    api.post("/todos/", TODO, ana.token)
    assert ask(api, path, If_None_Match=etag).status == 200


def test_a_wrong_url_is_like_one_that_was_revoked(api: Client, ana: Account, path: str) -> None:
    def shown(answer: Answer) -> Any:
        return answer.status, answer.text, answer.headers.keys()

    unknown = shown(api.get("/calendar/x.ics"))
    assert unknown[:2] == (404, '{"detail": "this calendar does not exist"}')
    new = api.post("/calendar", token=ana.token).json["path"]
    assert shown(api.get(path)) == unknown
    assert api.delete("/calendar", ana.token).status == 200
    assert shown(api.get(new)) == unknown
    assert api.delete("/calendar", ana.token).status == api.get("/calendar", ana.token).status == 404


def test_only_the_url_opens_a_calendar_and_only_a_login_changes_one(api: Client, ana: Account, bob: Account) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert api.request(method, "/calendar").status == 401
    api.post("/calendar", token=ana.token)
    assert api.get("/calendar", bob.token).status == 404
    assert api.delete("/calendar", bob.token).status == 404
    assert api.get("/calendar", ana.token).status == 200


@pytest.mark.slow
def test_the_log_has_no_url_of_a_calendar(fastzero_serve: FastzeroServe, database_url: str) -> None:
    served = fastzero_serve(url=database_url).until_it_answers()
    client = Client(served.port)
    path = str(client.post("/calendar", token=client.sign_up().token).json["path"])
    token = path.removeprefix("/calendar/").removesuffix(".ics")
    sent = [path, f"{path}/", f"/%63alendar/{token}.ics", f"/x{path}", f"/calendar/{token}"]
    for each in sent:
        client.get(each)
    assert wait_until(lambda: served.log.count("/calendar/… ") == len(sent), PATIENCE)
    assert token not in served.log
