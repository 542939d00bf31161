"""The executor runs a plan and undoes what it ran of it; it decides nothing."""

from typing import Any

import pytest

from fastzero_core.errors import UnavailableError
from fastzero_core.events import ActionDone, ActionStarted, Event, Notice
from fastzero_core.stack.actions import Action, Kind, Verb
from fastzero_core.stack.execute import execute

RECORD = Action(Verb.WRITE, Kind.RECORD, "project.json", "", subject=(None, "after"))
NETWORK = Action(Verb.CREATE, Kind.NETWORK, "n", "")
VOLUME = Action(Verb.CREATE, Kind.VOLUME, "v", "")
START = Action(Verb.START, Kind.CONTAINER, "c", "")
PLAN = [RECORD, NETWORK, VOLUME, START]


class Hands:
    """Notes what is performed, and fails at some of it."""

    def __init__(self, *failing: str, error: BaseException | None = None) -> None:
        self.did: list[str] = []
        self._failing = failing
        self._error = error or UnavailableError("it is away")

    def __call__(self, action: Action) -> None:
        self.did.append(str(action))
        if str(action) in self._failing:
            raise self._error


def run(hands: Hands, **options: Any) -> list[Event]:
    told: list[Event] = []
    execute(PLAN, hands, told.append, **options)
    return told


def test_a_plan_is_run_in_its_order_and_each_action_is_told_of() -> None:
    hands = Hands()

    told = run(hands)

    assert hands.did == [str(action) for action in PLAN]
    assert [event.action for event in told if isinstance(event, ActionStarted)] == PLAN
    assert [event.action for event in told if isinstance(event, ActionDone)] == PLAN


@pytest.mark.parametrize("error", [UnavailableError("away"), KeyboardInterrupt()])
def test_what_was_begun_is_undone_latest_first(error: BaseException) -> None:
    hands = Hands("start container c", error=error)

    with pytest.raises(type(error)):
        run(hands)

    assert hands.did[4:] == [
        "stop container c",
        "remove volume v",
        "remove network n",
        "write record project.json",
    ]


@pytest.mark.parametrize("error", [UnavailableError("away"), KeyboardInterrupt()])
def test_nothing_is_undone_once_a_replaced_container_is_removed(error: BaseException) -> None:
    hands = Hands("remove container c-old", error=error)

    with pytest.raises(type(error)):
        execute([*PLAN, Action(Verb.REMOVE, Kind.CONTAINER, "c-old", "")], hands, lambda _: None)

    assert hands.did == [*map(str, PLAN), "remove container c-old"]


def test_with_keep_what_was_done_stays() -> None:
    hands = Hands("start container c")

    with pytest.raises(UnavailableError):
        run(hands, keep=True)

    assert len(hands.did) == 4


def test_where_something_cannot_be_undone_the_rest_is_and_the_record_stays() -> None:
    hands = Hands("start container c", "remove volume v")
    told: list[Event] = []

    with pytest.raises(UnavailableError):
        execute(PLAN, hands, told.append)

    assert hands.did[4:] == ["stop container c", "remove volume v", "remove network n"]
    assert Notice("could not undo create volume v: it is away") in told
