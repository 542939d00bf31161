"""Password hashes."""

import pytest
from argon2 import Type, extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from fastzero_core import InvalidInputError
from fastzero_core.todo_app.passwords import COMMON, DEFAULT_COST, check_new_password, hash_password, verify_password
from fastzero_core.todo_app.passwords import _hasher as hasher_of_production


def test_the_real_hash_is_argon2id_well_above_the_least_that_is_safe() -> None:
    parameters = extract_parameters(hasher_of_production(DEFAULT_COST).hash("correct horse"))
    assert parameters.type is Type.ID
    assert parameters.memory_cost >= 19_456
    assert parameters.time_cost >= 2


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=128))
@settings(max_examples=30)
def test_any_password_is_verified_by_its_hash(password: str) -> None:
    assert verify_password(password, hash_password(password))


def test_another_password_is_not_verified() -> None:
    assert not verify_password("correct horsf", hash_password("correct horse"))


def test_the_same_password_never_has_the_same_hash() -> None:
    assert hash_password("correct horse") != hash_password("correct horse")


@pytest.mark.parametrize("unreadable", ["", "not a hash", "$argon2id$v=19$m=8,t=1,p=1$"])
def test_a_hash_that_cannot_be_read_verifies_nothing(unreadable: str) -> None:
    assert not verify_password("correct horse", unreadable)


def test_what_could_never_be_a_password_is_not_verified() -> None:
    assert not verify_password("correct horse \ud800", hash_password("correct horse"))


def test_a_password_out_of_its_limits_is_never_hashed() -> None:
    with pytest.raises(InvalidInputError, match="8 to 128"):
        hash_password("short")


# -- new passwords ---------------------------------------------------------------------------------------------


def check(password: str) -> str:
    return check_new_password(password, username="Ana.Lopez", email="alopez@example.com")


@pytest.mark.parametrize("password", ["correct horse", "Åtta små ord", "x" * 120 + "abc", "        abc"])
def test_a_password_that_is_hard_to_guess_is_taken_as_it_is(password: str) -> None:
    assert check(password) == password


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("password", "is one of the most common passwords"),
        ("PassWord1", "is one of the most common passwords"),
        ("aaaaaaaa", "is one of the most common passwords"),
        ("12345678", "is one of the most common passwords"),
        ("abababababababab", "has fewer than 4 different characters"),
        ("x" * 128, "has fewer than 4 different characters"),
        ("ana.lopez-2026", "contains the username"),
        ("my ANA.LOPEZ", "contains the username"),
        ("2026 alopez!", "contains the name in the e-mail address"),
        ("FastZero-2026", "contains fastzero"),
        ("short", "has 5 characters; 8 to 128 are allowed"),
        ("x" * 129, "has 129 characters; 8 to 128 are allowed"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused_with_the_reason(password: str, reason: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check(password)
    assert refused.value.message == f"password {reason}"
    assert refused.value.field == "password"
    assert password not in refused.value.hint


def test_a_name_of_one_or_two_letters_may_be_in_a_password() -> None:
    assert check_new_password("correct horse", username="co", email="h@example.com") == "correct horse"


def test_the_list_of_common_passwords_has_the_3000_most_common_ones_at_least() -> None:
    lines = COMMON.read_text(encoding="utf-8").splitlines()
    words = [line for line in lines if not line.startswith("# ")]
    assert len(words) > 8000
    assert words == sorted({word.lower() for word in words if len(word) >= 8})
