"""Password hashes."""

import pytest
from argon2 import Type, extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from fastzero_core import InvalidInputError
from fastzero_core.todo_app.passwords import DEFAULT_COST, hash_password, verify_password
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
