"""Extra services of an application of the user's own in containers: their image, their volume, their confinement."""

import secrets
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastzero_core import Stack, load_settings
from fastzero_core.errors import ForeignStackError, ImageError, InvalidInputError, UnhealthyError
from fastzero_core.polling import wait_until
from fastzero_core.stack import doctor
from fastzero_core.stack.observed import ServiceState
from tests.ports import any_free_port

from .conftest import SOON, Contained, new_project, up_in_containers
from .own_app import DOCKERFILE, make_environment, working_in, write_application
from .own_services import CACHE, add_service, address_of, edit, pids, tell

IN_ORDER = True  # a stack in containers takes too long to be made for each test
pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.usefixtures("trusted_folder")]

# Its entrypoint begins as root and becomes another user, as those of most images do.
IMAGE = """
FROM python:3.13-slim
RUN useradd --uid 4321 cache && mkdir /data && chown cache /data
COPY cache.py entrypoint.sh /
EXPOSE 7000
ENTRYPOINT ["sh", "/entrypoint.sh"]
CMD ["python", "/cache.py", "0.0.0.0", "7000"]
"""
ENTRYPOINT = """
set -e
chown -R cache /data
cd /data
exec python -c 'import os, sys; os.setgid(4321); os.setuid(4321); os.execvp(sys.argv[1], sys.argv[1:])' "$@"
"""
TABLE = """
[services.cache]
image = "{image}"
ports = [{port}, 7001]
volume = "/data"
health = "python -c 'import socket; socket.create_connection((\\"127.0.0.1\\", 7000))'"
environment = {{ GREETING = "hello" }}
"""


def build(project: Contained, *more: str) -> str:
    """Build an image of the service. Returns its name."""
    folder = project.home / "image"
    folder.mkdir(exist_ok=True)
    (folder / "cache.py").write_text(CACHE)
    (folder / "entrypoint.sh").write_text(ENTRYPOINT)
    (folder / "Dockerfile").write_text("\n".join([IMAGE, *more]))
    name = f"{project.project}-cache:{secrets.token_hex(6)}"
    project.engine.images.build(path=str(folder), tag=name, rm=True)
    return name


@pytest.fixture(scope="module")
def image(project: Contained) -> Iterator[str]:
    name = build(project)
    yield name
    for image in project.engine.images.list(name=name.partition(":")[0]):
        project.engine.images.remove(image.id, force=True)


@pytest.fixture(scope="module")
def project(engine: Any) -> Iterator[Contained]:
    with new_project(engine) as project:
        yield project


@pytest.fixture(scope="module")
def application(project: Contained, image: str) -> Iterator[Path]:
    """The folder of an application that needs a service, where the tests work."""
    folder = write_application(project.home / "application", any_free_port())
    (folder / "Dockerfile").write_text(DOCKERFILE)
    add_service(folder, TABLE.format(image=image, port=f'"{any_free_port()}:7000"'))
    with working_in(folder):
        yield folder


@pytest.fixture(scope="module")
def stack(project: Contained, application: Path) -> Iterator[Stack]:
    """The application's stack, up."""
    with up_in_containers(project) as stack:
        yield stack


def states(stack: Stack) -> dict[str, ServiceState]:
    return {each.service: each.state for each in stack.status()}


def ids(project: Contained) -> dict[str, str]:
    return {name: project.container(name).id for name in ("database", "cache", "web", "worker")}


def count(stack: Stack) -> int:
    """How many lines the service has been told, one more by this."""
    return int(tell(stack, "x").split()[0])


def volumes(project: Contained) -> set[str]:
    return {each.name for each in project.engine.volumes.list(filters={"label": f"fastzero.project={project.project}"})}


def test_a_service_runs_before_the_processes_that_need_it(stack: Stack) -> None:
    assert list(states(stack)) == ["database", "cache", "web", "worker"]
    assert set(states(stack).values()) == {ServiceState.RUNNING}
    told, greeting = tell(stack, "x").split()
    assert (int(told) >= 2, greeting) == (True, "hello")  # the application told it something when it was imported
    assert stack.plan() == []


def test_its_ports_are_published_on_the_loopback_alone(stack: Stack, project: Contained) -> None:
    bindings = project.container("cache").attrs["HostConfig"]["PortBindings"]

    assert {each["HostIp"] for every in bindings.values() for each in every} == {"127.0.0.1"}
    assert set(bindings) == {"7000/tcp", "7001/tcp"}
    [status] = [each for each in stack.status() if each.service == "cache"]
    published = [f"127.0.0.1:{bindings[inside][0]['HostPort']}" for inside in ("7000/tcp", "7001/tcp")]
    assert status.address == ", ".join(published)


def test_it_is_confined_to_what_an_entrypoint_needs(stack: Stack, project: Contained) -> None:
    container = project.container("cache")
    host = container.attrs["HostConfig"]

    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert sorted(host["CapAdd"]) == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]
    assert container.exec_run(["stat", "-c", "%u", "/proc/1"]).output.strip() == b"4321"


def test_its_log_its_container_and_its_address_are_known(stack: Stack, capfd: pytest.CaptureFixture[str]) -> None:
    host, port = address_of(stack, "cache")

    assert "the cache listens" in [line.text for line in stack.logs("cache")]
    assert stack.execute("cache", ["printenv", "GREETING"]) == 0
    assert capfd.readouterr().out.strip() == "hello"
    assert stack.run(["printenv", "CACHE_HOST", "CACHE_PORT"]) == 0
    assert capfd.readouterr().out.split() == ["cache", "7000"]
    assert stack.environment().items() >= {"CACHE_HOST": host, "CACHE_PORT": str(port)}.items()
    assert "CACHE_PORT_7001" in stack.environment()
    found = {each.code: each.result for each in doctor.examine(stack.settings)}
    assert (found["cache"], found["volume"]) == ("ok", "ok")


def test_a_new_health_check_is_not_run_before_up_accepts_it(
    stack: Stack, project: Contained, application: Path
) -> None:
    described = application / "fastzero.toml"
    text = described.read_text()
    described.write_text(text.replace('health = "python', 'health = "touch /data/harmed; python'))
    try:
        assert states(stack)["cache"] is ServiceState.RUNNING
    finally:
        described.write_text(text)
    assert project.container("cache").exec_run(["test", "-e", "/data/harmed"]).exit_code == 1


def test_a_restart_touches_it_alone_and_keeps_its_data(stack: Stack, project: Contained) -> None:
    told, before = count(stack), ids(project)
    stack.restart("cache")
    assert {name for name, each in ids(project).items() if each != before[name]} == {"cache"}
    assert count(stack) == told + 1


def test_one_that_was_killed_comes_back_with_its_data(stack: Stack, project: Contained) -> None:
    told, before = count(stack), ids(project)
    project.container("cache").kill()
    assert wait_until(lambda: project.container("cache").status == "exited", SOON)
    assert states(stack)["cache"] is ServiceState.STOPPED

    stack.up()

    assert (ids(project), count(stack)) == (before, told + 1)


def test_one_that_crashed_is_started_again_by_the_engine(stack: Stack, project: Contained) -> None:
    told, pid = count(stack), pids(stack)["cache"]
    tell(stack, "crash")
    assert wait_until(lambda: pids(stack)["cache"] not in (pid, None), SOON)

    stack.up()

    assert count(stack) == told + 1


def test_a_changed_variable_recreates_it_alone(stack: Stack, project: Contained, application: Path) -> None:
    told, before = count(stack), ids(project)
    edit(application, '"hello"', '"bonjour"')

    stack.up()

    assert {name for name, each in ids(project).items() if each != before[name]} == {"cache"}
    assert tell(stack, "x") == f"{told + 1} bonjour"
    edit(application, '"bonjour"', '"hello"')
    stack.up()


def test_a_changed_image_recreates_it_alone(stack: Stack, project: Contained, application: Path, image: str) -> None:
    told, before = count(stack), ids(project)
    other = build(project, "LABEL version=2")
    edit(application, image, other)

    stack.up()

    assert {name for name, each in ids(project).items() if each != before[name]} == {"cache"}
    assert other in project.container("cache").image.tags
    assert count(stack) == told + 1


def test_one_that_does_not_get_ready_leaves_the_one_before(stack: Stack, project: Contained, application: Path) -> None:
    before, whole = ids(project), (application / "fastzero.toml").read_text()
    edit(application, "ports = [", 'command = "python -c \'raise SystemExit(\\"no licence\\")\'"\nports = [')
    try:
        with pytest.raises(UnhealthyError, match="cache") as failed:
            stack.up()
        assert "no licence" in failed.value.evidence
        assert ids(project) == before
    finally:
        (application / "fastzero.toml").write_text(whole)
    assert stack.up().plan() == []


def test_an_image_that_does_not_exist_is_named_and_changes_nothing(
    stack: Stack, project: Contained, application: Path
) -> None:
    before, whole = ids(project), (application / "fastzero.toml").read_text()
    edit(application, f"{project.project}-cache:", "127.0.0.1:9/no-such-image:")
    try:
        with pytest.raises(ImageError, match=r"fastzero.toml:\d+: .*no-such-image.* cannot be pulled"):
            stack.up()
    finally:
        (application / "fastzero.toml").write_text(whole)
    assert ids(project) == before


def test_it_is_exported_for_docker_compose(stack: Stack, project: Contained) -> None:
    exported = yaml.safe_load(stack.compose())
    cache, web = exported["services"]["cache"], exported["services"]["web"]

    assert {(name, each["condition"]) for name, each in web["depends_on"].items()} == {
        ("database", "service_healthy"),
        ("cache", "service_healthy"),
    }
    assert cache["volumes"] == ["cache:/data"]
    assert exported["volumes"]["cache"]["name"] == project.name("cache")
    assert exported["volumes"]["cache"]["labels"]["fastzero.extra"] == "true"
    assert [each.rpartition(":")[2] for each in cache["ports"]] == ["7000", "7001"]
    assert (cache["environment"], cache.get("init"), cache.get("stop_signal")) == ({"GREETING": "hello"}, None, None)


def test_its_volume_is_no_place_of_the_database(stack: Stack, project: Contained) -> None:
    assert [each.name for each in stack.places()] == [project.name("database")]
    estate = stack.look().runtime.estate()
    assert (estate.place and estate.place.volume, set(estate.volumes)) == (
        project.name("database"),
        {project.name("database")},
    )


def test_another_home_takes_it_over_with_its_data(
    stack: Stack, project: Contained, application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = count(stack)
    monkeypatch.chdir(application)
    settings = load_settings(project=project.project, home=project.home / "other", runtime="docker", app=True)
    other = Stack(settings).up(adopt=True, timeout=SOON * 3)

    assert count(other) > told
    assert other.kept == ()
    with pytest.raises(ForeignStackError, match=rf"volume {project.name('cache')}"):
        stack.up()
    stack = Stack(settings.model_copy(update={"home": project.home})).up(adopt=True, timeout=SOON * 3)
    assert count(stack) > told


def test_a_move_to_where_it_cannot_run_is_refused_before_anything_moves(stack: Stack, project: Contained) -> None:
    before = ids(project)

    with pytest.raises(InvalidInputError, match=r"services\.cache has an image alone"):
        stack.move("embedded")

    assert ids(project) == before
    assert stack.plan() == []


def test_a_move_leaves_its_data_where_it_is(stack: Stack, project: Contained, application: Path) -> None:
    told = max(count(stack) for _ in range(5))  # more than a new one is told
    make_environment(application)
    program = '\nprogram = "python -m cache {app_host} {app_port}"'
    edit(application, 'volume = "/data"', f'volume = "/data"{program}')

    stack.move("embedded")
    assert (states(stack)["cache"], project.services()) == (ServiceState.RUNNING, set())
    assert count(stack) < told
    assert project.name("cache") in volumes(project)

    stack.move("docker")
    assert count(stack) > told
    edit(application, program, "")
    assert stack.plan() == []


def test_down_keeps_its_volume_and_volumes_removes_it(stack: Stack, project: Contained, application: Path) -> None:
    told = count(stack)
    stack.down()
    assert project.services() == set()
    assert volumes(project) >= {project.name("cache"), project.name("database")}
    assert count(stack.up()) > told

    done = [str(action) for action in stack.down(volumes=True)]

    assert f"remove volume {project.name('cache')}" in done
    assert (volumes(project), project.has_network()) == (set(), False)

    with chdir(application):
        stack.up(port=any_free_port(), timeout=SOON * 3)  # for the tests after it
