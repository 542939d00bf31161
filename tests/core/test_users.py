"""The operations on users."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from fastzero_core import ConflictError, FastZero, FastZeroError, Identity, InvalidInputError, User, errors
from fastzero_core.errors import (
    AccountError,
    EmailTakenError,
    InvalidTokenError,
    UsernameTakenError,
    UserNotFoundError,
)
from fastzero_core.todo_app import validate
from fastzero_core.todo_app.passwords import HashCost, PasswordHash, hash_password, verify_password
from fastzero_core.todo_app.users import Users

PASSWORD = "correct horse"


def test_a_user_is_added_as_written(fz: FastZero) -> None:
    user = fz.users.add("Ana.Lopez", email="Ana@Example.com", password=PASSWORD)
    assert (user.username, user.email) == ("Ana.Lopez", "Ana@Example.com")
    assert user.created_at == user.updated_at
    assert user.created_at.utcoffset() == timedelta(0)
    assert fz.users.get(user.id) == user


def test_only_the_hash_of_the_password_is_kept(connection: Connection) -> None:
    Users(connection).add("ana", email="ana@example.com", password=PASSWORD)
    row = connection.execute(text("SELECT users::text, password_hash FROM users")).one()
    assert PASSWORD not in row[0]
    assert verify_password(PASSWORD, row[1])


@pytest.mark.parametrize("username", ["ana", "ANA"])
def test_a_username_is_taken_whatever_its_capitals(fz: FastZero, ana: User, username: str) -> None:
    with pytest.raises(UsernameTakenError, match="username is taken"):
        fz.users.add(username, email="other@example.com", password=PASSWORD)


@pytest.mark.parametrize("email", ["ana@example.com", "ANA@Example.COM"])
def test_an_email_address_is_taken_whatever_its_capitals(fz: FastZero, ana: User, email: str) -> None:
    with pytest.raises(EmailTakenError, match="e-mail address is taken"):
        fz.users.add("other", email=email, password=PASSWORD)


@pytest.mark.parametrize(
    ("names", "emails", "error"),
    [
        (
            ["ana", "Ana", "aNa", "ANA"],
            ["a@example.com", "b@example.com", "c@example.com", "d@example.com"],
            "username",
        ),
        (["a", "b", "c", "d"], ["ana@example.com"] * 4, "email"),
    ],
)
def test_of_four_identical_adds_at_once_one_succeeds(
    database_url: str, names: list[str], emails: list[str], error: str
) -> None:
    def add(who: tuple[str, str]) -> str:
        try:
            with FastZero(database_url) as fz:
                return fz.users.add(who[0], email=who[1], password=PASSWORD).username
        except ConflictError as conflict:
            return conflict.code

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(add, zip(names, emails, strict=True)))
    assert sorted(outcome == f"{error}_taken" for outcome in outcomes) == [False, True, True, True]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("username", ("a b", "ana@example.com", PASSWORD)),
        ("email", ("ana", "nowhere", PASSWORD)),
        ("password", ("ana", "ana@example.com", "short")),
    ],
)
def test_invalid_input_is_refused_before_the_database(
    connection: Connection, statements: list[object], field: str, values: tuple[str, str, str]
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Users(connection).add(values[0], email=values[1], password=values[2])
    assert refused.value.field == field
    assert not statements


def test_a_user_is_found_by_id_name_and_address(fz: FastZero, ana: User) -> None:
    for key in (ana.id, str(ana.id), "ana", "ANA", "ana@example.com", "Ana@EXAMPLE.com"):
        assert fz.users.get(key) == ana


@pytest.mark.parametrize("key", [2**63 - 1, "9999", "nobody", "nobody@example.com", "", "%", "an_", "' OR true --"])
def test_who_is_not_there_is_not_found_by_name(fz: FastZero, ana: User, key: int | str) -> None:
    with pytest.raises(UserNotFoundError) as missing:
        fz.users.get(key)
    assert repr(key) in missing.value.message
    assert "fastzero user list" in missing.value.hint


@pytest.mark.parametrize("key", [0, -1, 2**63, "0", "9" * 5000, "a\0b", "\ud800"])
def test_what_can_name_nobody_is_invalid(fz: FastZero, key: int | str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        fz.users.get(key)
    assert refused.value.field == "user"


@given(username=st.from_regex(r"[\w.+-]{1,50}", fullmatch=True), place=st.integers(0, 1))
@settings(max_examples=60)
def test_whoever_may_be_added_is_found_by_name(connection: Connection, username: str, place: int) -> None:
    users = Users(connection)
    with connection.begin_nested() as savepoint:
        try:
            validate.username(username)
        except InvalidInputError:
            return
        added = users.add(username, email="somebody@example.com", password=PASSWORD)
        assert users.get(username) == added
        savepoint.rollback()


def test_the_only_user_is_found_without_a_name(fz: FastZero, ana: User) -> None:
    assert fz.users.only() == ana


def test_without_any_user_there_is_no_only_one(fz: FastZero) -> None:
    with pytest.raises(UserNotFoundError) as missing:
        fz.users.only()
    assert "fastzero user add" in missing.value.hint


def test_among_several_users_one_must_be_named(fz: FastZero, ana: User) -> None:
    fz.users.add("bob", email="bob@example.com", password=PASSWORD)
    with pytest.raises(InvalidInputError) as refused:
        fz.users.only()
    assert "--user" in refused.value.hint


def _several(fz: FastZero, count: int) -> list[User]:
    return [fz.users.add(f"user-{n}", email=f"{n}@example.com", password=PASSWORD) for n in range(count)]


def test_users_are_listed_in_pages_by_id(fz: FastZero) -> None:
    added = _several(fz, 5)
    first = fz.users.list(limit=2)
    assert first == added[:2]
    assert fz.users.list(after=first[-1].id, limit=2) == added[2:4]
    assert fz.users.list(after=added[-1].id) == []


def test_an_empty_list_is_empty(fz: FastZero) -> None:
    assert fz.users.list() == []


def test_a_stream_gives_every_user_once(fz: FastZero, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastzero_core.todo_app.users._PAGE", 2)
    added = _several(fz, 4)
    assert list(fz.users.stream()) == added


def test_an_edit_changes_what_is_given(database_url: str) -> None:
    with FastZero(database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password=PASSWORD)
    with FastZero(database_url) as fz:
        edited = fz.users.edit("ana", email="new@example.com")
    assert (edited.id, edited.username, edited.email) == (ana.id, "ana", "new@example.com")
    assert edited.created_at == ana.created_at
    assert edited.updated_at.astimezone(UTC) > ana.updated_at


def test_a_user_may_change_the_capitals_of_its_own_name(fz: FastZero, ana: User) -> None:
    assert fz.users.edit(ana.id, username="Ana").username == "Ana"


@pytest.mark.parametrize(
    ("change", "error"), [({"username": "BOB"}, UsernameTakenError), ({"email": "BOB@example.com"}, EmailTakenError)]
)
def test_an_edit_cannot_take_what_is_anothers(
    fz: FastZero, ana: User, change: dict[str, str], error: type[FastZeroError]
) -> None:
    fz.users.add("bob", email="bob@example.com", password=PASSWORD)
    with pytest.raises(error):
        fz.users.edit("ana", **change)


def test_an_edit_without_a_change_is_refused(fz: FastZero, ana: User) -> None:
    with pytest.raises(InvalidInputError, match="a username, an e-mail address or a password"):
        fz.users.edit("ana")


@pytest.mark.parametrize("change", [{"username": ""}, {"email": "x"}])
def test_an_edit_keeps_to_the_limits(fz: FastZero, ana: User, change: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError):
        fz.users.edit("ana", **change)


def test_a_new_password_voids_the_old_one_and_its_tokens(connection: Connection) -> None:
    users = Users(connection)
    users.add("ana", email="ana@example.com", password=PASSWORD)
    users.set_password("ana", "battery staple")
    kept, version = connection.execute(text("SELECT password_hash, token_version FROM users")).one()
    assert verify_password("battery staple", kept)
    assert not verify_password(PASSWORD, kept)
    assert version == 1


def test_a_removed_user_takes_its_todos_along(fz: FastZero, ana: User) -> None:
    fz.todos(ana).add("Write")
    assert fz.users.remove("ana") == ana
    assert fz.todos(ana).count() == 0
    with pytest.raises(UserNotFoundError):
        fz.users.get("ana")


@pytest.mark.parametrize("operation", ["edit", "set_password", "remove"])
def test_nothing_is_done_to_a_user_who_is_not_there(fz: FastZero, operation: str) -> None:
    arguments = {"edit": {"username": "x"}, "set_password": {"password": PASSWORD}, "remove": {}}[operation]
    with pytest.raises(UserNotFoundError, match="nobody"):
        getattr(fz.users, operation)("nobody", **arguments)


@pytest.mark.parametrize(
    "values",
    ["('', 'a@b.c', 'x')", "(repeat('x', 51), 'a@b.c', 'x')", "('a', 'x', 'x')", "('a', repeat('x', 255), 'x')"],
)
def test_the_database_keeps_the_limits_against_every_client(other: psycopg.Connection, values: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        other.execute(f"INSERT INTO users (username, email, password_hash) VALUES {values}")


def test_a_limit_that_only_the_database_knows_is_invalid_input_too(connection: Connection) -> None:
    with pytest.raises(errors.InvalidInputError, match="ck_users_username_length"):
        connection.execute(text("INSERT INTO users (username, email, password_hash) VALUES ('', 'a@b', '')"))


@pytest.mark.parametrize(("password", "reason"), [("password", "most common"), ("my anatol", "contains the username")])
def test_a_password_that_is_easy_to_guess_is_refused(
    connection: Connection, statements: list[object], password: str, reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        Users(connection).add("anatol", email="somebody@example.com", password=password)
    assert not statements


def test_a_new_password_must_not_contain_the_name_that_the_user_has_or_gets(fz: FastZero) -> None:
    user = fz.users.add("anatol", email="somebody@example.com", password=PASSWORD)
    with pytest.raises(InvalidInputError, match="contains the username"):
        fz.users.set_password(user.id, "my anatol")
    with pytest.raises(InvalidInputError, match="contains the username"):
        fz.users.edit(user.id, username="another", password="another horse")
    with pytest.raises(InvalidInputError, match="contains the name in the e-mail address"):
        fz.users.edit(user.id, username="another", password="somebody's horse")


def test_passwords_are_hashed_at_the_cost_that_is_asked_for(
    database_url: str, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # real costs, since these are what this is about
    with FastZero(database_url, hash_cost=HashCost(time=2, memory=19_456, parallelism=1)) as fz:
        fz.users.add("ana", email="ana@example.com", password=PASSWORD)
    (kept,) = other.execute("SELECT password_hash FROM users").fetchone() or ("",)
    assert "m=19456,t=2,p=1" in kept


# -- as a token's bearer sees them -------------------------------------------------------------------------------


@pytest.fixture
def bearer(fz: FastZero, ana: User) -> Identity:
    return Identity(ana.id, 0)


def test_the_bearer_of_a_token_sees_users_and_changes_the_own_account(
    fz: FastZero, ana: User, bearer: Identity
) -> None:
    users = fz.users_for(bearer)
    assert users.list() == [ana]
    assert users.get("ana") == ana
    assert users.edit(ana.id, username="anna").username == "anna"
    assert users.remove(ana.id).id == ana.id


ON_ONE_USER: list[Callable[[Users, int], object]] = [
    lambda users, id: users.edit(id, username="another"),
    lambda users, id: users.set_password(id, "another horse"),
    lambda users, id: users.void_tokens(id),
    lambda users, id: users.with_password_hash(id),
    lambda users, id: users.remove(id),
]


@pytest.mark.parametrize("change", ON_ONE_USER)
def test_nobody_else_s_account_is_changed(
    change: Callable[[Users, int], object], fz: FastZero, bearer: Identity
) -> None:
    bob = fz.users.add("bob", email="bob@example.com", password="correct horse")
    with pytest.raises(AccountError):
        change(fz.users_for(bearer), bob.id)
    assert fz.users.get(bob.id) == bob


@pytest.mark.parametrize(
    "operation",
    [
        *ON_ONE_USER,
        lambda users, id: users.get(id),
        lambda users, id: users.get(1_000_000),
        lambda users, id: users.remove(1_000_000),
        lambda users, id: users.list(),
        lambda users, id: users.confirm(),
    ],
)
@pytest.mark.parametrize("void", [lambda fz, id: fz.users.void_tokens(id), lambda fz, id: fz.users.remove(id)])
def test_nothing_is_done_for_a_token_that_no_longer_holds(
    void: Callable[[FastZero, int], object],
    operation: Callable[[Users, int], object],
    fz: FastZero,
    ana: User,
    bearer: Identity,
) -> None:
    void(fz, ana.id)
    before = fz.users.list()
    with pytest.raises(InvalidTokenError):
        operation(fz.users_for(bearer), ana.id)
    assert fz.users.list() == before


def test_another_password_voids_tokens_and_another_name_does_not(fz: FastZero, ana: User, bearer: Identity) -> None:
    fz.users.edit(ana.id, username="anna", email="anna@example.com")
    fz.users_for(bearer).confirm()
    fz.users.edit(ana.id, password="another horse")
    with pytest.raises(InvalidTokenError):
        fz.users_for(bearer).confirm()


def test_a_password_may_be_hashed_beforehand(fz: FastZero, ana: User) -> None:
    hashed = PasswordHash(hash_password("another horse"))
    fz.users.set_password(ana.id, hashed)
    assert fz.users.with_password_hash(ana.id)[1] == hashed.value


def test_an_offset_skips_users(fz: FastZero, ana: User) -> None:
    others = [fz.users.add(f"u{number}", email=f"u{number}@example.com", password="correct horse") for number in "abc"]
    assert fz.users.list(offset=1, limit=2) == others[:2]
    with pytest.raises(InvalidInputError, match="between 0 and 10000"):
        fz.users.list(offset=10_001)
