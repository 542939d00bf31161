"""Dependencies of routes: the caller and the database. One per route, since each costs time on every request."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import OAuth2PasswordBearer

from ...errors import InvalidTokenError
from ..fastzero import AsyncFastZero, FastZero
from ..logins import network_of
from ..models import Identity
from ..tokens import Claims, Tokens
from .hashing import Hashing
from .middleware import DATABASE_SECONDS
from .queries import given_once
from .security import ACCOUNT

DATABASE_TIMEOUT = 4  # seconds from the start of a request, so that it is answered within five
DATABASE_TIMEOUT_MIN = 0.5  # seconds for the database after slow work before it, such as hashing

_CALLER = "fastzero.caller"  # in the scope

T = TypeVar("T")


@dataclass(frozen=True)
class Services:
    """Objects that all requests share, created with the app. `slow_database` is for requests that may take long."""

    database: AsyncFastZero
    slow_database: AsyncFastZero
    tokens: Tokens
    hashing: Hashing
    signup: str


class Visitor:
    """A client with or without a token, and the services for its request."""

    def __init__(self, request: Request) -> None:
        services: Services = request.app.state.services
        self.scope = request.scope
        self._database = services.database
        self._slow_database = services.slow_database
        self.tokens = services.tokens
        self.hashing = services.hashing
        self.signup = services.signup
        self.restart()

    @property
    def network(self) -> str:
        """The network that the request comes from."""
        client = self.scope.get("client")
        return network_of(client[0] if client else None)

    async def run(self, operations: Callable[[FastZero], T], *, slow: bool = False) -> T:
        """Run `operations` in one block and return their result; with `slow`, on the connections for slow requests."""
        started = time.perf_counter()
        try:
            if slow:
                return await self._slow_database.run(operations)
            return await self._database.run(operations, limit=self._seconds_left())
        finally:
            self.scope[DATABASE_SECONDS] += time.perf_counter() - started

    def restart(self) -> None:
        """Give the rest of the request as much time as a new one: receiving or sending may have taken long."""
        self.started = asyncio.get_running_loop().time()

    def _seconds_left(self) -> float:
        elapsed = asyncio.get_running_loop().time() - self.started
        return max(DATABASE_TIMEOUT - elapsed, DATABASE_TIMEOUT_MIN)


class Caller(Visitor):
    """A client with a token that is signed and not expired. Each operation checks whether it has been revoked."""

    def __init__(self, request: Request, claims: Claims) -> None:
        super().__init__(request)
        self.claims = claims
        self.scope[ACCOUNT] = claims.identity.user_id

    @property
    def identity(self) -> Identity:
        return self.claims.identity


class Bearer(OAuth2PasswordBearer):
    """The dependency of a route that requires a token."""

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        caller = caller_of(request)
        caller.restart()
        return caller


def caller_of(request: Request) -> Caller:
    """Return the caller; the token is read once per request.

    Raises InvalidTokenError without a token that is signed and not expired.
    """
    cached: Caller | None = request.scope.get(_CALLER)
    if cached is not None:
        return cached
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidTokenError("Could not validate credentials")
    services: Services = request.app.state.services
    caller = Caller(request, services.tokens.read(token.strip()))
    request.scope[_CALLER] = caller
    return caller


async def _refuse_unclear(request: Request) -> None:
    """Refuse parameters that would be ignored: unknown ones, and those that are given twice."""
    given_once(request, request.scope["route"].parameters)


async def _visitor(request: Request) -> Visitor:
    return Visitor(request)


# A relative URL, so that it also works if the app is served below a path.
WithToken = Annotated[Caller, Security(Bearer(tokenUrl="auth/token", scheme_name="login", auto_error=False))]
GivenOnce = Depends(_refuse_unclear)
Anyone = Annotated[Visitor, Depends(_visitor)]
