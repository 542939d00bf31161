"""ASGI middleware for every request: trailing slashes, limits, the operators' token, headers, log and metrics."""

import asyncio
import base64
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Mapping

from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import logs, metrics, problems, security
from .bodies import TOO_LARGE

DATABASE_SECONDS = "fastzero.database_seconds"  # in the scope: how long the request has waited for the database
REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
BODY_LIMIT = "fastzero.body_limit"  # in the scope: the maximum size of the request's body, in bytes
STREAMED = "fastzero.streamed"  # in the scope: when the response began, if it is a stream that stays open
OWN_HEADERS = "fastzero.own_headers"  # in the scope: the headers of a response that is a page of the board
ADDRESS_MAX = 8 * 1024  # bytes of the path and the query
PARAMETERS_MAX = 100
REQUESTS_MAX = 1500  # at once: more than slow clients can occupy with their bodies and responses
UNMATCHED = "unmatched"  # stands for every unknown path, so that clients cannot fill the metrics with names

SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
# If a trusted proxy terminates TLS.
TLS_HEADERS = [(b"strict-transport-security", b"max-age=31536000; includeSubDomains")]
# Responses are private to the client, and are not pages.
API_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]
# The pages work offline, and a browser must not contact other hosts: ReDoc would load its logo from a CDN.
PAGE_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    )
]


class TrailingSlash:
    """Serves a path with and without a trailing slash as the same resource, without a redirect."""

    def __init__(self, app: ASGIApp, with_slash: frozenset[str]) -> None:
        self._app = app
        self._with_slash = with_slash

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"].removesuffix("/")
            scope["path"] = f"{path}/" if f"{path}/" in self._with_slash else path
        await self._app(scope, receive, send)


class RequestLimits:
    """Refuses requests whose URL, number of parameters or declared body length is too large.

    Also refuses a request when so many others are in progress that memory could run out. A body may have up to `limit`
    bytes, or the value in `limits` of the first prefix that its path starts with.
    """

    def __init__(self, app: ASGIApp, limit: int, limits: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._limits = limits
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        matching = (limit for prefix, limit in self._limits.items() if path.startswith(prefix))
        scope[BODY_LIMIT] = limit = next(matching, self._limit)
        refusal = _too_large(scope, limit) or self._too_many()
        self._in_progress += 1
        try:
            await (refusal or self._app)(scope, receive, send)
        finally:
            self._in_progress -= 1

    def _too_many(self) -> Response | None:
        if self._in_progress < REQUESTS_MAX:
            return None
        return problems.answer(503, "The service is busy; try again in a moment", {"Retry-After": problems.RETRY_AFTER})


def _too_large(scope: Scope, limit: int) -> Response | None:
    query = scope["query_string"]
    if len(scope["path"]) + len(query) > ADDRESS_MAX:
        return problems.answer(414, f"The URL is longer than {ADDRESS_MAX} bytes")
    if query.count(b"&") >= PARAMETERS_MAX:
        message = f"more than {PARAMETERS_MAX} parameters"
        return problems.answer(422, [{"type": "invalid_input", "loc": ["query"], "msg": message}])
    length = Headers(scope=scope).get("content-length")
    if length is not None and int(length) > limit:
        return problems.answer(413, TOO_LARGE.format(limit))
    return None


class OperatorToken:
    """Requires a token for paths that start with one of `paths`: as bearer token, or as password of any user."""

    def __init__(self, app: ASGIApp, paths: tuple[str, ...], token_sha256: str) -> None:
        self._app = app
        self._paths = paths
        self._token_sha256 = token_sha256

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._paths) or self._holds(scope):
            await self._app(scope, receive, send)
            return
        security.security_event(scope, security.SecurityEvent.TOKEN_REFUSED, level=logging.WARNING)
        challenge = {"WWW-Authenticate": 'Basic realm="operators", charset="UTF-8"'}
        await problems.answer(401, "The operators' token is required", challenge)(scope, receive, send)

    def _holds(self, scope: Scope) -> bool:
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        token = _password(given) if scheme.lower() == "basic" else given.encode("latin-1")
        return hmac.compare_digest(hashlib.sha256(token).hexdigest(), self._token_sha256)


def _password(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""


class Observability:
    """Adds a request id and security headers to each response; writes a log line and metrics for each request."""

    def __init__(self, app: ASGIApp, pages: tuple[str, ...]) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope[DATABASE_SECONDS] = 0.0
        scope[security.REQUEST_ID] = request_id
        status = 0

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers(scope, request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        except Exception:
            logs.failure(scope["method"], _path(scope), request_id)
            if not status:
                await problems.answer(500, "Internal Server Error")(scope, receive, send_observed)
        except asyncio.CancelledError:  # the server ends, and does not wait any longer
            if not status:
                told = problems.answer(503, "The server is stopping", {"Retry-After": problems.RETRY_AFTER})
                await told(scope, receive, send_observed)
            raise
        finally:
            seconds = scope.get(STREAMED, time.perf_counter()) - started
            metrics.observe(scope["method"], _route(scope), status, seconds, scope[DATABASE_SECONDS])
            logs.access(scope, _path(scope), status, seconds, request_id, scope.get(security.ACCOUNT))

    def _headers(self, scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
        more = scope.get(OWN_HEADERS) or (PAGE_HEADERS if scope["path"].startswith(self._pages) else API_HEADERS)
        secure = TLS_HEADERS if scope.get("scheme") == "https" else []
        return [(b"x-request-id", request_id.encode()), *SAFE_HEADERS, *more, *secure]


def _request_id(scope: Scope) -> str:
    """Return the id in the request if it is safe to log, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", UNMATCHED))


def _path(scope: Scope) -> str:
    """Return the path as it was sent, without the query. It contains no line ends."""
    return str(scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "backslashreplace"))
