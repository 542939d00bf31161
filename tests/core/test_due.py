"""The dates that people type, and how they are kept."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastzero_core import InvalidInputError
from fastzero_core.todo_app import due

BERLIN, SAO_PAULO = ZoneInfo("Europe/Berlin"), ZoneInfo("America/Sao_Paulo")
WEDNESDAY = datetime(2026, 12, 2, 22, 30, 15, tzinfo=UTC)  # 23:30 in Berlin


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", None),
        ("NONE", None),
        ("today", date(2026, 12, 2)),
        ("tomorrow", date(2026, 12, 3)),
        ("yesterday", date(2026, 12, 1)),
        (" Tomorrow ", date(2026, 12, 3)),
        ("thu", date(2026, 12, 3)),
        ("fri", date(2026, 12, 4)),
        ("Friday", date(2026, 12, 4)),
        ("tue", date(2026, 12, 8)),
        ("+3d", date(2026, 12, 5)),
        ("-1d", date(2026, 12, 1)),
        ("+2w", date(2026, 12, 16)),
        ("+0d", date(2026, 12, 2)),
        ("2026-12-24", date(2026, 12, 24)),
        ("2028-02-29", date(2028, 2, 29)),
        ("+4h", datetime(2026, 12, 3, 2, 30, tzinfo=UTC)),
        ("+90min", datetime(2026, 12, 3, 0, 0, tzinfo=UTC)),
        ("2026-12-24 18:00", datetime(2026, 12, 24, 17, 0, tzinfo=UTC)),
        ("2026-12-24T18:00:05", datetime(2026, 12, 24, 17, 0, 5, tzinfo=UTC)),
        ("2026-07-01 18:00", datetime(2026, 7, 1, 16, 0, tzinfo=UTC)),
        ("2026-12-24T18:00Z", datetime(2026, 12, 24, 18, 0, tzinfo=UTC)),
        ("2026-12-24 18:00-03:00", datetime(2026, 12, 24, 21, 0, tzinfo=UTC)),
        ("fri 18:00", datetime(2026, 12, 4, 17, 0, tzinfo=UTC)),
        ("tomorrow 8:05", datetime(2026, 12, 3, 7, 5, tzinfo=UTC)),
    ],
)
def test_what_a_person_types_is_read_in_the_time_zone(text: str, expected: date | None) -> None:
    found = due.parse(text, BERLIN, WEDNESDAY)
    assert (found, isinstance(found, datetime)) == (expected, isinstance(expected, datetime))


def test_today_is_where_the_person_is() -> None:
    late = datetime(2026, 12, 2, 23, 30, tzinfo=UTC)
    assert due.parse("today", BERLIN, late) == date(2026, 12, 3)
    assert due.parse("today", SAO_PAULO, late) == date(2026, 12, 2)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "soon", "10/11/2026", "24.12.2026", "24-12-2026", "2026-13-01", "2026-02-29", "2026-1-5", "20261224",
        "12", "18:00", "1.5d", "3d", "+d", "+3", "+3m", "+3y", "+ 3d", "fri sat", "fri 25:00", "fri 18", "fri  18:00",
        "tomorrow at 18:00", "next friday", "2026-12-24 18:00 CET", "2026-12-24 24:00", "+999999w", "1899-12-31",
        "9999-01-01", "٢٠٢٦-١٢-٢٤", "none none", "fr",
    ],
)  # fmt: skip
def test_what_is_not_known_or_has_two_meanings_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        due.parse(text, BERLIN, WEDNESDAY)
    assert refused.value.field == "due"


@pytest.mark.parametrize("text", ["wed", "Wednesday", "wed 18:00"])
def test_the_name_of_today_may_mean_today_or_in_a_week(text: str) -> None:
    with pytest.raises(InvalidInputError, match="may mean today or in a week") as refused:
        due.parse(text, BERLIN, WEDNESDAY)
    assert refused.value.hint == "Use today or +7d"


@pytest.fixture(params=["named", "of the machine"])
def berlin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tzinfo | None]:
    """Berlin's time, by name and as that of this machine."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield BERLIN if request.param == "named" else None
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "why"), [("2026-10-25 02:30", "occurs twice"), ("2026-03-29 02:30", "does not exist")]
)
def test_an_hour_that_the_clocks_repeat_or_skip_is_refused(text: str, why: str, berlin: tzinfo | None) -> None:
    with pytest.raises(InvalidInputError, match=why):
        due.parse(text, berlin)
    assert due.parse(f"{text}+01:00", berlin)


def test_a_day_has_the_hours_that_it_has_there(berlin: tzinfo | None) -> None:
    lengths = {
        day: due.end_of(day, berlin) - due.beginning_of(day, berlin) + timedelta(microseconds=1)
        for day in (date(2026, 3, 29), date(2026, 6, 1), date(2026, 10, 25))
    }
    assert [length / timedelta(hours=1) for length in lengths.values()] == [23, 24, 25]


@given(st.dates(due.FIRST, due.LAST))
def test_every_day_can_be_typed_and_ends_within_itself(day: date) -> None:
    assert due.parse(day.isoformat(), SAO_PAULO) == day
    assert due.end_of(day, SAO_PAULO).astimezone(SAO_PAULO).date() == day


@given(st.text(max_size=12) | st.from_regex(r"[+-]?\d{0,4}[-/.: dwhm]{0,3}\d{0,4}", fullmatch=True))
def test_any_text_is_a_date_or_invalid(text: str) -> None:
    try:
        found = due.parse(text, BERLIN)
    except InvalidInputError:
        return
    assert found is None or found.isoformat()


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="due needs a time zone"):
        due.checked(datetime(2026, 12, 24, 18))
