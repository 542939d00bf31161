"""Whether the process lives, and whether it can do its work."""

import asyncio

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from ...errors import DatabaseLoginError, DatabasePrivilegeError, FastZeroError, SchemaError
from ...postgres import database
from ...schema import revisions
from ...schema.revisions import head_revision
from . import logs, metrics
from .problems import RETRY_AFTER
from .schemas import Message

LIMIT = 3  # seconds for the database to answer

router = APIRouter(tags=["health"])
metrics_router = APIRouter(tags=["health"])


class Health(BaseModel):
    """`reason` says what is missing, and is empty where nothing is."""

    status: str
    revision: str | None = None
    reason: str = ""


@router.get("/")
async def root() -> Message:
    """A greeting."""
    return Message(message="Olá Mundo!")


@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health, "description": "Not ready, and why"}})
async def readyz(request: Request, response: Response) -> Health:
    """The database answers, and its schema is at head."""
    asked = asyncio.create_task(_revision(request.app.state.engine))
    # Not `wait_for`, which waits for the end of what it cancels: a driver that cancels asks the server, and that hangs.
    await asyncio.wait({asked}, timeout=LIMIT)
    if not asked.done():
        asked.cancel()
        return _unavailable(response, f"the database does not answer within {LIMIT} seconds")
    try:
        revision = asked.result()
    except FastZeroError as error:
        # Whom it concerns reads the log: the message names the host, the port and the role.
        logs.SERVER.warning("not ready: %s", error.message)
        return _unavailable(response, _reason(error))
    if revision != head_revision():
        return _unavailable(response, f"the schema is at {revision or 'base'}; head is {head_revision()}", revision)
    return Health(status="ok", revision=revision)


@metrics_router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}, "description": "Numbers"}}
)
async def read_metrics() -> Response:
    """What happened so far, in Prometheus's text format."""
    return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)


def _reason(error: FastZeroError) -> str:
    if isinstance(error, DatabaseLoginError | DatabasePrivilegeError):
        return "the database refuses the app's role: see the app's log"
    if isinstance(error, SchemaError):
        return "the schema cannot be read: see the app's log"
    return "the database does not answer: see the app's log"


async def _revision(engine: AsyncEngine) -> str | None:
    async with database.connect_async(engine) as connection:
        return await revisions.read_async(await database.driver_connection(connection))


def _unavailable(response: Response, reason: str, revision: str | None = None) -> Health:
    response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    response.headers["Retry-After"] = RETRY_AFTER
    return Health(status="unavailable", revision=revision, reason=reason)
