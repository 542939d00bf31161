"""What the containers may do, as the engine tells it, and what nobody may read anywhere."""

import json
from typing import Any

import psycopg
import pytest

from fastzero_core.project import SECRETS

from .conftest import Contained

pytestmark = pytest.mark.docker


@pytest.fixture
def host_config(served: Contained) -> dict[str, Any]:
    return dict(served.container("app").attrs["HostConfig"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ReadonlyRootfs", True),
        ("CapDrop", ["ALL"]),
        ("SecurityOpt", ["no-new-privileges"]),
        ("Init", True),
        ("Memory", 512 * 2**20),
        ("NanoCpus", 1_000_000_000),
        ("PidsLimit", 256),
        ("RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 5}),
        ("Privileged", False),
    ],
)
def test_the_app_is_confined(option: str, value: object, host_config: dict[str, Any]) -> None:
    assert host_config[option] == value


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ReadonlyRootfs", True),
        ("CapDrop", ["ALL"]),
        ("Privileged", False),
        ("SecurityOpt", ["no-new-privileges"]),
        ("Memory", 4 * 2**30),
        ("PidsLimit", 356),
        ("CpuShares", 1024),
    ],
)
def test_the_database_is_confined(option: str, value: object, served: Contained) -> None:
    assert served.container("database").attrs["HostConfig"][option] == value


def test_the_database_s_server_runs_as_its_own_user_without_any_capability(served: Contained) -> None:
    status = served.container("database").exec_run(["cat", "/proc/1/status"], user="postgres").output.decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    assert fields["Uid"].split()[0] != "0"
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"


def test_the_database_can_write_to_its_data_its_socket_and_tmp_alone(served: Contained) -> None:
    container = served.container("database")

    assert container.exec_run(["sh", "-c", "echo x > /tmp/x"], user="postgres").exit_code == 0
    for place in ("/x", "/usr/x", "/var/lib/x", "/etc/x"):
        assert b"Read-only file system" in container.exec_run(["touch", place], user="root").output


def test_the_app_runs_as_a_numeric_user_that_is_not_root(served: Contained) -> None:
    assert served.container("app").attrs["Config"]["User"] == "10001:10001"
    assert served.container("app").exec_run(["id", "-u"]).output == b"10001\n"


def test_the_app_can_write_to_its_tmp_and_nowhere_else(served: Contained) -> None:
    write = served.container("app").exec_run

    assert write(["python", "-c", "open('/tmp/x', 'w').close()"]).exit_code == 0
    assert b"Read-only file system" in write(["python", "-c", "open('/app/x', 'w')"]).output
    assert b"Read-only file system" in write(["python", "-c", "open('/var/tmp/x', 'w')"]).output


def test_no_program_of_the_app_s_image_changes_its_user(served: Contained) -> None:
    find = ["find", "/", "-xdev", "-type", "f", "-perm", "/6000"]

    assert served.container("app").exec_run(find, user="root", stderr=False).output == b""


def test_the_project_has_a_network_of_its_own(served: Contained) -> None:
    for container in served.all_containers():
        assert list(container.attrs["NetworkSettings"]["Networks"]) == [f"fastzero-{served.project}"]


@pytest.mark.parametrize(("service", "port"), [("database", "5432/tcp"), ("app", "8000/tcp")])
def test_a_service_is_published_on_the_loopback_only(service: str, port: str, served: Contained) -> None:
    published = served.container(service).attrs["NetworkSettings"]["Ports"]

    expected = str(served.ports[f"{service}_port"])
    assert published == {port: [{"HostIp": "127.0.0.1", "HostPort": expected}]}


@pytest.mark.parametrize(("option", "value"), [("StopSignal", "SIGINT"), ("StopTimeout", 60), ("Hostname", "database")])
def test_the_database_is_stopped_as_postgresql_wants_it(option: str, value: object, served: Contained) -> None:
    assert served.container("database").attrs["Config"][option] == value


def test_the_database_has_shared_memory_for_parallel_queries(served: Contained) -> None:
    assert served.container("database").attrs["HostConfig"]["ShmSize"] == 256 * 2**20


@pytest.mark.parametrize("service", ["database", "app"])
def test_a_service_gains_no_privileges(service: str, served: Contained) -> None:
    assert served.container(service).attrs["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]


@pytest.mark.parametrize("service", ["database", "app"])
def test_the_log_of_a_service_cannot_fill_the_disk(service: str, served: Contained) -> None:
    log = served.container(service).attrs["HostConfig"]["LogConfig"]

    assert log == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


def test_the_database_checks_its_health_over_tcp_since_its_first_server_has_a_socket_alone(served: Contained) -> None:
    check = served.container("database").attrs["Config"]["Healthcheck"]["Test"]

    assert check[:4] == ["CMD", "pg_isready", "-h", "127.0.0.1"]


@pytest.mark.parametrize("service", ["database", "app"])
def test_the_health_check_of_a_service_passes(service: str, served: Contained) -> None:
    container = served.container(service)

    assert container.exec_run(container.attrs["Config"]["Healthcheck"]["Test"][1:]).exit_code == 0


def test_the_data_has_checksums_and_a_locale_that_depends_on_no_c_library(served: Contained) -> None:
    with psycopg.connect(served.stack().database_url) as connection:
        checksums = connection.execute("SHOW data_checksums").fetchone()
        locale = connection.execute(
            "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database"
            " WHERE datname = current_database()"
        ).fetchone()

    assert checksums == ("on",)
    assert locale == ("b", "C.UTF-8", "UTF8")


def secrets_of(served: Contained) -> list[str]:
    project = served.stack().project
    return [project.secret(name) for name in SECRETS]


def test_no_secret_is_in_what_the_engine_tells_of_containers_image_volume_and_network(
    served: Contained, engine: Any, app_image: str
) -> None:
    told = [each.attrs for each in served.all_containers()]
    told += [engine.images.get(app_image).attrs, *engine.images.get(app_image).history()]
    told += [served.volume.attrs, *(network.attrs for network in engine.networks.list())]

    for secret in secrets_of(served):
        assert secret not in json.dumps(told)
    assert "postgresql://" not in json.dumps(told)


@pytest.mark.parametrize("service", ["database", "app"])
def test_no_secret_is_in_the_arguments_or_the_environment_of_a_process(service: str, served: Contained) -> None:
    container = served.container(service)
    processes = json.dumps(container.top())
    environment = container.exec_run(["sh", "-c", "cat /proc/[0-9]*/environ"]).output.decode()

    for secret in secrets_of(served):
        assert secret not in processes + environment


@pytest.mark.parametrize("service", ["database", "app"])
def test_no_secret_is_in_the_log_of_a_service(service: str, served: Contained) -> None:
    log = served.container(service).logs().decode()

    assert log
    for secret in secrets_of(served):
        assert secret not in log


def test_the_secrets_arrive_as_files_that_the_service_can_read_and_not_write(served: Contained) -> None:
    app = served.container("app")
    project = served.stack().project
    password, key = project.secret("database_password"), project.secret("secret_key")

    assert app.exec_run(["cat", "/run/secrets/secret_key"]).output.decode() == key
    assert password in app.exec_run(["cat", "/run/secrets/database_url"]).output.decode()
    for name in ("secret_key", "database_url"):
        write = app.exec_run(["python", "-c", f"open('/run/secrets/{name}', 'a')"])
        assert (write.exit_code, b"PermissionError" in write.output) == (1, True)


def test_nothing_of_this_machine_is_mounted_so_that_the_engine_may_be_another(served: Contained) -> None:
    mounts = {name: served.container(name).attrs["Mounts"] for name in ("app", "database")}

    assert {mount["Type"] for each in mounts.values() for mount in each} == {"volume"}
    assert {name: {mount["Destination"] for mount in each} for name, each in mounts.items()} == {
        "app": {"/run/secrets"},
        "database": {"/run/secrets", "/docker-entrypoint-initdb.d", "/tmp", "/var/lib/postgresql"},
    }
