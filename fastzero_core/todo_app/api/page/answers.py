"""What the routes of the page share: they answer in HTML, errors included, and refuse what other sites' pages send."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from .... import errors
from ....errors import FastZeroError, InvalidInputError, InvalidTokenError
from ... import validate
from ..deps import Caller
from ..problems import note
from ..routing import read_body_first
from . import rendering, session

LISTS = "/board/lists"
LIMITS = {"title": validate.TITLE_MAX, "description": validate.DESCRIPTION_MAX, "name": validate.LIST_NAME_MAX}
# Where a problem is shown: the rest of a page cannot be reached while a dialog is open.
PROBLEM = "body:not(:has(dialog[open])) #problem, dialog[open] #dialog-problem"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Field = Annotated[str, Form()]


class PageRoute(APIRoute):
    """A route that answers in HTML, errors included, and refuses changes that another site's page sends."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        if self.body_field is not None:
            handle = read_body_first(handle)
        needs_session = any(needed.call in session.DEPENDENCIES for needed in self.dependant.dependencies)

        async def answer(request: Request) -> Response:
            try:
                if request.method not in session.SAFE_METHODS:
                    session.refuse_foreign(request)
                if needs_session:
                    session.caller_of(request)
                response = await handle(request)
            except (FastZeroError, RequestValidationError, HTTPException) as error:
                return refused(request, error)
            session.extend(request, response)
            return response

        return answer


def session_values(caller: Caller) -> dict[str, Any]:
    return {"proof": session.proof_of(caller), "proof_header": session.PROOF}


def whole(request: Request, template: str) -> str:
    return f"{template}.html" if rendering.is_fragment(request) else f"{template}_page.html"


def redirect(request: Request, address: str) -> Response:
    """Send the browser to another page; a script cannot follow a redirect for its page."""
    if rendering.is_fragment(request):
        return Response(status_code=200, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def refused(request: Request, error: Exception) -> Response:
    """Answer an error: a session that is over leads to the login, others are told."""
    if isinstance(error, FastZeroError):
        note(request, error)
    if isinstance(error, InvalidTokenError):
        response = redirect(request, "/login")
        session.end(request, response)
        return response
    code, problem = _told(request, error)
    if request.scope["path"] == "/login":
        return rendering.html(request, "login.html", code, problem=problem)
    response = rendering.html(request, whole(request, "problem"), code, problem=problem)
    response.headers["HX-Retarget"] = PROBLEM
    response.headers["HX-Reswap"] = "innerHTML"
    return response


def _told(request: Request, error: Exception) -> tuple[int, str]:
    """Return the status and the message of an error, in the language of the request."""
    texts = rendering.texts_of(request)
    of_list = request.scope["path"].startswith(LISTS)
    match error:
        case errors.LoginThrottledError():
            return error.http_status, texts["login_throttled"].format(seconds=error.retry_after)
        case errors.LoginRefusedError():
            return error.http_status, texts["login_refused"]
        case errors.ListRoleError():
            return error.http_status, texts["list_role" if of_list else "read_only"]
        case errors.ListNotFoundError():
            return error.http_status, texts["list_not_found"]
        case errors.ListNameTakenError():
            return error.http_status, texts["list_name_taken"]
        case errors.NotAllowedError():
            return 403, texts["foreign"]
        case errors.TodoNotFoundError():
            return error.http_status, texts["not_found"]
        case errors.UserNotFoundError():
            return error.http_status, texts["user_not_found"]
        case errors.NotFoundError():
            return error.http_status, texts["no_more"]
        case errors.LimitReachedError():
            return error.http_status, texts["limit_reached"].format(limit=error.limit)
        case errors.ConflictError():
            return error.http_status, texts["own_list" if of_list else "conflict"]
        case InvalidInputError() if error.field in LIMITS:
            return error.http_status, texts[f"invalid_{error.field}"].format(limit=LIMITS[error.field])
        case FastZeroError() if error.http_status == 503:
            return error.http_status, texts["busy"]
        case FastZeroError() if error.http_status < 500:
            return error.http_status, error.message
        case RequestValidationError():
            return 422, texts["failed"]
        case HTTPException():
            return error.status_code, texts["failed"]
    raise error
