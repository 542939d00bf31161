"""The records as JSON types."""

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from fastzero_core import Todo, TodoState
from fastzero_core.formats import as_dict

TODO = Todo(1, "Write", "", TodoState.DOING, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC), datetime.max, 7)


def test_a_record_becomes_all_of_its_fields_as_json_types() -> None:
    found = as_dict(TODO)
    assert list(found) == [field.name for field in dataclasses.fields(Todo) if field.repr]
    assert found["state"] == "doing"
    assert found["created_at"] == "2025-01-02T03:04:05+00:00"
    assert json.loads(json.dumps(found)) == found


def test_a_whole_day_is_a_date_and_a_moment_has_its_time() -> None:
    moment = datetime(2026, 12, 24, 18, tzinfo=UTC)
    assert as_dict(dataclasses.replace(TODO, due=moment.date()))["due"] == "2026-12-24"
    assert as_dict(dataclasses.replace(TODO, due=moment))["due"] == "2026-12-24T18:00:00+00:00"


def test_records_within_a_record_are_dicts_too() -> None:
    @dataclasses.dataclass
    class Page:
        todos: list[Todo]
        counts: dict[str, TodoState]

    assert as_dict(Page([TODO], {"x": TodoState.DONE})) == {"todos": [as_dict(TODO)], "counts": {"x": "done"}}


def test_records_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TODO.title = "other"  # type: ignore[misc]
