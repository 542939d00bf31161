"""`up` converges a project in containers: whatever is missing, changed, stopped or left over, and nothing else."""

from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
import requests

from fastzero_core import Stack
from fastzero_core.errors import ConflictError
from fastzero_core.events import ActionStarted, Event
from fastzero_core.polling import wait_until
from fastzero_core.schema.revisions import head_revision
from fastzero_core.stack.actions import Action, Kind, Verb
from fastzero_core.stack.docker import image, networks
from fastzero_core.stack.observed import ServiceState
from fastzero_core.stack.probe import not_ready

from .conftest import SOON, Contained, add_user, new_project, steps, texts, users_of

pytestmark = pytest.mark.docker

LABELS = {"fastzero.project", "fastzero.service", "fastzero.config-hash", "fastzero.version"}
ChangeCode = Callable[[dict[str, bytes]], None]


@pytest.fixture
def change_code(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the app's image another one, with these files in its build context."""
    original = image.context_files
    before = {tag for each in engine.images.list(name=image.NAME) for tag in each.tags}

    def change(files: dict[str, bytes]) -> None:
        monkeypatch.setattr(image, "context_files", lambda: {**original(), **files})
        monkeypatch.setattr(image, "remembered_name", image.image_name)

    yield change
    made = image.image_name("python:3.13-slim")
    if made not in before and engine.images.list(name=made):
        engine.images.remove(made, force=True)


@pytest.fixture(scope="module")
def served(engine: Any, app_image: str) -> Iterator[Contained]:
    """A project whose database and app run, for tests that disturb it and bring it back."""
    with new_project(engine) as project:
        project.stack(app=True).up()
        yield project


def states(stack: Stack) -> dict[str, ServiceState]:
    return {service.service: service.state for service in stack.status()}


def planned(stack: Stack, **wanted: Any) -> list[str]:
    return steps(stack.plan(**wanted))


def replaced(service: str) -> list[str]:
    """What brings another container into the place of one that runs."""
    verbs = ("create", "stop", "rename", "rename", "start")
    return [f"{verb} container {service}" for verb in verbs]


# -- from nothing ----------------------------------------------------------------------------------------------


def test_the_first_up_makes_both_services_ready_and_the_schema_current(served: Contained) -> None:
    stack = served.stack(app=True)

    database, app = stack.status()

    assert (database.state, database.revision) == (ServiceState.RUNNING, head_revision())
    assert app.state is ServiceState.RUNNING
    assert not_ready("127.0.0.1", served.ports["app_port"]) == ""


def test_everything_that_was_made_bears_the_projects_labels(served: Contained, engine: Any) -> None:
    [network] = engine.networks.list(names=[f"fastzero-{served.project}"])

    for container in served.all_containers():
        assert set(container.labels) >= LABELS
        assert container.labels["fastzero.project"] == served.project
    assert served.services() == {"database", "app"}
    assert network.attrs["Labels"]["fastzero.project"] == served.project
    assert len({each.labels["fastzero.owner"] for each in (*served.all_containers(),)}) == 1
    assert served.volume.attrs["Labels"]["fastzero.project"] == served.project


def test_up_of_what_runs_does_nothing(served: Contained) -> None:
    before = {each.name: each.attrs["State"]["StartedAt"] for each in served.all_containers()}
    did: list[Event] = []

    assert served.stack(app=True).plan() == []
    served.stack(app=True, on_event=did.append).up()

    assert did == []
    assert {each.name: each.attrs["State"]["StartedAt"] for each in served.all_containers()} == before


def test_a_dry_run_touches_nothing(contained: Contained) -> None:
    assert planned(contained.stack(app=True)) == [
        "create network",
        "create volume database",
        "create container database",
        "start container database",
        "create container app",
        "start container app",
        "migrate schema database",
    ]

    assert (contained.services(), contained.has_volume(), contained.has_network()) == (set(), False, False)
    assert list(contained.home.iterdir()) == []


def test_a_dry_run_says_exactly_what_up_does(contained: Contained) -> None:
    did: list[Action] = []

    def note(event: Event) -> None:
        if isinstance(event, ActionStarted):
            did.append(event.action)

    stack = contained.stack(on_event=note)
    plan = stack.plan()
    stack.up()

    assert did == plan


def test_without_the_app_the_database_stands_alone(contained: Contained) -> None:
    contained.stack().up()

    assert contained.services() == {"database"}


def test_down_leaves_the_volume_alone_of_all_that_was_made(contained: Contained) -> None:
    stack = contained.stack().up()

    stack.down()

    assert (contained.services(), contained.has_network(), contained.has_volume()) == (set(), False, True)


def test_down_with_volumes_leaves_nothing(contained: Contained) -> None:
    stack = contained.stack().up()

    stack.down(volumes=True)

    assert (contained.services(), contained.has_network(), contained.has_volume()) == (set(), False, False)
    assert not stack.exists


# -- what changed ----------------------------------------------------------------------------------------------


def test_a_changed_database_setting_recreates_the_database_alone_and_keeps_its_data(contained: Contained) -> None:
    add_user(contained.stack(app=True).up())
    app, database = contained.container("app").id, contained.container("database").id
    changed = contained.stack(app=True, postgres_settings={"work_mem": "8MB"})

    assert planned(changed) == [*replaced("database"), "migrate schema database", "remove container database"]
    changed.up()

    assert contained.container("app").id == app
    assert contained.container("database").id != database
    assert users_of(changed) == ["ana"]
    assert contained.services() == {"database", "app"}


def test_changed_code_builds_another_image_and_recreates_the_app_alone(
    contained: Contained, change_code: ChangeCode
) -> None:
    contained.stack(app=True).up()
    app, database = contained.container("app").id, contained.container("database").id
    change_code({"app/fastzero_core/changed.txt": b"another version"})
    changed = contained.stack(app=True)

    assert planned(changed) == ["build image app", *replaced("app"), "remove container app"]
    changed.up()

    assert contained.container("database").id == database
    assert contained.container("app").id != app
    assert contained.container("app").exec_run(["cat", "/app/fastzero_core/changed.txt"]).output == b"another version"


def test_another_image_of_the_same_name_recreates_its_service(contained: Contained, engine: Any) -> None:
    name = f"{contained.project}:18"
    engine.images.get("postgres:18").tag(name)
    try:
        stack = contained.stack(postgres_image=name).up()
        assert stack.plan() == []
        other = engine.containers.create("postgres:18")
        other.commit(*name.split(":"), message="another one")
        other.remove(v=True)

        plan = stack.plan()

        assert steps(plan)[:5] == replaced("database")
        assert "image" in plan[0].cause
        stack.up()
        assert stack.plan() == []
    finally:
        contained.remove()
        engine.images.remove(name, force=True)


# -- what stopped ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["database", "app"])
def test_a_service_that_was_stopped_is_started_in_its_container(service: str, served: Contained) -> None:
    container = served.container(service)
    container.stop()

    served.stack(app=True).up()

    assert served.container(service).id == container.id
    assert set(states(served.stack(app=True)).values()) == {ServiceState.RUNNING}


@pytest.mark.parametrize("service", ["database", "app"])
def test_a_service_that_was_killed_is_repaired(service: str, served: Contained) -> None:
    served.container(service).kill()
    assert wait_until(lambda: states(served.stack(app=True))[service] is not ServiceState.RUNNING, SOON)

    served.stack(app=True).up()

    assert set(states(served.stack(app=True)).values()) == {ServiceState.RUNNING}
    assert served.stack(app=True).plan() == []


@pytest.mark.parametrize("service", ["database", "app"])
def test_a_paused_service_goes_on(service: str, served: Contained) -> None:
    served.container(service).pause()

    served.stack(app=True).up()

    assert set(states(served.stack(app=True)).values()) == {ServiceState.RUNNING}


@pytest.mark.parametrize("service", ["database", "app"])
def test_a_container_that_somebody_removed_is_made_anew(service: str, served: Contained) -> None:
    served.container(service).remove(force=True, v=True)

    served.stack(app=True).up()

    assert set(states(served.stack(app=True)).values()) == {ServiceState.RUNNING}


def test_a_network_that_was_removed_is_made_anew(contained: Contained, engine: Any) -> None:
    stack = contained.stack().up()
    add_user(stack)
    contained.container("database").stop()
    for network in engine.networks.list(names=[f"fastzero-{contained.project}"]):
        network.remove()

    stack.up()

    assert users_of(stack) == ["ana"]


# -- what is left over -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["-new", "-old"])
def test_what_a_crash_left_of_a_replaced_container_is_swept(suffix: str, served: Contained, engine: Any) -> None:
    labels = {"fastzero.project": served.project, "fastzero.service": "database"}
    leftover = engine.containers.create("postgres:18", name=served.name("database") + suffix, labels=labels)

    [action] = served.stack(app=True).plan()
    served.stack(app=True).up()

    assert (action.verb, action.kind, action.name) == (Verb.REMOVE, Kind.CONTAINER, leftover.name)
    assert served.services() == {"database", "app"}


def test_an_orphan_of_the_project_is_reported_and_stays(contained: Contained, engine: Any) -> None:
    contained.stack().up()
    labels = {"fastzero.project": contained.project, "fastzero.service": "cache"}
    orphan = engine.containers.create("postgres:18", name=contained.name("cache"), labels=labels)
    said: list[Event] = []

    contained.stack(on_event=said.append).up()

    assert any("cache" in text and "stays" in text for text in texts(said))
    assert orphan in contained.all_containers()


def test_a_network_has_a_range_of_its_own_where_the_engine_has_none_left(
    contained: Contained, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, free = networks.RANGES[:2]
    monkeypatch.setattr(networks, "sample", lambda ranges, _: ranges[:2])
    create = docker.APIClient.create_network

    def exhausted(api: docker.APIClient, name: str, *, ipam: Any = None, **options: Any) -> Any:
        if ipam is None:  # 30 networks would leave none for the tests beside this one
            response = requests.Response()
            response.status_code = 404
            said = "could not find an available, non-overlapping IPv4 address pool among the defaults"
            raise docker.errors.NotFound("404", response, explanation=said)
        return create(api, name, ipam=ipam, **options)

    pool = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=str(taken))])
    other = engine.networks.create(f"fastzero-{contained.project}-other", ipam=pool)
    try:
        monkeypatch.setattr(docker.APIClient, "create_network", exhausted)
        contained.stack().up()

        network = engine.networks.get(f"fastzero-{contained.project}")
        assert [each["Subnet"] for each in network.attrs["IPAM"]["Config"]] == [str(free)]
    finally:
        other.remove()


# -- what belongs to others ------------------------------------------------------------------------------------


@pytest.fixture
def foreigner(contained: Contained, engine: Any) -> Callable[[str], Any]:
    """Makes a container, volume or network of the name that the project would use, without its label."""

    def make(kind: str) -> Any:
        match kind:
            case "container":
                return engine.containers.create("postgres:18", name=contained.name("database"))
            case "volume":
                return engine.volumes.create(contained.name("database"))
            case _:
                return engine.networks.create(f"fastzero-{contained.project}")

    return make


@pytest.mark.parametrize("kind", ["container", "volume", "network"])
def test_what_has_the_name_but_not_the_label_is_never_adopted(
    kind: str, contained: Contained, foreigner: Callable[[str], Any]
) -> None:
    foreigner(kind)

    with pytest.raises(ConflictError, match=f"there is a {kind} fastzero-{contained.project}.*not this project's"):
        contained.stack().up()


@pytest.mark.parametrize("kind", ["container", "volume", "network"])
def test_what_has_the_name_but_not_the_label_outlives_the_project(
    kind: str, contained: Contained, foreigner: Callable[[str], Any]
) -> None:
    other = foreigner(kind)
    with pytest.raises(ConflictError):
        contained.stack().up()

    contained.stack().down(volumes=True)

    other.reload()


def test_two_projects_live_side_by_side(contained: Contained, served: Contained) -> None:
    add_user(contained.stack().up())

    assert users_of(served.stack()) == []
    contained.stack().down(volumes=True)
    assert served.stack(app=True).plan() == []
