"""Routes for users: sign-up, the list of users, and the caller's own account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette import status

from ...errors import ConflictError, CurrentPasswordError, SignUpClosedError, UserNotFoundError
from .. import validate
from ..models import Identity, User
from ..passwords import check_new_password
from . import schemas
from .auth import verify_login
from .deps import Anyone, Caller, GivenOnce, WithToken
from .problems import BOUNDS, documented
from .routing import OrderedRoute
from .security import SecurityEvent, security_event

router = APIRouter(prefix="/users", tags=["users"], route_class=OrderedRoute, responses=documented(*BOUNDS))

BigInt = Annotated[int, Path(ge=-validate.BIGINT_MAX - 1, le=validate.BIGINT_MAX), schemas.DIGITS]
After = Annotated[int, Query(ge=0, le=validate.BIGINT_MAX, description="Last id of the previous page"), schemas.DIGITS]
Offset = Annotated[int, Query(ge=0, le=validate.OFFSET_MAX), schemas.DIGITS]
Limit = Annotated[int, Query(ge=1, le=100), schemas.DIGITS]


async def _user_id(id: BigInt) -> int:
    if id < 1:
        raise UserNotFoundError(f"user {id} does not exist")
    return id


UserId = Annotated[int, Depends(_user_id)]


@router.post("/", status_code=status.HTTP_201_CREATED, responses=documented(403, 409))
async def sign_up(new: schemas.SignUp, visitor: Anyone) -> schemas.UserOut:
    """Create an account."""
    if visitor.signup == "closed":
        raise SignUpClosedError("Sign-up is closed")
    invitation = new.invitation if visitor.signup == "invite" else None
    check_new_password(new.password, username=new.username, email=new.email)
    if invitation is not None:  # before hashing, which is too expensive for clients without an invitation
        await visitor.run(lambda fz: fz.invitations.check(invitation))
    password = await visitor.hashing.hash(new.password, since=visitor.started, signs_up=True)
    user = await visitor.run(
        lambda fz: fz.users.add(new.username, email=new.email, password=password, invitation=invitation)
    )
    security_event(visitor.scope, SecurityEvent.SIGN_UP, user_id=user.id)
    return _account(user)


@router.get("/", response_model_exclude_none=True, dependencies=[GivenOnce], responses=documented(401))
async def list_users(caller: WithToken, after: After = 0, offset: Offset = 0, limit: Limit = 100) -> schemas.UserList:
    """List users by id."""
    me = caller.identity
    users = await caller.run(lambda fz: fz.users_for(me).list(after=after or None, offset=offset, limit=limit))
    return schemas.UserList(users=[_seen(user, me) for user in users])


@router.get("/{id}", response_model_exclude_none=True, responses=documented(401, 404))
async def read_user(caller: WithToken, id: UserId) -> schemas.UserSeen:
    """Return a user."""
    return _seen(await caller.run(lambda fz: fz.users_for(caller.identity).get(id)), caller.identity)


@router.put("/{id}", responses=documented(401, 403, 409, 429))
async def replace_user(caller: WithToken, id: BigInt, new: schemas.UserChanges) -> schemas.UserOut:
    """Change your account. Requires the current password and a login within the last ten minutes.

    `password` is the new password if `current_password` is given, else the current one. A new password revokes all
    tokens.
    """
    user, _ = await caller.run(lambda fz: fz.users_for(caller.identity).with_password_hash(id))
    caller.claims.require_fresh_login()
    current = new.password if new.current_password is None else new.current_password
    changes = new.password if new.password != current else None
    if changes is not None:
        check_new_password(changes, username=new.username, email=new.email)
    await _require_password(caller, user, current)
    password = None if changes is None else await caller.hashing.hash(changes, since=caller.started)
    try:
        user = await caller.run(
            lambda fz: fz.users_for(caller.identity).edit(id, username=new.username, email=new.email, password=password)
        )
    except ConflictError as error:
        raise ConflictError("Username or Email already exists") from error
    security_event(caller.scope, SecurityEvent.PASSWORD_CHANGED if password else SecurityEvent.ACCOUNT_CHANGED)
    return _account(user)


async def _require_password(caller: Caller, user: User, password: str) -> None:
    """Raise CurrentPasswordError if the password is wrong, which counts as a failed login; or LoginThrottledError."""
    attempt = await caller.run(lambda fz: fz.logins.begin(user.username, caller.network))
    if not await verify_login(caller, attempt, password):
        raise CurrentPasswordError("The current password is missing or wrong: give it as current_password")


@router.delete("/{id}", responses=documented(401, 403))
async def delete_user(caller: WithToken, id: BigInt) -> schemas.Message:
    """Delete your account with all its todos. Requires a login within the last ten minutes."""
    me = caller.identity
    await caller.run(lambda fz: fz.users_for(me).with_password_hash(id))
    caller.claims.require_fresh_login()
    await caller.run(lambda fz: fz.users_for(me).remove(id), slow=True)
    security_event(caller.scope, SecurityEvent.ACCOUNT_DELETED)
    return schemas.Message(message="User deleted")


def _account(user: User) -> schemas.UserOut:
    return schemas.UserOut(id=user.id, username=user.username, email=user.email)


def _seen(user: User, me: Identity) -> schemas.UserSeen:
    return schemas.UserSeen(id=user.id, username=user.username, email=user.email if user.id == me.user_id else None)
