"""Routes for the caller's calendar, and the calendar itself, which needs no login but its secret URL."""

from datetime import UTC
from email.utils import format_datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette import status

from ..calendars import TODOS_MAX
from ..models import Todo
from ..results import FeedStamp
from ..transfer import files
from . import schemas, streaming, transfer_schemas
from .deps import Anyone, GivenOnce, WithToken
from .middleware import OWN_HEADERS
from .problems import BOUNDS, documented
from .routing import OrderedRoute

router = APIRouter(prefix="/calendar", tags=["calendar"], route_class=OrderedRoute, responses=documented(*BOUNDS))

MEDIA_TYPE = "text/calendar; charset=utf-8"
# As of the API, but that a client may keep the calendar, and ask whether it has changed.
_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"private, no-cache"),
]


@router.get("/", dependencies=[GivenOnce], responses=documented(401, 404))
async def show_calendar(caller: WithToken) -> transfer_schemas.CalendarState:
    """Tell since when your calendar has its secret URL. The URL itself is shown only when it is made."""
    return transfer_schemas.CalendarState.of(await caller.run(lambda fz: fz.calendar(caller.identity).show()))


@router.post("/", dependencies=[GivenOnce], responses=documented(401))
async def renew_calendar(caller: WithToken) -> transfer_schemas.Calendar:
    """Give your calendar a new secret path, which only this answer shows. The one before is revoked."""
    return transfer_schemas.Calendar.of(await caller.run(lambda fz: fz.calendar(caller.identity).renew()))


@router.delete("/", dependencies=[GivenOnce], responses=documented(401, 404))
async def revoke_calendar(caller: WithToken) -> schemas.Message:
    """Revoke the secret URL of your calendar: it can no longer be read."""
    await caller.run(lambda fz: fz.calendar(caller.identity).revoke())
    return schemas.Message(message="The calendar can no longer be read")


_FEED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/calendar": {}}},
    304: {"description": "It has not changed"},
}


@router.get("/{token}.ics", response_class=Response, responses={**documented(404), **_FEED})
async def read_calendar(token: str, request: Request, visitor: Anyone) -> Response:
    """Read a calendar by its secret URL, as iCalendar: the 5,000 todos outside of the trash that were changed last."""
    stamp = await visitor.run(lambda fz: fz.calendar_feed(token).stamp())
    request.scope[OWN_HEADERS] = _HEADERS
    headers = _validators(stamp)
    if headers["ETag"] in _known(request):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)

    async def next_page(after: Todo | None, size: int) -> list[Todo]:
        visitor.restart()
        return await visitor.run(lambda fz: fz.calendar_feed(token).page(stamp.owner_id, after, size))

    lines = files.write(streaming.todos_of(next_page, TODOS_MAX), "icalendar", UTC)
    return await streaming.stream(lines, MEDIA_TYPE, headers)


def _validators(stamp: FeedStamp) -> dict[str, str]:
    headers = {"ETag": f'"{stamp.digest[:32]}"'}
    if stamp.changed_at is not None:
        headers["Last-Modified"] = format_datetime(stamp.changed_at.astimezone(UTC).replace(tzinfo=UTC), usegmt=True)
    return headers


def _known(request: Request) -> list[str]:
    """Return the versions that the client has. A proxy that compresses the file makes its ETag a weak one."""
    given = request.headers.get("if-none-match", "").split(",")
    return [each.strip().removeprefix("W/") for each in given]
