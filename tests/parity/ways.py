"""The ways to reach an operation, and what each makes of one, in a form in which all are alike.

A result is the JSON of its data, without what differs from moment to moment; an error its HTTP status and message.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlencode

from fastzero_core import AsyncFastZero, FastZero, FastZeroError, errors
from fastzero_core.formats import as_dict
from fastzero_core.todo_app.api import problems
from tests.api.client import Answer, Client
from tests.cli.conftest import Run
from tests.cli.shell import Result

# Of a moment, or known to the owner anyway; HTTP leaves the latter out.
LEFT_OUT = {"user_id", "password_hash"}
MOMENTS = {"created_at", "updated_at", "completed_at", "at", "entry", "modified", "end"}
# The same in files: only what the database wrote has fractions of a second.
IN_FILES = [
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)"),
    re.compile(r"(?<=DTSTAMP:|CREATED:)\d{8}T\d{6}Z|(?<=LAST-MODIFIED:)\d{8}T\d{6}Z"),
]
SECRET_PATH = re.compile(r"/calendar/[\w-]+\.ics")
WRAPPERS = {"todos", "entries", "users", "lists", "members"}  # the only field of an answer that is a list
LASTING_ID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")  # made of when a todo was created
_ERRORS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, FastZeroError)]
KINDS = {kind.code: kind for kind in _ERRORS}
# Errors that HTTP words as its contract says.
WORDED = {kind.code: text for kind, text in problems._DETAILS.items()}


@dataclass(frozen=True)
class Request:
    """What HTTP is asked for."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, Any] | None = None
    by: str = "ana"


@dataclass(frozen=True)
class Step:
    """One operation: the call, the command, and the request. A way that does not have it is None, with the reason.

    HTTP has limits of its own: of a request `beyond` them the status is the same, and not the message. `only` names the
    fields to compare, if HTTP tells less than the others.
    """

    call: Callable[[FastZero], Any]
    words: list[str] | None
    request: Request | None
    stdin: str = ""
    beyond: bool = False
    only: tuple[str, ...] = ()


class Way(Protocol):
    def __call__(self, step: Step) -> bytes: ...


def library(url: str) -> Way:
    def run(step: Step) -> bytes:
        def call() -> Any:
            with FastZero(url) as fz:
                return _data(step.call(fz))

        return _called(call)

    return run


def async_library(url: str) -> Way:
    async def block(step: Step) -> Any:
        async with AsyncFastZero(url) as fz:
            return await fz.run(lambda fz: _data(step.call(fz)))

    return lambda step: _called(lambda: asyncio.run(block(step)))


def shell(url: str, fastzero: Run) -> Way:
    def run(step: Step) -> bytes:
        assert step.words is not None
        return printed(fastzero(*step.words, "--database-url", url, "-o", "json", stdin=step.stdin))

    return run


def http(client: Client, tokens: Mapping[str, str]) -> Way:
    """`tokens` are those of the users, by name."""

    def run(step: Step) -> bytes:
        assert step.request is not None
        asked = step.request
        path = f"{asked.path}?{urlencode(asked.query, doseq=True)}" if asked.query else asked.path
        body: Any = {"body" if isinstance(asked.body, bytes) else "json_body": asked.body}
        return _answered(client.request(asked.method, path, token=tokens[asked.by], **body))

    return run


def printed(result: Result) -> bytes:
    """What a command printed, or its error."""
    if result.code:
        error = json.loads(result.err.splitlines()[-1])["error"]
        kind = KINDS[error["code"]]
        assert result.code == kind.exit_code
        return _failed(kind.http_status, error["code"], error["message"])
    try:
        return plain(json.loads(result.out))
    except json.JSONDecodeError:
        return plain(result.out)


def _called(call: Callable[[], Any]) -> bytes:
    try:
        return plain(json.loads(json.dumps(call())))
    except FastZeroError as error:
        return _failed(error.http_status, error.code, error.message)


def _data(result: Any) -> Any:
    if isinstance(result, Iterator):
        result = list(result)
    if isinstance(result, list | tuple):
        return [_data(each) for each in result]
    return as_dict(result) if hasattr(result, "__dataclass_fields__") else result


def _answered(answer: Answer) -> bytes:
    if answer.status >= 400:
        detail = answer.detail if isinstance(answer.detail, str) else answer.detail[0]["msg"]
        return _failed(answer.status, "", detail)
    if not answer.headers["content-type"].startswith("application/json"):
        return plain(answer.text)
    found = answer.json
    if isinstance(found, dict) and len(found) == 1 and found.keys() <= WRAPPERS:
        found = next(iter(found.values()))
    return plain(found)


def _failed(status: int, code: str, message: str) -> bytes:
    return json.dumps({"status": status, "message": WORDED.get(code, message)}, ensure_ascii=False).encode()


def plain(value: Any) -> bytes:
    """Return data as JSON. A list of one is the same as the one: the shell prints a list of what it changed."""
    return json.dumps(_plain(value), ensure_ascii=False, sort_keys=True).encode()


def _plain(value: Any, name: str = "") -> Any:
    if isinstance(value, list):
        each = [_plain(one) for one in value]
        return each[0] if len(each) == 1 and isinstance(each[0], dict) else each
    if isinstance(value, dict):
        return {name: _plain(each, name) for name, each in value.items() if name not in LEFT_OUT}
    if isinstance(value, str) and name in MOMENTS:
        assert datetime.fromisoformat(value).tzinfo, "RFC 3339"
        return "a moment"
    if isinstance(value, str) and name == "due" and "T" in value:
        return datetime.fromisoformat(value).astimezone(UTC).isoformat()
    if not isinstance(value, str):
        return value
    for moment in IN_FILES:
        value = moment.sub("a moment", value)
    return SECRET_PATH.sub("a secret path", LASTING_ID.sub("an id", value))
