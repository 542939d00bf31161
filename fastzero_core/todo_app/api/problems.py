"""Turn errors into responses: `{"detail": …}` with the documented messages, and FastAPI's shape for invalid input."""

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

# Messages that are part of the API's contract. Other errors use their own message.
_DETAILS: dict[type[FastZeroError], str] = {
    errors.UsernameTakenError: "Username already exists",
    errors.EmailTakenError: "Email already exists",
    errors.UserNotFoundError: "User not found",
    errors.TodoNotFoundError: "Task not found.",
    errors.ListNotFoundError: "List not found",
    # Their own messages contain hosts, ports and roles.
    errors.UnavailableError: "The database is not available; try again in a moment",
    errors.BusyError: "The service is busy; try again in a moment",
    errors.SchemaError: "The database's schema does not match this version",
    errors.DatabaseLoginError: "The database is not available; try again in a moment",
    errors.DatabasePrivilegeError: "The database is not available; try again in a moment",
}


def install(app: FastAPI, routes: Sequence[Route]) -> None:
    """Add handlers for all errors to the app. `routes` are all its routes, for the methods that a path allows."""
    app.state.routes = routes
    app.add_exception_handler(FastZeroError, _answer_own)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(StarletteHTTPException, _answer_http)


def documented(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for the OpenAPI document."""
    return {code: {"model": schemas.Problem, "description": _DESCRIPTIONS[code]} for code in codes}


# Errors that any request can get.
BOUNDS = (408, 413, 414, 431, 503)

_DESCRIPTIONS = {
    401: "The token is missing or invalid, or the login failed",
    403: "Not allowed: the account belongs to another user, the current password is wrong, sign-up is closed, or your "
    "role in the list does not allow it",
    404: "It does not exist, or belongs to another user",
    408: "The body was not received in time",
    409: "It conflicts with what there is: a name or e-mail address is taken, or other todos match",
    413: "The body is too large",
    414: "The URL is too long",
    429: "Too many failed logins. Wait, then try again",
    431: "The headers are too many or too large",
    503: "The service is not available. Try again",
}


def answer(code: int, detail: Any, headers: dict[str, str] | None = None) -> Response:
    """Return an error response. It is escaped to ASCII, since input that it quotes may not be valid Unicode."""
    return Response(json.dumps({"detail": detail}), code, headers, "application/json")


def note(request: Request, error: FastZeroError) -> None:
    """Log what operators have to know of an error."""
    log_refusal(request.scope, error)
    if error.http_status == status.HTTP_503_SERVICE_UNAVAILABLE:
        logs.unavailable(request.method, request.scope["path"], error.message, request.scope.get(REQUEST_ID, "-"))


async def _answer_own(request: Request, error: Exception) -> Response:
    assert isinstance(error, FastZeroError)
    note(request, error)
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
        raise failure from None  # the original error contains the input, which must not be logged


def _shown(error: dict[str, Any]) -> dict[str, Any]:
    """Return an error in FastAPI's shape. The input and the reason are included only if they contain no password."""
    shown = {name: error[name] for name in ("type", "loc", "msg")}
    if "password" in error["loc"] or error["loc"] == ("body",):  # the body may contain a password under any name
        return shown
    # For errors of the core, the message is the reason.
    more = ("input",) if error["type"] == "invalid_input" else ("input", "ctx")
    return shown | {name: error[name] for name in more if name in error and _may_be_shown(error[name])}


def _may_be_shown(sent: Any, depth: int = 0) -> bool:
    match sent:
        case dict() | list() if depth == SHOWN_DEPTH:
            return False  # Python cannot serialize data that is nested hundreds of levels deep
        case dict():
            return "password" not in sent and all(_may_be_shown(each, depth + 1) for each in sent.values())
        case list():
            return all(_may_be_shown(each, depth + 1) for each in sent)
        case float():
            return sent - sent == 0  # false for infinity and NaN, which JSON does not have
    return isinstance(sent, str | int | bool | None)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    if error.status_code == status.HTTP_400_BAD_REQUEST:
        # FastAPI answers 400 if a body cannot be decoded as JSON or form; 422 is used for all invalid input.
        invalid = {"type": "body_invalid", "loc": ["body"], "msg": error.detail}
        return answer(status.HTTP_422_UNPROCESSABLE_CONTENT, [invalid])
    headers = dict(error.headers or {})
    if error.status_code == status.HTTP_405_METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    return answer(error.status_code, error.detail, headers)


def _allowed(request: Request) -> Sequence[str]:
    """Return the methods of all routes with this path. Starlette returns only those of the first."""
    routes: Sequence[Route] = request.app.state.routes
    fitting = [route for route in routes if route.path_regex.match(request.scope["path"]) and route.include_in_schema]
    same_path = [route.methods or () for route in fitting if route.path == fitting[0].path]
    return sorted({method for methods in same_path for method in methods} or {"GET"})
