"""Whole applications of several kinds, and what is found in them without a question."""

from pathlib import Path
from typing import Any

import pytest

from fastzero_core.application.discover.findings import Discovery
from fastzero_core.application.discover.project import discover
from fastzero_core.application.reading import parse
from fastzero_core.application.writing import toml_of
from tests.application.folders import revision, write_files

COURSE = {
    "pyproject.toml": """
        [project]
        name = "fast_zero"
        requires-python = ">=3.11,<4.0"
        dependencies = ["fastapi[standard] (>=0.115)", "sqlalchemy (>=2)", "alembic (>=1)", "psycopg[binary] (>=3)"]

        [tool.taskipy.tasks]
        run = 'fastapi dev fast_zero/app.py'
        """,
    "poetry.lock": "",
    "fast_zero/__init__.py": "",
    "fast_zero/app.py": "from fastapi import FastAPI\n\napp = FastAPI()\n",
    "fast_zero/settings.py": """
        from pydantic_settings import BaseSettings, SettingsConfigDict

        class Settings(BaseSettings):
            model_config = SettingsConfigDict(env_file='.env')
            DATABASE_URL: str
            SECRET_KEY: str
            ALGORITHM: str
            ACCESS_TOKEN_EXPIRE_MINUTES: int
        """,
    "fast_zero/database.py": "from sqlalchemy.ext.asyncio import create_async_engine\n",
    ".env": "DATABASE_URL=sqlite+aiosqlite:///database.db\nALGORITHM=HS256\nACCESS_TOKEN_EXPIRE_MINUTES=30\n",
    "alembic.ini": "[alembic]\nscript_location = migrations\n",
    "migrations/env.py": "from sqlalchemy.ext.asyncio import async_engine_from_config\n",
    "migrations/versions/1_users.py": revision("1"),
    "migrations/versions/2_todos.py": revision("2", "1"),
    "compose.yaml": """
        services:
          fastzero_database:
            image: postgres
          fastzero_app:
            build: .
            entrypoint: ./entrypoint.sh
            environment:
              DATABASE_URL: postgresql+psycopg://app_user:app_password@fastzero_database:5432/app_db
        """,
    "Dockerfile": 'FROM python:3.13-slim\nCMD ["uvicorn", "fast_zero.app:app", "--host", "0.0.0.0"]\n',
}
WORKSPACE = {
    "pyproject.toml": '[tool.uv.workspace]\nmembers = ["backend"]\n',
    "uv.lock": "",
    "backend/pyproject.toml": """
        [project]
        name = "app"
        requires-python = ">=3.11"
        dependencies = ["fastapi[standard]", "sqlmodel", "alembic", "psycopg[binary]", "pydantic-settings"]
        [tool.fastapi]
        entrypoint = "app.main:app"
        """,
    "backend/alembic.ini": "[alembic]\nscript_location = app/alembic\n",
    "backend/app/__init__.py": "",
    "backend/app/main.py": "from fastapi import FastAPI\napp = FastAPI(title='x')\n",
    "backend/app/core/config.py": """
        from pydantic import PostgresDsn
        from pydantic_settings import BaseSettings

        class Settings(BaseSettings):
            DATABASE_URL: PostgresDsn
            FIRST_SUPERUSER: str
        """,
    "backend/app/alembic/env.py": "",
    "backend/app/alembic/versions/1.py": revision(
        "1", body="op.execute('CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"')"
    ),
    "backend/scripts/prestart.sh": "#!/bin/bash\nset -e\nalembic upgrade head\npython app/initial_data.py\n",
    "backend/Dockerfile": 'FROM python:3.13\nWORKDIR /app/backend/\nCMD ["fastapi", "run", "--workers", "4"]\n',
    "frontend/package.json": "{}",
    "frontend/node_modules/x/main.py": "from fastapi import FastAPI\napp = FastAPI()\n",
    ".env": "DATABASE_URL=postgresql://postgres:x@localhost/app\nFIRST_SUPERUSER=a@example.com\n",
    "compose.yml": """
        services:
          db:
            image: postgres:18
          adminer:
            image: adminer
          backend:
            build:
              context: .
              dockerfile: backend/Dockerfile
            healthcheck:
              test: ["CMD", "curl", "-f", "http://localhost:8000/api/v1/utils/health-check/"]
          frontend:
            build:
              context: frontend
        """,
}
SOURCES_BELOW_SRC = {
    "pyproject.toml": """
        [tool.poetry.dependencies]
        python = "^3.11"
        fastapi = "*"
        uvicorn = "*"
        asyncpg = "*"
        SQLAlchemy = "*"
        """,
    "src/alembic.ini": "[alembic]\nscript_location = migrations\n",
    "src/migrations/env.py": "",
    "src/app/main.py": "from .core.setup import create_application\n\napp = create_application()\n",
    "src/app/core/setup.py": """
        from fastapi import FastAPI

        def create_application(router=None) -> FastAPI:
            application = FastAPI()
            return application
        """,
    "src/app/core/config.py": """
        from pydantic_settings import BaseSettings
        from starlette.config import Config
        config = Config('.env')

        class PostgresSettings(BaseSettings):
            POSTGRES_USER: str = config("POSTGRES_USER", default="postgres")
            POSTGRES_PASSWORD: str = config("POSTGRES_PASSWORD", default="postgres")
            POSTGRES_SERVER: str = config("POSTGRES_SERVER", default="localhost")
            POSTGRES_PORT: int = config("POSTGRES_PORT", default=5432)
            POSTGRES_DB: str = config("POSTGRES_DB", default="postgres")
            POSTGRES_URI: str = f"{POSTGRES_USER}:{POSTGRES_PASSWORD}@{POSTGRES_SERVER}"
            POSTGRES_URL: str | None = config("POSTGRES_URL", default=None)

        class CryptSettings(BaseSettings):
            SECRET_KEY: str = config("SECRET_KEY")

        class RedisQueueSettings(BaseSettings):
            REDIS_QUEUE_HOST: str = config("REDIS_QUEUE_HOST", default="localhost")
            REDIS_QUEUE_PORT: int = config("REDIS_QUEUE_PORT", default=6379)

        class Settings(PostgresSettings, CryptSettings, RedisQueueSettings):
            pass
        """,
    "Dockerfile": "FROM python:3.11\nCMD uvicorn app.main:app --host 0.0.0.0 --port 8000 --reload\n",
    "docker-compose.yml": """
        services:
          web:
            build: {context: ., dockerfile: Dockerfile}
            command: uvicorn app.main:app --host 0.0.0.0 --port 8000 --reload
            depends_on: [db, redis]
          worker:
            build: .
            command: arq app.core.worker.settings.WorkerSettings
          db:
            image: postgres:13
          redis:
            image: redis:alpine
        """,
}
DJANGO = {
    "requirements.txt": "Django==5.1\npsycopg[binary]==3.2\ngunicorn==22.0  # server\n-e .\n",
    "manage.py": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings')\n",
    "config/__init__.py": "",
    "config/settings.py": """
        import os
        SECRET_KEY = os.environ["SECRET_KEY"]
        DATABASES = {"default": {
            "NAME": os.getenv("DB_NAME", "shop"),
            "USER": os.getenv("DB_USER"),
            "PASSWORD": os.getenv("DB_PASSWORD"),
            "HOST": os.getenv("DB_HOST", "localhost"),
        }}
        """,
    "config/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    "Procfile": """
        release: python manage.py migrate
        web: gunicorn config.wsgi --log-file -
        worker: celery -A config worker
        """,
}
FLASK = {
    "requirements.txt": "flask\nflask-sqlalchemy\nflask-migrate\npsycopg2-binary\n",
    "shop.py": "from app import create_app\n\napp = create_app()\n",
    "app/__init__.py": "from flask import Flask\n\ndef create_app(config=None):\n    return Flask(__name__)\n",
    "config.py": """
        import os
        SQLALCHEMY_DATABASE_URI = os.environ.get('DATABASE_URL', '').replace('postgres://', 'postgresql://')
        """,
    "migrations/alembic.ini": "[alembic]\n",
    "migrations/env.py": "",
    "migrations/versions/1.py": revision("1"),
}
LITESTAR = {
    "pyproject.toml": "[project]\nname='x'\ndependencies=['litestar[standard]','advanced-alchemy','asyncpg']\n",
    "app/__init__.py": "",
    "app/asgi.py": "from litestar import Litestar\n\ndef create_app() -> Litestar:\n    return Litestar([])\n",
    "app/config.py": "import os\nDB = os.environ['DATABASE_URI']\n",
    "app/db.py": "from sqlalchemy.ext.asyncio import create_async_engine\n",
}
EXPECTED: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    (
        "the course's application",
        COURSE,
        {
            "asgi": "fast_zero.app:app",
            "environment.DATABASE_URL": "{url:psycopg}",
            "environment.SECRET_KEY": "{secret}",
        },
    ),
    (
        "a workspace with a backend",
        WORKSPACE,
        {
            "asgi": "app.main:app",
            "directory": "backend",
            "health": "/api/v1/utils/health-check/",
            "after_migrate": "python app/initial_data.py",
            "context": ".",
            "environment.DATABASE_URL": "{url}",
            "database.extensions": ["uuid-ossp"],
        },
    ),
    (
        "sources below src",
        SOURCES_BELOW_SRC,
        {
            "asgi": "app.main:app",
            "directory": "src",
            "environment.POSTGRES_USER": "{user}",
            "environment.POSTGRES_PASSWORD": "{password}",
            "environment.POSTGRES_SERVER": "{host}",
            "environment.POSTGRES_PORT": "{port}",
            "environment.POSTGRES_DB": "{name}",
            "environment.SECRET_KEY": "{secret}",
            "environment.REDIS_QUEUE_HOST": "{service:redis:host}",
            "environment.REDIS_QUEUE_PORT": "{service:redis:port}",
            "processes.worker": "arq app.core.worker.settings.WorkerSettings",
            "services.redis": {},
        },
    ),
    (
        "Django",
        DJANGO,
        {
            "wsgi": "config.wsgi:application",
            "migrate": "python manage.py migrate --noinput",
            "test": "python manage.py test",
            "environment.SECRET_KEY": "{secret}",
            "environment.DB_NAME": "{name}",
            "environment.DB_USER": "{user}",
            "environment.DB_PASSWORD": "{password}",
            "environment.DB_HOST": "{host}",
            "processes.worker": "celery -A config worker",
        },
    ),
    (
        "Flask with Flask-Migrate",
        FLASK,
        {
            "command": "flask --app shop:app run --host {app_host} --port {app_port}",
            "migrate": "flask db upgrade",
            "environment.FLASK_APP": "shop:app",
            "environment.DATABASE_URL": "{url}",
        },
    ),
    (
        "Litestar with Advanced Alchemy",
        LITESTAR,
        {
            "asgi": "app.asgi:create_app()",
            "migrate": "litestar database upgrade --no-prompt",
            "environment.DATABASE_URI": "{url:asyncpg}",
            "environment.LITESTAR_APP": "app.asgi:create_app",
        },
    ),
]


def values(found: Discovery) -> dict[str, Any]:
    """What the file will say."""
    return {each.key: each.value for each in found.findings if each.active and each.is_known}


@pytest.mark.parametrize(("files", "expected"), [each[1:] for each in EXPECTED], ids=[each[0] for each in EXPECTED])
def test_an_application_is_found_without_a_question(
    files: dict[str, str], expected: dict[str, Any], tmp_path: Path
) -> None:
    found = discover(write_files(tmp_path, files))
    assert values(found) == expected
    assert found.questions == ()


@pytest.mark.parametrize("files", [each[1] for each in EXPECTED], ids=[each[0] for each in EXPECTED])
def test_what_was_found_is_a_valid_file(files: dict[str, str], tmp_path: Path) -> None:
    assert parse(toml_of(discover(write_files(tmp_path, files))), tmp_path) is not None


def test_an_empty_folder_leaves_a_question(tmp_path: Path) -> None:
    found = discover(tmp_path)
    assert [each.key for each in found.questions] == ["asgi"]
    assert values(found) == {}


def test_every_value_says_where_it_was_found(tmp_path: Path) -> None:
    found = discover(write_files(tmp_path, COURSE))
    assert {each.key: each.where for each in found.findings if each.active} == {
        "asgi": "Dockerfile:2",
        "environment.DATABASE_URL": "fast_zero/settings.py:5",
        "environment.SECRET_KEY": "fast_zero/settings.py:6",
    }


def test_how_it_is_installed_and_migrated_is_told_as_a_comment(tmp_path: Path) -> None:
    found = discover(write_files(tmp_path, COURSE))
    told = {each.key: each.value for each in found.findings if not each.active}
    assert told["install"] == "poetry install --no-root"
    assert told["migrate"] == "alembic upgrade head"


# -- several of something --------------------------------------------------------------------------------------


def test_several_heads_are_asked_about(tmp_path: Path) -> None:
    second = {**COURSE, "migrations/versions/3_other.py": revision("3", "1")}
    [question] = discover(write_files(tmp_path, second)).questions
    assert question.key == "migrate"
    assert "2, 3" in question.question
    assert question.choices == ("alembic upgrade heads", "alembic upgrade 2", "alembic upgrade 3")


def test_an_answer_takes_the_place_of_a_question(tmp_path: Path) -> None:
    second = {**COURSE, "migrations/versions/3_other.py": revision("3", "1")}
    found = discover(write_files(tmp_path, second)).answered("migrate", "alembic upgrade heads")
    assert found.questions == ()
    assert 'migrate = "alembic upgrade heads"  # your answer' in toml_of(found)


def test_several_applications_are_asked_about(tmp_path: Path) -> None:
    procfile = "web: uvicorn one:app\nadmin: uvicorn two:app\n"
    source = "from fastapi import FastAPI\napp = FastAPI()\n"
    [question] = discover(write_files(tmp_path, {"Procfile": procfile, "one.py": source, "two.py": source})).questions
    assert (question.key, question.choices) == ("asgi", ("one:app", "two:app"))


def test_no_revisions_are_told(tmp_path: Path) -> None:
    files = {path: text for path, text in COURSE.items() if "versions" not in path}
    notes = [note.text for note in discover(write_files(tmp_path, files)).notes]
    assert "Alembic has no revisions yet" in notes


# -- notes -----------------------------------------------------------------------------------------------------


def test_a_process_and_a_service_of_one_name_get_two(tmp_path: Path) -> None:
    files = {
        **DJANGO,
        "docker-compose.yml": """
            services:
              web:
                build: .
                depends_on: [worker]
              worker:
                image: acme/worker:1
                ports: ["9000:9000"]
            """,
        "Dockerfile": "FROM python:3.13-slim\nCMD gunicorn config.wsgi\n",
    }
    folder = write_files(tmp_path, files)

    described = parse(toml_of(discover(folder)), folder)

    assert described is not None
    assert [each.name for each in described.services] == ["worker"]
    assert [each.name for each in described.processes] == ["web", "worker-process"]


def test_services_that_are_not_run_are_told_with_a_way_out(tmp_path: Path) -> None:
    notes = discover(write_files(tmp_path, WORKSPACE)).notes
    told = [note for note in notes if "not run" in note.text]
    assert [note.text.split()[0] for note in told] == ["adminer", "frontend"]
    assert all("Docker Compose" in note.hint for note in told)


def test_an_extension_that_the_embedded_server_lacks_is_told(tmp_path: Path) -> None:
    notes = discover(write_files(tmp_path, WORKSPACE), frozenset({"pg_trgm"})).notes
    [told] = [note for note in notes if "uuid-ossp" in note.text]
    assert "--runtime docker" in told.hint


def test_an_extension_that_it_has_is_not_told(tmp_path: Path) -> None:
    notes = discover(write_files(tmp_path, WORKSPACE), frozenset({"uuid-ossp"})).notes
    assert [note for note in notes if "uuid-ossp" in note.text] == []


def test_a_server_that_is_in_a_group_alone_is_told(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": "[project]\nname='x'\ndependencies=['fastapi']\n[dependency-groups]\ndev=['uvicorn']\n",
        "main.py": "from fastapi import FastAPI\napp = FastAPI()\n",
    }
    notes = [note.text for note in discover(write_files(tmp_path, files)).notes]
    assert "uvicorn is a dependency of dev alone" in notes


@pytest.mark.parametrize(
    ("source", "is_told"),
    [
        ("url = config.get_main_option('sqlalchemy.url')\nconnectable = engine_from_config({})  # the engine\n", True),
        ("from sqlalchemy.engine import Connection\n", True),
        ("config.set_main_option('sqlalchemy.url', url)\n", False),
        ("section['sqlalchemy.url'] = url\n", False),
        ("from app.database import engine\n", False),
        ("from app.database import async_engine\n", False),
        ("from sqlalchemy.ext.asyncio import async_engine_from_config\n", True),
    ],
)
def test_an_address_that_alembic_ini_fixes_is_told(source: str, is_told: bool, tmp_path: Path) -> None:
    files = {
        "alembic.ini": "[alembic]\nscript_location = db\nsqlalchemy.url = postgresql://a:b@localhost/c\n",
        "db/env.py": source,
    }
    notes = [note.text for note in discover(write_files(tmp_path, files)).notes]
    assert ("alembic.ini fixes the database's address, and env.py sets no other" in notes) is is_told


def test_redis_on_this_machine_is_told_where_it_is_needed_and_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    [note] = [note for note in discover(write_files(tmp_path, SOURCES_BELOW_SRC)).notes if "redis" in note.text]
    assert "--runtime docker" in note.hint


# -- what is not trusted ---------------------------------------------------------------------------------------


def test_no_source_is_run(tmp_path: Path) -> None:
    (tmp_path / "witness").mkdir()
    source = f"open({str(tmp_path / 'witness' / 'ran')!r}, 'w')\nfrom fastapi import FastAPI\napp = FastAPI()\n"
    discover(
        write_files(
            tmp_path,
            {"main.py": source, "migrations/env.py": source, "alembic.ini": "[alembic]\nscript_location=migrations"},
        )
    )
    assert list((tmp_path / "witness").iterdir()) == []


def test_no_link_out_of_the_folder_is_followed(tmp_path: Path) -> None:
    write_files(tmp_path, {"outside/main.py": "from fastapi import FastAPI\napp = FastAPI()\n", "inside/x": ""})
    (tmp_path / "inside" / "main.py").symlink_to(tmp_path / "outside" / "main.py")
    (tmp_path / "inside" / "all").symlink_to(tmp_path / "outside")
    assert values(discover(tmp_path / "inside")) == {}


def test_scripts_of_alembic_outside_of_the_folder_are_not_read(tmp_path: Path) -> None:
    write_files(tmp_path, {"outside/versions/1.py": revision("1"), "outside/env.py": ""})
    ini = f"[alembic]\nscript_location = {tmp_path / 'outside'}\n"
    found = discover(write_files(tmp_path / "inside", {"alembic.ini": ini})).findings
    assert [each.why for each in found if each.key == "migrate"] == ["0 revisions"]


@pytest.mark.parametrize("folder", ["node_modules", ".venv", ".git", "__pycache__"])
def test_folders_of_others_are_not_looked_into(folder: str, tmp_path: Path) -> None:
    found = discover(write_files(tmp_path, {f"{folder}/main.py": "from fastapi import FastAPI\napp = FastAPI()\n"}))
    assert values(found) == {}


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    source = "from fastapi import FastAPI\napp = FastAPI()\n" + "#" * 2**20
    assert values(discover(write_files(tmp_path, {"main.py": source}))) == {}


def test_what_cannot_be_parsed_is_passed_over(tmp_path: Path) -> None:
    files = {
        "main.py": "from fastapi import FastAPI\ndef broken(:\n    pass\n\napp = FastAPI()\n",
        "pyproject.toml": "[[[",
        "compose.yml": "services: [",
        "alembic.ini": "x",
        "Dockerfile": 'CMD ["uvicorn',
        "Procfile": "web: 'x",
    }
    assert values(discover(write_files(tmp_path, files))) == {"asgi": "main:app"}


def test_a_compose_file_of_merges_within_merges_takes_no_memory(tmp_path: Path) -> None:
    levels = ["a0: &a0 {k0: 1, k1: 2, k2: 3, k3: 4, k4: 5, k5: 6, k6: 7, k7: 8, k8: 9, k9: 0}"]
    levels += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    files = {"compose.yml": "\n".join([*levels, "services: {x: {image: adminer}}"]), "main.py": "x = 1\n"}
    assert [note for note in discover(write_files(tmp_path, files)).notes if "adminer" in note.text]


ALIASES = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20))])
HOSTILE = {
    **{
        f"aliases within aliases as {key}": {"compose.yml": f"{ALIASES}\nservices: {{x: {{{key}: {value}}}}}\n"}
        for key, value in {
            "image": "*a19", "command": "*a19", "environment": "{A: *a19}", "build": "{context: *a19}",
            "depends_on": "*a19", "healthcheck": "{test: *a19}", "ports": "[*a19, {target: *a19}]",
            "volumes": "[*a19, {source: *a19}]", "expose": "*a19",
        }.items()
    },
    "a list in lists": {"pyproject.toml": "a = " + "[" * 5_000 + "]" * 5_000},
    "a key of parts": {"pyproject.toml": ".".join(["a"] * 100_000) + " = 1"},
    "a line without end": {"Makefile": "a" * 400_000},
    "a sum without end": {"s.py": "class S(BaseSettings):\n    a: " + "+".join(["x"] * 5_000) + "\n"},
    "a sign before signs": {"alembic.ini": "[alembic]\nscript_location=.", "versions/1.py": f"revision={'-' * 9999}1"},
    "a command of lists": {"Dockerfile": "CMD " + "[" * 100_000},
    "blanks without end": {".env": "A=" + " " * 400_000 + "'"},
    "a check on every line": {"Dockerfile": "HEALTHCHECK \\\n" * 30_000},
}  # fmt: skip


@pytest.mark.parametrize("files", HOSTILE.values(), ids=HOSTILE)
def test_no_file_keeps_it_from_its_end(files: dict[str, str], tmp_path: Path) -> None:
    found = discover(write_files(tmp_path, {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n", **files}))
    assert values(found)["asgi"] == "main:app"


def test_a_fifo_does_not_hold_it_up(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "Procfile")
    assert values(discover(write_files(tmp_path, {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n"}))) == {
        "asgi": "main:app"
    }
