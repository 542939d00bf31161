"""The rules of access of a data directory that comes from the other runtime."""

from pathlib import Path

import pytest

from fastzero_core.postgres import access

OWN_RULE = "host all ana 10.0.0.0/8 scram-sha-256\n"


@pytest.fixture
def data(folder: Path) -> Path:
    (folder / access.CONFIGURATION).write_text("work_mem = 4MB\n")
    return folder


@pytest.mark.parametrize("in_container", [True, False])
def test_rules_of_the_same_runtime_stay_with_what_was_added(data: Path, in_container: bool) -> None:
    before = access.rules(in_container=in_container) + OWN_RULE
    (data / access.HBA).write_text(before)
    access.fit(data, in_container=in_container)
    assert (data / access.HBA).read_text() == before
    assert (data / access.CONFIGURATION).read_text() == "work_mem = 4MB\n"


def test_without_containers_nobody_enters_without_a_password_or_from_elsewhere(data: Path) -> None:
    (data / access.HBA).write_text(access.rules(in_container=True))
    access.fit(data, in_container=False)
    lines = [line.split() for line in (data / access.HBA).read_text().splitlines()]
    assert {line[-1] for line in lines} == {"scram-sha-256"}
    assert {line[3] for line in lines if line[0] == "host"} == {"127.0.0.1/32", "::1/128"}


def test_in_a_container_the_server_listens_to_the_other_containers(data: Path) -> None:
    (data / access.HBA).write_text(access.rules(in_container=False))
    access.fit(data, in_container=True)
    assert "host all all all scram-sha-256" in (data / access.HBA).read_text().splitlines()
    assert (data / access.CONFIGURATION).read_text().endswith("listen_addresses = '*'\n")


def test_a_link_in_place_of_the_rules_is_not_followed(data: Path, folder: Path) -> None:
    target = folder / "target"
    target.write_text("")
    (data / access.HBA).symlink_to(target)
    with pytest.raises(PermissionError):
        access.fit(data, in_container=True)
    assert target.read_text() == ""
