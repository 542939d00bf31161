"""Create the web app from its settings."""

import multiprocessing
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import email_validator  # noqa: F401 - so that the first sign-up does not wait for the import
from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import Lifespan

from ... import __version__
from ...credentials import app_passwords, app_url
from ...errors import FastZeroError
from ...postgres import database
from ...project import secret_key, secret_key_file
from ...settings import SLOW_CONNECTIONS, WATCHING_CONNECTIONS, Settings, load_settings
from ..fastzero import AsyncFastZero
from ..passwords import HashCost
from ..tokens import Tokens
from . import auth, calendars, health, history, lists, metrics, problems, todos, transfer, users
from .bodies import SMALL
from .deps import Services
from .hashing import Hashing
from .middleware import Observability, OperatorToken, RequestLimits, TrailingSlash
from .page import list_routes
from .page import routes as page
from .page.watching import Watching

BODY_MAX = 1024 * 1024  # bytes
# Bodies that are read without a token are limited to what an account or a login needs.
BODIES_MAX = {
    todos.BULK_PATH: todos.BULK_BODY_MAX,
    transfer.IMPORT_PATH: transfer.IMPORT_BODY_MAX,
    "/users/": SMALL,
    "/auth/": SMALL,
    "/login": SMALL,
}
SLOW_TIMEOUT = 30  # seconds to delete an account with as many todos as it may have
SESSION = {
    "TimeZone": "UTC",
    "statement_timeout": "3s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
}
PAGES = ("/docs", "/redoc", "/static-offline-docs")
OPERATOR_PATHS = (*PAGES, "/openapi.json", "/metrics")


def create_app(settings: Settings | None = None) -> FastAPI:
    """Create the app for the database in the settings. It connects when it starts to serve; `/docs` needs no CDN.

    Raises InvalidInputError for a SECRET_KEY that is missing or shorter than 32 bytes.
    """
    settings = settings or load_settings()
    engine = _engine(settings, settings.pool_size, SESSION)
    slow_engine = _engine(settings, SLOW_CONNECTIONS, {**SESSION, "statement_timeout": f"{SLOW_TIMEOUT - 1}s"})
    watching = Watching(_engine(settings, WATCHING_CONNECTIONS, SESSION))
    metrics.observe_pools([engine, slow_engine], settings.pool_size + SLOW_CONNECTIONS)
    services = _services(settings, AsyncFastZero(engine), AsyncFastZero(slow_engine, limit=SLOW_TIMEOUT))

    app = (FastAPIOffline if _is_shown(settings, settings.docs) else FastAPI)(
        title="fastzero",
        version=__version__,
        description="Users and todos in PostgreSQL.",
        lifespan=_lifespan(services.hashing, watching, engine, slow_engine),
        redirect_slashes=False,
        **_hidden_pages(settings),
    )
    app.state.engine, app.state.slow_engine = engine, slow_engine
    app.state.services, app.state.watching = services, watching
    own = [
        transfer.router,
        todos.router,
        lists.router,
        history.router,
        calendars.router,
        users.router,
        auth.router,
        health.router,
        page.greeting,
        page.router,
        list_routes.router,
    ]
    routers = [*own, *_optional_routers(settings)]
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    # Added without their routers, which every request would have to search, and before the pages.
    app.router.routes[:0] = routes
    problems.install(app, routes)
    _add_middleware(app, settings, routes)
    return app


def _lifespan(hashing: Hashing, watching: Watching, engine: AsyncEngine, slow_engine: AsyncEngine) -> Lifespan[FastAPI]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        hashing.start()
        with suppress(FastZeroError):  # the driver's first connection takes extra queries: not during a request
            async with database.connect_async(engine):
                pass
        yield
        hashing.end()
        await watching.close()
        await engine.dispose()
        await slow_engine.dispose()

    return lifespan


def _engine(settings: Settings, size: int, session: dict[str, str]) -> AsyncEngine:
    return database.create_async_engine(
        app_url(settings),
        pool_size=size,
        pool_timeout=2,
        autocommit=True,
        settings=session,
        connect_timeout=2,
        read_passwords=app_passwords(settings),
    )


def _services(settings: Settings, fast: AsyncFastZero, slow: AsyncFastZero) -> Services:
    previous = settings.secret_key_previous
    tokens = Tokens(
        secret_key(settings),
        previous=previous.get_secret_value() if previous else "",
        file=secret_key_file(settings),
        algorithm=settings.algorithm,
        lifetime=settings.access_token_expire_minutes * 60,
        session=int(settings.session_hours * 3600),
    )
    cost = HashCost(settings.argon2_time, settings.argon2_memory, settings.argon2_parallelism)
    return Services(fast, slow, tokens, Hashing(cost), settings.signup)


def _optional_routers(settings: Settings) -> list[APIRouter]:
    return [health.metrics_router] if _is_shown(settings, settings.metrics) else []


def _hidden_pages(settings: Settings) -> dict[str, Any]:
    is_shown = _is_shown(settings, settings.docs)
    return {} if is_shown else {"docs_url": None, "redoc_url": None, "openapi_url": None}


def _is_shown(settings: Settings, chosen: bool | None) -> bool:
    """Return whether to serve a page for operators. By default not behind a proxy, unless it requires a token."""
    if chosen is not None:
        return chosen
    return not settings.forwarded_allow_ips or settings.operator_token_sha256 is not None


def _add_middleware(app: FastAPI, settings: Settings, routes: list[Route]) -> None:
    # The last one added is the first to see a request.
    if settings.operator_token_sha256:
        app.add_middleware(OperatorToken, paths=OPERATOR_PATHS, token_sha256=settings.operator_token_sha256)
    app.add_middleware(RequestLimits, limit=BODY_MAX, limits=BODIES_MAX)
    app.add_middleware(TrailingSlash, with_slash=frozenset(route.path for route in routes if route.path.endswith("/")))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Observability, pages=PAGES)


def _end_with_parent() -> None:
    """Exit when the parent process was killed, so that this worker does not keep the port."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
