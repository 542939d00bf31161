"""What a stack should be follows from settings and ports alone."""

import pytest

from fastzero_core import load_settings
from fastzero_core.errors import InvalidInputError
from fastzero_core.stack.built_in import stack_spec
from fastzero_core.stack.spec import ServiceSpec, StackSpec, changed, data_mount, major_of


def test_the_stack_is_a_database_on_the_loopback_and_the_projects_port() -> None:
    spec = stack_spec(load_settings(project="demo"), {"database": 5433})

    assert spec.project == "demo"
    assert spec.names == ("database",)
    assert (spec.service("database").host, spec.service("database").port) == ("127.0.0.1", 5433)


def test_the_postgres_settings_are_the_databases_configuration() -> None:
    settings = load_settings(postgres_settings={"work_mem": "8MB", "log_error_verbosity": "verbose"})

    assert stack_spec(settings, {"database": 5432}).service("database").configuration == {
        "log_error_verbosity": "verbose",
        "work_mem": "8MB",
    }


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


# -- in containers ---------------------------------------------------------------------------------------------


def contained(**settings: object) -> StackSpec:
    ports = {"database": 5433, "app": 8001}
    return stack_spec(load_settings(**settings), ports, app_image="fastzero-app:abc", app=True)


@pytest.mark.parametrize(
    ("image", "major"),
    [
        ("postgres:18", 18),
        ("postgres:17.2", 17),
        ("postgres:18.1-bookworm", 18),
        ("postgres:16-alpine", 16),
        ("registry:5000/library/postgres:18", 18),
        ("postgres:18@sha256:0123", 18),
    ],
)
def test_the_major_version_is_read_from_the_tag(image: str, major: int) -> None:
    assert major_of(image) == major


@pytest.mark.parametrize(
    "image", ["postgres", "postgres:latest", "postgres:alpine3.20", "registry:5000/postgres", "postgres@sha256:18", ""]
)
def test_a_tag_without_a_major_version_is_refused_with_a_remedy(image: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        major_of(image)

    assert refused.value.field == "postgres_image"
    assert "postgres:18" in refused.value.hint


@pytest.mark.parametrize(
    ("major", "mount"),
    [(15, "/var/lib/postgresql/data"), (17, "/var/lib/postgresql/data"), (18, "/var/lib/postgresql")],
)
def test_the_volume_is_mounted_where_the_major_version_keeps_its_data(major: int, mount: str) -> None:
    assert data_mount(major) == mount


@pytest.mark.parametrize(("image", "locale"), [("postgres:18", "builtin"), ("postgres:17", "builtin")])
def test_the_locale_depends_on_no_c_library_where_postgresql_has_its_own(image: str, locale: str) -> None:
    arguments = contained(postgres_image=image).service("database").variables["POSTGRES_INITDB_ARGS"]

    assert f"--locale-provider={locale}" in arguments
    assert "--data-checksums" in arguments


def test_an_older_postgresql_gets_the_locale_that_it_knows() -> None:
    arguments = contained(postgres_image="postgres:16").service("database").variables["POSTGRES_INITDB_ARGS"]

    assert "--locale=C.UTF-8" in arguments
    assert "provider" not in arguments


def test_the_password_is_handed_over_as_a_file() -> None:
    database = contained().service("database")

    assert "POSTGRES_PASSWORD" not in database.variables
    assert database.variables["POSTGRES_PASSWORD_FILE"] == "/run/secrets/superuser_password"
    assert database.secrets == ("superuser_password", "database_password", "app_password")


def test_inside_its_container_a_service_listens_on_its_usual_port_whatever_the_published_one() -> None:
    spec = contained()

    assert [(service.port, service.container_port) for service in spec.services] == [(5433, 5432), (8001, 8000)]
    assert {service.host for service in spec.services} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("settings", "service"),
    [
        ({"postgres_image": "postgres:17"}, "database"),
        ({"postgres_settings": {"work_mem": "8MB"}}, "database"),
        ({"workers": 2}, "app"),
    ],
)
def test_a_setting_is_in_the_hash_of_the_service_that_it_touches_alone(
    settings: dict[str, object], service: str
) -> None:
    before, after = contained(), contained(**settings)

    assert [name for name in before.names if before.service(name).config_hash != after.service(name).config_hash] == [
        service
    ]


def test_another_app_image_is_in_the_hash_of_the_app_alone() -> None:
    other = stack_spec(load_settings(), {"database": 5433, "app": 8001}, app_image="fastzero-app:def", app=True)

    assert other.service("app").config_hash != contained().service("app").config_hash
    assert other.service("database").config_hash == contained().service("database").config_hash


@pytest.mark.parametrize("service", ["database", "app"])
def test_a_service_is_made_again_from_the_settings_that_were_written_down(service: str) -> None:
    settings = load_settings(postgres_settings={"work_mem": "8MB"}, workers=3)
    before = stack_spec(settings, {"database": 1, "app": 2}, app=True).service(service)
    after = stack_spec(load_settings(), {"database": 3, "app": 4}, app=True).service(service)

    again = after.having(before.settings())
    assert after.settings() != before.settings()
    assert (again.settings(), again.variables, again.configuration) == (
        before.settings(),
        before.variables,
        before.configuration,
    )


@pytest.mark.parametrize("image", ["", "fastzero-app:1"])
def test_what_the_app_goes_by_is_handed_to_it_if_it_is_not_the_default(image: str) -> None:
    settings = load_settings(docs=False, cors_origins=["https://a.example", "https://b.example"], session_hours=24)
    app = stack_spec(settings, {"database": 1, "app": 2}, app_image=image, app=True).service("app")

    handed = {name: value for name, value in app.variables.items() if name != "FASTZERO_DATABASE_PORT"}
    assert handed == {"FASTZERO_DOCS": "False", "FASTZERO_CORS_ORIGINS": "https://a.example,https://b.example"}


def test_no_secret_is_among_what_the_app_is_handed() -> None:
    settings = load_settings(secret_key="a secret that is long enough for that")
    app = stack_spec(settings, {"database": 1, "app": 2}, app_image="fastzero-app:1", app=True).service("app")

    assert "SECRET_KEY" not in app.settings()
