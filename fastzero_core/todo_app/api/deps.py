"""What routes ask for: who calls, and the database. Each is one dependency, since every one costs every request."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import OAuth2PasswordBearer

from ...errors import InvalidInputError, InvalidTokenError
from ..fastzero import AsyncFastZero, FastZero
from ..logins import network_of
from ..models import Identity
from ..tokens import Claims, Tokens
from .hashing import Hashing
from .middleware import DATABASE_SECONDS
from .security import ACCOUNT

ANSWER_WITHIN = 4  # seconds of a request for the database: whoever asks has an answer within five
LAST_STEP = 0.5  # seconds for the database in any case, also after a hash that took long

_CALLER = "fastzero.caller"  # in the scope

T = TypeVar("T")


@dataclass(frozen=True)
class Services:
    """What every request needs, made once with the app. `patient` is for what may take longer than a page."""

    database: AsyncFastZero
    patient: AsyncFastZero
    tokens: Tokens
    hashing: Hashing
    signup: str


class Visitor:
    """Anybody, and what the app does for them."""

    def __init__(self, request: Request) -> None:
        services: Services = request.app.state.services
        self.scope = request.scope
        self._database = services.database
        self._patient = services.patient
        self.tokens = services.tokens
        self.hashing = services.hashing
        self.signup = services.signup
        self.began = asyncio.get_running_loop().time()

    @property
    def network(self) -> str:
        """The network that the request comes from."""
        client = self.scope.get("client")
        return network_of(client[0] if client else None)

    async def run(self, operations: Callable[[FastZero], T], *, patiently: bool = False) -> T:
        """What `operations` return, run in one block; `patiently` where there may be much to do."""
        began = time.perf_counter()
        try:
            if patiently:
                return await self._patient.run(operations)
            return await self._database.run(operations, limit=self._left())
        finally:
            self.scope[DATABASE_SECONDS] += time.perf_counter() - began

    def _left(self) -> float:
        spent = asyncio.get_running_loop().time() - self.began
        return max(ANSWER_WITHIN - spent, LAST_STEP)


class Caller(Visitor):
    """Whoever a token is of that is signed and in time. Whether it still holds, each operation looks at itself."""

    def __init__(self, request: Request, claims: Claims) -> None:
        super().__init__(request)
        self.claims = claims
        self.scope[ACCOUNT] = claims.identity.user_id

    @property
    def identity(self) -> Identity:
        return self.claims.identity


class Bearer(OAuth2PasswordBearer):
    """What a route depends on that needs a token."""

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        caller = caller_of(request)
        caller.began = asyncio.get_running_loop().time()  # again: the body has come since, at its sender's pace
        return caller


def caller_of(request: Request) -> Caller:
    """Return who sends the request, read once. Raises InvalidTokenError without a token that is signed and in time."""
    known: Caller | None = request.scope.get(_CALLER)
    if known is not None:
        return known
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidTokenError("Could not validate credentials")
    services: Services = request.app.state.services
    caller = Caller(request, services.tokens.read(token.strip()))
    request.scope[_CALLER] = caller
    return caller


async def _refuse_unclear(request: Request) -> None:
    """Refuse parameters that would be ignored: unknown ones, and all but the last of one that is given twice."""
    seen = set()
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    for name, _ in request.query_params.multi_items():
        if name not in known:
            hint = f"Use {', '.join(sorted(known))}"
            raise InvalidInputError(f"unknown parameter {name!r}", field=name, hint=hint)
        if name in seen and name != "state":
            raise InvalidInputError(f"{name} is given more than once", field=name)
        seen.add(name)


async def _visitor(request: Request) -> Visitor:
    return Visitor(request)


# Relative: where the app lies below a path, so does this.
WithToken = Annotated[Caller, Security(Bearer(tokenUrl="auth/token", scheme_name="login", auto_error=False))]
GivenOnce = Depends(_refuse_unclear)
Anyone = Annotated[Visitor, Depends(_visitor)]
