"""The web app, as one function of its settings."""

import multiprocessing
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import __version__, database
from ..settings import Settings, load_settings
from ..stack.project import database_url
from . import health

# The pages work without internet, and a browser is to ask nobody else either: ReDoc would load its logo from a CDN.
ONLY_FROM_HERE = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:"
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The app over the database that the settings name. Connects when it is first asked to; `/docs` needs no CDN."""
    settings = settings or load_settings()
    engine = database.create_async_engine(database_url(settings))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        yield
        await engine.dispose()

    app = FastAPIOffline(
        title="fastzero", version=__version__, lifespan=lifespan, description="Users and todos in PostgreSQL."
    )
    app.state.engine = engine
    app.add_middleware(OnlyFromHere)
    app.include_router(health.router)
    return app


class OnlyFromHere:
    """Tells browsers to load nothing from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = ONLY_FROM_HERE
            await send(message)

        await self._app(scope, receive, send_with_policy)


def _end_with_parent() -> None:
    """A worker whose parent was killed must not keep the port for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
