"""From what should be and what is to what to do: pure, so that every case is one line."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fastzero_core.errors import ConflictError, DataGoneError, ForeignStackError
from fastzero_core.project import Place, ProjectRecord
from fastzero_core.stack.actions import Action, Kind, Verb, inverse
from fastzero_core.stack.observed import DataState, Observed, ObservedService, ServiceState, Thing
from fastzero_core.stack.plan import (
    RecordChange,
    plan_adopt,
    plan_destroy,
    plan_down,
    plan_restart,
    plan_up,
)
from fastzero_core.stack.pulling import plan_images
from fastzero_core.stack.rotation import plan_secret
from fastzero_core.stack.spec import ServiceSpec, StackSpec

HEAD = "0002"
DATABASE = ServiceSpec("database", 5432, is_database=True, data="/data")
APP = ServiceSpec("app", 8000, depends_on=("database",), readiness="/readyz")
ALONE = StackSpec("demo", (DATABASE,))
BOTH = StackSpec("demo", (DATABASE, APP))
KNOWN = ProjectRecord("embedded", {"database": 5432, "app": 8000}, "/data", initialised=True)
UNCHANGED = RecordChange(KNOWN, KNOWN)
FIRST = RecordChange(None, replace(KNOWN, initialised=False))

ABSENT, STOPPED, RUNNING, UNHEALTHY = (
    ServiceState.ABSENT,
    ServiceState.STOPPED,
    ServiceState.RUNNING,
    ServiceState.UNHEALTHY,
)


def seen(service: ServiceSpec, state: ServiceState = RUNNING, detail: str = "") -> ObservedService:
    """A service as it is observed, running with exactly the configuration of its spec."""
    if state is ABSENT:
        return ObservedService(service.name, state, detail)
    thing = f"fastzero-demo-{service.name}" if service.image else service.name
    return ObservedService(service.name, state, detail, service.settings(), service.config_hash, thing=thing)


def observed(*services: ObservedService, revision: str | None = HEAD, **facts: Any) -> Observed:
    there: dict[str, Any] = {"data": DataState.THERE, **facts}
    return Observed({service.name: service for service in services}, revision, **there)


def texts(plan: list[Action]) -> list[str]:
    return [str(action) for action in plan]


def up(spec: StackSpec, before: Observed, change: RecordChange = UNCHANGED) -> list[Action]:
    return plan_up(spec, before, HEAD, change)


WAIT_FOR_DATABASE = "wait for service database"
MIGRATE = "migrate schema database"


# -- local processes -------------------------------------------------------------------------------------------


def test_the_first_up_is_every_operation_from_nothing_to_a_ready_service() -> None:
    before = Observed(missing_secrets=("database_password", "secret_key"))

    assert texts(up(BOTH, before, FIRST)) == [
        "write record project.json",
        "create secret database_password",
        "create secret secret_key",
        "create data /data",
        "start process database",
        "start process app",
        WAIT_FOR_DATABASE,
        "write record project.json",
        MIGRATE,
        "wait for service app",
    ]


@pytest.mark.parametrize(
    ("state", "revision", "expected"),
    [
        (STOPPED, None, [("start process database", "it is stopped")]),
        (
            UNHEALTHY,
            None,
            [("stop process database", "it does not answer"), ("start process database", "it does not answer")],
        ),
    ],
)
def test_up_does_what_the_state_lacks_and_says_why(
    state: ServiceState, revision: str | None, expected: list[tuple[str, str]]
) -> None:
    plan = up(ALONE, observed(seen(DATABASE, state), revision=revision))

    assert [(str(action), action.cause) for action in plan] == [
        *expected,
        (WAIT_FOR_DATABASE, "until a login answers a query"),
        (MIGRATE, "if its schema is not at head (0002) once it answers"),
    ]


@pytest.mark.parametrize(
    ("revision", "causes"),
    [
        (HEAD, []),
        ("0001", ["its schema is at 0001; head is 0002"]),
        (None, ["its schema is at base; head is 0002"]),
    ],
)
def test_a_running_database_is_migrated_if_its_schema_is_not_at_head(revision: str | None, causes: list[str]) -> None:
    assert [action.cause for action in up(ALONE, observed(seen(DATABASE), revision=revision))] == causes


def test_up_of_a_service_that_was_never_observed_creates_it() -> None:
    plan = up(ALONE, Observed(), FIRST)

    assert "create data /data" in texts(plan)
    assert plan[-1].cause == "the database is new; head is 0002"


@pytest.mark.parametrize("state", [STOPPED, UNHEALTHY])
def test_the_cause_is_what_the_runtime_saw_where_it_saw_more(state: ServiceState) -> None:
    plan = up(ALONE, observed(seen(DATABASE, state, "its process is gone")))

    assert plan[0].cause == "its process is gone"


def test_a_changed_setting_of_what_does_not_run_adds_nothing() -> None:
    gone = ObservedService("database", STOPPED, settings={})

    assert texts(up(ALONE, observed(gone, revision=None)))[0] == "start process database"
    assert len(up(ALONE, observed(gone, revision=None))) == 3


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        (replace(DATABASE, port=5433), "its configuration changed: port: 5432 → 5433"),
        (
            replace(DATABASE, configuration={"work_mem": "8MB"}),
            "its configuration changed: work_mem: unset → 8MB",
        ),
    ],
)
def test_a_changed_setting_recreates_and_the_cause_names_old_and_new(wanted: ServiceSpec, cause: str) -> None:
    plan = up(StackSpec("demo", (wanted,)), observed(seen(DATABASE)))

    assert [(str(action), action.cause) for action in plan[:2]] == [
        ("stop process database", cause),
        ("start process database", cause),
    ]


@pytest.mark.parametrize(
    ("changed", "recreated"),
    [
        ((replace(DATABASE, port=5433), APP), "database"),
        ((DATABASE, replace(APP, port=8001)), "app"),
    ],
)
def test_a_changed_setting_recreates_its_service_alone(
    changed: tuple[ServiceSpec, ServiceSpec], recreated: str
) -> None:
    plan = up(StackSpec("demo", changed), observed(seen(DATABASE), seen(APP)))

    assert [action.service for action in plan if action.verb is Verb.START] == [recreated]


def test_a_process_whose_settings_are_unknown_is_recreated() -> None:
    plan = up(ALONE, observed(ObservedService("database", RUNNING, thing="database")))

    assert texts(plan)[:2] == ["stop process database", "start process database"]


def test_whatever_of_the_document_changes_recreates_the_service() -> None:
    before = replace(DATABASE, document={"limits": 1})
    after = replace(DATABASE, document={"limits": 2})

    plan = up(StackSpec("demo", (after,)), observed(seen(before)))

    assert plan[0].cause == "its configuration changed: fastzero makes it in another way now"


def test_the_services_start_in_their_order_and_boot_while_the_schema_is_migrated() -> None:
    plan = texts(up(BOTH, Observed(), FIRST))

    order = ["start process database", "start process app", MIGRATE, "wait for service app"]
    assert [text for text in plan if text in order] == order


@pytest.mark.parametrize("spec", [ALONE, BOTH])
@pytest.mark.parametrize("state", list(ServiceState))
def test_up_twice_is_up_once(spec: StackSpec, state: ServiceState) -> None:
    before = observed(*(seen(service, state) for service in spec.services), revision=None)
    assert up(spec, before)

    after = observed(*(seen(service) for service in spec.services))
    assert up(spec, after) == []


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, []),
        ({"database": ABSENT}, []),
        ({"database": STOPPED}, []),
        ({"database": RUNNING}, ["stop process database"]),
        ({"database": UNHEALTHY}, ["stop process database"]),
        ({"database": RUNNING, "app": RUNNING}, ["stop process app", "stop process database"]),
    ],
)
def test_down_stops_what_runs_dependents_first(states: Mapping[str, ServiceState], expected: list[str]) -> None:
    services = {"database": DATABASE, "app": APP}
    before = observed(*(seen(services[name], state) for name, state in states.items()))

    assert texts(plan_down(BOTH, before)) == expected


def test_a_new_secret_reaches_every_container_that_reads_it() -> None:
    reads = replace(APP, image="app:1", secrets=("secret_key",))
    spec = StackSpec("demo", (replace(DATABASE, image="postgres:18"), reads))
    before = observed(*(ObservedService(each.name, STOPPED, thing=f"demo-{each.name}") for each in spec.services))

    plan = plan_secret(spec, before, "secret_key", "old", "new", "its key is rotated")

    assert texts(plan) == ["set secret secret_key", "fill secrets demo-app"]
    assert "new" not in str(plan)
    undo = inverse(plan[0])
    assert undo is not None
    assert undo.subject == ("new", "old")


def test_a_local_process_reads_a_new_secret_by_itself() -> None:
    plan = plan_secret(BOTH, observed(seen(DATABASE), seen(APP)), "secret_key", "old", "new", "its key is rotated")

    assert texts(plan) == ["set secret secret_key"]


def test_data_is_destroyed_at_every_place_and_the_project_last() -> None:
    things = [Thing(Kind.DATA, "/data"), Thing(Kind.VOLUME, "fastzero-demo-database")]

    assert texts(plan_destroy("demo", things)) == [
        "remove data /data",
        "remove volume fastzero-demo-database",
        "remove project demo",
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (RUNNING, ["stop process database", "start process database"]),
        (UNHEALTHY, ["stop process database", "start process database"]),
        (STOPPED, ["start process database"]),
    ],
)
def test_restart_starts_what_is_stopped_and_replaces_what_runs(state: ServiceState, expected: list[str]) -> None:
    plan = plan_restart(ALONE, observed(seen(DATABASE, state)), ("database",), HEAD, UNCHANGED)

    assert texts(plan) == [*expected, WAIT_FOR_DATABASE]
    assert all(action.cause for action in plan)


def test_restart_leaves_the_services_alone_that_were_not_named() -> None:
    plan = plan_restart(BOTH, observed(seen(DATABASE), seen(APP)), ("app",), HEAD, UNCHANGED)

    assert {action.service for action in plan} == {"app"}


def test_restart_starts_what_the_named_service_needs() -> None:
    plan = plan_restart(BOTH, observed(seen(DATABASE, STOPPED), seen(APP)), ("app",), HEAD, UNCHANGED)

    assert texts(plan)[0] == "start process database"
    assert plan[0].cause == "others need it"


# -- in containers ---------------------------------------------------------------------------------------------

POSTGRES = ServiceSpec(
    "database", 5432, is_database=True, image="postgres:18", volume="data", secrets=("database_password",)
)
BUILT = ServiceSpec("app", 8000, image="fastzero-app:1", base_image="python:3.13-slim", readiness="/readyz")
ONE = StackSpec("demo", (POSTGRES,))
IMAGES = StackSpec("demo", (POSTGRES, BUILT))
CONTAINED = ProjectRecord("docker", {"database": 5432}, initialised=True, image="postgres:18", volume="data")
SAME = RecordChange(CONTAINED, CONTAINED)
NAME = "fastzero-demo-database"
REPLACED = [
    f"create container {NAME}-new",
    f"fill secrets {NAME}-new",
    f"check volume data to {NAME}-new",
    f"stop container {NAME}",
    f"rename container {NAME} to {NAME}-old",
    f"rename container {NAME}-new to {NAME}",
    f"start container {NAME}",
]


def contained(*services: ObservedService, **facts: Any) -> Observed:
    return observed(*services, **{"network": True, **facts})


@pytest.mark.parametrize(
    ("here", "wanted", "expected"),
    [
        (None, {}, []),
        ([], {}, ["pull database", "build app"]),
        (["postgres:18"], {}, ["build app"]),
        (["postgres:18", "fastzero-app:1"], {}, []),
        (["postgres:18", "fastzero-app:1"], {"pull": True}, ["pull database", "pull app", "build app"]),
        (["postgres:18", "fastzero-app:1"], {"build": True}, ["build app"]),
        (["postgres:18"], {"build": True, "pull": True}, ["pull database", "pull app", "build app"]),
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


def test_what_the_image_of_the_app_is_built_from_is_pulled_before_it() -> None:
    here = Observed(images=frozenset({"postgres:18", "fastzero-app:1"}))

    _, base, app = plan_images(IMAGES, here, pull=True)

    assert str(base) == "pull image python:3.13-slim"
    assert base.cause == "it was asked for; image fastzero-app:1 is built from it"
    assert (str(app), app.cause) == ("build image fastzero-app:1", "image python:3.13-slim may be another one now")


def test_a_first_up_in_containers_makes_network_volume_and_container() -> None:
    new = replace(CONTAINED, initialised=False)

    assert texts(up(ONE, Observed(network=False), RecordChange(None, new))) == [
        "write record project.json",
        "create network fastzero-demo",
        "create volume data",
        f"create container {NAME}",
        f"fill secrets {NAME}",
        f"start container {NAME}",
        WAIT_FOR_DATABASE,
        "write record project.json",
        MIGRATE,
    ]


def test_a_container_is_replaced_beside_the_old_one_which_goes_once_the_new_one_is_ready() -> None:
    changed = replace(POSTGRES, configuration={"work_mem": "8MB"})

    plan = up(StackSpec("demo", (changed,)), contained(seen(POSTGRES)), SAME)

    assert texts(plan) == [*REPLACED, WAIT_FOR_DATABASE, MIGRATE, f"remove container {NAME}-old"]


@pytest.mark.parametrize("state", [STOPPED, RUNNING])
def test_another_image_of_the_same_name_recreates_the_service(state: ServiceState) -> None:
    outdated = replace(seen(POSTGRES, state), outdated="its image is another one now")

    plan = up(ONE, contained(outdated), SAME)

    assert (str(plan[0]), plan[0].cause) == (f"create container {NAME}-new", "its image is another one now")


def test_a_stopped_container_of_another_configuration_is_recreated_and_not_started() -> None:
    stopped = replace(seen(POSTGRES, STOPPED), settings={}, config_hash="old")

    plan = texts(up(ONE, contained(stopped), SAME))

    assert plan[:6] == [text for text in REPLACED if not text.startswith("stop")]


def test_a_stopped_container_is_started_as_it_is() -> None:
    assert texts(up(ONE, contained(seen(POSTGRES, STOPPED)), SAME))[0] == f"start container {NAME}"


def test_a_container_whose_network_is_gone_is_made_anew() -> None:
    stranded = replace(seen(POSTGRES, STOPPED), resumable=False)

    assert texts(up(ONE, contained(stranded, network=False), SAME))[:3] == [
        "create network fastzero-demo",
        f"remove container {NAME}",
        f"create container {NAME}",
    ]


def test_down_removes_a_container_that_is_only_stopped_and_then_the_network() -> None:
    assert texts(plan_down(ONE, contained(seen(POSTGRES, STOPPED)))) == [
        f"remove container {NAME}",
        "remove network fastzero-demo",
    ]


def test_an_orphan_is_left_alone_by_up_and_taken_away_by_down() -> None:
    before = contained(seen(POSTGRES), orphans=(Thing(Kind.CONTAINER, "fastzero-demo-cache", service="cache"),))

    assert up(ONE, before, SAME) == []
    assert "remove network fastzero-demo" not in texts(plan_down(ONE, before, ["database"]))
    assert texts(plan_down(ONE, before)) == [
        "stop container fastzero-demo-cache",
        "remove container fastzero-demo-cache",
        f"stop container {NAME}",
        f"remove container {NAME}",
        "remove network fastzero-demo",
    ]


# -- what a crash leaves ---------------------------------------------------------------------------------------


def test_what_an_interrupted_command_left_is_swept_before_all_else() -> None:
    before = contained(seen(POSTGRES), leftovers=(Thing(Kind.CONTAINER, f"{NAME}-old"),))

    [action] = up(ONE, before, SAME)
    assert (str(action), action.cause) == (f"remove container {NAME}-old", "an interrupted command left it")
    assert texts(plan_down(ONE, before))[0] == f"remove container {NAME}-old"
    assert texts(plan_restart(ONE, before, ("database",), HEAD, SAME))[0] == f"remove container {NAME}-old"


@pytest.mark.parametrize(
    ("killed_after", "state", "leftovers", "expected"),
    [
        ("create", RUNNING, ["-new"], [f"remove container {NAME}-new", *REPLACED]),
        ("stop", STOPPED, ["-new"], [f"remove container {NAME}-new", *REPLACED[:3], *REPLACED[4:]]),
        (
            "rename the old",
            ABSENT,
            ["-new", "-old"],
            [
                f"remove container {NAME}-new",
                f"remove container {NAME}-old",
                f"create container {NAME}",
                f"fill secrets {NAME}",
                f"check volume data to {NAME}",
                f"start container {NAME}",
            ],
        ),
    ],
)
def test_a_replacement_that_was_killed_is_finished_by_the_next_up(
    killed_after: str, state: ServiceState, leftovers: list[str], expected: list[str]
) -> None:
    wanted = replace(POSTGRES, configuration={"work_mem": "8MB"})
    found = seen(POSTGRES, state)
    if state is ABSENT:
        found = ObservedService("database", STOPPED, "its container is gone, its data is there")
    left = tuple(Thing(Kind.CONTAINER, f"{NAME}{suffix}") for suffix in leftovers)

    plan = up(StackSpec("demo", (wanted,)), contained(found, leftovers=left), SAME)

    assert texts(plan)[: len(expected)] == expected


@pytest.mark.parametrize("state", [STOPPED, UNHEALTHY])
def test_a_first_initialisation_that_never_ended_is_done_again(state: ServiceState) -> None:
    record = replace(CONTAINED, initialised=False, image="")
    before = contained(seen(POSTGRES, state), data=DataState.UNFINISHED)

    plan = up(ONE, before, RecordChange(record, record))

    stop = [f"stop container {NAME}"] if state is UNHEALTHY else []
    assert texts(plan)[: len(stop) + 4] == [
        *stop,
        f"remove container {NAME}",
        "remove volume data",
        "create volume data",
        f"create container {NAME}",
    ]


def test_a_first_initialisation_that_answers_has_ended() -> None:
    record = replace(CONTAINED, initialised=False, image="")
    before = contained(seen(POSTGRES), data=DataState.UNFINISHED)

    assert texts(up(ONE, before, RecordChange(record, record))) == ["write record project.json"]


@pytest.mark.parametrize("state", [ABSENT, STOPPED])
def test_data_that_was_served_and_is_gone_is_refused_and_never_replaced(state: ServiceState) -> None:
    before = contained(ObservedService("database", state), data=DataState.ABSENT)
    kept = replace(CONTAINED, kept=(Place("docker", image="postgres:17", volume="older"),))

    with pytest.raises(DataGoneError, match="volume data, which holds the database, is gone") as gone:
        up(ONE, before, RecordChange(kept, kept))

    assert "fastzero up --start-over" in gone.value.hint
    assert "fastzero db place use older" in gone.value.hint


@pytest.mark.parametrize("plan", [up, lambda spec, before, change: plan_down(spec, before)])
def test_what_belongs_to_another_home_is_never_touched(plan: Any) -> None:
    with pytest.raises(ForeignStackError, match="belongs to another FASTZERO_HOME: volume data") as foreign:
        plan(ONE, contained(seen(POSTGRES), foreign=("volume data",)), SAME)

    assert "fastzero up --adopt" in foreign.value.hint


def test_what_is_taken_over_is_made_anew_with_new_secrets_on_the_same_data() -> None:
    before = contained(seen(POSTGRES), missing_secrets=("database_password",))
    owned = replace(CONTAINED, owner="me")

    assert texts(plan_adopt(ONE, before, HEAD, RecordChange(None, owned))) == [
        "write record project.json",
        "create secret database_password",
        *REPLACED[:3],
        f"check database data to {NAME}-new",
        *REPLACED[3:],
        "set password database",
        "create claim fastzero-demo-owner-me",
        WAIT_FOR_DATABASE,
        MIGRATE,
        f"remove container {NAME}-old",
    ]


def test_data_is_known_to_be_good_before_anything_of_another_home_is_stopped_or_swept() -> None:
    left = tuple(Thing(Kind.CONTAINER, f"{NAME}{suffix}") for suffix in ("-new", "-old", "-moving"))
    before = contained(seen(POSTGRES), seen(BUILT), leftovers=left, claims=("fastzero-demo-owner-former",))

    plan = texts(plan_adopt(IMAGES, before, HEAD, RecordChange(None, CONTAINED)))

    checked = plan.index(f"check database data to {NAME}-new")
    assert plan[:2] == [f"remove container {NAME}-new", "write record project.json"]
    assert plan[checked + 1 : checked + 4] == [
        f"remove container {NAME}-old",
        f"remove container {NAME}-moving",
        f"stop container {NAME}",
    ]
    assert not [text for text in plan[:checked] if text.startswith(("stop", "rename"))]
    assert plan[-1] == "remove claim fastzero-demo-owner-former"


def test_a_takeover_that_was_killed_sweeps_what_it_made_before_it_makes_it_again() -> None:
    left = (Thing(Kind.CONTAINER, NAME), Thing(Kind.CONTAINER, f"{NAME}-old"))
    gone = ObservedService("database", STOPPED, "its container is gone, its data is there")

    plan = texts(plan_adopt(ONE, contained(gone, leftovers=left), HEAD, RecordChange(None, CONTAINED)))

    assert plan[0] == f"remove container {NAME}"
    assert plan.index(f"check database data to {NAME}") < plan.index(f"remove container {NAME}-old")
    assert plan.count(f"remove container {NAME}") == 1


def test_the_inverse_of_a_takeover_brings_back_what_there_was() -> None:
    plan = plan_adopt(ONE, contained(seen(POSTGRES)), HEAD, RecordChange(None, replace(CONTAINED, owner="me")))

    assert undone(plan) == [
        "remove claim fastzero-demo-owner-me",
        f"stop container {NAME}",
        f"rename container {NAME} to {NAME}-new",
        f"rename container {NAME}-old to {NAME}",
        f"start container {NAME}",
        f"remove container {NAME}-new",
        "write record project.json",
    ]


@pytest.mark.parametrize("kind", [Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME])
def test_a_name_that_something_else_has_is_refused_before_anything_is_done(kind: Kind) -> None:
    name = {Kind.CONTAINER: NAME, Kind.NETWORK: "fastzero-demo", Kind.VOLUME: "data"}[kind]
    new = replace(CONTAINED, initialised=False)
    before = Observed(network=False, taken=(f"{kind} {name}", "container fastzero-demo-another"))

    with pytest.raises(ConflictError, match=f"there is a {kind} {name} already, and it is not this project's") as taken:
        up(ONE, before, RecordChange(None, new))

    assert taken.value.hint.startswith("Nothing was changed.")


def test_a_name_that_is_not_needed_may_be_anybodys() -> None:
    before = contained(seen(POSTGRES), taken=("container fastzero-demo-app",))

    assert up(ONE, before, SAME) == []
    assert texts(plan_down(ONE, before))[0] == f"stop container {NAME}"


def test_nothing_can_be_taken_over_where_nothing_is() -> None:
    with pytest.raises(ConflictError, match="nothing of a project demo to take over"):
        plan_adopt(ONE, Observed(network=False), HEAD, RecordChange(None, CONTAINED))


# -- undo ------------------------------------------------------------------------------------------------------


def undone(plan: list[Action]) -> list[str]:
    return [str(opposite) for action in reversed(plan) if (opposite := inverse(action))]


def test_the_inverse_of_a_first_up_leaves_nothing() -> None:
    new = replace(CONTAINED, initialised=False)
    plan = up(ONE, Observed(network=False), RecordChange(None, new))

    assert undone(plan) == [
        "write record project.json",
        f"stop container {NAME}",
        f"remove container {NAME}",
        "remove volume data",
        "remove network fastzero-demo",
        "write record project.json",
    ]


def test_the_inverse_of_a_replacement_brings_the_old_container_back() -> None:
    changed = replace(POSTGRES, configuration={"work_mem": "8MB"})
    plan = up(StackSpec("demo", (changed,)), contained(seen(POSTGRES)), SAME)

    assert undone(plan) == [
        f"stop container {NAME}",
        f"rename container {NAME} to {NAME}-new",
        f"rename container {NAME}-old to {NAME}",
        f"start container {NAME}",
        f"remove container {NAME}-new",
    ]


def test_the_inverse_of_stopping_a_process_starts_it_with_the_settings_that_it_had() -> None:
    wanted = replace(DATABASE, port=5433)
    [stop, *_] = up(StackSpec("demo", (wanted,)), observed(seen(DATABASE)))

    again = inverse(stop)

    assert again is not None
    assert (again.verb, again.subject.port) == (Verb.START, 5432)


@pytest.mark.parametrize("action", ["migrate schema", "remove volume", "pull image", "wait for service"])
def test_what_cannot_be_undone_has_no_inverse(action: str) -> None:
    verb, _, kind = action.rpartition(" ")

    assert inverse(Action(Verb(verb), Kind(kind), "it", "because")) is None


@pytest.mark.parametrize(
    "action",
    [
        Action(Verb.RENAME, Kind.CONTAINER, "a", "", to="b"),
        Action(Verb.WRITE, Kind.RECORD, "a", "", subject=(None, KNOWN)),
    ],
    ids=str,
)
def test_the_inverse_of_an_inverse_is_the_action_itself(action: Action) -> None:
    opposite = inverse(action)
    again = inverse(opposite) if opposite else None

    assert again is not None
    assert (str(again), again.subject) == (str(action), action.subject)
