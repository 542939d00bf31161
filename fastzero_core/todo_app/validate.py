"""Validate input before it reaches the database, with messages that name the field and the limit.

Each function returns its argument or raises InvalidInputError. The same limits are constraints in the database (see
`tables`), so that they also apply to other clients.
"""

import re
from collections.abc import Iterable

from ..errors import InvalidInputError
from .models import INBOX, Priority, Role, TodoSort, TodoState

TITLE_MAX = 200
DESCRIPTION_MAX = 10_000
USERNAME_MAX = 50
EMAIL_MAX = 254
PASSWORD_MIN, PASSWORD_MAX = 8, 128
BIGINT_MAX = 2**63 - 1
BULK_MAX = 10_000
OFFSET_MAX = 10_000
TAG_MAX = 50
TAGS_MAX = 20
EXTERNAL_ID_MAX = 200
LIST_NAME_MAX = 100
LISTS_MAX = 500
MEMBERS_MAX = 100

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_USERNAME = re.compile(r"[\w.+-]+")
_TAG = re.compile(r"\w[\w./:@+-]*")


def title(value: str) -> str:
    text(value, "title")
    if not value.strip():
        raise InvalidInputError("title must not be empty", field="title")
    if len(value) > TITLE_MAX:
        raise InvalidInputError(f"title has {len(value)} characters; at most {TITLE_MAX} are allowed", field="title")
    return value


def description(value: str) -> str:
    text(value, "description")
    if len(value) > DESCRIPTION_MAX:
        raise InvalidInputError(
            f"description has {len(value)} characters; at most {DESCRIPTION_MAX} are allowed", field="description"
        )
    return value


def state(value: TodoState | str) -> TodoState:
    try:
        return TodoState(value)
    except ValueError:
        known = ", ".join(TodoState)
        raise InvalidInputError(f"state {value!r} is not one of {known}", field="state") from None


def priority(value: Priority | str) -> Priority:
    try:
        return Priority(value)
    except ValueError:
        raise InvalidInputError(f"priority {value!r} is not one of {', '.join(Priority)}", field="priority") from None


def sort(value: TodoSort | str) -> TodoSort:
    try:
        return TodoSort(value)
    except ValueError:
        raise InvalidInputError(f"sort {value!r} is not one of {', '.join(TodoSort)}", field="sort") from None


def tag(value: str) -> str:
    """Return a tag in lower case: a letter, digit or `_`, then up to 49 of these and of `.`, `/`, `:`, `@`, `+`, `-`.

    Raises InvalidInputError.
    """
    lower = text(value, "tag").lower()
    if not 1 <= len(lower) <= TAG_MAX:
        raise InvalidInputError(f"tag must have 1 to {TAG_MAX} characters", field="tag")
    if not _TAG.fullmatch(lower):
        raise InvalidInputError(
            f"invalid tag {value!r}",
            field="tag",
            hint="Start with a letter or digit; use letters, digits and _ . / : @ + -",
        )
    return lower


def tags(values: Iterable[str]) -> list[str]:
    """Return the tags in order, without duplicates. At most 20 are allowed."""
    found = sorted({tag(value) for value in values})
    if len(found) > TAGS_MAX:
        raise InvalidInputError(f"{len(found)} tags given; at most {TAGS_MAX} are allowed", field="tag")
    return found


def list_name(value: str) -> str:
    """Check the name of a list: 1–100 characters, without `/` and control characters.

    It must not be `inbox` or consist of digits only, so that it cannot be confused with the inbox or an id.
    """
    text(value, "name")
    if not 1 <= len(value) <= LIST_NAME_MAX or value != value.strip():
        raise InvalidInputError(
            f"the name of a list must have 1 to {LIST_NAME_MAX} characters, and no space at an end", field="name"
        )
    if "/" in value or not value.isprintable():
        raise InvalidInputError("the name of a list must not contain '/' or control characters", field="name")
    if value.isdecimal() or value.lower() == INBOX:
        raise InvalidInputError(f"the name of a list must not be {INBOX!r} or digits only", field="name")
    return value


def role(value: Role | str) -> Role:
    try:
        return Role(value)
    except ValueError:
        raise InvalidInputError(f"role {value!r} is not one of {', '.join(Role)}", field="role") from None


def external_id(value: str) -> str:
    """Check what another program calls a todo: 1 to 200 characters without control characters."""
    text(value, "external_id")
    if not 1 <= len(value) <= EXTERNAL_ID_MAX:
        raise InvalidInputError(f"external_id must have 1 to {EXTERNAL_ID_MAX} characters", field="external_id")
    if not value.isprintable() and _CONTROL.search(value):
        raise InvalidInputError("external_id must not contain control characters", field="external_id")
    return value


def username(value: str) -> str:
    """Check a username: 1–50 letters, digits, `.`, `_`, `+` or `-`.

    It must not consist of digits only, so that it cannot be confused with an id.
    """
    text(value, "username")
    if not 1 <= len(value) <= USERNAME_MAX:
        raise InvalidInputError(f"username must have 1 to {USERNAME_MAX} characters", field="username")
    if not _USERNAME.fullmatch(value):
        raise InvalidInputError("username may contain only letters, digits, '.', '_', '+' and '-'", field="username")
    if value.isdecimal():
        raise InvalidInputError("username must not consist of digits only", field="username")
    return value


def email(value: str) -> str:
    text(value, "email")
    if len(value) > EMAIL_MAX:  # checked first, since the library is slow for long values
        raise InvalidInputError(f"email has {len(value)} characters; at most {EMAIL_MAX} are allowed", field="email")
    # Imported only when an address is set, since the import takes as long as the rest of an operation.
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(value, check_deliverability=False)
    except EmailNotValidError as error:
        raise InvalidInputError(f"email {value!r} is not an e-mail address: {error}", field="email") from None
    return value


def password(value: str) -> str:
    """Check a password: 8–128 characters of any kind. The message never contains the password."""
    _encodable(value, "password")
    if not PASSWORD_MIN <= len(value) <= PASSWORD_MAX:
        length = "1 character" if len(value) == 1 else f"{len(value)} characters"
        raise InvalidInputError(
            f"password has {length}; {PASSWORD_MIN} to {PASSWORD_MAX} are allowed", field="password"
        )
    return value


def record_id(value: int, field: str = "id") -> int:
    """Check an id: a positive bigint."""
    if not 1 <= value <= BIGINT_MAX:
        raise InvalidInputError(f"{field} must be between 1 and {BIGINT_MAX}", field=field)
    return value


def possible_id(digits: str) -> int:
    """Return the id in a text of digits, or 0, which nothing has, if it is out of range."""
    value = int(digits[:20])
    return value if value <= BIGINT_MAX else 0


def record_ids(values: Iterable[int], field: str = "id") -> list[int]:
    """Return the ids without duplicates, in the order given. At most 10,000 are allowed."""
    ids = list(dict.fromkeys(record_id(value, field) for value in values))
    if len(ids) > BULK_MAX:
        raise InvalidInputError(f"{len(ids)} ids given; at most {BULK_MAX} are allowed", field=field)
    return ids


def limit(value: int) -> int:
    if not 1 <= value <= BIGINT_MAX:
        raise InvalidInputError(f"limit must be between 1 and {BIGINT_MAX}", field="limit")
    return value


def offset(value: int) -> int:
    if not 0 <= value <= OFFSET_MAX:
        raise InvalidInputError(
            f"offset must be between 0 and {OFFSET_MAX}",
            field="offset",
            hint="Use `after` with the last id to go further",
        )
    return value


def is_text(value: str) -> bool:
    """Return whether PostgreSQL can store the value as text."""
    try:
        text(value, "")
    except InvalidInputError:
        return False
    return True


def text(value: str, field: str) -> str:
    """Check that PostgreSQL can store a text: it has no NUL character and no unpaired surrogate."""
    if value.isprintable():  # then it has neither; most texts are, and this is found out quickly
        return value
    if "\0" in value:
        raise InvalidInputError(f"{field} must not contain a NUL character", field=field)
    return _encodable(value, field)


def _encodable(value: str, field: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{field} must not contain an unpaired surrogate", field=field) from None
    return value
