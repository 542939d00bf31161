"""Logging in and out."""

from typing import Annotated

from fastapi import APIRouter, Form

from ...errors import LoginRefusedError
from . import schemas
from .deps import Anyone, WithToken
from .problems import BOUNDS, documented
from .routing import OrderedRoute
from .security import ACCOUNT, SecurityEvent, security_event

router = APIRouter(prefix="/auth", tags=["auth"], route_class=OrderedRoute, responses=documented(*BOUNDS))


@router.post("/token", responses=documented(401, 429))
async def log_in(login: Annotated[schemas.Login, Form()], visitor: Anyone) -> schemas.Token:
    """A token for an e-mail address or username and its password."""
    attempt = await visitor.run(lambda fz: fz.logins.begin(login.username))
    visitor.scope[ACCOUNT] = attempt.identity and attempt.identity.user_id
    is_right = await visitor.hashing.verify(login.password, attempt.password_hash, since=visitor.began)
    if not is_right or attempt.identity is None or attempt.password_hash is None:
        await visitor.run(lambda fz: fz.logins.fail(attempt))
        raise LoginRefusedError("Incorrect email or password")
    upgraded = await visitor.hashing.upgrade(login.password, attempt.password_hash, since=visitor.began)
    await visitor.run(lambda fz: fz.logins.succeed(attempt, upgraded))
    security_event(visitor.scope, SecurityEvent.LOGIN)
    return schemas.Token(access_token=visitor.tokens.issue(attempt.identity))


@router.post("/refresh_token", responses=documented(401))
async def refresh_token(caller: WithToken) -> schemas.Token:
    """A token that begins now, of the same login, as long as its session lasts."""
    await caller.run(lambda fz: fz.users_for(caller.identity).confirm())
    token = caller.tokens.issue(caller.identity, logged_in_at=caller.claims.logged_in_at)
    return schemas.Token(access_token=token)


@router.post("/logout", responses=documented(401))
async def log_out(caller: WithToken) -> schemas.Message:
    """Void every token there is of this user."""
    me = caller.identity
    await caller.run(lambda fz: fz.users_for(me).void_tokens(me.user_id))
    security_event(caller.scope, SecurityEvent.LOGOUT)
    return schemas.Message(message="Logged out")
