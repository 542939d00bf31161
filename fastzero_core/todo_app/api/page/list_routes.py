"""The routes of the page for lists and their members."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from ...fastzero import FastZero
from ...models import ListInfo, Member, Role
from ..deps import Caller
from ..security import SecurityEvent, member_event, shared_event
from . import rendering
from .answers import LISTS, Field, PageRoute, redirect, session_values, whole
from .session import Changing, InSession

router = APIRouter(route_class=PageRoute, include_in_schema=False, prefix=LISTS)


@router.post("")
async def add(request: Request, caller: Changing, name: Field = "") -> Response:
    added = await caller.run(lambda fz: fz.lists(caller.identity).add(name.strip()))
    return redirect(request, _board_of(added.id))


@router.get("/{id}")
async def members(request: Request, caller: InSession, id: int) -> Response:
    return await _members(request, caller, id)


@router.post("/{id}")
async def rename(request: Request, caller: Changing, id: int, name: Field = "") -> Response:
    await caller.run(lambda fz: fz.lists(caller.identity).rename(id, name.strip()))
    return redirect(request, _board_of(id))


@router.post("/{id}/delete")
async def delete(request: Request, caller: Changing, id: int) -> Response:
    await caller.run(lambda fz: fz.lists(caller.identity).remove(id), slow=True)
    return redirect(request, "/")


@router.post("/{id}/leave")
async def leave(request: Request, caller: Changing, id: int) -> Response:
    left = await caller.run(lambda fz: fz.lists(caller.identity).leave(id))
    member_event(caller.scope, SecurityEvent.LIST_UNSHARED, id, caller.identity.user_id, left.role)
    return redirect(request, "/")


@router.post("/{id}/members")
async def share(request: Request, caller: Changing, id: int, username: Field = "", role: Field = "") -> Response:
    member = await caller.run(lambda fz: fz.lists(caller.identity).share(id, username.strip(), role))
    shared_event(caller.scope, id, member)
    return await _saved(request, caller, id, member)


@router.post("/{id}/members/{user_id}")
async def change_role(request: Request, caller: Changing, id: int, user_id: int, role: Field = "") -> Response:
    member = await caller.run(lambda fz: fz.lists(caller.identity).change_role(id, user_id, role))
    member_event(caller.scope, SecurityEvent.LIST_ROLE_CHANGED, id, member.id, member.role)
    return await _saved(request, caller, id, member)


@router.post("/{id}/members/{user_id}/remove")
async def unshare(request: Request, caller: Changing, id: int, user_id: int) -> Response:
    member = await caller.run(lambda fz: fz.lists(caller.identity).unshare(id, user_id))
    member_event(caller.scope, SecurityEvent.LIST_UNSHARED, id, member.id, member.role)
    if member.id == caller.identity.user_id:
        return redirect(request, "/")
    told = rendering.texts_of(request)["member_removed"].format(name=member.username)
    return await _changed(request, caller, id, told)


async def _saved(request: Request, caller: Caller, id: int, member: Member) -> Response:
    if member.id == caller.identity.user_id:
        return redirect(request, _board_of(id))
    texts = rendering.texts_of(request)
    told = texts["member_saved"].format(name=member.username, role=texts[member.role])
    return await _changed(request, caller, id, told)


async def _changed(request: Request, caller: Caller, id: int, told: str) -> Response:
    """Answer a change of the members with all of them."""
    if not rendering.is_fragment(request):
        return RedirectResponse(f"{LISTS}/{id}", 303)
    return await _members(request, caller, id, told)


async def _members(request: Request, caller: Caller, id: int, told: str = "") -> Response:
    def read(fz: FastZero) -> tuple[ListInfo, list[Member], list[ListInfo]]:
        own = fz.lists(caller.identity)
        return own.get(id), own.members(id), own.list()

    chosen, found, lists = await caller.run(read)
    values: dict[str, Any] = {"chosen": chosen, "members": found, "lists": lists, "list": str(id), "roles": Role}
    values |= {"me": caller.identity.user_id, "told": told, "fragment": rendering.is_fragment(request)}
    return rendering.html(request, whole(request, "members"), **values, **session_values(caller))


def _board_of(id: int) -> str:
    return f"/?list={id}"
