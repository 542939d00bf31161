"""From what should be and what is to what to do: pure, so that every case is one line."""

from collections.abc import Mapping

import pytest

from fastzero_core.stack.plan import (
    Action,
    Observed,
    ObservedService,
    ServiceState,
    Verb,
    plan_down,
    plan_images,
    plan_restart,
    plan_up,
)
from fastzero_core.stack.spec import ServiceSpec, StackSpec

HEAD = "0002"
DATABASE = ServiceSpec("database", 5432)
APP = ServiceSpec("app", 8000, depends_on=("database",))
ALONE = StackSpec("demo", (DATABASE,))
BOTH = StackSpec("demo", (DATABASE, APP))

CREATE, START, RECREATE, MIGRATE = Verb.CREATE, Verb.START, Verb.RECREATE, Verb.MIGRATE
ABSENT, STOPPED, RUNNING, UNHEALTHY = (
    ServiceState.ABSENT,
    ServiceState.STOPPED,
    ServiceState.RUNNING,
    ServiceState.UNHEALTHY,
)


def seen(service: ServiceSpec, state: ServiceState = RUNNING, detail: str = "") -> ObservedService:
    """A service as it is observed, running with exactly the configuration of its spec."""
    return ObservedService(service.name, state, detail, service.settings(), service.config_hash)


def observed(*services: ObservedService, revision: str | None = HEAD) -> Observed:
    return Observed({service.name: service for service in services}, revision)


@pytest.mark.parametrize(
    ("state", "revision", "expected"),
    [
        (
            ABSENT,
            None,
            [
                Action(CREATE, "database", "it does not exist yet"),
                Action(MIGRATE, "database", "the database is new; head is 0002"),
            ],
        ),
        (
            STOPPED,
            None,
            [
                Action(START, "database", "it is stopped"),
                Action(MIGRATE, "database", "if its schema is not at head (0002) once it answers"),
            ],
        ),
        (
            UNHEALTHY,
            None,
            [
                Action(RECREATE, "database", "it does not answer"),
                Action(MIGRATE, "database", "if its schema is not at head (0002) once it answers"),
            ],
        ),
        (RUNNING, HEAD, []),
        (RUNNING, "0001", [Action(MIGRATE, "database", "its schema is at 0001; head is 0002")]),
        (RUNNING, None, [Action(MIGRATE, "database", "its schema is at base; head is 0002")]),
    ],
)
def test_up_does_what_the_state_lacks_and_says_why(
    state: ServiceState, revision: str | None, expected: list[Action]
) -> None:
    assert plan_up(ALONE, observed(seen(DATABASE, state), revision=revision), HEAD) == expected


def test_up_of_a_service_that_was_never_observed_creates_it() -> None:
    assert [action.verb for action in plan_up(ALONE, Observed(), HEAD)] == [CREATE, MIGRATE]


@pytest.mark.parametrize("state", [STOPPED, UNHEALTHY])
def test_the_cause_is_what_the_runtime_saw_where_it_saw_more(state: ServiceState) -> None:
    plan = plan_up(ALONE, observed(seen(DATABASE, state, "its process is gone")), HEAD)

    assert plan[0].cause == "its process is gone"


@pytest.mark.parametrize("state", [ABSENT, STOPPED, UNHEALTHY])
def test_a_changed_setting_of_what_does_not_run_adds_nothing(state: ServiceState) -> None:
    before = observed(ObservedService("database", state, settings={}, config_hash="old"), revision=None)

    assert len(plan_up(ALONE, before, HEAD)) == 2


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        (ServiceSpec("database", 5433), "its configuration changed: port: 5432 → 5433"),
        (
            ServiceSpec("database", 5432, configuration={"work_mem": "8MB"}),
            "its configuration changed: work_mem: unset → 8MB",
        ),
    ],
)
def test_a_changed_setting_recreates_and_the_cause_names_old_and_new(wanted: ServiceSpec, cause: str) -> None:
    plan = plan_up(StackSpec("demo", (wanted,)), observed(seen(DATABASE)), HEAD)

    assert plan[0] == Action(RECREATE, "database", cause)


@pytest.mark.parametrize(
    ("changed", "recreated"),
    [
        ((ServiceSpec("database", 5433), APP), "database"),
        ((DATABASE, ServiceSpec("app", 8001, depends_on=("database",))), "app"),
    ],
)
def test_a_changed_setting_recreates_its_service_alone(
    changed: tuple[ServiceSpec, ServiceSpec], recreated: str
) -> None:
    plan = plan_up(StackSpec("demo", changed), observed(seen(DATABASE), seen(APP)), HEAD)

    assert [action.service for action in plan if action.verb is RECREATE] == [recreated]


def test_a_process_whose_settings_are_unknown_is_recreated() -> None:
    plan = plan_up(ALONE, observed(ObservedService("database", RUNNING)), HEAD)

    assert plan[0].verb is RECREATE


def test_the_services_start_in_their_order_and_boot_while_the_schema_is_migrated() -> None:
    plan = plan_up(BOTH, Observed(), HEAD)

    assert [(action.verb, action.service) for action in plan] == [
        (CREATE, "database"),
        (CREATE, "app"),
        (MIGRATE, "database"),
    ]


@pytest.mark.parametrize("spec", [ALONE, BOTH])
@pytest.mark.parametrize("state", list(ServiceState))
def test_up_twice_is_up_once(spec: StackSpec, state: ServiceState) -> None:
    before = observed(*(seen(service, state) for service in spec.services), revision=None)
    assert plan_up(spec, before, HEAD)

    after = observed(*(seen(service) for service in spec.services))
    assert plan_up(spec, after, HEAD) == []


@pytest.mark.parametrize(
    ("states", "volumes", "expected"),
    [
        ({}, False, []),
        ({"database": ABSENT}, False, []),
        ({"database": STOPPED}, False, []),
        ({"database": RUNNING}, False, ["stop database"]),
        ({"database": UNHEALTHY}, False, ["stop database"]),
        ({"database": STOPPED}, True, ["destroy database"]),
        ({"database": RUNNING}, True, ["stop database", "destroy database"]),
        ({"database": ABSENT}, True, ["destroy database"]),
        ({"database": RUNNING, "app": RUNNING}, False, ["stop app", "stop database"]),
        (
            {"database": RUNNING, "app": RUNNING},
            True,
            ["stop app", "stop database", "destroy database"],
        ),
    ],
)
def test_down_stops_what_runs_dependents_first_and_destroys_only_when_asked(
    states: Mapping[str, ServiceState], volumes: bool, expected: list[str]
) -> None:
    before = observed(*(ObservedService(name, state) for name, state in states.items()))

    assert [f"{action.verb} {action.service}" for action in plan_down(before, volumes=volumes)] == expected


@pytest.mark.parametrize(
    ("state", "verb"), [(RUNNING, RECREATE), (UNHEALTHY, RECREATE), (STOPPED, START), (ABSENT, START)]
)
def test_restart_starts_what_is_stopped_and_recreates_what_runs(state: ServiceState, verb: Verb) -> None:
    plan = plan_restart(ALONE, observed(seen(DATABASE, state)), ("database",))

    assert [(action.verb, bool(action.cause)) for action in plan] == [(verb, True)]


def test_restart_leaves_the_services_alone_that_were_not_named() -> None:
    plan = plan_restart(BOTH, observed(seen(DATABASE), seen(APP)), ("app",))

    assert [action.service for action in plan] == ["app"]


# -- in containers ---------------------------------------------------------------------------------------------

POSTGRES = ServiceSpec("database", 5432, image="postgres:18")
BUILT = ServiceSpec("app", 8000, image="fastzero-app:1", base_image="python:3.13-slim")
IMAGES = StackSpec("demo", (POSTGRES, BUILT))


@pytest.mark.parametrize(
    ("here", "wanted", "expected"),
    [
        (None, {}, []),
        ([], {}, ["pull database", "build app"]),
        (["postgres:18"], {}, ["build app"]),
        (["postgres:18", "fastzero-app:1"], {}, []),
        (["postgres:18", "fastzero-app:1"], {"pull": True}, ["pull database"]),
        (["postgres:18", "fastzero-app:1"], {"build": True}, ["build app"]),
        (["postgres:18", "fastzero-app:1"], {"build": True, "pull": True}, ["pull database", "build app"]),
    ],
)
def test_images_are_pulled_or_built_where_they_are_missing_or_asked_for(
    here: list[str] | None, wanted: dict[str, bool], expected: list[str]
) -> None:
    before = Observed(images=None if here is None else frozenset(here))

    assert [f"{each.verb} {each.service}" for each in plan_images(IMAGES, before, **wanted)] == expected


def test_a_missing_image_and_one_that_was_asked_for_have_different_causes() -> None:
    missing = plan_images(IMAGES, Observed(images=frozenset()))[0]
    asked = plan_images(IMAGES, Observed(images=frozenset({"postgres:18"})), pull=True)[0]

    assert missing.cause == "image postgres:18 is not here yet"
    assert asked.cause == "it was asked for, though image postgres:18 is here"


@pytest.mark.parametrize("state", [STOPPED, RUNNING])
def test_another_image_of_the_same_name_recreates_the_service(state: ServiceState) -> None:
    outdated = ObservedService(
        "database", state, "", POSTGRES.settings(), POSTGRES.config_hash, outdated="its image is another one now"
    )

    plan = plan_up(StackSpec("demo", (POSTGRES,)), observed(outdated), HEAD)

    assert plan[0] == Action(RECREATE, "database", "its image is another one now")


def test_a_stopped_container_of_another_configuration_is_recreated_and_not_started() -> None:
    stopped = ObservedService("database", STOPPED, "it is stopped", settings={}, config_hash="old")

    assert plan_up(ALONE, observed(stopped), HEAD)[0].verb is RECREATE


def test_what_an_interrupted_command_left_is_swept_before_all_else() -> None:
    before = Observed({"database": seen(DATABASE)}, HEAD, leftovers=("fastzero-demo-database-old",))

    assert plan_up(ALONE, before, HEAD) == [
        Action(Verb.SWEEP, "fastzero-demo-database-old", "an interrupted command left it")
    ]
    assert plan_down(before, volumes=False)[0].verb is Verb.SWEEP


def test_an_orphan_is_nothing_to_do() -> None:
    assert plan_up(ALONE, Observed({"database": seen(DATABASE)}, HEAD, orphans=("cache",)), HEAD) == []


def test_down_removes_a_container_that_is_only_stopped() -> None:
    assert [action.verb for action in plan_down(observed(seen(DATABASE, STOPPED)), volumes=False)] == [Verb.STOP]
