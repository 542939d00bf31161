"""Routes for liveness, readiness and metrics."""

import asyncio

from fastapi import APIRouter, Request, Response, status
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from ...errors import DatabaseLoginError, DatabasePrivilegeError, FastZeroError, SchemaError
from ...postgres import database
from ...schema import revisions
from ...schema.revisions import head_revision
from . import archive_metrics, logs, metrics
from .problems import RETRY_AFTER

LIMIT = 3  # seconds for the database to answer

router = APIRouter(tags=["health"])
metrics_router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The health of the service. `reason` says why it is not ready, and is empty if it is."""

    status: str
    revision: str | None = None
    reason: str = ""


@router.get("/healthz")
async def healthz() -> Health:
    """Report that the process is alive."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health, "description": "Not ready; `reason` says why"}})
async def readyz(request: Request, response: Response) -> Health:
    """Report whether the database answers and its schema is at head."""
    query = asyncio.create_task(_revision(request.app.state.engine))
    # Not `wait_for`, which waits until the task has ended: to cancel, the driver contacts the server, which may hang.
    await asyncio.wait({query}, timeout=LIMIT)
    if not query.done():
        query.cancel()
        return _unavailable(response, f"the database does not answer within {LIMIT} seconds")
    try:
        revision = query.result()
    except FastZeroError as error:
        # Only for operators: the message contains the host, the port and the role.
        logs.SERVER.warning("not ready: %s", error.message)
        return _unavailable(response, _reason(error))
    if revision != head_revision():
        return _unavailable(response, f"the schema is at {revision or 'base'}; head is {head_revision()}", revision)
    return Health(status="ok", revision=revision)


@metrics_router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}, "description": "Metrics"}}
)
async def read_metrics(request: Request) -> Response:
    """Return the metrics in the Prometheus text format."""
    of_archive = await archive_metrics.exposition(request.app.state.engine)
    return Response(metrics.exposition() + of_archive, media_type=metrics.CONTENT_TYPE)


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
