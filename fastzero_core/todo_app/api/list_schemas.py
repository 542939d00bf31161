"""Request and response models of the routes for lists."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from .. import validate
from ..models import Role
from .schemas import _checking, _text, checked

# Matches only valid names, but not all of them. The app accepts the others as well.
NAME = r"^[A-HJ-Za-hj-z][A-Za-z0-9 ]{0,40}[A-Za-z0-9]$"
Name = Annotated[str, checked(validate.list_name), _text(1, validate.LIST_NAME_MAX, "Work", pattern=NAME)]
RoleName = Annotated[Role, BeforeValidator(_checking(lambda value: validate.role(value)))]


class ListIn(BaseModel):
    """The name of a list. It may be neither `inbox` nor digits only, and has no `/`."""

    name: Name


class ListOut(BaseModel):
    """A list. `role` is your role: you are an owner of your own lists. `owner` is the user whose list it is."""

    id: Annotated[int, Field(examples=[1])]
    name: Annotated[str, Field(examples=["Work"])]
    owner: Annotated[str, Field(examples=["ana"])]
    role: Annotated[Role, Field(examples=["owner"])]
    members: Annotated[int, Field(description="With how many it is shared", examples=[2])]
    created_at: Annotated[datetime, Field(examples=["2026-01-31T12:00:00Z"])]


class Lists(BaseModel):
    lists: list[ListOut]


class RoleIn(BaseModel):
    """A viewer reads the todos, an editor changes them too, an owner also renames the list and chooses its members."""

    role: Annotated[RoleName, Field(examples=["editor"])] = Role.EDITOR


class MemberOut(BaseModel):
    id: Annotated[int, Field(examples=[2])]
    username: Annotated[str, Field(examples=["bob"])]
    role: Annotated[Role, Field(examples=["editor"])]


class Members(BaseModel):
    members: list[MemberOut]


class Trashed(BaseModel):
    trashed: Annotated[int, Field(description="How many todos went to the trash", examples=[3])]
