"""Routes for logging in and out."""

from typing import Annotated

from fastapi import APIRouter, Form

from ...errors import LoginRefusedError
from ..logins import Attempt
from ..models import Identity
from . import schemas
from .deps import Anyone, Visitor, WithToken
from .problems import BOUNDS, documented
from .routing import OrderedRoute
from .security import ACCOUNT, SecurityEvent, security_event

router = APIRouter(prefix="/auth", tags=["auth"], route_class=OrderedRoute, responses=documented(*BOUNDS))


@router.post("/token", responses=documented(401, 429))
async def log_in(login: Annotated[schemas.Login, Form()], visitor: Anyone) -> schemas.Token:
    """Log in with an e-mail address or username and a password. Returns an access token."""
    identity = await authenticate(visitor, login.username, login.password)
    return schemas.Token(access_token=visitor.tokens.issue(identity))


async def authenticate(visitor: Visitor, username: str, password: str) -> Identity:
    """Return the user that a username or e-mail address and a password name.

    Raises LoginRefusedError; LoginThrottledError after too many failures.
    """
    attempt = await visitor.run(lambda fz: fz.logins.begin(username, visitor.network))
    visitor.scope[ACCOUNT] = attempt.identity and attempt.identity.user_id
    if not await verify_login(visitor, attempt, password) or attempt.identity is None:
        raise LoginRefusedError("Incorrect email or password")
    security_event(visitor.scope, SecurityEvent.LOGIN)
    return attempt.identity


async def verify_login(visitor: Visitor, attempt: Attempt, password: str) -> bool:
    """Verify a password and count a failure. Raises LoginThrottledError if the account is now throttled."""
    matches = await visitor.hashing.verify(password, attempt.password_hash, since=visitor.started)
    if not matches or attempt.password_hash is None:
        await visitor.run(lambda fz: fz.logins.fail(attempt))
        return False
    upgraded = await visitor.hashing.upgrade(password, attempt.password_hash, since=visitor.started)
    await visitor.run(lambda fz: fz.logins.succeed(attempt, upgraded))
    return True


@router.post("/refresh_token", responses=documented(401))
async def refresh_token(caller: WithToken) -> schemas.Token:
    """Return a new access token for the same login, until its session ends."""
    await caller.run(lambda fz: fz.users_for(caller.identity).confirm())
    token = caller.tokens.issue(caller.identity, logged_in_at=caller.claims.logged_in_at)
    return schemas.Token(access_token=token)


@router.post("/logout", responses=documented(401))
async def log_out(caller: WithToken) -> schemas.Message:
    """Log out everywhere: revoke all tokens of the user."""
    me = caller.identity
    await caller.run(lambda fz: fz.users_for(me).void_tokens(me.user_id))
    security_event(caller.scope, SecurityEvent.LOGOUT)
    return schemas.Message(message="Logged out")
