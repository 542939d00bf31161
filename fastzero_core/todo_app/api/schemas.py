"""Request and response models, as in the OpenAPI document. The limits and their messages come from `validate`."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from ...errors import InvalidInputError
from .. import validate
from ..models import NewTodo, TodoState

T = TypeVar("T")

BULK_MAX = 1000
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


def _state(value: Any) -> Any:
    return validate.state(value) if isinstance(value, str) else value


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


State = Annotated[TodoState, BeforeValidator(_checking(_state))]


def _digits(value: Any) -> Any:
    """Refuse spellings such as `1_0` and `5.0`, which pydantic accepts: each id must have only one URL."""
    if isinstance(value, str) and not re.fullmatch("-?[0-9]+", value):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    return value


DIGITS = BeforeValidator(_digits)


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

    def new(self) -> NewTodo:
        return NewTodo(self.title, self.description, self.state)


def _without_defaults(schema: dict[str, Any]) -> None:
    """Remove the defaults: a field that is not given is left unchanged, not set to its default."""
    for described in schema["properties"].values():
        described.pop("default", None)


class TodoChanges(BaseModel):
    """Changes of a todo. Fields that are not given are left unchanged; null is not allowed."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    title: Title = ""
    description: Description = ""
    state: State = TodoState.TODO

    def given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class TodoOut(BaseModel):
    id: Annotated[int, Field(examples=[1])]
    title: Annotated[str, Field(examples=["Write the report"])]
    description: Annotated[str, Field(examples=["For Friday"])]
    state: Annotated[TodoState, Field(examples=["todo"])]
    created_at: Annotated[datetime, Field(examples=["2026-01-31T12:00:00Z"])]
    updated_at: Annotated[datetime, Field(examples=["2026-01-31T12:00:00Z"])]


class TodoList(BaseModel):
    todos: list[TodoOut]


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
