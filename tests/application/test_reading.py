"""What fastzero.toml says about an application, as its description."""

from pathlib import Path

import pytest

from fastzero_core.application.description import (
    AlembicCommand,
    Application,
    Build,
    Container,
    ExtraService,
    Migrate,
    Process,
)
from fastzero_core.application.reading import application_of, parse
from fastzero_core.postgres.provisions import DatabaseNeeds
from tests.application.folders import write_files

WHOLE = """
project = "shop"

[application]
asgi = "shop.main:app"
port = 9000
health = "/health"
directory = "backend"
migrate = "alembic -c db/alembic.ini -n main upgrade heads"
after_migrate = "python -m shop.seed"
test = "pytest -q"
env_from = [".env.example"]
python = "3.12"
install = "uv sync"
extras = ["postgres"]
groups = ["server"]
dockerfile = "Dockerfile"
target = "app"
context = "backend"
image = "python:3.12-slim"
watch = ["backend"]

[application.build_args]
VERSION = "1"

[application.environment]
DATABASE_URL = "{url:asyncpg}"
SECRET_KEY = "{secret}"

[application.processes]
beat = "celery -A shop beat"

[application.processes.worker]
command = "celery -A shop worker"
replicas = 2
restart = "always"
grace_period = 5
stop_timeout = 30

[application.database]
schemas = ["shop"]
extensions = ["pg_trgm"]
superuser = true

[application.container]
read_only = false
writable = ["/data"]
user = "1000"
capabilities = ["NET_BIND_SERVICE"]
memory = "512m"

[services.mailpit]
image = "axllent/mailpit"
ports = [1025, 8025]
volume = "/data"
health = "wget -q localhost:8025"
command = "--verbose"
environment = { MP_VERBOSE = "1" }
"""


def described(text: str, folder: Path) -> Application:
    application = parse(text, folder)
    assert application is not None
    return application


def test_every_key_is_in_the_description(tmp_path: Path) -> None:
    write_files(tmp_path, {"backend/x": "", "Dockerfile": "", ".env.example": ""})
    assert described(WHOLE, tmp_path) == Application(
        folder=tmp_path,
        directory="backend",
        processes=(
            Process("web", "python -m uvicorn shop.main:app --host {app_host} --port {app_port}", 9000, "/health"),
            Process("beat", "celery -A shop beat"),
            Process("worker", "celery -A shop worker", None, "", 2, "always", 5.0, 30.0),
        ),
        migrate=Migrate(
            "alembic -c db/alembic.ini -n main upgrade heads", AlembicCommand("db/alembic.ini", "main", "heads")
        ),
        after_migrate="python -m shop.seed",
        test="pytest -q",
        environment={"DATABASE_URL": "{url:asyncpg}", "SECRET_KEY": "{secret}"},
        env_from=(".env.example",),
        python="3.12",
        install="uv sync",
        extras=("postgres",),
        groups=("server",),
        build=Build("Dockerfile", "app", "backend", {"VERSION": "1"}, "python:3.12-slim"),
        container=Container(False, ("/data",), "1000", ("NET_BIND_SERVICE",), "512m"),
        database=DatabaseNeeds(("shop",), ("pg_trgm",), True),
        watch=("backend",),
        services=(
            ExtraService(
                "mailpit",
                "axllent/mailpit",
                (1025, 8025),
                "/data",
                "wget -q localhost:8025",
                "--verbose",
                None,
                {"MP_VERBOSE": "1"},
            ),
        ),
    )


def test_a_folder_without_a_file_has_no_application(tmp_path: Path) -> None:
    assert application_of(tmp_path) is None


def test_a_file_of_settings_alone_has_no_application(tmp_path: Path) -> None:
    assert parse('project = "shop"\n', tmp_path) is None


def test_the_file_is_read_from_the_folder(tmp_path: Path) -> None:
    write_files(tmp_path, {"fastzero.toml": '[application]\nasgi = "a:app"'})
    application = application_of(tmp_path)
    assert application is not None
    assert application.folder == tmp_path


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ('asgi = "a.b:make()"', "python -m uvicorn a.b:make --factory --host {app_host} --port {app_port}"),
        ('wsgi = "a:app"', "python -m gunicorn 'a:app' --bind {app_host}:{app_port}"),
        ('wsgi = "a:make()"', "python -m gunicorn 'a:make()' --bind {app_host}:{app_port}"),
        ('command = "serve {app_port}"', "serve {app_port}"),
    ],
)
def test_the_web_process_follows_from_what_is_served(line: str, command: str, tmp_path: Path) -> None:
    web = described(f"[application]\n{line}", tmp_path).web
    assert web == Process("web", command, 8000)


def test_the_web_process_may_be_a_table_of_its_own(tmp_path: Path) -> None:
    web = described("[application.processes.web]\ncommand = 'x'\nhealth = false", tmp_path).web
    assert web == Process("web", "x", 8000, None)


def test_an_application_may_have_no_process_at_all(tmp_path: Path) -> None:
    assert described("[application]", tmp_path).processes == ()


@pytest.mark.parametrize(
    "files",
    [{"alembic.ini": "[alembic]"}, {"pyproject.toml": "[tool.alembic]\nscript_location = 'x'"}],
    ids=["alembic.ini", "pyproject.toml"],
)
def test_alembic_migrates_where_it_is_configured(files: dict[str, str], tmp_path: Path) -> None:
    migrate = described("[application]", write_files(tmp_path, files)).migrate
    assert migrate == Migrate("alembic upgrade head", AlembicCommand())


def test_migrations_can_be_switched_off(tmp_path: Path) -> None:
    write_files(tmp_path, {"alembic.ini": "[alembic]"})
    assert described("[application]\nmigrate = false", tmp_path).migrate == Migrate()


def test_another_tool_may_migrate(tmp_path: Path) -> None:
    command = "python manage.py migrate"
    assert described(f"[application]\nmigrate = '{command}'", tmp_path).migrate == Migrate(command)


@pytest.mark.parametrize(
    ("files", "text", "build"),
    [
        ({}, "", Build(None, None, ".")),
        ({"Dockerfile": ""}, "", Build("Dockerfile", None, ".")),
        ({"api/Dockerfile": ""}, 'directory = "api"', Build("api/Dockerfile", None, "api")),
        ({"Dockerfile": ""}, "dockerfile = false", Build(None, None, ".")),
        ({"api/Dockerfile": ""}, 'dockerfile = "api/Dockerfile"\ncontext = "."', Build("api/Dockerfile", None, ".")),
    ],
    ids=["none", "at the top", "in the directory", "switched off", "built at the top"],
)
def test_the_image_is_built_by_the_nearest_dockerfile(
    files: dict[str, str], text: str, build: Build, tmp_path: Path
) -> None:
    assert described(f"[application]\n{text}", write_files(tmp_path, files)).build == build


@pytest.mark.parametrize(("name", "image"), [("redis", "redis:8"), ("valkey", "valkey/valkey:8")])
def test_redis_and_valkey_need_no_keys(name: str, image: str, tmp_path: Path) -> None:
    [service] = described(f"[application]\n[services.{name}]", tmp_path).services
    assert (service.image, service.ports, service.volume) == (image, (6379,), "/data")
    assert service.program == f"{name}-server --bind {{app_host}} --port {{app_port}}"


def test_secrets_are_the_variables_that_hold_one(tmp_path: Path) -> None:
    text = '[application.environment]\nA = "{secret}"\nB = "x"\nC = "key:{secret}"'
    assert described(text, tmp_path).secrets == ("A", "C")
