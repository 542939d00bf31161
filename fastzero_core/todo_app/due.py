"""Read and store the times at which todos are due: moments, and whole days in a time zone.

The grammar is small and of its own. Of the libraries for it, dateparser needs 0.2 s to be imported and used once, and
even when strict it reads 10/11/2026 as the eleventh of October; parsedatetime ignores words that it does not know, and
dateutil reads `12` as a day of this month. A due date that was misunderstood is worse than one that must be typed
again, so everything that has two meanings is refused here.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from ..errors import InvalidInputError

NEVER = "none"
FIRST, LAST = date(1900, 1, 1), date(9998, 12, 31)
HINT = "Use today, tomorrow, fri, +3d, +2w, +4h, 2026-12-24, '2026-12-24 18:00', 'fri 18:00' or none"

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NEAR = {"yesterday": -1, "today": 0, "tomorrow": 1}
_STEPS = {"d": timedelta(days=1), "w": timedelta(weeks=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}
_STEP = re.compile(r"([+-]\d{1,6})(d|w|h|min)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[tT ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([zZ]|[+-]\d{2}:\d{2})?", re.ASCII)
_EXACT = re.compile(r"\d{4}-\d{2}-\d{2}([tT]\d{2}:\d{2}:\d{2}(\.\d+)?([zZ]|[+-]\d{2}:\d{2}))?", re.ASCII)


def zone(name: str) -> tzinfo:
    """Return a time zone by its name in the IANA database, such as America/Sao_Paulo. Raises InvalidInputError."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # also of a name that is a path
        raise InvalidInputError(
            f"unknown time zone {name!r}", field="time_zone", hint="Use a name such as America/Sao_Paulo or UTC"
        ) from None


def parse(text: str, zone: tzinfo | None = None, now: datetime | None = None) -> date | None:
    """Return the date or moment that a person means, None for `none`. `zone` None is the time zone of this machine.

    A day alone is a date; with a time it is a moment in `zone`. Raises InvalidInputError for what is not known, and for
    what has more than one meaning, such as 10/11/2026, the name of today's weekday, or an hour that occurs twice.
    """
    words = text.strip()
    if words.lower() == NEVER:
        return None
    try:
        found = _exact(words, zone) or _from_now(words.lower(), zone, now or datetime.now(UTC))
    except (ValueError, OverflowError):  # no such day or hour
        found = None
    if found is None:
        raise InvalidInputError(f"invalid date {text!r}", field="due", hint=HINT)
    return checked(found)


def parse_exact(text: str, field: str = "due") -> date:
    """Return a date or a moment in RFC 3339, as programs write them. Raises InvalidInputError."""
    if not _EXACT.fullmatch(text):
        raise InvalidInputError(f"invalid date {text!r}", field=field, hint="Use a date or a date-time of RFC 3339")
    found = read(text, UTC, field)
    assert found is not None, "it is not `none`"
    return found


def checked(value: date, field: str = "due") -> date:
    """Check a date or moment. Raises InvalidInputError if it has no time zone, or is out of range."""
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise InvalidInputError(
            f"{field} needs a time zone", field=field, hint="Give a datetime with tzinfo, or a date"
        )
    day = value.date() if isinstance(value, datetime) else value
    if not FIRST <= day <= LAST:
        raise InvalidInputError(f"{field} must be between {FIRST} and {LAST}", field=field)
    return value


def read(value: date | str, zone: tzinfo | None, field: str = "due") -> date | None:
    """Return a checked date or moment, also from text as in `parse`."""
    if not isinstance(value, str):
        return checked(value, field)
    try:
        return parse(value, zone)
    except InvalidInputError as error:
        raise InvalidInputError(error.message, field=field, hint=error.hint) from None


def end_of(value: date, zone: tzinfo | None) -> datetime:
    """Return a moment as it is, or the last microsecond of a day in `zone`."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return beginning_of(value + timedelta(days=1), zone) - timedelta(microseconds=1)


def beginning_of(value: date, zone: tzinfo | None) -> datetime:
    """Return a moment as it is, or the first one of a day in `zone`."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    # Without a zone, `astimezone` uses the rules of this machine for that day, and not the offset of today.
    return datetime.combine(value, time(), zone).astimezone(UTC)


def as_typed(value: date | None, zone: tzinfo | None = None) -> str:
    """Return a date or moment as a person may type it: a day, or a day and a time in `zone`; of None an empty text."""
    match value:
        case None:
            return ""
        case datetime():
            return f"{value.astimezone(zone):%Y-%m-%d %H:%M}"
    return value.isoformat()


def whole_day(value: date | None) -> date | None:
    """Return the day of a todo that is due on a whole day."""
    return None if isinstance(value, datetime) else value


def _exact(text: str, zone: tzinfo | None) -> date | None:
    """Return a day or moment that does not depend on the present one."""
    if _DATE.fullmatch(text):
        return date.fromisoformat(text)
    if not _MOMENT.fullmatch(text):
        return None
    found = datetime.fromisoformat(text.upper())
    return found if found.tzinfo else _in_zone(found, zone)


def _from_now(text: str, zone: tzinfo | None, now: datetime) -> date | None:
    here = now.astimezone(zone)
    return _step(text, here) or _day_and_time(text, zone, here)


def _step(text: str, now: datetime) -> date | None:
    match = _STEP.fullmatch(text)
    if not match:
        return None
    length = int(match[1]) * _STEPS[match[2]]
    if match[2] in ("d", "w"):
        return now.date() + length
    return (now.astimezone(UTC) + length).replace(second=0, microsecond=0)


def _day_and_time(text: str, zone: tzinfo | None, now: datetime) -> date | None:
    day_text, _, time_text = text.partition(" ")
    day = _day(day_text, now.date())
    if day is None or not time_text:
        return day
    if not _TIME.fullmatch(time_text):
        return None
    return _in_zone(datetime.combine(day, time.fromisoformat(time_text.zfill(5))), zone)


def _day(text: str, today: date) -> date | None:
    if text in _NEAR:
        return today + timedelta(days=_NEAR[text])
    if _DATE.fullmatch(text):
        return date.fromisoformat(text)
    for number, name in enumerate(_DAYS):
        if text in (name, name[:3]):
            return _next(number, today, text)
    return None


def _next(weekday: int, today: date, text: str) -> date:
    days = (weekday - today.weekday()) % 7
    if days == 0:
        raise InvalidInputError(
            f"today is {text}, so {text!r} may mean today or in a week", field="due", hint="Use today or +7d"
        )
    return today + timedelta(days=days)


def _in_zone(local: datetime, zone: tzinfo | None) -> datetime:
    """Return a wall-clock time as a moment. Raises InvalidInputError if the clock is put back or forward then."""
    early, late = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early != late:
        exists = early.astimezone(zone).replace(tzinfo=None, fold=0) == local
        what = "occurs twice" if exists else "does not exist"
        raise InvalidInputError(
            f"{local:%Y-%m-%d %H:%M} {what}, since the clocks change",
            field="due",
            hint=f"Add an offset, as {local:%Y-%m-%dT%H:%M}+01:00",
        )
    return early
