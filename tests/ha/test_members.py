"""The services of a database with standbys, and their image. Pure."""

import json
import re
from pathlib import Path

import pytest

from fastzero_core import load_settings
from fastzero_core.errors import InvalidInputError
from fastzero_core.ha.configuration import address
from fastzero_core.postgres.roles import APP
from fastzero_core.postgres.url import hosts, parse
from fastzero_core.project import PASSWORDS, Project
from fastzero_core.stack.docker import ha_image
from fastzero_core.stack.docker.containers import document
from fastzero_core.stack.ha import Member, members, shared
from fastzero_core.stack.spec import APP_SERVICE, DATABASE_SERVICE

IMAGE = "fastzero-ha:18-0123456789ab"
BASE = "postgres:18"
PORTS = {"database-1": 5432, "database-2": 5433, "database-3": 5434}
LOCKED = ("bash", "-c", 'exec 9<"$1"; flock 9; shift; exec "$@"')
API_PORTS = {"database-1": 8008, "database-2": 8009, "database-3": 8010}


@pytest.fixture
def found() -> dict[str, Member]:
    return {member.service.name: member for member in members(load_settings(project="demo"), IMAGE, PORTS, API_PORTS)}


def test_each_of_three_nodes_has_a_server_and_an_etcd(found: dict[str, Member]) -> None:
    assert {(name, member.node) for name, member in found.items()} == {
        (f"{service}-{number}", number) for service in ("database", "etcd") for number in (1, 2, 3)
    }
    assert not {DATABASE_SERVICE, APP_SERVICE} & found.keys()


def test_only_servers_can_be_reached_from_outside(found: dict[str, Member]) -> None:
    reachable = {name for name, member in found.items() if not member.is_internal}

    assert reachable == {name for name, member in found.items() if member.service.port}
    assert reachable == {"database-1", "database-2", "database-3"}


def test_servers_and_their_patronis_are_published_on_the_given_ports(found: dict[str, Member]) -> None:
    assert (found["database-2"].service.port, found["database-2"].service.more_ports) == (5433, {8008: 8009})


def test_data_is_used_by_one_container_at_a_time(found: dict[str, Member]) -> None:
    for member in found.values():
        assert member.service.command[:5] == (*LOCKED, "bash", "/var/lib/postgresql")


def test_a_server_logs_no_values_of_rows_from_its_start(found: dict[str, Member]) -> None:
    document = json.loads(found["database-1"].service.variables["FASTZERO_PATRONI"])

    assert document["bootstrap"]["dcs"] == shared(load_settings(project="demo"))
    assert document["bootstrap"]["dcs"]["postgresql"]["parameters"]["log_error_verbosity"] == "terse"


def test_each_has_a_volume_of_its_own(found: dict[str, Member]) -> None:
    assert len({member.service.volume for member in found.values()}) == 6
    assert found["database-2"].service.volume == "fastzero-demo-database-2"


@pytest.mark.parametrize("name", ["database-1", "etcd-1"])
def test_containers_have_no_privileges_and_a_read_only_root(name: str, found: dict[str, Member]) -> None:
    host = document("demo", found[name].service)["HostConfig"]

    assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]) == (True, ["ALL"], [])
    assert "no-new-privileges" in host["SecurityOpt"]
    assert host["RestartPolicy"] == {"Name": "unless-stopped"}
    assert (host["Memory"] > 0, host["PidsLimit"] > 0) == (True, True)


def test_data_is_in_the_volume(found: dict[str, Member]) -> None:
    for name in ("database-1", "etcd-1"):
        mounts = document("demo", found[name].service)["HostConfig"]["Mounts"]
        targets = [mount["Target"] for mount in mounts if mount.get("Source")]
        assert targets == ["/var/lib/postgresql"]
    assert '"/var/lib/postgresql/cluster"' in found["database-1"].service.variables["FASTZERO_PATRONI"]
    assert found["etcd-1"].service.variables["ETCD_DATA_DIR"] == "/var/lib/postgresql/etcd"


def test_health_is_whether_the_process_answers(found: dict[str, Member]) -> None:
    assert "/liveness" in found["database-1"].service.health_command[-1]
    assert "/version" in found["etcd-1"].service.health_command[-1]


def test_a_setting_changes_no_container() -> None:
    changed = load_settings(project="demo", postgres_settings={"work_mem": "64MB"})

    assert members(changed, IMAGE) == members(load_settings(project="demo"), IMAGE)
    assert shared(changed)["postgresql"]["parameters"]["work_mem"] == "64MB"


def test_a_setting_that_cannot_be_used_is_refused_before_anything_is_created() -> None:
    with pytest.raises(InvalidInputError, match="could lose acknowledged writes"):
        members(load_settings(project="demo", postgres_settings={"fsync": "off"}), IMAGE)


def test_the_passwords_of_roles_are_not_handed_to_the_servers(found: dict[str, Member]) -> None:
    assert found["database-1"].service.secrets == ("replication_password", "patroni_password")
    assert found["etcd-1"].service.secrets == ()


def test_processes_find_the_server_that_accepts_writes_and_require_scram(tmp_path: Path) -> None:
    project = Project("demo", tmp_path)
    project.replace_secret(PASSWORDS[APP], "p@ss")
    options = parse(project.secret_inside("database_url", APP, address()))

    assert hosts(options) == [(f"database-{number}", "5432") for number in (1, 2, 3)]
    assert (options["user"], options["password"]) == (APP, "p@ss")
    assert (options["target_session_attrs"], options["require_auth"]) == ("read-write", "scram-sha-256")


def test_the_image_is_named_by_its_major_version_and_content() -> None:
    assert ha_image.image_name(BASE).startswith("fastzero-ha:18-")
    assert ha_image.image_name(BASE) == ha_image.image_name(BASE) != ha_image.image_name("postgres:18.6")


def test_an_image_without_a_major_version_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no major version"):
        ha_image.image_name("postgres:latest")


def test_the_context_has_the_programs_and_the_lock() -> None:
    files = ha_image.context_files()

    assert files.keys() == {
        "Dockerfile",
        "requirements.txt",
        "programs/run_patroni.py",
        "programs/run_etcd.py",
        "programs/supervisor.py",
        "programs/ask.py",
    }
    for name, content in files.items():
        assert not re.search(rb"^(from|import) (fastzero|\.)", content, re.MULTILINE), name


def test_no_package_is_installed_without_its_hash() -> None:
    text = ha_image.context_files()["Dockerfile"].decode()

    assert "--no-deps --no-build-isolation --require-hashes -r /requirements.txt" in text
    assert "patroni==4." in ha_image.context_files()["requirements.txt"].decode()


def test_the_image_does_not_run_as_root() -> None:
    lines = ha_image.context_files()["Dockerfile"].decode().splitlines()

    assert [line for line in lines if line.startswith("USER")] == ["USER postgres"]
