"""Routes that import and export the caller's todos."""

import asyncio
from datetime import tzinfo
from io import BytesIO
from itertools import islice
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.util import await_only

from ...errors import InvalidInputError
from .. import exporting
from ..fastzero import FastZero
from ..importing import FEW, Problems, Row, rows_of, without_repeated
from ..models import Todo
from ..todos import Todos
from ..transfer import files
from ..transfer.records import Invalid
from . import problems, schemas, streaming, transfer_schemas
from .bodies import Body
from .deps import GivenOnce, WithToken
from .middleware import BODY_LIMIT
from .problems import BOUNDS, documented
from .queries import documented_query, query_of
from .routing import BUDGET, OrderedRoute

IMPORT_PATH = "/todos/import"
IMPORT_BODY_MAX = 2 * 1024 * 1024  # bytes
PROBLEMS_MAX = 100  # invalid todos that an answer names

router = APIRouter(prefix="/todos", tags=["todos"], route_class=OrderedRoute, responses=documented(401, *BOUNDS))

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "todotxt": "text/plain; charset=utf-8",
    "taskwarrior": "application/json",
    "icalendar": "text/calendar; charset=utf-8",
}
_NAMES = {"csv": "csv", "json": "json", "ndjson": "ndjson", "todotxt": "txt", "taskwarrior": "json", "icalendar": "ics"}
_BODY = {
    "requestBody": {
        "required": False,  # without one, the file is empty
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {each.partition(";")[0]: {} for each in MEDIA_TYPES.values()}}
}

Format = Annotated[transfer_schemas.FileFormat, Query()]
Export = Annotated[transfer_schemas.Export, Depends(query_of(transfer_schemas.Export))]

_parsing = asyncio.Semaphore(2)  # parsing takes up to a second of a processor


@router.post(
    "/import",
    response_model=transfer_schemas.Imported,
    dependencies=[GivenOnce],
    responses=documented(403, 404, 409),
    openapi_extra=_BODY,
)
async def import_todos(
    caller: WithToken,
    request: Request,
    format: Format,
    dry_run: bool = False,
    skip_invalid: bool = False,
    time_zone: schemas.Zone = None,
    list: schemas.InList = None,
) -> transfer_schemas.Imported | Response:
    """Add the todos of a file, up to 10,000, and change those that were imported before: all or none.

    New ones are added to the inbox, or to `list`. The body is the file, of up to 2 MiB. 422 names the lines of invalid
    todos; with `skip_invalid` they are left out.
    """
    told = _Told()
    body = Body(BUDGET, request.scope[BODY_LIMIT])
    try:
        source = await (await body.read(request)).body()
        async with _parsing:
            rows = await asyncio.to_thread(_read, source, format, time_zone, told)
    finally:
        body.close()
    caller.restart()
    if told.invalid and not skip_invalid and not dry_run:
        return problems.answer(422, [_problem(each) for each in told.invalid])
    where = cast("tzinfo", time_zone)
    imported = await caller.run(
        lambda fz: fz.todos(caller.identity, list=list, time_zone=where).import_rows(rows, told, dry_run=dry_run),
        slow=True,
    )
    return transfer_schemas.Imported.of(imported, told.invalid)


class _Told(Problems):
    """Keeps the first invalid todos for the answer, and counts all."""

    def __init__(self) -> None:
        self.invalid: list[Invalid] = []
        super().__init__(self._keep)

    def _keep(self, invalid: Invalid) -> None:
        if len(self.invalid) < PROBLEMS_MAX:
            self.invalid.append(invalid)


def _read(source: bytes, format: str, zone: Any, told: Problems) -> list[Row]:
    """Return the valid todos of a file. Raises InvalidInputError for too many, and for a broken file."""
    rows = without_repeated(rows_of(files.read(BytesIO(source), format, zone), zone, told), told)
    found = [*islice(rows, FEW + 1)]
    if len(found) > FEW:
        raise InvalidInputError(f"the file has more than {FEW:,} todos", field="file", hint="Import it in parts")
    return found


def _problem(invalid: Invalid) -> dict[str, Any]:
    return {"type": "invalid_input", "loc": ["body", invalid.line], "msg": f"line {invalid.line}: {invalid.reason}"}


@router.get(
    "/export",
    response_class=Response,
    responses=_FILE | documented(404),
    openapi_extra=documented_query(transfer_schemas.Export),
)
async def export_todos(caller: WithToken, query: Export) -> Response:
    """Return your todos that match, by id, as a file for other programs or for an import."""

    def todos(fz: FastZero) -> Todos:
        return fz.todos(caller.identity, list=query.list, time_zone=query.zone)

    async def next_page(after: Todo | None, size: int) -> list[Todo]:
        caller.restart()
        filters = query.filters()
        return await caller.run(lambda fz: todos(fz).list(sort="id", after=after, limit=size, **filters))

    async def next_lines(after: int | None, size: int) -> exporting.Lines:
        caller.restart()
        filters = query.filters()
        return await caller.run(lambda fz: todos(fz).export_lines(query.format, after, size, **filters))

    if query.format in exporting.FORMATS:
        pages = exporting.one_by_one(lambda *page: await_only(next_lines(*page)), streaming.PAGE)
        lines = exporting.written(pages, query.format)
    else:
        lines = files.write(streaming.todos_of(next_page), query.format, query.zone)
    name = f'attachment; filename="todos.{_NAMES[query.format]}"'
    return await streaming.stream(lines, MEDIA_TYPES[query.format], {"Content-Disposition": name})
