"""How many statements a request takes, and that none about todos leaves out whose they are."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from .client import Account, Client

# Method, path, body → statements: one that does the work and looks at the token, and where it finds nothing a second.
# What changes an account looks at the login first, and a password counts as one.
BUDGET: list[tuple[str, str, Any, int]] = [
    ("GET", "/todos/?limit=10", None, 1),
    ("GET", "/todos/?limit=10&state=done&title=wri&description=fri&after=1&offset=1", None, 2),
    ("GET", "/todos/?priority=high&tag=a&tag=b&overdue=true&created_after=2026-01-01&sort=due", None, 2),
    ("GET", "/todos/count?state=todo", None, 1),
    ("GET", "/todos/next", None, 1),
    ("GET", "/todos/stats?days=366", None, 1),
    ("PATCH", "/todos/?text=write", {"state": "done", "add_tags": ["a"], "expected": 1}, 1),
    ("PATCH", "/todos/?tag=nothing", {"state": "done", "expected": 1}, 3),
    ("PUT", "/todos/{todo}/place", {"other": 1000000, "side": "after"}, 3),
    ("POST", "/todos/", {"title": "Write"}, 1),
    ("POST", "/todos/bulk", [{"title": "Write"}] * 1000, 1),
    ("GET", "/todos/{todo}", None, 1),
    ("PATCH", "/todos/{todo}", {"title": "Read", "state": "done"}, 1),
    ("PATCH", "/todos/{todo}", {}, 1),
    ("DELETE", "/todos/{todo}", None, 1),
    ("GET", "/todos/1000000", None, 2),
    ("PATCH", "/todos/1000000", {"title": "Read"}, 2),
    ("DELETE", "/todos/1000000", None, 2),
    ("GET", "/users/", None, 1),
    ("GET", "/users/{user}", None, 1),
    ("GET", "/users/1000000", None, 2),
    ("PUT", "/users/{user}", {"username": "{name}", "email": "{name}@example.com", "password": "correct horse"}, 4),
    ("PUT", "/users/1000000", {"username": "x", "email": "x@example.com", "password": "another horse"}, 1),
    ("DELETE", "/users/{user}", None, 2),
    ("POST", "/auth/refresh_token", None, 1),
    ("POST", "/auth/logout", None, 1),
]


@pytest.fixture
def statements(api: Client) -> Iterator[list[str]]:
    """Every statement that the app sends, as it grows."""
    engines = [each.sync_engine for each in (api.app.state.engine, api.app.state.slow_engine)]
    sent: list[str] = []

    def remember(_: object, __: object, statement: str, *rest: object) -> None:
        sent.append(statement)

    for engine in engines:
        event.listen(engine, "before_cursor_execute", remember)
    yield sent
    for engine in engines:
        event.remove(engine, "before_cursor_execute", remember)


def _filled(body: Any, name: str) -> Any:
    if isinstance(body, dict):
        return {key: value.replace("{name}", name) if isinstance(value, str) else value for key, value in body.items()}
    return body


@pytest.mark.parametrize(("method", "path", "body", "budget"), BUDGET)
def test_a_request_takes_so_many_statements_its_token_included(
    method: str, path: str, body: Any, budget: int, api: Client, ana: Account, statements: list[str]
) -> None:
    todo = api.post("/todos/", {"title": "Write"}, ana.token).json["id"]
    path = path.format(todo=todo, user=ana.id)
    statements.clear()
    answer = api.request(method, path, token=ana.token, json_body=_filled(body, ana.username))
    assert answer.status in (200, 201, 403, 404, 409), answer.text
    assert len(statements) == budget, statements
    if path.startswith("/todos"):
        assert [statement for statement in statements if "user_id" not in statement] == []
