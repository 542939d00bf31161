"""What a stack should be follows from settings and ports alone."""

import pytest

from fastzero_core import load_settings
from fastzero_core.stack.spec import ServiceSpec, changed, stack_spec


def test_the_stack_is_a_database_on_the_loopback_and_the_projects_port() -> None:
    spec = stack_spec(load_settings(project="demo"), {"database": 5433})

    assert spec.project == "demo"
    assert spec.names == ("database",)
    assert (spec.service("database").host, spec.service("database").port) == ("127.0.0.1", 5433)


def test_the_postgres_settings_are_the_databases_configuration() -> None:
    settings = load_settings(postgres_settings={"work_mem": "8MB"})

    assert stack_spec(settings, {"database": 5432}).service("database").configuration == {"work_mem": "8MB"}


def test_the_database_has_a_minute_to_stop_since_less_can_cut_a_checkpoint_short() -> None:
    assert stack_spec(load_settings(), {"database": 5432}).service("database").stop_timeout >= 60


def test_the_hash_does_not_depend_on_the_order_of_the_settings() -> None:
    one = ServiceSpec("database", 5432, configuration={"fsync": "off", "work_mem": "8MB"})
    other = ServiceSpec("database", 5432, configuration={"work_mem": "8MB", "fsync": "off"})

    assert one.config_hash == other.config_hash


def test_the_hash_is_the_same_in_every_process() -> None:
    assert ServiceSpec("database", 5432, configuration={"fsync": "off"}).config_hash == "0481e8bc962a7659"


@pytest.mark.parametrize(
    "other",
    [
        ServiceSpec("database", 5433),
        ServiceSpec("database", 5432, host="127.0.0.2"),
        ServiceSpec("database", 5432, configuration={"work_mem": "8MB"}),
    ],
)
def test_whatever_a_running_server_cannot_change_is_in_the_hash(other: ServiceSpec) -> None:
    assert other.config_hash != ServiceSpec("database", 5432).config_hash


@pytest.mark.parametrize(
    "other", [ServiceSpec("database", 5432, stop_timeout=5), ServiceSpec("database", 5432, secrets=("more",))]
)
def test_what_a_running_server_does_not_notice_is_not_in_the_hash(other: ServiceSpec) -> None:
    assert other.config_hash == ServiceSpec("database", 5432).config_hash


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({}, {}, ""),
        ({"port": "1"}, {"port": "1"}, ""),
        ({"port": "5432"}, {"port": "5433"}, "port: 5432 → 5433"),
        ({}, {"work_mem": "8MB"}, "work_mem: unset → 8MB"),
        ({"work_mem": "8MB"}, {}, "work_mem: 8MB → unset"),
        ({"port": "1", "a": "x"}, {"a": "y", "port": "2"}, "a: x → y, port: 1 → 2"),
    ],
)
def test_a_difference_names_each_setting_with_its_old_and_new_value(
    before: dict[str, str], after: dict[str, str], text: str
) -> None:
    assert changed(before, after) == text
