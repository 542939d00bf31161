"""The plan of a move, and what a crash of it leaves: pure."""

from dataclasses import replace
from typing import Any

import pytest

from fastzero_core.project import Place, ProjectRecord
from fastzero_core.stack.actions import Action, Kind, Verb, inverse
from fastzero_core.stack.observed import DataState, Observed, ObservedService, ServiceState
from fastzero_core.stack.plan import RecordChange, plan_up
from fastzero_core.stack.relocate import plan_move
from fastzero_core.stack.runtime import MOVING
from fastzero_core.stack.spec import ServiceSpec, StackSpec

OLD = ServiceSpec("database", 5432, is_database=True, image="postgres:17", volume="old", secrets=("database_password",))
APP = ServiceSpec("app", 8000, image="fastzero-app:1", depends_on=("database",), readiness="/readyz")
BOTH = StackSpec("demo", (OLD, APP))
BEFORE = ProjectRecord(
    "docker", {"database": 5432, "app": 8000}, initialised=True, image="postgres:17", volume="old", owner="me"
)
LEFT = Place("docker", image="postgres:17", volume="old")
NEWER = Place("docker", image="postgres:18", volume="new")
LOCAL = Place("embedded", data="/data")
RUNNING = Observed(
    {
        "database": ObservedService("database", ServiceState.RUNNING, thing="fastzero-demo-database", config_hash="x"),
        "app": ObservedService("app", ServiceState.RUNNING, thing="fastzero-demo-app", config_hash="y"),
    },
    network=True,
    data=DataState.THERE,
)
NAME = f"fastzero-demo-{MOVING}"


def moving_to(place: Place) -> ServiceSpec:
    return replace(OLD, name=MOVING, port=55432, image=place.image, volume=place.volume, data=place.data)


def planned(place: Place, **there: Any) -> list[Action]:
    after = BEFORE.moved(LEFT, place, ())
    return list(plan_move(BOTH, RUNNING, moving_to(place), Observed(**there), BEFORE, after))


def texts(plan: list[Action]) -> list[str]:
    return [str(action) for action in plan]


def test_a_database_is_copied_beside_the_one_in_service_before_one_write_decides() -> None:
    assert texts(planned(NEWER, network=True)) == [
        "write record project.json",
        "create volume new",
        f"create container {NAME}",
        f"fill secrets {NAME}",
        f"start container {NAME}",
        f"wait for service {MOVING}",
        "hold writes database",
        "copy database fastzero",
        f"stop container {NAME}",
        f"start container {NAME}",
        f"wait for service {MOVING}",
        f"stop container {NAME}",
        f"remove container {NAME}",
        "check writes database",
        "stop sessions database",
        "stop container fastzero-demo-app",
        "stop container fastzero-demo-database",
        "write record project.json",
    ]


def test_out_of_containers_the_same_is_done_with_a_process() -> None:
    plan = texts(planned(LOCAL))

    assert plan[1:4] == ["create data /data", f"start process {MOVING}", f"wait for service {MOVING}"]
    assert plan[-3:] == [
        "stop container fastzero-demo-app",
        "stop container fastzero-demo-database",
        "write record project.json",
    ]


def test_a_container_leaves_its_names_to_a_swarm_before_the_record_is_written() -> None:
    plan = texts(planned(replace(NEWER, runtime="swarm"), network=True))

    assert plan[-6:] == [
        "stop container fastzero-demo-app",
        "remove container fastzero-demo-app",
        "stop container fastzero-demo-database",
        "remove container fastzero-demo-database",
        "remove network fastzero-demo",
        "write record project.json",
    ]


def test_the_network_of_a_server_that_is_filled_for_a_swarm_does_not_stay() -> None:
    before = replace(BEFORE, runtime="embedded")
    after = before.moved(LOCAL, replace(NEWER, runtime="swarm"), ())
    plan = texts(list(plan_move(BOTH, Observed({}), moving_to(NEWER), Observed({}), before, after)))

    begins, ends = plan.index("create network fastzero-demo"), plan.index("remove network fastzero-demo")
    assert begins < plan.index(f"create container {NAME}") < plan.index(f"remove container {NAME}") < ends


def test_until_the_last_write_the_record_says_that_the_old_place_serves() -> None:
    first, *_, last = [action for action in planned(NEWER, network=True) if action.kind is Kind.RECORD]

    filling, moved = first.subject[1], last.subject[1]
    assert (filling.volume, filling.filling) == ("old", NEWER)
    assert (moved.volume, moved.image, moved.filling, moved.kept) == ("new", "postgres:18", None, (LEFT,))


def test_what_served_in_the_runtime_that_is_left_is_remembered_until_it_is_taken_away() -> None:
    assert planned(LOCAL)[-1].subject[1].leaving == LEFT
    assert planned(NEWER, network=True)[-1].subject[1].leaving is None


def test_the_inverse_of_a_move_lets_writes_go_starts_what_served_and_removes_what_was_filled() -> None:
    undone = [str(opposite) for action in reversed(planned(NEWER, network=True)) if (opposite := inverse(action))]

    assert undone[:3] == [
        "write record project.json",
        "start container fastzero-demo-database",
        "start container fastzero-demo-app",
    ]
    assert "release writes database" in undone
    assert undone[-3:] == [f"remove container {NAME}", "remove volume new", "write record project.json"]


STEPS = range(18)


@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_at_any_step_the_record_names_a_place_that_has_everything(step: int) -> None:
    plan = planned(NEWER, network=True)
    written = [action.subject[1] for action in plan[: step + 1] if action.kind is Kind.RECORD]
    is_copied = any(action.verb is Verb.CHECK for action in plan[: step + 1])

    record = written[-1]

    assert record.volume == ("new" if len(written) == 2 else "old")
    assert record.volume == "old" or is_copied


@pytest.mark.parametrize("killed_after", ["the app was stopped", "all was stopped"])
def test_after_a_crash_that_left_services_stopped_up_starts_them_where_the_record_says(killed_after: str) -> None:
    stopped = ServiceState.STOPPED
    app = replace(RUNNING.service("app"), state=stopped, config_hash=APP.config_hash, settings=APP.settings())
    database = replace(RUNNING.service("database"), config_hash=OLD.config_hash, settings=OLD.settings())
    if killed_after == "all was stopped":
        database = replace(database, state=stopped)
    before = replace(RUNNING, services={"database": database, "app": app}, revision="0004")

    plan = texts(plan_up(BOTH, before, "0004", RecordChange(BEFORE, BEFORE)))

    assert "start container fastzero-demo-app" in plan
    assert ("start container fastzero-demo-database" in plan) is (killed_after == "all was stopped")
    assert not [text for text in plan if text.startswith(("create volume", "remove volume"))]
