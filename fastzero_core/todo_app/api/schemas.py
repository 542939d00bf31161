"""Request and response models, as in the OpenAPI document. The limits and their messages come from `validate`."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from ...errors import InvalidInputError
from .. import due, models, results, validate
from ..models import NewTodo, Priority, TodoFilters, TodoSort, TodoState

T = TypeVar("T")

BULK_MAX = 1000
STEPS_OF_REQUEST = 50  # each may be of a thousand todos
JSON_MAX = 2**53 - 1  # the largest integer that every JSON parser reads exactly
NO_NUL = r"^[^\x00]*$"
# The characters that str.strip removes, listed because \s differs between dialects of regular expressions.
_BLANK = r"\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NOT_BLANK = rf"^[^\x00]*[^{_BLANK}\x00][^\x00]*$"
USERNAME = r"^[\w.+-]*([.+-]|[^\W\d])[\w.+-]*$"
# Matches only valid addresses, but not all of them. The app accepts the others as well.
_ATOM = "[A-Za-z0-9_!#$%&'*+/=?^`{|}~-]"
EMAIL = (
    rf"^{_ATOM}{{1,24}}(\.{_ATOM}{{1,18}}){{0,2}}"
    r"@([A-Za-z0-9]{1,30}(-[A-Za-z0-9]{1,20})?\.){1,4}[A-Za-z0-9]{0,24}[A-Za-z]$"
)
# These match only valid values, but not all of them. The app accepts the others as well.
TAG = r"^[a-z0-9_][a-z0-9_./:@+-]{0,49}$"
_DAY = r"(19|[2-8][0-9])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])"
WHEN = rf"^{_DAY}(T{_TIME})?$"


def checked(check: Callable[[T], T]) -> AfterValidator:
    """Use a function of `validate` as a pydantic validator, with the same message."""
    return AfterValidator(_checking(check))


def _checking(check: Callable[[T], T]) -> Callable[[T], T]:
    def validator(value: T) -> T:
        try:
            return check(value)
        except InvalidInputError as error:
            raise PydanticCustomError("invalid_input", "{message}", {"message": error.message}) from None

    return validator


def _text_by(check: Callable[[str], Any]) -> BeforeValidator:
    """Read a text as the core does, with the same message."""
    read = _checking(check)
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _text(minimum: int, maximum: int, example: str, **more: Any) -> WithJsonSchema:
    limits = {"minLength": minimum, "maxLength": maximum}
    return WithJsonSchema({"type": "string", **limits, "examples": [example], **more})


Title = Annotated[str, checked(validate.title), _text(1, validate.TITLE_MAX, "Write the report", pattern=NOT_BLANK)]
Description = Annotated[
    str, checked(validate.description), _text(0, validate.DESCRIPTION_MAX, "For Friday", pattern=NO_NUL)
]
Username = Annotated[str, checked(validate.username), _text(1, validate.USERNAME_MAX, "ana", pattern=USERNAME)]
Email = Annotated[str, checked(validate.email), _text(5, validate.EMAIL_MAX, "ana@example.com", pattern=EMAIL)]
Password = Annotated[
    str,
    checked(validate.password),
    _text(validate.PASSWORD_MIN, validate.PASSWORD_MAX, "correct horse", writeOnly=True),
]


State = Annotated[TodoState, _text_by(validate.state)]
Sort = Annotated[TodoSort, _text_by(validate.sort)]


def _exact(field: str) -> AfterValidator:
    def check(value: Any) -> Any:
        due.parse_exact(value, field)
        return value

    return checked(check)


_WHEN = WithJsonSchema({"type": "string", "pattern": WHEN, "examples": ["2026-12-24", "2026-12-24T18:00:00-03:00"]})
Urgency = Annotated[Priority, _text_by(validate.priority)]
Due = Annotated[str, _exact("due"), _WHEN]
Tag = Annotated[str, checked(validate.tag), WithJsonSchema({"type": "string", "pattern": TAG, "examples": ["work"]})]
Tags = Annotated[list[Tag], Field(max_length=validate.TAGS_MAX, examples=[["work"]])]
Texts = Annotated[list[str], Field(examples=[["work"]])]
States = Annotated[list[State] | None, Field()]
Urgencies = Annotated[list[Urgency] | None, Field()]
WantedTags = Annotated[list[Tag] | None, Field(max_length=validate.TAGS_MAX, description="All of them")]
IN_LIST = "The name or id of your list, inbox, or OWNER/NAME of a list that is shared with you"
LIST_KEY_MAX = validate.USERNAME_MAX + 1 + validate.LIST_NAME_MAX
InList = Annotated[
    str | None, Query(min_length=1, max_length=LIST_KEY_MAX, pattern=NO_NUL, description=IN_LIST, examples=["Work"])
]
Zone = Annotated[  # validated, it is a tzinfo
    str | None,
    Query(
        max_length=64,
        description="Where days begin and end, as a name in the IANA database; UTC without it",
        examples=["America/Sao_Paulo"],
    ),
    AfterValidator(lambda name: UTC if name is None else _checking(due.zone)(name)),
]


def _digits(value: Any) -> Any:
    """Refuse spellings such as `1_0` and `5.0`, which pydantic accepts: each id must have only one URL."""
    if isinstance(value, str) and not re.fullmatch("-?[0-9]+", value):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    return value


DIGITS = BeforeValidator(_digits)


def _number(value: Any) -> Any:
    """Refuse texts and truth values, which pydantic accepts as integers, in JSON."""
    if isinstance(value, str | bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


NUMBER = BeforeValidator(_number)


class Message(BaseModel):
    message: Annotated[str, Field(examples=["Task has been deleted successfully."])]


class Problem(BaseModel):
    """An error, described in one sentence."""

    detail: Annotated[str, Field(examples=["title must not be empty"])]


class UserIn(BaseModel):
    username: Username
    email: Email
    password: Password


class SignUp(UserIn):
    invitation: Annotated[
        str,
        Field("", max_length=200, description="Invitation code from the operator, if sign-up requires one", repr=False),
    ]


class UserChanges(UserIn):
    """Changes of an account. `password` is the new password if `current_password` is given, else the current one."""

    current_password: Annotated[
        str | None,
        Field(None, max_length=validate.PASSWORD_MAX, json_schema_extra={"writeOnly": True}, repr=False),
    ]


class UserOut(BaseModel):
    id: Annotated[int, Field(examples=[1])]
    username: Annotated[str, Field(examples=["ana"])]
    email: Annotated[str, Field(examples=["ana@example.com"])]


class UserSeen(BaseModel):
    """A user as other users see it. Only your own entry has `email`."""

    id: Annotated[int, Field(examples=[1])]
    username: Annotated[str, Field(examples=["ana"])]
    email: str | None = Field(None, description="Only in your own entry", examples=["ana@example.com"])


class UserList(BaseModel):
    users: list[UserSeen]


class Login(BaseModel):
    """The OAuth2 password form. `username` is a username or an e-mail address."""

    username: Annotated[str, Field(min_length=1, examples=["ana@example.com"])]
    password: Annotated[str, Field(min_length=1, examples=["correct horse"])]


class Token(BaseModel):
    access_token: Annotated[str, Field(examples=["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"])]
    token_type: str = "bearer"  # noqa: S105 - a type, not a secret


class TodoIn(BaseModel):
    title: Title
    description: Description = ""
    state: State = TodoState.TODO
    priority: Urgency = Priority.NONE
    due: Due | None = Field(None, description="A day, or a moment")
    tags: Tags = []

    def new(self) -> NewTodo:
        return NewTodo(self.title, self.description, self.state, self.priority, self.due, self.tags)


def _without_defaults(schema: dict[str, Any]) -> None:
    """Remove the defaults: a field that is not given is left unchanged, not set to its default."""
    for described in schema["properties"].values():
        described.pop("default", None)


class TodoChanges(BaseModel):
    """Changes of a todo. Fields that are not given are left unchanged. Only `due` may be null: it is not due then.

    `tags` replaces all tags; `add_tags` and `remove_tags` keep the others. `list` moves it to another list of yours.
    """

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    title: Title = ""
    description: Description = ""
    state: State = TodoState.TODO
    priority: Urgency = Priority.NONE
    due: Due | None = None
    tags: Tags = []
    add_tags: Tags = []
    remove_tags: Tags = []
    list: Annotated[str, Field(min_length=1, max_length=LIST_KEY_MAX, pattern=NO_NUL, examples=["Work"])] = models.INBOX

    def given(self) -> models.TodoChanges:
        found = {name: getattr(self, name) for name in TodoChanges.model_fields.keys() & self.model_fields_set}
        if "due" in found and found["due"] is None:
            found["due"] = due.NEVER
        return cast("models.TodoChanges", found)


class MatchingChanges(TodoChanges):
    """Changes of all todos that match the filters. They must be as many as `expected`, else nothing is changed."""

    expected: Annotated[int, Field(ge=1, le=BULK_MAX, examples=[2]), NUMBER]


class Place(BaseModel):
    """The todo beside which another one is placed."""

    other: Annotated[int, Field(ge=1, le=JSON_MAX, description="Its id", examples=[2]), NUMBER]
    side: Annotated[Literal["before", "after"], Field(examples=["before"])]


class TodoOut(BaseModel):
    id: Annotated[int, Field(examples=[1])]
    title: Annotated[str, Field(examples=["Write the report"])]
    description: Annotated[str, Field(examples=["For Friday"])]
    state: Annotated[TodoState, Field(examples=["todo"])]
    created_at: Annotated[datetime, Field(examples=["2026-01-31T12:00:00Z"])]
    updated_at: Annotated[datetime, Field(examples=["2026-01-31T12:00:00Z"])]
    priority: Annotated[Priority, Field(examples=["high"])]
    due: Annotated[
        datetime | date | None,
        Field(description="A moment; a date if it is due on a whole day", examples=["2026-12-24"]),
    ]
    tags: Texts
    completed_at: Annotated[datetime | None, Field(examples=["2026-01-31T12:00:00Z"])]
    list: Annotated[str, Field(description="The name of its list", examples=["Work"])]
    external_id: Annotated[str | None, Field(description="What the file called it that it was imported from")]


class TodoList(BaseModel):
    todos: list[TodoOut]


class DayCount(BaseModel):
    day: Annotated[date, Field(examples=["2026-01-31"])]
    created: Annotated[int, Field(examples=[3])]
    completed: Annotated[int, Field(examples=[2])]


class Stats(BaseModel):
    """Statistics. `completed`, and `throughput` per day, are of the days in `by_day`."""

    total: Annotated[int, Field(examples=[12])]
    by_state: Annotated[dict[str, int], Field(examples=[{"todo": 5, "done": 7}])]
    by_tag: Annotated[dict[str, int], Field(examples=[{"work": 4}])]
    overdue: Annotated[int, Field(examples=[1])]
    completed: Annotated[int, Field(examples=[2])]
    throughput: Annotated[float, Field(examples=[0.14])]
    by_day: Annotated[list[DayCount], Field(examples=[[{"day": "2026-01-31", "created": 3, "completed": 2}]])]


class Steps(BaseModel):
    steps: Annotated[int, Field(ge=1, le=STEPS_OF_REQUEST, description="How many changes", examples=[1])] = 1
    list: Annotated[str | None, Field(min_length=1, max_length=LIST_KEY_MAX, pattern=NO_NUL, description=IN_LIST)] = (
        None
    )


class EntryOut(BaseModel):
    """A change: how many todos a request or a command added, changed and removed. `title` is that of the first."""

    entry: Annotated[int, Field(examples=[12])]
    at: Annotated[datetime, Field(examples=["2026-01-31T12:00:00Z"])]
    added: Annotated[int, Field(examples=[0])]
    changed: Annotated[int, Field(examples=[1])]
    removed: Annotated[int, Field(examples=[0])]
    title: Annotated[str, Field(examples=["Write the report"])]
    undone: Annotated[bool, Field(examples=[False])]
    by: Annotated[str, Field(description="The username of who made it", examples=["ana"])]


class History(BaseModel):
    entries: list[EntryOut]

    @classmethod
    def of(cls, entries: list[results.Entry]) -> Self:
        return cls.model_validate({"entries": entries}, from_attributes=True)


class Count(BaseModel):
    count: Annotated[int, Field(examples=[2])]


class Changed(BaseModel):
    changed: Annotated[int, Field(examples=[2])]


Fragment = Annotated[str | None, Field(min_length=3, max_length=20, pattern=NO_NUL)]
After = Annotated[int, Field(ge=0, le=validate.BIGINT_MAX, description="Last id of the previous page"), DIGITS]
Offset = Annotated[int, Field(ge=0, le=validate.OFFSET_MAX), DIGITS]
Limit = Annotated[int, Field(ge=1, le=100), DIGITS]


_PLURALS = {"state": "states", "priority": "priorities", "tag": "tags"}
_FILTERS = TodoFilters.__optional_keys__ - {*_PLURALS.values()} | _PLURALS.keys()


class Filters(BaseModel):
    """Conditions that a todo must meet, all of them. A date means before the beginning or after the end of that day."""

    state: States = None
    priority: Urgencies = None
    tag: WantedTags = None
    text: Fragment = None
    title: Fragment = None
    description: Fragment = None
    due_before: Annotated[str, _exact("due_before"), _WHEN] | None = None
    due_after: Annotated[str, _exact("due_after"), _WHEN] | None = None
    overdue: bool = False
    created_before: Annotated[str, _exact("created_before"), _WHEN] | None = None
    created_after: Annotated[str, _exact("created_after"), _WHEN] | None = None
    time_zone: Zone = Field(None, validate_default=True)
    list: Annotated[str | None, Field(min_length=1, max_length=LIST_KEY_MAX, pattern=NO_NUL, description=IN_LIST)] = (
        None
    )

    @property
    def zone(self) -> tzinfo:
        return self.time_zone  # type: ignore[return-value]

    def filters(self) -> TodoFilters:
        """Return the filters that are given, for the core."""
        given = self.model_fields_set & _FILTERS
        return cast("TodoFilters", {_PLURALS.get(name, name): getattr(self, name) for name in given})


class Listing(Filters):
    """A page of todos."""

    sort: Sort | None = Field(None, description="By id without it; by due or created with a filter on it")
    descending: bool = False
    after: After = 0
    offset: Offset = 0
    limit: Limit = 100


class Bulk(BaseModel):
    """Up to 1,000 todos, in an object or as a list."""

    todos: Annotated[list[TodoIn], Field(max_length=BULK_MAX)]

    @model_validator(mode="before")
    @classmethod
    def _list_alone(cls, value: Any) -> Any:
        return {"todos": value} if isinstance(value, list) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        described = handler.resolve_ref_schema(handler(core_schema))
        properties = {"type": "object", "properties": described["properties"], "required": described["required"]}
        return {
            "title": "Bulk",
            "description": described["description"],
            "anyOf": [properties, described["properties"]["todos"]],
        }
