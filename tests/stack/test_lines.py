"""The times that engines write, in whatever zone they are."""

from datetime import UTC, datetime

import pytest

from fastzero_core.stack.lines import moment_of

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00.123456Z",
        "2026-03-01T12:00:00.123456789Z",
        "2026-03-01T14:00:00.123456789+02:00",
        "2026-03-01T06:30:00.123456-05:30",
    ],
)
def test_a_moment_is_the_same_in_every_zone(text: str) -> None:
    assert moment_of(text) == NOON


def test_a_time_without_a_fraction_is_understood() -> None:
    assert moment_of("2026-03-01T12:00:00Z") == NOON.replace(microsecond=0)


@pytest.mark.parametrize("text", [None, "", "0001-01-01T00:00:00Z"])
def test_what_never_was_has_no_moment(text: str | None) -> None:
    assert moment_of(text) is None
