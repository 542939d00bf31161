"""Routes for the history of the caller's todos."""

from collections.abc import Callable

from fastapi import APIRouter

from ..fastzero import FastZero
from ..results import Entry
from . import schemas
from .deps import Caller, GivenOnce, WithToken
from .problems import BOUNDS, documented
from .routing import OrderedRoute
from .users import Limit

router = APIRouter(prefix="/history", tags=["history"], route_class=OrderedRoute, responses=documented(401, *BOUNDS))


@router.get("/", dependencies=[GivenOnce], responses=documented(404))
async def list_history(caller: WithToken, limit: Limit = 20, list: schemas.InList = None) -> schemas.History:
    """List what was changed, the newest first, whatever it was changed with: in your lists, or by you in `list`."""
    return schemas.History.of(await caller.run(lambda fz: fz.history(caller.identity, list=list).log(limit)))


@router.post("/undo", responses=documented(403, 404, 409))
async def undo(caller: WithToken, chosen: schemas.Steps) -> schemas.History:
    """Undo the last changes that you made, all or none; with `list` those in it.

    409 if a todo was changed in another way since.
    """
    return await _exchange(caller, lambda fz: fz.history(caller.identity, list=chosen.list).undo(chosen.steps))


@router.post("/redo", responses=documented(403, 404, 409))
async def redo(caller: WithToken, chosen: schemas.Steps) -> schemas.History:
    """Redo the changes that were undone last, all or none. A new change ends what can be redone."""
    return await _exchange(caller, lambda fz: fz.history(caller.identity, list=chosen.list).redo(chosen.steps))


async def _exchange(caller: Caller, operation: Callable[[FastZero], list[Entry]]) -> schemas.History:
    return schemas.History.of(await caller.run(operation, slow=True))
