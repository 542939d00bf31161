"""The session of a browser: an access token in a cookie, and a proof that a change comes from our own page.

The cookie is unreadable for scripts, and other sites cannot send it with a change: it is `SameSite`, every change must
come from the same origin, and it must contain the proof that the page has, which is a signature of the login.
"""

import time
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Form, Request, Response

from ....errors import InvalidTokenError, NotAllowedError
from ...tokens import Claims
from ..deps import Caller, Services

COOKIE = "fastzero"
PROOF = "X-CSRF-Token"
SAFE_METHODS = ("GET", "HEAD")
OWN_SITES = ("same-origin", "none")  # values of Sec-Fetch-Site; "none" is the user, by the address bar
_CALLER = "fastzero.page_caller"  # in the scope


def caller_of(request: Request) -> Caller:
    """Return the user whose session the cookie is. Raises InvalidTokenError without a valid one."""
    cached: Caller | None = request.scope.get(_CALLER)
    if cached is None:
        services: Services = request.app.state.services
        token = request.cookies.get(_name(request))
        if not token:
            raise InvalidTokenError("Not logged in")
        cached = request.scope[_CALLER] = Caller(request, services.tokens.read(token))
    return cached


def begin(request: Request, response: Response, token: str) -> None:
    """Set the session's cookie. It ends with the browser, or with the token."""
    secure = request.url.scheme == "https"
    response.set_cookie(_name(request), token, secure=secure, httponly=True, samesite="lax")


def end(request: Request, response: Response) -> None:
    """Delete the session's cookie."""
    secure = request.url.scheme == "https"
    response.delete_cookie(_name(request), secure=secure, httponly=True, samesite="lax")


def extend(request: Request, response: Response) -> None:
    """Replace a token of which half the time is over, so that a session lasts while it is used, up to its limit."""
    caller: Caller | None = request.scope.get(_CALLER)
    if caller and time.time() - caller.claims.issued_at > caller.tokens.lifetime / 2:
        begin(request, response, caller.tokens.issue(caller.identity, logged_in_at=caller.claims.logged_in_at))


def proof_of(caller: Caller) -> str:
    """Return the proof that only a page of this session has."""
    return caller.tokens.seal(_login(caller.claims))


def refuse_foreign(request: Request) -> None:
    """Raise NotAllowedError for a change that a page of another origin sends."""
    site = request.headers.get("sec-fetch-site")
    # Older browsers send the origin alone.
    own = request.headers.get("host") if site is None else None
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if site not in OWN_SITES and (own is None or origin != own):
        raise NotAllowedError("a page of another site sent this")


async def _session(request: Request) -> Caller:
    return caller_of(request)


async def _changing(request: Request, csrf: Annotated[str, Form()] = "") -> Caller:
    caller = caller_of(request)
    given = request.headers.get(PROOF, csrf)
    if not caller.tokens.is_seal(_login(caller.claims), given):
        raise NotAllowedError("the proof of the session is missing")
    return caller


def _login(claims: Claims) -> str:
    return f"page {claims.identity.user_id} {claims.identity.token_version} {claims.logged_in_at}"


def _name(request: Request) -> str:
    """Return the cookie's name. With the prefix, browsers accept it only over TLS, and from this very host."""
    return f"__Host-{COOKIE}" if request.url.scheme == "https" else COOKIE


DEPENDENCIES = (_session, _changing)
InSession = Annotated[Caller, Depends(_session)]
Changing = Annotated[Caller, Depends(_changing)]
