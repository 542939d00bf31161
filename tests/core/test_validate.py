"""What people may write: every limit, and a message that names field and limit."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastzero_core import InvalidInputError, TodoState
from fastzero_core.todo_app import validate

Check = Callable[[Any], Any]

REFUSED: list[tuple[Check, Any, str, str]] = [
    (validate.title, "", "title", "empty"),
    (validate.title, " \t\n", "title", "empty"),
    (validate.title, "x" * 201, "title", "200"),
    (validate.description, "x" * 10_001, "description", "10000"),
    (validate.username, "", "username", "50"),
    (validate.username, "x" * 51, "username", "50"),
    (validate.username, "a b", "username", "letters, digits"),
    (validate.username, "a@b", "username", "letters, digits"),
    (validate.username, "123", "username", "digits only"),
    (validate.username, "٣٤", "username", "digits only"),
    (validate.email, "", "email", "e-mail"),
    (validate.email, "ana", "email", "e-mail"),
    (validate.email, "ana@", "email", "e-mail"),
    (validate.email, "a b@example.com", "email", "e-mail"),
    (validate.email, "a" * 60 + "@" + "b." * 120 + "com", "email", ""),
    (validate.password, "x" * 7, "password", "8 to 128"),
    (validate.password, "x" * 129, "password", "8 to 128"),
    (validate.state, "finished", "state", "draft, todo, doing, done, trash"),
    (validate.record_id, 0, "id", "1 and 9223372036854775807"),
    (validate.record_id, -1, "id", "1 and 9223372036854775807"),
    (validate.record_id, 2**63, "id", "1 and 9223372036854775807"),
    (validate.record_ids, range(1, 10_002), "id", "10000"),
    (validate.record_ids, [1, 0], "id", "1 and"),
    (validate.limit, 0, "limit", "1"),
    (validate.limit, 2**63, "limit", "1"),
]
TEXTS: list[tuple[Check, str]] = [
    (validate.title, "title"),
    (validate.description, "description"),
    (validate.username, "username"),
    (validate.email, "email"),
    (lambda value: validate.text(value, "text"), "text"),
]


@pytest.mark.parametrize(("check", "value", "field", "limit"), REFUSED)
def test_what_breaks_a_limit_is_refused_with_field_and_limit(check: Check, value: Any, field: str, limit: str) -> None:
    with pytest.raises(InvalidInputError, match=field) as refused:
        check(value)
    assert refused.value.field == field
    assert limit in refused.value.message


@pytest.mark.parametrize(("check", "field"), TEXTS)
@pytest.mark.parametrize(("character", "name"), [("\0", "NUL"), ("\ud800", "surrogate")])
def test_what_postgresql_cannot_store_is_refused(check: Check, field: str, character: str, name: str) -> None:
    with pytest.raises(InvalidInputError, match=name) as refused:
        check(f"before{character}after")
    assert refused.value.field == field


def test_a_password_may_not_hold_a_surrogate_either() -> None:
    with pytest.raises(InvalidInputError, match="surrogate"):
        validate.password("long enough \udfff")


@pytest.mark.parametrize("password", ["sekret", "sekret" * 30, "sekret\ud800 and more"])
def test_a_refused_password_is_not_repeated(password: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        validate.password(password)
    assert "sekret" not in str(refused.value)
    assert "sekret" not in str(refused.value.as_dict())


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (validate.title, "x"),
        (validate.title, "😀" * 200),
        (validate.title, "  kept as it is  "),
        (validate.description, ""),
        (validate.description, "é" * 10_000),
        (validate.username, "a"),
        (validate.username, "Zoë.o_neil"),
        (validate.username, "7of9"),
        (validate.username, "x" * 50),
        (validate.email, "Ana+todo@example.com"),
        (validate.password, "x" * 8),
        (validate.password, "\0" * 128),
        (validate.record_id, 1),
        (validate.record_id, 2**63 - 1),
        (validate.limit, 1),
    ],
)
def test_what_keeps_within_its_limits_comes_back_unchanged(check: Check, value: Any) -> None:
    assert check(value) == value


@pytest.mark.parametrize("state", TodoState)
def test_a_state_is_known_by_its_word(state: TodoState) -> None:
    assert validate.state(state.value) is state


def test_ids_lose_their_repetitions_and_keep_their_order() -> None:
    assert validate.record_ids([3, 1, 3, 2, 1]) == [3, 1, 2]


@given(st.text())
def test_no_text_makes_a_check_fail_in_any_other_way(value: str) -> None:
    for check in (validate.title, validate.description, validate.username, validate.email, validate.password):
        with suppress(InvalidInputError):
            assert check(value) == value
