"""Routes for the history of the caller's todos."""

from fastapi import APIRouter

from . import schemas
from .deps import GivenOnce, WithToken
from .problems import BOUNDS, documented
from .routing import OrderedRoute
from .users import Limit

router = APIRouter(prefix="/history", tags=["history"], route_class=OrderedRoute, responses=documented(401, *BOUNDS))


@router.get("/", dependencies=[GivenOnce])
async def list_history(caller: WithToken, limit: Limit = 20) -> schemas.History:
    """List what you changed, the newest first, whatever it was changed with."""
    return schemas.History.of(await caller.run(lambda fz: fz.history(caller.identity).log(limit)))


@router.post("/undo", responses=documented(404, 409))
async def undo(caller: WithToken, chosen: schemas.Steps) -> schemas.History:
    """Undo the last changes, all or none. 409 if a todo was changed in another way since."""
    return schemas.History.of(await caller.run(lambda fz: fz.history(caller.identity).undo(chosen.steps), slow=True))


@router.post("/redo", responses=documented(404, 409))
async def redo(caller: WithToken, chosen: schemas.Steps) -> schemas.History:
    """Redo the changes that were undone last, all or none. A new change ends what can be redone."""
    return schemas.History.of(await caller.run(lambda fz: fz.history(caller.identity).redo(chosen.steps), slow=True))
