"""Import and export over HTTP: files as of the shell, within the limits of all requests."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from fastzero_core.polling import wait_until
from fastzero_core.todo_app.api import streaming, transfer
from fastzero_core.todo_app.transfer import files

from .conftest import Account, Answer, Client, served

TODO_TXT = "(A) Pay the rent +home due:2026-12-30 uuid:a\nx 2026-11-02 2026-11-01 Cancel the trip uuid:b\n"
MIXED = "good\ndue:someday bad\nalso good\n"


def send(api: Client, account: Account | None, source: str | bytes, query: str = "format=todotxt") -> Answer:
    body = source if isinstance(source, bytes) else source.encode()
    token = account.token if account else None
    return api.request("POST", f"/todos/import?{query}", token=token, body=body)


def export(api: Client, account: Account, query: str) -> Answer:
    return api.get(f"/todos/export?{query}", account.token)


def titles(api: Client, account: Account) -> list[str]:
    return [todo["title"] for todo in api.get("/todos/", account.token).json["todos"]]


def counts(added: int, changed: int, unchanged: int, lines: list[Any] | None = None) -> dict[str, Any]:
    found = lines or []
    numbers = {"added": added, "changed": changed, "unchanged": unchanged, "invalid": len(found), "left_out": {}}
    return {**numbers, "invalid_lines": found}


def test_a_file_is_imported_and_known_again(api: Client, ana: Account) -> None:
    assert send(api, ana, TODO_TXT).json == counts(2, 0, 0)
    assert send(api, ana, TODO_TXT.replace("rent", "bill")).json == counts(0, 1, 1)
    assert titles(api, ana) == ["Pay the bill", "Cancel the trip"]
    assert api.post("/history/undo", {"steps": 2}, ana.token).status == 200
    assert titles(api, ana) == []


@pytest.mark.parametrize("format", files.FORMATS)
def test_what_is_exported_is_imported(format: str, api: Client, ana: Account, bob: Account) -> None:
    send(api, ana, TODO_TXT)
    exported = export(api, ana, f"format={format}")
    assert exported.headers["content-type"] == transfer.MEDIA_TYPES[format]
    assert "attachment" in exported.headers["content-disposition"]
    assert send(api, bob, exported.text, f"format={format}").json == counts(2, 0, 0)
    assert send(api, ana, exported.text, f"format={format}").json == counts(0, 0, 2)


def test_an_export_has_what_matches_of_several_pages(
    api: Client, ana: Account, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "PAGE", 2)
    send(api, ana, "".join(f"{number} +odd\n{number} +even\n" for number in range(3)))
    send(api, bob, "not mine +odd\n")
    exported = export(api, ana, "format=ndjson&tag=odd").text
    assert [json.loads(line)["title"] for line in exported.splitlines()] == ["0", "1", "2"]


def test_invalid_lines_are_named_or_left_out(api: Client, ana: Account) -> None:
    refused = send(api, ana, MIXED)
    assert refused.status == 422
    assert [each["msg"] for each in refused.detail] == ["line 2: invalid date 'someday'"]
    line = {"line": 2, "reason": "invalid date 'someday'"}
    assert send(api, ana, MIXED, "format=todotxt&dry_run=true").json == counts(2, 0, 0, [line])
    assert titles(api, ana) == []
    assert send(api, ana, MIXED, "format=todotxt&skip_invalid=true").json == counts(2, 0, 0, [line])
    assert titles(api, ana) == ["good", "also good"]


def test_an_id_that_is_repeated_is_an_invalid_line(api: Client, ana: Account) -> None:
    refused = send(api, ana, "a uuid:x\nb uuid:x\n")
    assert (refused.status, refused.detail[0]["msg"]) == (422, "line 2: the same id as in line 1")
    assert titles(api, ana) == []


@pytest.mark.parametrize(
    ("source", "query", "status"),
    [
        ("[", "format=json", 422),
        ("x\n", "format=xml", 422),
        ("x\n", "", 422),
        ("x\n", "format=todotxt&other=1", 422),
        ("x\n", "format=todotxt&time_zone=Nowhere", 422),
        ("x\n" * 10_001, "format=todotxt", 422),
        (b"x" * (transfer.IMPORT_BODY_MAX + 1), "format=todotxt", 413),
        ("", "format=todotxt", 200),
    ],
)
def test_what_is_no_file_of_todos(source: str | bytes, query: str, status: int, api: Client, ana: Account) -> None:
    assert send(api, ana, source, query).status == status
    assert titles(api, ana) == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_refused(method: str, api: Client, ana: Account) -> None:
    assert api.request(method, "/todos/import", token=ana.token).status == 405


def test_both_need_a_login(api: Client) -> None:
    assert send(api, None, "x\n").status == 401
    assert api.get("/todos/export").status == 401


def test_the_number_of_streams_is_bounded(api: Client, ana: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STREAMS_MAX", 0)
    assert export(api, ana, "").status == 503


def test_streams_that_wait_for_their_first_todos_count_too(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STREAMS_MAX", 1)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with (
        served(database_url) as api,
        psycopg.connect(database_url) as holder,
        psycopg.connect(database_url, autocommit=True) as watcher,
    ):
        ana = api.sign_up()
        holder.execute("LOCK TABLE todos")
        with ThreadPoolExecutor(1) as first:
            answer = first.submit(export, api, ana, "")
            assert wait_until(lambda: watcher.execute(waiting).fetchone() == (1,), 10)
            assert export(api, ana, "").status == 503
            holder.rollback()
            assert answer.result().status == 200
