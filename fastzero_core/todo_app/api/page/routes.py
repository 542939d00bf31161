"""The routes of the page. A change answers a script with the board as it is now, and a plain form with a redirect."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from .... import errors
from ....errors import FastZeroError, InvalidInputError, InvalidTokenError
from ... import validate
from ...fastzero import FastZero
from ...models import Todo, TodoSort, TodoState
from ..auth import authenticate
from ..deps import Anyone, Caller
from ..problems import note
from ..routing import read_body_first
from ..schemas import Message
from ..security import SecurityEvent, security_event
from . import rendering, session
from .session import Changing, InSession

SHOWN = 200  # todos of a column
COLUMNS = (TodoState.DRAFT, TodoState.TODO, TodoState.DOING, TodoState.DONE)
LIMITS = {"title": validate.TITLE_MAX, "description": validate.DESCRIPTION_MAX}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Text = Annotated[str, Query(max_length=200)]
Field = Annotated[str, Form()]


@dataclass(frozen=True)
class Column:
    """The todos of one state that are shown. `more` says whether there are others."""

    state: TodoState
    todos: list[Todo]
    more: bool


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
                return _refused(request, error)
            session.extend(request, response)
            return response

        return answer


router = APIRouter(route_class=PageRoute, include_in_schema=False)
greeting = APIRouter(tags=["health"])


@greeting.get("/", response_model=Message)
async def root(request: Request, lang: Annotated[str, Query(include_in_schema=False)] = "", q: Text = "") -> Any:
    """Return a greeting. A browser gets the board instead."""
    if "text/html" not in request.headers.get("accept", ""):
        return Message(message="Olá Mundo!")
    try:
        caller = session.caller_of(request)
        response = await _page(request, caller, q)
    except InvalidTokenError as error:
        return _refused(request, error)
    rendering.choose_language(response, lang)
    session.extend(request, response)
    return response


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    return rendering.static(request, name)


@router.get("/login")
async def login_form(request: Request, lang: str = "") -> Response:
    response = rendering.html(request, "login.html", problem="")
    rendering.choose_language(response, lang)
    return response


@router.post("/login")
async def log_in(request: Request, visitor: Anyone, username: Field = "", password: Field = "") -> Response:
    identity = await authenticate(visitor, username, password)
    response = RedirectResponse("/", 303)
    session.begin(request, response, visitor.tokens.issue(identity))
    return response


@router.post("/logout")
async def log_out(request: Request, caller: Changing) -> Response:
    """End the user's sessions everywhere, as the API does."""
    me = caller.identity
    await caller.run(lambda fz: fz.users_for(me).void_tokens(me.user_id))
    security_event(caller.scope, SecurityEvent.LOGOUT)
    response = _redirect(request, "/login")
    session.end(request, response)
    return response


@router.get("/board")
async def board(request: Request, caller: InSession, q: Text = "") -> Response:
    return await _board(request, caller, q)


@router.post("/board/todos")
async def add(request: Request, caller: Changing, title: Field = "", state: Field = "todo", q: Field = "") -> Response:
    await caller.run(lambda fz: fz.todos(caller.identity).add(title, state=state))
    return await _changed(request, caller, q)


@router.get("/board/todos/{id}")
async def edit_form(request: Request, caller: InSession, id: int) -> Response:
    todo = await caller.run(lambda fz: fz.todos(caller.identity).get(id))
    return rendering.html(request, _whole(request, "todo"), todo=todo, states=TodoState, **_session_values(caller))


@router.post("/board/todos/{id}")
async def edit(
    request: Request,
    caller: Changing,
    id: int,
    title: Field = "",
    description: Field = "",
    state: Field = "todo",
    q: Field = "",
) -> Response:
    changes = {"title": title, "description": description.replace("\r\n", "\n"), "state": state}
    await caller.run(lambda fz: fz.todos(caller.identity).edit(id, **changes))
    return await _changed(request, caller, q)


@router.post("/board/todos/{id}/move")
async def move(request: Request, caller: Changing, id: int, state: Field, q: Field = "") -> Response:
    await caller.run(lambda fz: fz.todos(caller.identity).move(id, to=state))
    return await _changed(request, caller, q)


# -- responses -------------------------------------------------------------------------------------------------


async def _page(request: Request, caller: Caller, q: str) -> Response:
    columns = await caller.run(lambda fz: _columns(fz, caller, q))
    return rendering.html(request, "board_page.html", columns=columns, q=q, shown=SHOWN, **_session_values(caller))


async def _board(request: Request, caller: Caller, q: str) -> Response:
    columns = await caller.run(lambda fz: _columns(fz, caller, q))
    return rendering.html(request, "board.html", columns=columns, q=q, shown=SHOWN)


async def _changed(request: Request, caller: Caller, q: str) -> Response:
    """Answer a change with the board."""
    if not rendering.is_fragment(request):
        return RedirectResponse("/", 303)
    response = await _board(request, caller, q)
    response.headers["HX-Trigger"] = "saved"
    return response


def _columns(fz: FastZero, caller: Caller, q: str) -> list[Column]:
    todos = fz.todos(caller.identity)
    columns = []
    for state in COLUMNS:
        order = TodoSort.UPDATED if state is TodoState.DONE else TodoSort.ID
        newest = state is TodoState.DONE
        found = todos.list(states=[state], text=q.strip() or None, sort=order, descending=newest, limit=SHOWN + 1)
        columns.append(Column(state, found[:SHOWN], len(found) > SHOWN))
    return columns


def _session_values(caller: Caller) -> dict[str, Any]:
    return {"proof": session.proof_of(caller), "proof_header": session.PROOF}


def _whole(request: Request, template: str) -> str:
    return f"{template}.html" if rendering.is_fragment(request) else f"{template}_page.html"


def _redirect(request: Request, address: str) -> Response:
    """Send the browser to another page; a script cannot follow a redirect for its page."""
    if rendering.is_fragment(request):
        return Response(status_code=200, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def _refused(request: Request, error: Exception) -> Response:
    """Answer an error: a session that is over leads to the login, others are told."""
    if isinstance(error, FastZeroError):
        note(request, error)
    if isinstance(error, InvalidTokenError):
        response = _redirect(request, "/login")
        session.end(request, response)
        return response
    code, problem = _told(request, error)
    if request.scope["path"] == "/login":
        return rendering.html(request, "login.html", code, problem=problem)
    response = rendering.html(request, _whole(request, "problem"), code, problem=problem)
    response.headers["HX-Retarget"] = "#problem"
    response.headers["HX-Reswap"] = "innerHTML"
    return response


def _told(request: Request, error: Exception) -> tuple[int, str]:
    """Return the status and the message of an error, in the language of the request."""
    texts = rendering.texts_of(request)
    match error:
        case errors.LoginThrottledError():
            return error.http_status, texts["login_throttled"].format(seconds=error.retry_after)
        case errors.LoginRefusedError():
            return error.http_status, texts["login_refused"]
        case errors.NotAllowedError():
            return 403, texts["foreign"]
        case errors.TodoNotFoundError():
            return error.http_status, texts["not_found"]
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
