"""The routes of the page. A change answers a script with the board as it is now, and a plain form with a redirect."""

import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from ....errors import FastZeroError, InvalidInputError
from ... import due, validate
from ...fastzero import FastZero
from ...history import History
from ...models import ListInfo, Priority, Todo, TodoFilters, TodoSort, TodoState
from ...todos import Todos
from ..auth import authenticate
from ..connection import END_STREAM
from ..deps import Anyone, Caller
from ..middleware import STREAMED
from ..schemas import LIST_KEY_MAX, Message
from ..security import SecurityEvent, security_event
from . import rendering, session
from .answers import Field, PageRoute, redirect, refused, session_values, whole
from .session import Changing, InSession
from .watching import Watching, channel_of

SHOWN = 200  # todos of a column
COLUMNS = (TodoState.DRAFT, TodoState.TODO, TodoState.DOING, TodoState.DONE)
LIMITS = {"title": validate.TITLE_MAX, "description": validate.DESCRIPTION_MAX}
ZONE = "fastzero-zone"  # the cookie with the browser's time zone

Beside = Annotated[int | None, Form()]  # another todo, for the order made by hand


@dataclass(frozen=True)
class Column:
    """The todos of one state that are shown. `more` says whether there are others."""

    state: TodoState
    todos: list[Todo]
    more: bool


@dataclass(frozen=True)
class View:
    """What of the board is shown: a list or all own ones, a search, a tag, and whether only overdue todos.

    `zone` is where days begin.
    """

    q: str = ""
    tag: str = ""
    overdue: bool = False
    zone: tzinfo = UTC
    list: str = ""

    @property
    def query(self) -> str:
        """The end of addresses for the same list."""
        return f"?list={quote(self.list, safe='')}" if self.list else ""

    def chosen(self, lists: Iterable[ListInfo]) -> ListInfo | None:
        """Return the list that is shown. The page names it by its id."""
        return next((each for each in lists if str(each.id) == self.list), None)

    def todos(self, fz: FastZero, caller: Caller) -> Todos:
        return fz.todos(caller.identity, list=self.list or None, time_zone=self.zone)

    def history(self, fz: FastZero, caller: Caller) -> History:
        return fz.history(caller.identity, list=self.list or None)

    def filters(self, state: TodoState) -> TodoFilters:
        """Return the filters of a column for the core."""
        tags = self.tag.replace(",", " ").split()
        return TodoFilters(states=[state], text=self.q.strip() or None, tags=tags, overdue=self.overdue)


async def _view(request: Request) -> View:
    given = request.query_params if request.method in session.SAFE_METHODS else await request.form()
    q, tag = (str(given.get(name, ""))[:200] for name in ("q", "tag"))
    place = str(given.get("list", "")) or request.query_params.get("list", "")
    return View(q, tag, "overdue" in given, _zone(request), place[:LIST_KEY_MAX])


def _zone(request: Request) -> tzinfo:
    """Return where days begin and end; UTC if the browser did not say it, or names something else."""
    try:
        return due.zone(request.cookies.get(ZONE, "UTC"))
    except InvalidInputError:
        return UTC


Shown = Annotated[View, Depends(_view)]


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
        return refused(request, error)
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
    response = redirect(request, "/login")
    session.end(request, response)
    return response


@router.get("/board")
async def board(request: Request, caller: InSession, view: Shown) -> Response:
    return await _board(request, caller, view)


@router.get("/board/events")
async def events(request: Request, caller: InSession, view: Shown) -> Response:
    """Tell a window that todos that it may show have changed, as long as it is open."""
    user_id = caller.identity.user_id
    await caller.run(lambda fz: fz.users_for(caller.identity).confirm())
    channel = await caller.run(lambda fz: channel_of(view.todos(fz, caller)))
    watching: Watching = request.app.state.watching
    watching.require_room(user_id)

    async def stream() -> AsyncIterator[bytes]:
        with watching.window(user_id, channel) as window:
            request.scope[END_STREAM] = window.end
            async for event in window.events():
                yield event

    request.scope[STREAMED] = time.perf_counter()
    return StreamingResponse(stream(), media_type="text/event-stream")


@router.post("/board/todos")
async def add(request: Request, caller: Changing, view: Shown, title: Field = "", state: Field = "todo") -> Response:
    await caller.run(lambda fz: view.todos(fz, caller).add(title, state=state))
    return await _changed(request, caller, view)


@router.get("/board/todos/{id}")
async def edit_form(request: Request, caller: InSession, view: Shown, id: int) -> Response:
    todo, read_only, own_lists = await caller.run(lambda fz: _todo(fz, caller, view, id))
    choices: dict[str, Any] = {"states": TodoState, "priorities": Priority, "due": due.as_typed(todo.due, view.zone)}
    choices |= {"view": view, "read_only": read_only, "own_lists": own_lists}
    choices["fragment"] = rendering.is_fragment(request)
    return rendering.html(request, whole(request, "todo"), todo=todo, **choices, **session_values(caller))


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
    to_list: Field = "",
) -> Response:
    await caller.run(
        lambda fz: view.todos(fz, caller).edit(
            id,
            title=title,
            description=description.replace("\r\n", "\n"),
            state=state,
            priority=priority,
            due=due_on.strip() or "none",
            tags=tags.replace(",", " ").split(),
            list=to_list or None,
        )
    )
    return await _changed(request, caller, view)


@router.post("/board/todos/{id}/move")
async def move(
    request: Request, caller: Changing, view: Shown, id: int, state: Field, before: Beside = None, after: Beside = None
) -> Response:
    def moved(fz: FastZero) -> None:
        todos = view.todos(fz, caller)
        todos.move(id, to=state)
        if before or after:
            todos.place(id, before=before, after=after)

    await caller.run(moved)
    return await _changed(request, caller, view)


@router.post("/board/undo")
async def undo(request: Request, caller: Changing, view: Shown) -> Response:
    await caller.run(lambda fz: view.history(fz, caller).undo(), slow=True)
    return await _changed(request, caller, view)


@router.post("/board/redo")
async def redo(request: Request, caller: Changing, view: Shown) -> Response:
    await caller.run(lambda fz: view.history(fz, caller).redo(), slow=True)
    return await _changed(request, caller, view)


# -- responses -------------------------------------------------------------------------------------------------


async def _page(request: Request, caller: Caller, view: View) -> Response:
    board, lists = await caller.run(lambda fz: (_read(fz, caller, view), fz.lists(caller.identity).list()))
    values = board | _board_values(view) | session_values(caller)
    values |= {"lists": lists, "chosen": view.chosen(lists), "me": caller.identity.user_id}
    values |= {"list": view.list, "told": ""}
    return rendering.html(request, "board_page.html", view=view, **values)


async def _board(request: Request, caller: Caller, view: View) -> Response:
    board = await caller.run(lambda fz: _read(fz, caller, view))
    return rendering.html(request, "board.html", view=view, **board, **_board_values(view))


async def _changed(request: Request, caller: Caller, view: View) -> Response:
    """Answer a change with the board."""
    if not rendering.is_fragment(request):
        return RedirectResponse(f"/{view.query}", 303)
    response = await _board(request, caller, view)
    response.headers["HX-Trigger"] = "saved"
    return response


def _read(fz: FastZero, caller: Caller, view: View) -> dict[str, Any]:
    """Return the columns of the board, and whether the user may only read them."""
    todos = view.todos(fz, caller)
    columns = []
    for state in COLUMNS:
        done = state is TodoState.DONE
        order = TodoSort.UPDATED if done else TodoSort.POSITION
        found = todos.list(**view.filters(state), sort=order, descending=done, limit=SHOWN + 1)
        columns.append(Column(state, found[:SHOWN], len(found) > SHOWN))
    return {"columns": columns, "read_only": todos.is_read_only}


def _todo(fz: FastZero, caller: Caller, view: View, id: int) -> tuple[Todo, bool, list[ListInfo]]:
    """Return a todo, whether the user may only read it, and the lists to which it can move."""
    todos = view.todos(fz, caller)
    me = caller.identity.user_id
    own = [each for each in fz.lists(caller.identity).list() if each.user_id == me] if todos.owner_id == me else []
    return todos.get(id), todos.is_read_only, own


def _is_overdue(todo: Todo) -> bool:
    return todo.state is not TodoState.DONE and todo.due_at is not None and todo.due_at < datetime.now(UTC)


def _board_values(view: View) -> dict[str, Any]:
    return {"shown": SHOWN, "due_of": lambda todo: due.as_typed(todo.due, view.zone), "is_overdue": _is_overdue}
