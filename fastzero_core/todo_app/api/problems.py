"""Errors as answers: `{"detail": …}` with the messages of the contract, and FastAPI's own shape for what is invalid."""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette import status
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import Route

from ... import errors
from ...errors import FastZeroError, InvalidInputError
from . import logs, schemas
from .security import REQUEST_ID, log_refusal

RETRY_AFTER = "1"  # seconds
SHOWN_DEPTH = 16

# The contract's words; whatever is not here says its own.
_DETAILS: dict[type[FastZeroError], str] = {
    errors.UsernameTakenError: "Username already exists",
    errors.EmailTakenError: "Email already exists",
    errors.UserNotFoundError: "User not found",
    errors.TodoNotFoundError: "Task not found.",
    # What is known of a database that is away names hosts, ports and roles.
    errors.UnavailableError: "The database is not available; try again in a moment",
    errors.BusyError: "The service is busy; try again in a moment",
    errors.SchemaError: "The database's schema is not the one of this version",
    errors.DatabaseLoginError: "The database is not available; try again in a moment",
    errors.DatabasePrivilegeError: "The database is not available; try again in a moment",
}


def install(app: FastAPI, routes: Sequence[Route]) -> None:
    """Have the app answer every error. `routes` are those that there are, for the methods that a path allows."""
    app.state.routes = routes
    app.add_exception_handler(FastZeroError, _answer_own)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(StarletteHTTPException, _answer_http)


def documented(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route answers with, for the OpenAPI document."""
    return {code: {"model": schemas.Problem, "description": _DESCRIPTIONS[code]} for code in codes}


# What any request may be answered with.
BOUNDS = (408, 413, 414, 431, 503)

_DESCRIPTIONS = {
    401: "No token, or one that does not hold; no such login",
    403: "Not allowed: another's account, a wrong current password, or sign-up is closed",
    404: "Not there, or another's",
    408: "The body did not come in time",
    409: "Taken",
    413: "The body is too large",
    414: "The address is too long",
    429: "Too many failed logins: wait",
    431: "Too many headers",
    503: "The database is not available: try again",
}


def answer(code: int, detail: Any, headers: dict[str, str] | None = None) -> Response:
    """An error as the client gets it. Escaped to ASCII: what clients send back at them may not even be Unicode."""
    return Response(json.dumps({"detail": detail}), code, headers, "application/json")


async def _answer_own(request: Request, error: Exception) -> Response:
    assert isinstance(error, FastZeroError)
    log_refusal(request.scope, error)
    match error:
        case InvalidInputError():
            place = "query" if request.method == "GET" else "body"
            invalid = {"type": "invalid_input", "loc": [place, *filter(None, [error.field])], "msg": error.message}
            return answer(error.http_status, [invalid])
        case errors.LoginThrottledError():
            return answer(error.http_status, error.message, {"Retry-After": str(error.retry_after)})
        case errors.AuthenticationError():
            return answer(error.http_status, error.message, {"WWW-Authenticate": "Bearer"})
        case FastZeroError() if error.http_status == status.HTTP_503_SERVICE_UNAVAILABLE:
            logs.unavailable(request.method, request.scope["path"], error.message, request.scope.get(REQUEST_ID, "-"))
            return answer(error.http_status, _detail(error), {"Retry-After": RETRY_AFTER})
        case FastZeroError() if error.http_status < status.HTTP_500_INTERNAL_SERVER_ERROR:
            return answer(error.http_status, _detail(error))
    raise error


def _detail(error: FastZeroError) -> str:
    return next((_DETAILS[kind] for kind in type(error).__mro__ if kind in _DETAILS), error.message)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    try:
        return answer(status.HTTP_422_UNPROCESSABLE_CONTENT, [_shown(each) for each in error.errors()])
    except Exception as failure:
        raise failure from None  # what is invalid holds what was sent, which no log may show


def _shown(error: dict[str, Any]) -> dict[str, Any]:
    """An error in FastAPI's shape; what was sent, and why it is wrong, only where that is JSON without a password."""
    shown = {name: error[name] for name in ("type", "loc", "msg")}
    if "password" in error["loc"] or error["loc"] == ("body",):  # a whole body may hold a password under no name
        return shown
    # The reason of a core's error is its message.
    more = ("input",) if error["type"] == "invalid_input" else ("input", "ctx")
    return shown | {name: error[name] for name in more if name in error and _may_be_shown(error[name])}


def _may_be_shown(sent: Any, depth: int = 0) -> bool:
    match sent:
        case dict() | list() if depth == SHOWN_DEPTH:
            return False  # Python itself can neither walk nor write what is nested hundreds of times
        case dict():
            return "password" not in sent and all(_may_be_shown(each, depth + 1) for each in sent.values())
        case list():
            return all(_may_be_shown(each, depth + 1) for each in sent)
        case float():
            return sent - sent == 0  # JSON has no infinity, and knows no NaN
    return isinstance(sent, str | int | bool | None)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    if error.status_code == status.HTTP_400_BAD_REQUEST:
        # FastAPI's for a body that is not even malformed JSON, or no form: invalid as any other.
        invalid = {"type": "body_invalid", "loc": ["body"], "msg": error.detail}
        return answer(status.HTTP_422_UNPROCESSABLE_CONTENT, [invalid])
    headers = dict(error.headers or {})
    if error.status_code == status.HTTP_405_METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    return answer(error.status_code, error.detail, headers)


def _allowed(request: Request) -> Sequence[str]:
    """The methods of every route of this path: Starlette names those of the first alone."""
    routes: Sequence[Route] = request.app.state.routes
    fitting = [route for route in routes if route.path_regex.match(request.scope["path"]) and route.include_in_schema]
    same_path = [route.methods or () for route in fitting if route.path == fitting[0].path]
    return sorted({method for methods in same_path for method in methods} or {"GET"})
