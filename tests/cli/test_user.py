"""fastzero user: passwords that nobody else sees, and the user whom the todo commands are about."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from fastzero_core import FastZero, Identity, User
from fastzero_core.errors import InvalidTokenError
from fastzero_core.todo_app.passwords import HashCost, hash_password, verify_password

from .conftest import Run, records
from .shell import Terminal

PASSWORD = "correct horse"
ADD_BOB = ["user", "add", "bob", "--email", "bob@example.com"]


@pytest.fixture
def has_password(database: str) -> Callable[[str, str], bool]:
    def verify(username: str, password: str) -> bool:
        with psycopg.connect(database) as connection:
            row = connection.execute("SELECT password_hash FROM users WHERE username = %s", [username]).fetchone()
        assert row is not None
        return verify_password(password, row[0])

    return verify


# -- add and passwd --------------------------------------------------------------------------------------------


def test_a_password_is_asked_for_twice_and_never_shown(has_password: Callable[[str, str], bool]) -> None:
    with Terminal(*ADD_BOB) as terminal:
        terminal.wait_for("Password: ")
        terminal.type(PASSWORD + "\n")
        terminal.wait_for("Repeat for confirmation: ")
        terminal.type(PASSWORD + "\n")
        result = terminal.end()
    assert result.code == 0
    assert PASSWORD not in result.out
    assert "bob@example.com" in result.out
    assert has_password("bob", PASSWORD)


def test_passwords_that_differ_are_asked_for_again(has_password: Callable[[str, str], bool]) -> None:
    with Terminal(*ADD_BOB) as terminal:
        for words in (("first word", "other word"), (PASSWORD, PASSWORD)):
            for prompt, word in zip(("Password: ", "Repeat for confirmation: "), words, strict=True):
                terminal.wait_for(prompt)
                terminal.type(word + "\n")
        result = terminal.end()
    assert result.code == 0
    assert "do not match" in result.out
    assert "first word" not in result.out
    assert has_password("bob", PASSWORD)


@pytest.mark.parametrize("line", [PASSWORD, PASSWORD + "\n", PASSWORD + "\r\n", PASSWORD + "\nmore\n"])
def test_a_password_comes_from_the_first_line_of_stdin(
    line: str, fastzero: Run, has_password: Callable[[str, str], bool]
) -> None:
    assert fastzero(*ADD_BOB, "--password-stdin", stdin=line).code == 0
    assert has_password("bob", PASSWORD)


def test_a_password_keeps_its_blanks(fastzero: Run, has_password: Callable[[str, str], bool]) -> None:
    fastzero(*ADD_BOB, "--password-stdin", stdin="  two blanks \n")
    assert has_password("bob", "  two blanks ")


def test_a_password_comes_from_a_file(fastzero: Run, has_password: Callable[[str, str], bool]) -> None:
    Path("password").write_text(PASSWORD + "\n")
    assert fastzero(*ADD_BOB, "--password-file", "password").code == 0
    assert has_password("bob", PASSWORD)


def test_without_a_password_and_a_terminal_it_says_how_to_hand_one_over(database: str, fastzero: Run) -> None:
    result = fastzero(*ADD_BOB)
    assert result.code == 2
    assert "--password-stdin" in result.err
    assert "--password-file" in result.err


def test_with_no_input_a_terminal_is_not_asked(database: str) -> None:
    with Terminal(*ADD_BOB, "--no-input") as terminal:
        result = terminal.end()
    assert result.code == 2
    assert "Password:" not in result.out


def test_nothing_is_added_without_a_password(database: str, fastzero: Run) -> None:
    fastzero(*ADD_BOB, "--password-stdin", stdin="")
    assert records(fastzero("user", "list", "-o", "json")) == []


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_a_password_is_in_no_output(output: str, database: str, fastzero: Run) -> None:
    outcomes = [fastzero(*ADD_BOB, "--password-stdin", "-o", output, stdin=PASSWORD) for _ in range(2)]
    assert [outcome.code for outcome in outcomes] == [0, 4]
    assert not [outcome for outcome in outcomes if PASSWORD in outcome.out + outcome.err or "argon2" in outcome.out]


def test_passwd_gives_another_password(ana: User, fastzero: Run, has_password: Callable[[str, str], bool]) -> None:
    assert fastzero("user", "passwd", "ana", "--password-stdin", stdin="another horse\n").code == 0
    assert has_password("ana", "another horse")
    assert not has_password("ana", PASSWORD)


# -- list, show, edit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ana", "ANA", "ana@example.com", "1"])
def test_a_user_is_named_by_name_address_or_id(key: str, ana: User, fastzero: Run) -> None:
    assert records(fastzero("user", "show", key, "-o", "json"))["username"] == "ana"


def test_a_list_of_users_goes_on_behind_an_id(add_user: Callable[[str], User], fastzero: Run) -> None:
    first, *_ = [add_user(name) for name in ("ana", "bob", "eve")]
    page = records(fastzero("user", "list", "--after", first.id, "-n", "1", "-o", "json"))
    assert [user["username"] for user in page] == ["bob"]


def test_edit_changes_what_is_given(ana: User, fastzero: Run) -> None:
    user = records(fastzero("user", "edit", "ana", "--email", "new@example.com", "-o", "json"))
    assert (user[0]["username"], user[0]["email"]) == ("ana", "new@example.com")


# -- use -------------------------------------------------------------------------------------------------------


@pytest.fixture
def bob(add_user: Callable[[str], User]) -> User:
    return add_user("bob")


def test_use_chooses_for_the_project_alone(
    ana: User, bob: User, database: str, fastzero: Run, chosen_user: Callable[[], str | None]
) -> None:
    assert fastzero("user", "use", "BOB").code == 0
    assert chosen_user() == "bob"
    assert fastzero("todo", "list").code == 0
    assert fastzero("-p", "other", "--database-url", database, "todo", "list").code == 2


def test_renaming_the_chosen_user_keeps_it_chosen(
    ana: User, bob: User, fastzero: Run, chosen_user: Callable[[], str | None]
) -> None:
    fastzero("user", "use", "bob")
    fastzero("user", "edit", "bob", "--username", "robert")
    assert chosen_user() == "robert"


def test_removing_the_chosen_user_chooses_nobody(
    ana: User, bob: User, fastzero: Run, chosen_user: Callable[[], str | None]
) -> None:
    fastzero("user", "use", "bob")
    fastzero("user", "rm", "bob", "--yes")
    assert chosen_user() is None


def test_changes_to_others_leave_the_chosen_user(
    ana: User, bob: User, fastzero: Run, chosen_user: Callable[[], str | None]
) -> None:
    fastzero("user", "use", "bob")
    fastzero("user", "edit", "ana", "--username", "anna")
    fastzero("user", "rm", "anna", "--yes")
    assert chosen_user() == "bob"


def test_nobody_is_chosen_who_is_not_there(ana: User, fastzero: Run, chosen_user: Callable[[], str | None]) -> None:
    assert fastzero("user", "use", "eve").code == 3
    assert chosen_user() is None


# -- rm --------------------------------------------------------------------------------------------------------


def test_rm_says_what_goes_and_asks(ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "one")
    with Terminal("user", "rm", "ana") as terminal:
        terminal.wait_for("User ana and 1 todo will be permanently deleted. Go on? [y/N]: ")
        terminal.type("y\n")
        assert terminal.end().code == 0
    assert records(fastzero("user", "list", "-o", "json")) == []


def test_a_no_changes_nothing(ana: User, fastzero: Run) -> None:
    with Terminal("user", "rm", "ana") as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.type("n\n")
        result = terminal.end()
    assert result.code == 1
    assert "Nothing was changed." in result.out
    assert "Interrupted" not in result.out
    assert len(records(fastzero("user", "list", "-o", "json"))) == 1


def test_while_rm_asks_nothing_is_locked_and_what_changes_meanwhile_stops_it(
    ana: User, database: str, fastzero: Run
) -> None:
    with Terminal("user", "rm", "ana") as terminal:
        terminal.wait_for("User ana and 0 todos will be permanently deleted")
        with psycopg.connect(database) as session:
            open_there = session.execute(
                "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
            ).fetchall()
        assert fastzero("todo", "add", "one").code == 0
        terminal.type("y\n")
        result = terminal.end()
    assert open_there == []
    assert result.code == 4
    assert "the number of todos of user ana changed from 0 to 1" in result.out
    assert len(records(fastzero("user", "list", "-o", "json"))) == 1


def test_rm_refuses_where_nobody_can_be_asked(ana: User, fastzero: Run) -> None:
    result = fastzero("user", "rm", "ana")
    assert result.code == 2
    assert "--yes" in result.err
    assert len(records(fastzero("user", "list", "-o", "json"))) == 1


def test_rm_goes_on_where_it_was_agreed_beforehand(ana: User, fastzero: Run) -> None:
    assert records(fastzero("user", "rm", "ana", "--yes", "-o", "json"))[0]["username"] == "ana"


# -- passwords, sessions and invitations -----------------------------------------------------------------------


@pytest.mark.parametrize("words", [ADD_BOB, ["user", "passwd", "ana"]])
def test_a_password_that_is_easy_to_guess_is_refused_with_the_reason(
    words: list[str], ana: User, fastzero: Run
) -> None:
    result = fastzero(*words, "--password-stdin", stdin="password1\n")
    assert result.code == 2
    assert "password is one of the most common passwords" in result.err
    assert "Hint: Use a longer one" in result.err
    assert "password1" not in result.err + result.out


def test_a_password_is_hashed_as_the_settings_say(
    fastzero: Run, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs: list[HashCost] = []

    def remember(password: str, cost: HashCost) -> str:
        costs.append(cost)
        return hash_password(password, cost)

    monkeypatch.setattr("fastzero_core.todo_app.users.hash_password", remember)
    monkeypatch.setenv("FASTZERO_ARGON2_TIME", "4")
    monkeypatch.setenv("FASTZERO_ARGON2_MEMORY", "20000")
    fastzero(*ADD_BOB, "--password-stdin", stdin=PASSWORD)
    fastzero("user", "passwd", "bob", "--password-stdin", stdin="another horse")
    assert costs == [HashCost(time=4, memory=20_000)] * 2


def test_logout_ends_the_sessions_of_a_user(ana: User, database: str, fastzero: Run) -> None:
    assert records(fastzero("user", "logout", "ana", "-o", "json"))[0]["username"] == "ana"
    with FastZero(database) as fz, pytest.raises(InvalidTokenError):
        fz.users_for(Identity(ana.id, 0)).confirm()


def test_an_invitation_is_a_code_for_one_sign_up(database: str, fastzero: Run) -> None:
    result = fastzero("user", "invite", "--expires", "2", "-o", "json")
    invitation = json.loads(result.out)
    left = datetime.fromisoformat(invitation["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=1) < left < timedelta(hours=3)
    with FastZero(database) as fz:
        fz.users.add("bob", email="bob@example.com", password=PASSWORD, invitation=invitation["code"])


def test_an_invitation_that_would_never_hold_is_refused(database: str, fastzero: Run) -> None:
    assert fastzero("user", "invite", "--expires", "0").code == 2


# -- calendars -------------------------------------------------------------------------------------------------


def test_a_calendar_has_one_secret_path_until_it_is_revoked(database: str, fastzero: Run, ana: User) -> None:
    path = json.loads(fastzero("user", "calendar", "renew", "ana", "-o", "json").out)["path"]
    with FastZero(database) as fz:
        fz.todos(ana).add("Report")
        feed = fz.calendar_feed(path.removeprefix("/calendar/").removesuffix(".ics"))
        assert feed.stamp().owner_id == ana.id
    shown = fastzero("user", "calendar", "show", "ana")
    assert (shown.code, path in shown.out) == (0, False)
    assert fastzero("user", "calendar", "revoke", "ana").code == 0
    gone = fastzero("user", "calendar", "revoke", "ana")
    assert (gone.code, "this calendar does not exist" in gone.err) == (3, True)
