"""Routes for the caller's todos."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from pydantic import TypeAdapter
from starlette import status

from ...errors import TodoNotFoundError
from ..models import Todo
from . import schemas
from .deps import GivenOnce, WithToken
from .problems import BOUNDS, documented
from .routing import OrderedRoute
from .users import After, BigInt, Limit, Offset

BULK_PATH = "/todos/bulk"
BULK_BODY_MAX = 512 * 1024  # bytes: indexing that much text takes about a second, most of the request's time

router = APIRouter(prefix="/todos", tags=["todos"], route_class=OrderedRoute, responses=documented(401, *BOUNDS))

Fragment = Annotated[str | None, Query(min_length=3, max_length=20, pattern=schemas.NO_NUL)]
States = Annotated[list[schemas.State] | None, Query()]

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


@router.post("/", status_code=status.HTTP_201_CREATED, response_model=schemas.TodoOut)
async def create_todo(caller: WithToken, new: schemas.TodoIn) -> Response:
    """Create a todo."""
    added = await caller.run(
        lambda fz: fz.todos(caller.identity).add(new.title, description=new.description, state=new.state)
    )
    return _one(added, status.HTTP_201_CREATED)


@router.get("/", response_model=schemas.TodoList, dependencies=[GivenOnce])
async def list_todos(
    caller: WithToken,
    title: Fragment = None,
    description: Fragment = None,
    state: States = None,
    after: After = 0,
    offset: Offset = 0,
    limit: Limit = 100,
) -> Response:
    """List your todos by id. `state` may be repeated; `title` and `description` match text in these fields."""
    todos = await caller.run(
        lambda fz: fz.todos(caller.identity).list(
            states=state or None,
            title=title,
            description=description,
            after=after or None,
            offset=offset,
            limit=limit,
        )
    )
    return _many(todos)


@router.post("/bulk", response_model=schemas.TodoList)
async def create_todos(caller: WithToken, bulk: schemas.Bulk) -> Response:
    """Create up to 1,000 todos, all or none. The body may have up to 512 KiB."""
    new = [todo.new() for todo in bulk.todos]
    return _many(await caller.run(lambda fz: fz.todos(caller.identity).add_many(new)))


@router.api_route("/bulk", methods=["GET", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def refuse_other_methods() -> None:
    """Answer 405 instead of treating `bulk` as an id."""
    raise HTTPException(status.HTTP_405_METHOD_NOT_ALLOWED)


@router.get("/{id}", response_model=schemas.TodoOut, responses=documented(404))
async def read_todo(caller: WithToken, id: TodoId) -> Response:
    """Return a todo."""
    return _one(await caller.run(lambda fz: fz.todos(caller.identity).get(id)))


@router.patch("/{id}", response_model=schemas.TodoOut, responses=documented(404))
async def change_todo(caller: WithToken, id: TodoId, changes: schemas.TodoChanges) -> Response:
    """Change the given fields of a todo."""
    given = changes.given()
    if not given:
        return await read_todo(caller, id)
    return _one(await caller.run(lambda fz: fz.todos(caller.identity).edit(id, **given)))


@router.delete("/{id}", responses=documented(404))
async def delete_todo(caller: WithToken, id: TodoId) -> schemas.Message:
    """Permanently delete a todo.

    To move it to the trash instead, from which it can be restored, change its state: PATCH with `{"state": "trash"}`.
    """
    await caller.run(lambda fz: fz.todos(caller.identity).remove(id))
    return schemas.Message(message="Task has been deleted successfully.")


def _one(todo: Todo, code: int = status.HTTP_200_OK) -> Response:
    return Json(_TODO.dump_json(todo, exclude={"user_id"}), code)


def _many(todos: list[Todo]) -> Response:
    return Json(b'{"todos":%b}' % _TODOS.dump_json(todos, exclude={"__all__": {"user_id"}}))
