"""What a filter costs: pages of a user with 100,000 todos beside the page without a filter, among 10,000,000 todos."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from fastzero_core import FastZero

from .crowd import BUFFERS, EACH, MANY, fill
from .ground import Ground, own_stack
from .measure import Comparison, compare

OWN = 100_000  # todos of the user

_BEGINNING, _MIDDLE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
FILTERS: dict[str, dict[str, Any]] = {
    "a tag": {"tags": ["work"]},
    "a rare tag": {"tags": ["rare"]},
    "a tag and a state": {"tags": ["work"], "states": ["todo"]},
    "a priority": {"priorities": ["high"]},
    "two priorities": {"priorities": ["high", "low"]},
    "a state": {"states": ["todo"]},
    "due before a moment": {"due_before": _BEGINNING},
    "due after a moment": {"due_after": _MIDDLE},
    "due between moments": {"due_after": _BEGINNING, "due_before": _MIDDLE},
    "overdue todos": {"overdue": True},
    "created after a moment": {"created_after": _MIDDLE},
}


def filtered(ground: Ground, quick: bool) -> Iterator[Comparison]:
    with own_stack(ground, "filtered", postgres_settings={"shared_buffers": BUFFERS}) as stack:
        url = ground.database("filtered", stack)
        users = (MANY // 10 if quick else MANY) - OWN // EACH
        fill(url, users).engine.dispose()
        owner = ground.side("busy", url, OWN)
        with FastZero(owner.engine, autocommit=True) as fz:
            todos = fz.todos(owner.user)
            for name, filters in FILTERS.items():
                yield compare(
                    f"list of {name}: {OWN:,} todos among {users * EACH + OWN:,}",
                    "list without a filter",
                    todos.list,
                    lambda filters=filters: todos.list(**filters),  # type: ignore[misc]
                    limit=1.2,
                    runs=100 if quick else 1000,
                )
