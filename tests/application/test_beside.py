"""What is found beside the application: services of Compose files with an image, workers, and what workers need."""

from pathlib import Path
from typing import Any

import pytest

from fastzero_core.application.discover.project import discover
from fastzero_core.application.reading import parse
from fastzero_core.application.writing import toml_of
from tests.application.folders import write_files

SETTINGS = """
    from pydantic_settings import BaseSettings

    class Settings(BaseSettings):
        SMTP_HOST: str | None = None
        SMTP_PORT: int = 587
        SMTP_TLS: bool = True
        BROKER: str = "amqp://guest:guest@localhost:5672//"
        STORE_URL: str = ""
    """
COMPOSE = """
    services:
      web:
        build: .
        depends_on: [rabbitmq]
        environment:
          SMTP_HOST: mailpit
          SMTP_PORT: "1025"
          SMTP_TLS: "false"
          BROKER: amqp://guest:guest@rabbitmq:5672//
          STORE_URL: http://store:9000/files
      mailpit:
        image: axllent/mailpit
        restart: always
        ports: ["8025:8025", "127.0.0.1:11025:1025"]
      rabbitmq:
        image: rabbitmq:3-management
        ports: ["5672:5672", "15672:15672"]
        volumes: ["queue:/var/lib/rabbitmq"]
        environment:
          RABBITMQ_DEFAULT_USER: ${RABBIT_USER:-guest}
        healthcheck:
          test: ["CMD", "rabbitmq-diagnostics", "-q", "ping"]
      store:
        image: minio/minio
        command: server /data
        ports: ["9000:9000"]
        environment: {ROOT_PASSWORD: "${ROOT_PASSWORD}"}
    """
APP = {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n", "Dockerfile": "FROM python:3.13\n"}


def found(files: dict[str, str], folder: Path, *, active: bool = True) -> dict[str, Any]:
    """Return what was found about services and variables, as values of the file or as comments."""
    findings = discover(write_files(folder, {**APP, **files})).findings
    kinds = ("services.", "environment.", "processes.")
    return {each.key: each.value for each in findings if each.key.startswith(kinds) and each.active is active}


def test_a_service_that_the_application_depends_on_is_described(tmp_path: Path) -> None:
    assert found({"settings.py": SETTINGS, "compose.yml": COMPOSE}, tmp_path) == {
        "environment.BROKER": "amqp://guest:guest@{service:rabbitmq:host}:{service:rabbitmq:5672}//",
        "services.rabbitmq": {
            "image": "rabbitmq:3-management",
            "ports": [5672, 15672],
            "volume": "/var/lib/rabbitmq",
            "health": "rabbitmq-diagnostics -q ping",
            "environment": {"RABBITMQ_DEFAULT_USER": "guest"},
        },
    }


def test_one_that_it_can_start_without_is_a_comment(tmp_path: Path) -> None:
    assert found({"settings.py": SETTINGS, "compose.yml": COMPOSE}, tmp_path, active=False) == {
        "environment.SMTP_HOST": "{service:mailpit:host}",
        "environment.SMTP_PORT": "{service:mailpit:1025}",
        "environment.SMTP_TLS": "false",
        "services.mailpit": {"image": "axllent/mailpit", "ports": [8025, 1025]},
    }


def test_each_is_told_with_what_to_do(tmp_path: Path) -> None:
    notes = discover(write_files(tmp_path, {**APP, "settings.py": SETTINGS, "compose.yml": COMPOSE})).notes
    told = {note.text.split()[0]: note.hint for note in notes if note.where.startswith("compose.yml")}
    assert "remove the #" in told["mailpit"]
    assert "--runtime docker" in told["rabbitmq"]
    assert "[services.store]" in told["store"]


@pytest.mark.parametrize("uncommented", [False, True])
def test_the_file_is_valid_also_with_its_comments(uncommented: bool, tmp_path: Path) -> None:
    files = {**APP, "settings.py": SETTINGS, "compose.yml": COMPOSE}
    text = toml_of(discover(write_files(tmp_path, files)))
    keys = ("# SMTP_", "# [services", "# image", "# ports")
    lines = [line[2:] if uncommented and line.startswith(keys) else line for line in text.splitlines()]
    described = parse("\n".join(lines), tmp_path)
    assert described is not None
    assert {each.name for each in described.services} == {"rabbitmq", *(["mailpit"] if uncommented else [])}


def test_the_port_of_a_development_machine_tells_the_service(tmp_path: Path) -> None:
    files = {
        "settings.py": "import os\nHOST = os.getenv('MAIL_HOST')\nPORT = os.getenv('MAIL_PORT')\n",
        ".env.example": "MAIL_HOST=localhost\nMAIL_PORT=11025\n",
        "compose.yml": "services: {mail: {image: axllent/mailpit, ports: ['8025:8025', '11025:1025']}}\n",
    }
    assert found(files, tmp_path, active=False) == {
        "environment.MAIL_HOST": "{service:mail:host}",
        "environment.MAIL_PORT": "{service:mail:1025}",
        "services.mail": {"image": "axllent/mailpit", "ports": [8025, 1025]},
    }


@pytest.mark.parametrize(
    "line",
    [
        "volumes: ['./rabbit.conf:/etc/rabbitmq/rabbitmq.conf']",
        "volumes: ['/var/run/docker.sock:/var/run/docker.sock']",
        "ports: ['5672:5672/udp']",
        "privileged: true",
        "environment: {PASSWORD: $PASSWORD}",
        "command: echo '",
        "ports: ['99999:99999']",
        f"ports: ['{'9' * 5000}']",
        "volumes: ['queue:data']",
        "environment: {FASTZERO_HOME: x}",
    ],
)
def test_a_service_that_needs_more_is_left_to_compose(line: str, tmp_path: Path) -> None:
    queue = (
        f"queue: {{image: rabbitmq, expose: [5672], {line}}}" if "ports" not in line else f"queue: {{image: x, {line}}}"
    )
    compose = f"services: {{web: {{build: ., depends_on: [queue]}}, {queue}}}\n"
    assert found({"compose.yml": compose}, tmp_path) == {}


@pytest.mark.parametrize("name", ["web", "database", "Queue"])
def test_a_service_with_a_name_of_fastzero_is_left_to_compose(name: str, tmp_path: Path) -> None:
    compose = f"services: {{api: {{build: ., depends_on: [{name}]}}, {name}: {{image: x, expose: [5672]}}}}\n"
    assert found({"compose.yml": compose}, tmp_path) == {}


def test_further_compose_files_add_to_a_service(tmp_path: Path) -> None:
    files = {
        "compose.yml": "services: {web: {build: ., depends_on: [queue]}, queue: {image: rabbitmq}}\n",
        "compose.override.yml": "services: {queue: {ports: ['5672:5672']}}\n",
    }
    assert found(files, tmp_path) == {"services.queue": {"image": "rabbitmq", "ports": [5672]}}


def test_what_only_another_image_depends_on_is_not_needed(tmp_path: Path) -> None:
    files = {
        "settings.py": SETTINGS,
        "compose.yml": COMPOSE.replace("depends_on: [rabbitmq]", "ports: ['8000:8000']"),
        "compose.override.yml": "services: {browser: {build: ./browser, depends_on: [mailpit]}}\n",
        "browser/Dockerfile": "FROM playwright\n",
    }
    assert found(files, tmp_path) == {}


# -- workers ---------------------------------------------------------------------------------------------------


def test_a_worker_of_rq_gets_its_redis(tmp_path: Path) -> None:
    files = {
        "Procfile": "web: uvicorn main:app\nworker: rq worker tasks\n",
        "config.py": "url = os.getenv('REDIS_URL')\n",
    }
    address = "redis://{service:redis:host}:{service:redis:port}/0"
    assert found(files, tmp_path) == {
        "environment.REDIS_URL": address,
        "environment.RQ_REDIS_URL": address,
        "processes.worker": "rq worker tasks",
        "services.redis": {},
    }


def test_an_address_in_the_code_of_celery_is_replaced_by_its_variable(tmp_path: Path) -> None:
    files = {
        "tasks.py": "from celery import Celery\nqueue = Celery('x', broker='redis://redis:6379/2')\n",
        "compose.yml": "services: {worker: {build: ., command: celery --app tasks worker}, redis: {image: redis}}\n",
    }
    assert parse(toml_of(discover(write_files(tmp_path, {**APP, **files}))), tmp_path) is not None
    assert found(files, tmp_path) == {
        "environment.CELERY_BROKER_URL": "redis://{service:redis:host}:{service:redis:port}/2",
        "processes.worker": "celery --app tasks worker",
        "services.redis": {},
    }


@pytest.mark.parametrize(
    "command", ["rq worker -u redis://elsewhere", "celery -A tasks worker", "litestar workers run"]
)
def test_a_worker_that_finds_its_broker_itself_gets_none(command: str, tmp_path: Path) -> None:
    services = found({"Procfile": f"worker: {command}\n"}, tmp_path)
    assert services["processes.worker"] == command
    assert [name for name in services if name.startswith("environment.")] == []


def test_a_script_of_the_image_is_run_where_it_lies_here(tmp_path: Path) -> None:
    files = {
        **APP,
        "backend/alembic.ini": "[alembic]\nscript_location = migrations\n",
        "backend/app/initial_data.py": "",
        "backend/prestart.sh": "alembic upgrade head\npython /srv/app/initial_data.py\n",
    }
    values = {each.key: each.value for each in discover(write_files(tmp_path, files)).findings}
    assert values["after_migrate"] == "python app/initial_data.py"


# -- tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"requirements.txt": "pytest", "tests/test_it.py": ""}, None),
        ({"requirements.txt": "flask", "tests.py": "import unittest\n"}, "python -m unittest"),
        ({"requirements.txt": "flask", "tests.py": "import pytest\n"}, None),
        ({"requirements.txt": "pytest", "src/alembic.ini": "[alembic]\n", "tests/test_it.py": ""}, "pytest ../tests"),
        ({"requirements.txt": "pytest", "src/alembic.ini": "[alembic]\n", "src/test_it.py": ""}, None),
    ],
)
def test_the_command_that_tests_it(files: dict[str, str], command: str | None, tmp_path: Path) -> None:
    files = {**files, "src/migrations/env.py": ""} if "src/alembic.ini" in files else files
    if "src/alembic.ini" in files:
        files["src/alembic.ini"] = "[alembic]\nscript_location = migrations\n"
    values = {each.key: each.value for each in discover(write_files(tmp_path, {**APP, **files})).findings}
    assert values.get("test") == command


# -- what stands in the way ------------------------------------------------------------------------------------


def parse_environment(folder: Path) -> list[str]:
    described = parse(toml_of(discover(folder)), folder)
    assert described is not None
    return [*described.environment]


def notes_of(files: dict[str, str], folder: Path) -> dict[str, str]:
    return {note.text: note.hint for note in discover(write_files(folder, files)).notes}


@pytest.mark.parametrize(
    ("package", "database"), [("aiomysql", "MySQL"), ("motor", "MongoDB"), ("aiosqlite", "SQLite")]
)
def test_another_database_is_named(package: str, database: str, tmp_path: Path) -> None:
    source = "import os\nURL = os.environ['DATABASE_URL']\n"
    notes = notes_of({**APP, "requirements.txt": f"fastapi\nuvicorn\n{package}\n", "config.py": source}, tmp_path)
    assert f"The application uses {database} ({package}), and fastzero runs PostgreSQL alone" in notes
    assert "DATABASE_URL" not in parse_environment(tmp_path)


def test_a_template_is_told_how_to_become_an_application(tmp_path: Path) -> None:
    notes = notes_of({f"{{{{cookiecutter.slug}}}}/{path}": text for path, text in APP.items()}, tmp_path)
    assert "cookiecutter FOLDER" in notes["This folder is a template of Cookiecutter"]


@pytest.mark.parametrize(("files", "is_told"), [({}, True), ({".env": ""}, False)])
def test_a_file_of_variables_that_starlette_needs_is_told(files: dict[str, str], is_told: bool, tmp_path: Path) -> None:
    source = "from starlette.config import Config\nconfig = Config('.env')\n"
    notes = notes_of({**APP, **files, "config.py": source}, tmp_path)
    assert ("Some versions of Starlette do not start without .env" in notes) is is_told
