"""The exit code, HTTP status and hint of each error class."""

from collections.abc import Iterator

import pytest

from fastzero_core import errors
from fastzero_core.errors import FastZeroError

# The design's table; a class that is not here answers as its parent does.
EDGES: dict[type[FastZeroError], tuple[int, int]] = {
    errors.FastZeroError: (1, 500),
    errors.InvalidInputError: (2, 422),
    errors.NotFoundError: (3, 404),
    errors.CommandNotFoundError: (127, 404),
    errors.ConflictError: (4, 409),
    errors.NotAllowedError: (5, 403),
    errors.CommandNotExecutableError: (126, 403),
    errors.AuthenticationError: (5, 401),
    errors.LoginThrottledError: (5, 429),
    errors.DatabaseLoginError: (5, 503),
    errors.DatabasePrivilegeError: (5, 503),
    errors.UnavailableError: (6, 503),
    errors.SchemaError: (7, 503),
    errors.UnhealthyError: (8, 503),
    errors.DatabaseError: (1, 500),
}
# Their remedy depends on the case: whoever raises them gives it.
HINTED_WHERE_RAISED = {errors.InvalidInputError, errors.VersionMismatchError, errors.PortTakenError}
HINTED_WHERE_RAISED |= {errors.UnhealthyError}


def _below(error_class: type[FastZeroError]) -> Iterator[type[FastZeroError]]:
    # Skip the subclasses that tests define.
    for child in error_class.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _below(child)


ALL: list[type[FastZeroError]] = [FastZeroError, *_below(FastZeroError)]
LEAVES = [error_class for error_class in ALL if not list(_below(error_class))]


@pytest.mark.parametrize("error_class", ALL)
def test_exit_code_and_http_status_follow_the_table(error_class: type[FastZeroError]) -> None:
    ancestor = next(ancestor for ancestor in error_class.__mro__ if ancestor in EDGES)
    assert (error_class.exit_code, error_class.http_status) == EDGES[ancestor]


def test_every_class_has_a_code_of_its_own() -> None:
    assert len({error_class.code for error_class in ALL}) == len(ALL)


@pytest.mark.parametrize("error_class", [leaf for leaf in LEAVES if leaf not in HINTED_WHERE_RAISED])
def test_every_error_with_one_remedy_tells_it(error_class: type[FastZeroError]) -> None:
    assert error_class.default_hint


def test_an_error_is_a_dict_of_code_message_and_hint_for_programs() -> None:
    error = errors.UsernameTakenError("this username is taken")
    assert error.as_dict() == {
        "code": "username_taken",
        "message": "this username is taken",
        "hint": errors.UsernameTakenError.default_hint,
    }


def test_a_hint_given_replaces_the_usual_one() -> None:
    assert errors.LockedError("locked", hint="Wait").hint == "Wait"


def test_todos_not_found_are_named_up_to_twenty() -> None:
    assert errors.TodoNotFoundError([7]).message == "todo 7 does not exist"
    assert errors.TodoNotFoundError([7, 9]).message == "todos 7, 9 do not exist"
    assert errors.TodoNotFoundError(list(range(1, 31))).message.endswith("19, 20 and 10 more do not exist")
