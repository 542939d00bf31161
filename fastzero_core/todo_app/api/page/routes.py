"""The routes of the page. A change answers a script with the board as it is now, and a plain form with a redirect."""

import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from .... import errors
from ....errors import FastZeroError, InvalidInputError, InvalidTokenError
from ... import due, validate
from ...fastzero import FastZero
from ...models import Priority, Todo, TodoFilters, TodoSort, TodoState
from ..auth import authenticate
from ..connection import END_STREAM
from ..deps import Anyone, Caller
from ..middleware import STREAMED
from ..problems import note
from ..routing import read_body_first
from ..schemas import Message
from ..security import SecurityEvent, security_event
from . import rendering, session
from .session import Changing, InSession
from .watching import Watching

SHOWN = 200  # todos of a column
COLUMNS = (TodoState.DRAFT, TodoState.TODO, TodoState.DOING, TodoState.DONE)
LIMITS = {"title": validate.TITLE_MAX, "description": validate.DESCRIPTION_MAX}
ZONE = "fastzero-zone"  # the cookie with the browser's time zone

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Field = Annotated[str, Form()]


@dataclass(frozen=True)
class Column:
    """The todos of one state that are shown. `more` says whether there are others."""

    state: TodoState
    todos: list[Todo]
    more: bool


@dataclass(frozen=True)
class View:
    """What of the board is shown: a search, a tag, and whether only overdue todos. `zone` is where days begin."""

    q: str = ""
    tag: str = ""
    overdue: bool = False
    zone: tzinfo = UTC

    def filters(self, state: TodoState) -> TodoFilters:
        """Return the filters of a column for the core."""
        tags = self.tag.replace(",", " ").split()
        return TodoFilters(states=[state], text=self.q.strip() or None, tags=tags, overdue=self.overdue)


async def _view(request: Request) -> View:
    given = request.query_params if request.method in session.SAFE_METHODS else await request.form()
    q, tag = (str(given.get(name, ""))[:200] for name in ("q", "tag"))
    return View(q, tag, "overdue" in given, _zone(request))


def _zone(request: Request) -> tzinfo:
    """Return where days begin and end; UTC if the browser did not say it, or names something else."""
    try:
        return due.zone(request.cookies.get(ZONE, "UTC"))
    except InvalidInputError:
        return UTC


Shown = Annotated[View, Depends(_view)]


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
async def root(request: Request) -> Any:
    """Return a greeting. A browser gets the board instead."""
    if "text/html" not in request.headers.get("accept", ""):
        return Message(message="Olá Mundo!")
    try:
        response = await _page(request, session.caller_of(request), await _view(request))
    except FastZeroError as error:
        return _refused(request, error)
    rendering.choose_language(response, request.query_params.get("lang", ""))
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
async def board(request: Request, caller: InSession, view: Shown) -> Response:
    return await _board(request, caller, view)


@router.get("/board/events")
async def events(request: Request, caller: InSession) -> Response:
    """Tell a window that todos have changed, as long as it is open."""
    user_id = caller.identity.user_id
    await caller.run(lambda fz: fz.users_for(caller.identity).confirm())
    watching: Watching = request.app.state.watching
    watching.require_room(user_id)

    async def stream() -> AsyncIterator[bytes]:
        with watching.window(user_id) as window:
            request.scope[END_STREAM] = window.end
            async for event in window.events():
                yield event

    request.scope[STREAMED] = time.perf_counter()
    return StreamingResponse(stream(), media_type="text/event-stream")


@router.post("/board/todos")
async def add(request: Request, caller: Changing, view: Shown, title: Field = "", state: Field = "todo") -> Response:
    await caller.run(lambda fz: fz.todos(caller.identity).add(title, state=state))
    return await _changed(request, caller, view)


@router.get("/board/todos/{id}")
async def edit_form(request: Request, caller: InSession, view: Shown, id: int) -> Response:
    todo = await caller.run(lambda fz: fz.todos(caller.identity).get(id))
    choices: dict[str, Any] = {"states": TodoState, "priorities": Priority, "due": due_text(todo, view.zone)}
    return rendering.html(request, _whole(request, "todo"), todo=todo, **choices, **_session_values(caller))


@router.post("/board/todos/{id}")
async def edit(
    request: Request,
    caller: Changing,
    view: Shown,
    id: int,
    title: Field = "",
    description: Field = "",
    state: Field = "todo",
    priority: Field = "none",
    due_on: Annotated[str, Form(alias="due")] = "",
    tags: Field = "",
) -> Response:
    await caller.run(
        lambda fz: fz.todos(caller.identity, time_zone=view.zone).edit(
            id,
            title=title,
            description=description.replace("\r\n", "\n"),
            state=state,
            priority=priority,
            due=due_on.strip() or "none",
            tags=tags.replace(",", " ").split(),
        )
    )
    return await _changed(request, caller, view)


@router.post("/board/todos/{id}/move")
async def move(request: Request, caller: Changing, view: Shown, id: int, state: Field) -> Response:
    await caller.run(lambda fz: fz.todos(caller.identity).move(id, to=state))
    return await _changed(request, caller, view)


@router.post("/board/undo")
async def undo(request: Request, caller: Changing, view: Shown) -> Response:
    await caller.run(lambda fz: fz.history(caller.identity).undo(), slow=True)
    return await _changed(request, caller, view)


@router.post("/board/redo")
async def redo(request: Request, caller: Changing, view: Shown) -> Response:
    await caller.run(lambda fz: fz.history(caller.identity).redo(), slow=True)
    return await _changed(request, caller, view)


# -- responses -------------------------------------------------------------------------------------------------


async def _page(request: Request, caller: Caller, view: View) -> Response:
    columns = await caller.run(lambda fz: _columns(fz, caller, view))
    values = _board_values(view) | _session_values(caller)
    return rendering.html(request, "board_page.html", columns=columns, view=view, **values)


async def _board(request: Request, caller: Caller, view: View) -> Response:
    columns = await caller.run(lambda fz: _columns(fz, caller, view))
    return rendering.html(request, "board.html", columns=columns, view=view, **_board_values(view))


async def _changed(request: Request, caller: Caller, view: View) -> Response:
    """Answer a change with the board."""
    if not rendering.is_fragment(request):
        return RedirectResponse("/", 303)
    response = await _board(request, caller, view)
    response.headers["HX-Trigger"] = "saved"
    return response


def _columns(fz: FastZero, caller: Caller, view: View) -> list[Column]:
    todos = fz.todos(caller.identity, time_zone=view.zone)
    columns = []
    for state in COLUMNS:
        done = state is TodoState.DONE
        order = TodoSort.UPDATED if done else TodoSort.POSITION
        found = todos.list(**view.filters(state), sort=order, descending=done, limit=SHOWN + 1)
        columns.append(Column(state, found[:SHOWN], len(found) > SHOWN))
    return columns


def due_text(todo: Todo, zone: tzinfo) -> str:
    """Return when a todo is due, as users may type it: a day, or a day and a time in `zone`."""
    match todo.due:
        case None:
            return ""
        case datetime():
            return todo.due.astimezone(zone).strftime("%Y-%m-%d %H:%M")
    return todo.due.isoformat()


def _is_overdue(todo: Todo) -> bool:
    return todo.state is not TodoState.DONE and todo.due_at is not None and todo.due_at < datetime.now(UTC)


def _board_values(view: View) -> dict[str, Any]:
    return {"shown": SHOWN, "due_of": lambda todo: due_text(todo, view.zone), "is_overdue": _is_overdue}


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
        case errors.NotFoundError():
            return error.http_status, texts["no_more"]
        case errors.ConflictError():
            return error.http_status, texts["conflict"]
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
