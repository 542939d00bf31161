"""The OpenAPI document is the whole truth: of requests made from it, none finds an answer that it does not describe.

All checks, in all phases. FASTZERO_EXAMPLES says how many examples an operation; `poe contract` takes 2,000.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastzero_core.todo_app.api import schemas

from .client import Account, Client
from .conftest import ServeApp

CHECKOUT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
LISTS = {
    "History",
    "TodoList",
    "UserList",
    "Lists",
    "Members",
    "Bulk",
    "HTTPValidationError",
    "ValidationError",
}  # of what has examples, or FastAPI's own
EXAMPLES = os.environ.get("FASTZERO_EXAMPLES", "10")


@pytest.mark.slow
def test_no_answer_is_another_than_described(serve_app: ServeApp, database_url: str, folder: Path) -> None:
    api = serve_app(database_url)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
            *("run", f"http://127.0.0.1:{api.port}/openapi.json"),
            *("--max-examples", EXAMPLES, "--workers", "1", "--no-color"),
        ],
        cwd=folder,
        env={
            **os.environ,
            "API_PORT": str(api.port),
            "SCHEMATHESIS_HOOKS": "tests.api.schemathesis_hooks",
            "PYTHONPATH": str(CHECKOUT),
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    assert "Test cases:" in run.stdout


def test_a_title_is_blank_in_the_document_where_it_is_for_the_core() -> None:
    for character in map(chr, range(1, 0xD800)):
        assert bool(re.search(schemas.NOT_BLANK, character)) is bool(character.strip()), hex(ord(character))


def test_every_path_of_the_contract_is_described_once(api: Client) -> None:
    document = api.get("/openapi.json").json
    operations = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert operations == {
        "GET /",
        "POST /users/",
        "GET /users/",
        "GET /users/{id}",
        "PUT /users/{id}",
        "DELETE /users/{id}",
        "POST /auth/token",
        "POST /auth/refresh_token",
        "POST /auth/logout",
        "POST /todos/",
        "GET /todos/",
        "PATCH /todos/",
        "POST /todos/bulk",
        "GET /history/",
        "POST /history/undo",
        "POST /history/redo",
        "GET /todos/count",
        "GET /todos/next",
        "GET /todos/stats",
        "PUT /todos/{id}/place",
        "POST /todos/import",
        "GET /todos/export",
        "GET /calendar/",
        "POST /calendar/",
        "DELETE /calendar/",
        "GET /calendar/{token}.ics",
        "GET /lists/",
        "POST /lists/",
        "GET /lists/{id}",
        "PATCH /lists/{id}",
        "DELETE /lists/{id}",
        "GET /lists/{id}/members",
        "PUT /lists/{id}/members/{user}",
        "DELETE /lists/{id}/members/{user}",
        "GET /todos/{id}",
        "PATCH /todos/{id}",
        "DELETE /todos/{id}",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }


def test_every_field_has_an_example(api: Client) -> None:
    described = api.get("/openapi.json").json["components"]["schemas"]
    ours = {name: each for name, each in described.items() if name not in (*LISTS, "Health") and "properties" in each}
    assert {"TodoIn", "TodoOut", "TodoChanges", "SignUp", "UserOut", "Token"} <= ours.keys()
    lacking = [
        f"{name}.{field}"
        for name, schema in ours.items()
        for field, values in schema["properties"].items()
        if not {"examples", "default", "enum", "$ref", "const", "anyOf"} & values.keys()
    ]
    assert lacking == []


def test_what_needs_a_token_says_so(api: Client, ana: Account) -> None:
    document = api.get("/openapi.json").json
    for path, item in document["paths"].items():
        for method, operation in item.items():
            asked = api.request(method.upper(), path.format(id=1, user="bob", token="x"))
            assert ("security" in operation) == (asked.status == 401), (method, path)
