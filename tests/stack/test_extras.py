"""What the services of an application should be follows from its description, its surroundings and its ports alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from fastzero_core import load_settings
from fastzero_core.application.description import Application
from fastzero_core.application.reading import parse
from fastzero_core.project import ProjectRecord
from fastzero_core.stack.actions import Kind, Verb
from fastzero_core.stack.application import with_application
from fastzero_core.stack.built_in import stack_spec
from fastzero_core.stack.docker import containers
from fastzero_core.stack.names import default_ports, ports_asked, process_names
from fastzero_core.stack.observed import DataState, Observed, ObservedService, ServiceState
from fastzero_core.stack.plan import RecordChange, plan_adopt, plan_down, plan_restart, plan_up
from fastzero_core.stack.pulling import plan_images
from fastzero_core.stack.spec import ServiceSpec, StackSpec
from fastzero_core.stack.surroundings import Surroundings

DESCRIPTION = """
[application]
command = "serve"

[application.environment]
REDIS_URL = "redis://{service:redis:host}:{service:redis:port}/0"
SMTP = "{service:mailpit:host}:{service:mailpit:1025}"

[services.redis]

[services.mailpit]
image = "axllent/mailpit"
ports = [8025, "2525:1025"]
program = "mailpit {app_host} {app_port} {app_port:1025}"
container = { read_only = true, user = "1000", memory = "64m", writable = ["/tmp"], capabilities = [] }
"""
PORTS = {"database": 5432, "web": 8000, "redis": 6380, "mailpit": 8025, "mailpit:1025": 2525}
KNOWN = ProjectRecord("docker", PORTS, initialised=True, image="postgres:18", application="/app")
NAMES = ("redis", "mailpit", "web")


@pytest.fixture
def application(tmp_path: Path) -> Application:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    described = parse(DESCRIPTION, tmp_path)
    assert described is not None
    return described


def spec_of(application: Application, *, image: str = "app:1", names: tuple[str, ...] = NAMES) -> StackSpec:
    alone = stack_spec(load_settings(project="demo"), PORTS, app_image=image)
    where = Surroundings(PORTS, image=image, state="/state")
    spec = with_application(alone, application, where, names)
    if not image:
        return spec
    services = [replace(each, document=containers.document("demo", each)) for each in spec.services]
    return replace(spec, services=tuple(services))


@pytest.fixture
def contained(application: Application) -> StackSpec:
    return spec_of(application)


@pytest.fixture
def local(application: Application) -> StackSpec:
    return spec_of(application, image="")


# -- in containers ---------------------------------------------------------------------------------------------


def test_services_stand_between_the_database_and_the_processes_that_need_them(contained: StackSpec) -> None:
    assert contained.names == ("database", "redis", "mailpit", "web")
    assert [each.name for each in contained.extras] == ["redis", "mailpit"]
    assert [each.name for each in contained.processes] == ["web"]
    assert contained.service("web").depends_on == ("database", "redis", "mailpit")


def test_redis_is_a_container_with_a_volume_and_a_check_of_its_own(contained: StackSpec) -> None:
    document = contained.service("redis").document
    host = document["HostConfig"]

    assert document["Image"] == "redis:8"
    assert document["Healthcheck"]["Test"] == ["CMD", "sh", "-c", "redis-cli -p 6379 ping | grep -qE 'PONG|NOAUTH'"]
    assert host["Mounts"] == [{"Type": "volume", "Source": "fastzero-demo-redis", "Target": "/data"}]
    assert host["PortBindings"] == {"6379/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6380"}]}
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert host["CapAdd"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]
    assert document["NetworkingConfig"]["EndpointsConfig"]["fastzero-demo"]["Aliases"] == ["redis"]


def test_an_image_keeps_its_own_command_check_init_and_way_to_stop(contained: StackSpec) -> None:
    document = contained.service("mailpit").document

    assert (document["Cmd"], document["HostConfig"]["Init"]) == ([], False)
    assert not {"Healthcheck", "StopSignal", "Entrypoint"} & document.keys()


def test_each_part_of_its_confinement_can_be_chosen(contained: StackSpec) -> None:
    document = contained.service("mailpit").document
    host = document["HostConfig"]

    assert (document["User"], host["ReadonlyRootfs"], host["CapAdd"]) == ("1000", True, [])
    assert (host["Memory"], list(host["Tmpfs"])) == (64 * 2**20, ["/tmp"])
    assert host["PortBindings"] == {
        "8025/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8025"}],
        "1025/tcp": [{"HostIp": "127.0.0.1", "HostPort": "2525"}],
    }


def test_processes_find_them_inside_under_their_names_and_own_ports(contained: StackSpec) -> None:
    variables = contained.service("web").variables

    assert variables["REDIS_URL"] == "redis://redis:6379/0"
    assert variables["SMTP"] == "mailpit:1025"


def test_the_volume_of_one_is_told_from_that_of_the_database(contained: StackSpec) -> None:
    labels = containers.volume_labels("demo", "ours", contained.service("redis"))

    assert labels["fastzero.extra"] == "true"
    assert "fastzero.extra" not in containers.volume_labels("demo", "ours", contained.database)


def test_a_variable_changes_the_hash_of_its_service_alone(application: Application, contained: StackSpec) -> None:
    [redis, mailpit] = application.services
    other = spec_of(replace(application, services=(replace(redis, environment={"A": "b"}), mailpit)))

    assert [each.name for each in other.services if each.config_hash != contained.service(each.name).config_hash] == [
        "redis"
    ]


# -- as local processes ----------------------------------------------------------------------------------------


def test_without_docker_programs_get_their_ports_and_a_folder_for_their_data(local: StackSpec) -> None:
    mailpit = local.service("mailpit")

    assert mailpit.command == ("mailpit", "127.0.0.1", "8025", "2525")
    assert mailpit.directory == "/state/services/mailpit"
    assert (mailpit.image, mailpit.volume) == ("", "")
    assert local.service("redis").command[1:] == ("--bind", "127.0.0.1", "--port", "6380")


def test_processes_find_them_outside_on_the_loopback(local: StackSpec) -> None:
    variables = local.service("web").variables

    assert variables["REDIS_URL"] == "redis://127.0.0.1:6380/0"
    assert variables["SMTP"] == "127.0.0.1:2525"


def test_a_running_one_is_known_by_its_settings(local: StackSpec) -> None:
    mailpit = local.service("mailpit")

    assert replace(mailpit, port=1, more_ports={}).having(mailpit.settings()) == replace(mailpit, more_ports={})


# -- ports -----------------------------------------------------------------------------------------------------


def test_ports_are_the_described_ones_unless_they_are_taken(application: Application) -> None:
    assert default_ports(application) == {
        "database": 5432,
        "web": 8000,
        "redis": 6379,
        "mailpit": 8025,
        "mailpit:1025": 2525,
    }
    assert ports_asked(application, {"app": 9000}) == {"web": 9000, "mailpit:1025": 2525}


def test_without_the_app_services_run_all_the_same(application: Application) -> None:
    assert process_names(load_settings(), application, False) == ("redis", "mailpit")
    assert process_names(load_settings(), None, False) == ()


# -- plans -----------------------------------------------------------------------------------------------------


def seen(service: ServiceSpec, state: ServiceState = ServiceState.RUNNING) -> ObservedService:
    thing = f"fastzero-demo-{service.name}"
    return ObservedService(service.name, state, "", service.settings(), service.config_hash, thing=thing)


def there(spec: StackSpec, *, network: bool = True) -> Observed:
    services = {each.name: seen(each) for each in spec.services}
    images = frozenset(each.image for each in spec.services)
    volumes = frozenset({"fastzero-demo-redis"})
    return Observed(services, "", images=images, network=network, data=DataState.THERE, volumes=volumes)


def texts(spec: StackSpec, before: Observed, record: ProjectRecord = KNOWN) -> list[str]:
    return [str(action) for action in plan_up(spec, before, "", RecordChange(record, record))]


def test_the_first_up_makes_services_and_waits_for_them_before_migrations_and_processes(contained: StackSpec) -> None:
    before = Observed(images=frozenset(), network=False)
    release = replace(contained.release, commands=(("alembic", "upgrade", "head"),))  # type: ignore[type-var]
    plan = texts(replace(contained, release=release), before, replace(KNOWN, initialised=False))

    assert [str(each) for each in plan_images(contained, before)] == [
        "pull image postgres:18",
        "pull image redis:8",
        "pull image axllent/mailpit",
        "build image app:1",
    ]
    assert [text for text in plan if text.endswith("-redis")] == [
        "create volume fastzero-demo-redis",
        "create container fastzero-demo-redis",
        "start container fastzero-demo-redis",
    ]
    order = [
        "start container fastzero-demo-mailpit",
        "wait for service database",
        "wait for service redis",
        "wait for service mailpit",
        "migrate schema database",
        "start container fastzero-demo-web",
        "wait for service web",
    ]
    assert [text for text in plan if text in order] == order


def test_nothing_is_done_where_all_runs(contained: StackSpec) -> None:
    assert texts(contained, there(contained)) == []


def test_one_that_is_gone_is_made_again_on_the_volume_that_is_there(contained: StackSpec) -> None:
    gone = there(contained).having(ObservedService("redis", ServiceState.ABSENT))

    assert texts(contained, gone) == [
        "create container fastzero-demo-redis",
        "start container fastzero-demo-redis",
        "wait for service redis",
        "wait for service web",
    ]


def test_a_restart_of_one_leaves_the_others_alone(contained: StackSpec) -> None:
    plan = plan_restart(contained, there(contained), ("redis",), "", RecordChange(KNOWN, KNOWN))

    assert {each.service for each in plan if each.verb is not Verb.WAIT} == {"redis"}


def test_down_takes_them_away_after_the_processes_and_keeps_their_volumes(contained: StackSpec) -> None:
    plan = plan_down(contained, there(contained))

    assert [each.service for each in plan if each.verb is Verb.STOP] == ["web", "mailpit", "redis", "database"]
    assert Kind.VOLUME not in {each.kind for each in plan}


def test_one_that_is_taken_over_keeps_its_volume(contained: StackSpec) -> None:
    plan = plan_adopt(contained, there(contained), "", RecordChange(KNOWN, KNOWN))

    assert "create container fastzero-demo-redis-new" in map(str, plan)
    assert not [each for each in plan if each.kind is Kind.VOLUME and each.verb is Verb.CREATE]
