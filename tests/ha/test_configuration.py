"""What Patroni and etcd are configured with. Pure."""

import shlex
from typing import Any

import pytest

from fastzero_core.errors import InvalidInputError
from fastzero_core.ha import configuration, run_patroni

QUIET = {"log_error_verbosity": "terse"}
DATA = "/var/lib/postgresql/cluster"


@pytest.fixture
def document() -> dict[str, Any]:
    return configuration.patroni("demo", 2, major=18, data=DATA, database="fastzero", parameters=QUIET)


def test_a_primary_that_is_cut_off_has_stopped_before_another_is_chosen() -> None:
    times = configuration.TIMES

    assert times["loop_wait"] + 2 * times["retry_timeout"] <= times["ttl"]


def test_a_commit_waits_for_a_standby_even_if_there_is_none() -> None:
    shared = configuration.dynamic()

    assert (shared["synchronous_mode"], shared["synchronous_mode_strict"]) == ("quorum", True)


def test_settings_are_shared_by_all_members() -> None:
    parameters = configuration.dynamic({"work_mem": "64MB"})["postgresql"]["parameters"]

    assert parameters == {**configuration.PARAMETERS, "work_mem": "64MB"}


def test_settings_of_the_project_override_those_for_standbys() -> None:
    parameters = configuration.dynamic({"wal_sender_timeout": "30s"})["postgresql"]["parameters"]

    assert parameters["wal_sender_timeout"] == "30s"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("synchronous_standby_names", "*", "set by Patroni"),
        ("recovery_target_time", "now", "set by Patroni"),
        ("fsync", "off", "could lose acknowledged writes"),
        ("synchronous_commit", "local", "could lose acknowledged writes"),
        ("wal_level", "minimal", "could lose acknowledged writes"),
        ("max_connections", "10", "must be 25 or more"),
        ("max_worker_processes", "many", "must be 2 or more"),
    ],
)
def test_settings_that_cannot_be_used_with_standbys_are_refused(name: str, value: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        configuration.dynamic({name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("synchronous_commit", "remote_apply"), ("wal_level", "logical"), ("max_connections", "25")]
)
def test_settings_that_can_be_used_with_standbys_are_accepted(name: str, value: str) -> None:
    assert configuration.dynamic({name: value})["postgresql"]["parameters"][name] == value


def test_a_member_has_the_name_and_the_addresses_of_its_service(document: dict[str, Any]) -> None:
    assert document["name"] == "database-2"
    assert document["restapi"]["connect_address"] == "database-2:8008"
    assert document["postgresql"]["connect_address"] == "database-2:5432"


def test_a_member_asks_the_etcd_of_its_own_node_first(document: dict[str, Any]) -> None:
    assert document["etcd3"]["hosts"] == ["etcd-2:2379", "etcd-3:2379", "etcd-1:2379"]


def test_roles_log_in_over_the_network_by_scram_alone(document: dict[str, Any]) -> None:
    over_network = [line.split() for line in document["postgresql"]["pg_hba"] if line.startswith("host")]

    assert {words[-1] for words in over_network} == {"scram-sha-256", "reject"}
    assert ["host", "all", "fastzero_replication", "all", "reject"] in over_network


def test_data_has_checksums_so_that_a_former_primary_can_be_rewound(document: dict[str, Any]) -> None:
    assert "data-checksums" in document["bootstrap"]["initdb"]
    assert {"builtin-locale": "C.UTF-8"} in document["bootstrap"]["initdb"]


def test_the_first_primary_creates_the_owner_without_privileges_and_without_a_password(
    document: dict[str, Any],
) -> None:
    program, *arguments = shlex.split(document["bootstrap"]["post_bootstrap"])

    assert program == "psql"
    assert arguments[-2].startswith("--command=CREATE ROLE fastzero LOGIN NOSUPERUSER")
    assert arguments[-2].endswith("PASSWORD NULL")
    assert arguments[-1] == '--command=CREATE DATABASE "fastzero" OWNER fastzero'


def test_the_configuration_has_names_of_files_and_no_passwords(document: dict[str, Any]) -> None:
    text = configuration.as_text(document)

    assert '"password"' not in text
    assert text.count("password_file") == 4


def test_the_program_of_the_image_puts_passwords_in_the_place_of_their_files(tmp_path: Any) -> None:
    (tmp_path / "one").write_text("correct horse\n")
    document = {"a": [{"username": "ana", "password_file": str(tmp_path / "one")}], "b": {"password_file_of": 1}}

    assert run_patroni.with_passwords(document) == {
        "a": [{"username": "ana", "password": "correct horse"}],
        "b": {"password_file_of": 1},
    }


def test_a_member_has_no_settings_of_the_project(document: dict[str, Any]) -> None:
    assert document["bootstrap"]["dcs"] == configuration.dynamic(QUIET)
    assert document["postgresql"]["parameters"] == {"unix_socket_directories": "/tmp"}


def test_etcd_knows_every_member_by_name() -> None:
    variables = configuration.etcd("demo", 3, "/data/etcd")

    assert variables["ETCD_NAME"] == "etcd-3"
    assert variables["ETCD_INITIAL_CLUSTER"].split(",") == [f"etcd-{n}=http://etcd-{n}:2380" for n in (1, 2, 3)]
    assert variables["ETCD_INITIAL_ADVERTISE_PEER_URLS"] in variables["ETCD_INITIAL_CLUSTER"]
