"""The JSON of imports, exports and calendars."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field

from ...formats import as_dict
from .. import results
from .schemas import Filters

FileFormat = Literal["csv", "json", "ndjson", "todotxt", "taskwarrior", "icalendar"]


class Export(Filters):
    """A file of todos."""

    format: FileFormat = "json"


class InvalidLine(BaseModel):
    line: Annotated[int, Field(examples=[3])]
    reason: Annotated[str, Field(examples=["title is missing"])]


class Imported(BaseModel):
    """How many todos of a file were added, changed, left as they were, and invalid; of these, the first 100.

    `left_out` has what the valid ones have no field for, by its name in the file, with the number of todos.
    """

    added: Annotated[int, Field(examples=[2])]
    changed: Annotated[int, Field(examples=[1])]
    unchanged: Annotated[int, Field(examples=[0])]
    invalid: Annotated[int, Field(examples=[0])]
    left_out: Annotated[dict[str, int], Field(examples=[{"depends": 1}])]
    invalid_lines: Annotated[list[InvalidLine], Field(examples=[[]])]

    @classmethod
    def of(cls, imported: results.Imported, invalid: list[Any]) -> Self:
        counts = cls.model_validate({"invalid_lines": [], **as_dict(imported)})
        return counts.model_copy(
            update={"invalid_lines": [InvalidLine.model_validate(as_dict(each)) for each in invalid]}
        )


class CalendarState(BaseModel):
    created_at: Annotated[datetime, Field(examples=["2026-01-31T12:00:00Z"])]

    @classmethod
    def of(cls, calendar: results.CalendarState | results.Calendar) -> Self:
        return cls.model_validate(calendar, from_attributes=True)


class Calendar(CalendarState):
    """The secret path of a calendar, below the address of this API."""

    path: Annotated[str, Field(examples=["/calendar/F2V5…kq.ics"])]
