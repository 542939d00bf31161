"""Users: signing up, looking around, and one's own account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette import status

from ...errors import ConflictError, UserNotFoundError
from .. import validate
from ..models import Identity, User
from . import schemas
from .deps import Anyone, GivenOnce, WithToken
from .problems import BOUNDS, documented
from .routing import OrderedRoute
from .security import SecurityEvent, security_event

router = APIRouter(prefix="/users", tags=["users"], route_class=OrderedRoute, responses=documented(*BOUNDS))

BigInt = Annotated[int, Path(ge=-validate.BIGINT_MAX - 1, le=validate.BIGINT_MAX), schemas.DIGITS]
After = Annotated[
    int, Query(ge=0, le=validate.BIGINT_MAX, description="the last id of the page before"), schemas.DIGITS
]
Offset = Annotated[int, Query(ge=0, le=validate.OFFSET_MAX), schemas.DIGITS]
Limit = Annotated[int, Query(ge=1, le=100), schemas.DIGITS]


async def _user_id(id: BigInt) -> int:
    if id < 1:
        raise UserNotFoundError(f"no user {id}")
    return id


UserId = Annotated[int, Depends(_user_id)]


@router.post("/", status_code=status.HTTP_201_CREATED, responses=documented(409))
async def sign_up(new: schemas.UserIn, visitor: Anyone) -> schemas.UserOut:
    """Create an account."""
    password = await visitor.hashing.hash(new.password, since=visitor.began, signs_up=True)
    user = await visitor.run(lambda fz: fz.users.add(new.username, email=new.email, password=password))
    security_event(visitor.scope, SecurityEvent.SIGN_UP, user_id=user.id)
    return _account(user)


@router.get("/", response_model_exclude_none=True, dependencies=[GivenOnce], responses=documented(401))
async def list_users(caller: WithToken, after: After = 0, offset: Offset = 0, limit: Limit = 100) -> schemas.UserList:
    """Users in the order of their ids."""
    me = caller.identity
    users = await caller.run(lambda fz: fz.users_for(me).list(after=after or None, offset=offset, limit=limit))
    return schemas.UserList(users=[_seen(user, me) for user in users])


@router.get("/{id}", response_model_exclude_none=True, responses=documented(401, 404))
async def read_user(caller: WithToken, id: UserId) -> schemas.UserSeen:
    """One user."""
    return _seen(await caller.run(lambda fz: fz.users_for(caller.identity).get(id)), caller.identity)


@router.put("/{id}", responses=documented(401, 403, 409))
async def replace_user(caller: WithToken, id: BigInt, new: schemas.UserIn) -> schemas.UserOut:
    """Change your account. Another password voids every token there is; the login must be under ten minutes old."""
    me = caller.identity
    _, present_hash = await caller.run(lambda fz: fz.users_for(me).with_password_hash(id))
    caller.claims.require_fresh_login()
    is_the_same = await caller.hashing.verify(new.password, present_hash, since=caller.began)
    password = None if is_the_same else await caller.hashing.hash(new.password, since=caller.began)
    try:
        user = await caller.run(
            lambda fz: fz.users_for(me).edit(id, username=new.username, email=new.email, password=password)
        )
    except ConflictError as error:
        raise ConflictError("Username or Email already exists") from error
    security_event(caller.scope, SecurityEvent.PASSWORD_CHANGED if password else SecurityEvent.ACCOUNT_CHANGED)
    return _account(user)


@router.delete("/{id}", responses=documented(401, 403))
async def delete_user(caller: WithToken, id: BigInt) -> schemas.Message:
    """Delete your account with all of its todos."""
    await caller.run(lambda fz: fz.users_for(caller.identity).remove(id), patiently=True)
    security_event(caller.scope, SecurityEvent.ACCOUNT_DELETED)
    return schemas.Message(message="User deleted")


def _account(user: User) -> schemas.UserOut:
    return schemas.UserOut(id=user.id, username=user.username, email=user.email)


def _seen(user: User, me: Identity) -> schemas.UserSeen:
    return schemas.UserSeen(id=user.id, username=user.username, email=user.email if user.id == me.user_id else None)
