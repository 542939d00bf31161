"""Routes for the caller's todos."""

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import TypeAdapter
from starlette import status

from ...errors import ConflictError, TodoNotFoundError
from ..models import Todo
from ..reports import DAYS_MAX
from ..todos import Todos
from . import schemas
from .deps import Caller, GivenOnce, WithToken
from .problems import BOUNDS, documented
from .queries import documented_query, query_of
from .routing import OrderedRoute
from .users import BigInt, Limit

Days = Annotated[int, Query(ge=1, le=DAYS_MAX, description="Up to today"), schemas.DIGITS]

BULK_PATH = "/todos/bulk"
BULK_BODY_MAX = 512 * 1024  # bytes: indexing that much text takes about a second, most of the request's time

T = TypeVar("T")

router = APIRouter(prefix="/todos", tags=["todos"], route_class=OrderedRoute, responses=documented(401, 404, *BOUNDS))

Filters = Annotated[schemas.Filters, Depends(query_of(schemas.Filters))]
Listing = Annotated[schemas.Listing, Depends(query_of(schemas.Listing))]
FILTERS, LISTING = documented_query(schemas.Filters), documented_query(schemas.Listing)

HIDDEN = {"user_id", "due_at", "position"}
_TODO = TypeAdapter(Todo)
_TODOS = TypeAdapter(list[Todo])


async def _todo_id(id: BigInt) -> int:
    if id < 1:
        raise TodoNotFoundError([id])
    return id


TodoId = Annotated[int, Depends(_todo_id)]


class Json(Response):
    """JSON that is already serialized: data from the database is not validated again."""

    media_type = "application/json"


@router.post("/", status_code=status.HTTP_201_CREATED, response_model=schemas.TodoOut, responses=documented(403))
async def create_todo(
    caller: WithToken, new: schemas.TodoIn, time_zone: schemas.Zone = None, list: schemas.InList = None
) -> Response:
    """Create a todo, in the inbox or in `list`."""
    [added] = await _run(caller, time_zone, list, lambda todos: todos.add_many([new.new()]))
    return _one(added, status.HTTP_201_CREATED)


@router.get("/", response_model=schemas.TodoList, openapi_extra=LISTING)
async def list_todos(caller: WithToken, query: Listing) -> Response:
    """List your todos by id, or those of `list`.

    `state`, `priority` and `tag` may be repeated; texts match anywhere in their fields.
    """
    found = await _run(
        caller,
        query.zone,
        query.list,
        lambda todos: todos.list(
            sort=query.sort,
            descending=query.descending,
            after=query.after or None,
            offset=query.offset,
            limit=query.limit,
            **query.filters(),
        ),
    )
    return _many(found)


@router.patch("/", responses=documented(403, 409), openapi_extra=FILTERS)
async def change_matching_todos(caller: WithToken, query: Filters, changes: schemas.MatchingChanges) -> schemas.Changed:
    """Change all of your todos that match, in one statement: all or none. Count them first."""
    given = changes.given()
    if not given:
        return schemas.Changed(changed=0)
    changed = await _run(
        caller,
        query.zone,
        query.list,
        lambda todos: todos.edit_matching(given, expected=changes.expected, **query.filters()),
    )
    return schemas.Changed(changed=changed)


@router.get("/count", openapi_extra=FILTERS)
async def count_todos(caller: WithToken, query: Filters) -> schemas.Count:
    """Count your todos that match."""
    count = await _run(caller, query.zone, query.list, lambda todos: todos.count(**query.filters()))
    return schemas.Count(count=count)


@router.get("/next", response_model=schemas.TodoList, dependencies=[GivenOnce])
async def list_next_todos(caller: WithToken, limit: Limit = 10, list: schemas.InList = None) -> Response:
    """List your todos to work on: overdue ones first, then by due, then by priority."""
    return _many(await _run(caller, None, list, lambda todos: todos.next(limit)))


@router.get("/stats", dependencies=[GivenOnce])
async def read_stats(
    caller: WithToken, days: Days = 14, time_zone: schemas.Zone = None, list: schemas.InList = None
) -> schemas.Stats:
    """Return statistics of your todos, or of those of `list`: by state, tag and day."""
    found = await _run(caller, time_zone, list, lambda todos: todos.stats(days))
    return schemas.Stats.model_validate(found, from_attributes=True)


@router.post("/bulk", response_model=schemas.TodoList, responses=documented(403))
async def create_todos(
    caller: WithToken, bulk: schemas.Bulk, time_zone: schemas.Zone = None, list: schemas.InList = None
) -> Response:
    """Create up to 1,000 todos, all or none. The body may have up to 512 KiB."""
    new = [todo.new() for todo in bulk.todos]
    return _many(await _run(caller, time_zone, list, lambda todos: todos.add_many(new)))


@router.api_route("/bulk", methods=["GET", "PUT", "PATCH", "DELETE"], include_in_schema=False)
@router.api_route("/import", methods=["GET", "PUT", "PATCH", "DELETE"], include_in_schema=False)
@router.api_route("/export", methods=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
@router.api_route("/count", methods=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
@router.api_route("/stats", methods=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
@router.api_route("/next", methods=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def refuse_other_methods() -> None:
    """Answer 405 instead of treating the last part of the path as an id."""
    raise HTTPException(status.HTTP_405_METHOD_NOT_ALLOWED)


@router.get("/{id}", response_model=schemas.TodoOut)
async def read_todo(caller: WithToken, id: TodoId, list: schemas.InList = None) -> Response:
    """Return a todo."""
    return _one(await _run(caller, None, list, lambda todos: todos.get(id)))


@router.patch("/{id}", response_model=schemas.TodoOut, responses=documented(403, 409))
async def change_todo(
    caller: WithToken,
    id: TodoId,
    changes: schemas.TodoChanges,
    time_zone: schemas.Zone = None,
    list: schemas.InList = None,
) -> Response:
    """Change the given fields of a todo."""
    given = changes.given()
    if not given:
        return await read_todo(caller, id, list)
    return _one(await _run(caller, time_zone, list, lambda todos: todos.edit(id, **given)))


@router.put("/{id}/place", response_model=schemas.TodoOut, responses=documented(403, 409))
async def place_todo(caller: WithToken, id: TodoId, place: schemas.Place, list: schemas.InList = None) -> Response:
    """Place a todo directly before or after another one of its state, in the order of `sort=position`."""
    beside = {place.side: place.other}
    try:
        return _one(await _run(caller, None, list, lambda todos: todos.place(id, **beside)))
    except TodoNotFoundError as error:
        if id in error.ids:
            raise
        raise ConflictError(error.message) from error


@router.delete("/{id}", responses=documented(403))
async def delete_todo(caller: WithToken, id: TodoId, list: schemas.InList = None) -> schemas.Message:
    """Permanently delete a todo.

    To move it to the trash instead, from which it can be restored, change its state: PATCH with `{"state": "trash"}`.
    """
    await _run(caller, None, list, lambda todos: todos.remove(id))
    return schemas.Message(message="Task has been deleted successfully.")


async def _run(caller: Caller, zone: str | tzinfo | None, place: str | None, operation: Callable[[Todos], T]) -> T:
    """Run an operation on the caller's todos, or those of the list `place`. `zone` is where days begin and end."""
    where = zone if isinstance(zone, tzinfo) else UTC
    return await caller.run(lambda fz: operation(fz.todos(caller.identity, list=place, time_zone=where)))


def _one(todo: Todo, code: int = status.HTTP_200_OK) -> Response:
    return Json(_TODO.dump_json(todo, exclude=HIDDEN), code)


def _many(todos: list[Todo]) -> Response:
    return Json(b'{"todos":%b}' % _TODOS.dump_json(todos, exclude={"__all__": HIDDEN}))
