"""Routes for the caller's lists, those shared with the caller, and their members."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette import status

from ...errors import ListNotFoundError
from ..models import ListInfo
from . import list_schemas, schemas
from .deps import GivenOnce, WithToken
from .problems import BOUNDS, documented
from .routing import OrderedRoute
from .security import SecurityEvent, member_event, shared_event
from .users import BigInt

router = APIRouter(prefix="/lists", tags=["lists"], route_class=OrderedRoute, responses=documented(401, *BOUNDS))


async def _list_id(id: BigInt) -> int:
    if id < 1:
        raise ListNotFoundError(f"list {id} does not exist")
    return id


ListId = Annotated[int, Depends(_list_id)]
Username = Annotated[str, Path(max_length=200, pattern=schemas.NO_NUL, description="A username or an id")]


@router.get("/", dependencies=[GivenOnce])
async def list_lists(caller: WithToken) -> list_schemas.Lists:
    """List your own lists, then those shared with you."""
    found = await caller.run(lambda fz: fz.lists(caller.identity).list())
    return list_schemas.Lists(lists=[_shown(each) for each in found])


@router.post("/", status_code=status.HTTP_201_CREATED, responses=documented(409))
async def create_list(caller: WithToken, new: list_schemas.ListIn) -> list_schemas.ListOut:
    """Create a list."""
    return _shown(await caller.run(lambda fz: fz.lists(caller.identity).add(new.name)))


@router.get("/{id}", responses=documented(404))
async def read_list(caller: WithToken, id: ListId) -> list_schemas.ListOut:
    """Return a list of yours, or one that is shared with you."""
    return _shown(await caller.run(lambda fz: fz.lists(caller.identity).get(id)))


@router.patch("/{id}", responses=documented(403, 404, 409))
async def rename_list(caller: WithToken, id: ListId, new: list_schemas.ListIn) -> list_schemas.ListOut:
    """Give a list another name. Requires the role owner."""
    return _shown(await caller.run(lambda fz: fz.lists(caller.identity).rename(id, new.name)))


@router.delete("/{id}", responses=documented(403, 404))
async def delete_list(caller: WithToken, id: ListId) -> list_schemas.Trashed:
    """Delete a list of yours. Its todos go to the trash; undo takes them out again, into the inbox."""
    trashed = await caller.run(lambda fz: fz.lists(caller.identity).remove(id), slow=True)
    return list_schemas.Trashed(trashed=trashed)


@router.get("/{id}/members", responses=documented(404))
async def list_members(caller: WithToken, id: ListId) -> list_schemas.Members:
    """List the members of a list by username, without the user whose list it is."""
    found = await caller.run(lambda fz: fz.lists(caller.identity).members(id))
    return list_schemas.Members.model_validate({"members": found}, from_attributes=True)


@router.put("/{id}/members/{user}", responses=documented(403, 404, 409))
async def share_list(
    caller: WithToken, id: ListId, user: Username, chosen: list_schemas.RoleIn
) -> list_schemas.MemberOut:
    """Share a list with a user, or give a member another role. Requires the role owner."""
    member = await caller.run(lambda fz: fz.lists(caller.identity).share(id, user, chosen.role))
    shared_event(caller.scope, id, member)
    return list_schemas.MemberOut.model_validate(member, from_attributes=True)


@router.delete("/{id}/members/{user}", responses=documented(403, 404))
async def unshare_list(caller: WithToken, id: ListId, user: Username) -> list_schemas.MemberOut:
    """End a membership: yours, or with the role owner anybody's."""
    member = await caller.run(lambda fz: fz.lists(caller.identity).unshare(id, user))
    member_event(caller.scope, SecurityEvent.LIST_UNSHARED, id, member.id, member.role)
    return list_schemas.MemberOut.model_validate(member, from_attributes=True)


def _shown(found: ListInfo) -> list_schemas.ListOut:
    return list_schemas.ListOut.model_validate(found, from_attributes=True)
