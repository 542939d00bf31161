"""The folders that some pages begin in: what their readers have already."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.application.folders import write_files
from tests.stack.own_app import make_environment

_MODELS = """
from sqlalchemy.orm import Mapped, mapped_column, registry

table_registry = registry()


@table_registry.mapped_as_dataclass
class User:
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(init=False, primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
"""
_SETTINGS = """
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8")

    DATABASE_URL: str
    SECRET_KEY: str
    ALGORITHM: str
    ACCESS_TOKEN_EXPIRE_MINUTES: int
"""
_DATABASE = """
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from fast_zero.settings import Settings

engine = create_engine(Settings().DATABASE_URL)


def get_session():
    with Session(engine) as session:
        yield session
"""
_APP = """
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from fast_zero.database import get_session
from fast_zero.models import User

app = FastAPI()


class UserSchema(BaseModel):
    username: str


@app.get("/")
def read_root():
    return {"message": "Olá Mundo!"}


@app.post("/users/", status_code=201)
def create_user(user: UserSchema, session: Session = Depends(get_session)):
    session.add(User(username=user.username))
    session.commit()
    return user


@app.get("/users/")
def read_users(session: Session = Depends(get_session)):
    return {"users": [{"username": user.username} for user in session.scalars(select(User))]}
"""
_ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool

from fast_zero.models import table_registry
from fast_zero.settings import Settings

config = context.config
config.set_main_option("sqlalchemy.url", Settings().DATABASE_URL)
connectable = engine_from_config(config.get_section(config.config_ini_section), prefix="sqlalchemy.")
with connectable.connect() as connection:
    context.configure(connection=connection, target_metadata=table_registry.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""
_REVISION = """
from alembic import op
import sqlalchemy as sa

revision = "e018397cecf4"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("username"),
    )


def downgrade():
    op.drop_table("users")
"""
_CONFTEST = """
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from testcontainers.postgres import PostgresContainer

from fast_zero.app import app
from fast_zero.database import get_session
from fast_zero.models import table_registry


@pytest.fixture(scope="session")
def engine():
    with PostgresContainer("postgres:16", driver="psycopg") as postgres:
        yield create_engine(postgres.get_connection_url())


@pytest.fixture
def session(engine):
    table_registry.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
        session.rollback()
    table_registry.metadata.drop_all(engine)


@pytest.fixture
def client(session):
    app.dependency_overrides[get_session] = lambda: session
    yield TestClient(app)
    app.dependency_overrides.clear()
"""
_TESTS = """
def test_create_user(client):
    assert client.post("/users/", json={"username": "alice"}).status_code == 201
    assert client.get("/users/").json() == {"users": [{"username": "alice"}]}
"""
COURSE: Mapping[str, str] = {
    "pyproject.toml": """
        [project]
        name = "fast-zero"
        version = "0.1.0"
        requires-python = ">=3.11,<4.0"
        dependencies = ["fastapi[standard]", "sqlalchemy", "pydantic-settings", "alembic", "psycopg[binary]"]

        [dependency-groups]
        dev = ["pytest", "testcontainers"]

        [tool.pytest.ini_options]
        pythonpath = "."
        addopts = "-p no:fastzero -p no:pytest-alembic -p no:schemathesis -p no:randomly"
        """,
    "poetry.lock": "",
    ".env": """
        DATABASE_URL="postgresql+psycopg://app_user:app_password@localhost:5432/app_db"
        SECRET_KEY="your-secret-key"
        ALGORITHM="HS256"
        ACCESS_TOKEN_EXPIRE_MINUTES=30
        """,
    "fast_zero/__init__.py": "",
    "fast_zero/models.py": _MODELS,
    "fast_zero/settings.py": _SETTINGS,
    "fast_zero/database.py": _DATABASE,
    "fast_zero/app.py": _APP,
    "alembic.ini": "[alembic]\nscript_location = migrations\nprepend_sys_path = .\n",
    "migrations/env.py": _ENV,
    "migrations/versions/e018397cecf4_create_users_table.py": _REVISION,
    "tests/conftest.py": _CONFTEST,
    "tests/test_app.py": _TESTS,
    "compose.yaml": """
        services:
          fastzero_database:
            image: postgres
            environment:
              POSTGRES_USER: app_user
              POSTGRES_DB: app_db
              POSTGRES_PASSWORD: app_password
          fastzero_app:
            build: .
            entrypoint: ./entrypoint.sh
            environment:
              DATABASE_URL: postgresql+psycopg://app_user:app_password@fastzero_database:5432/app_db
        """,
    "entrypoint.sh": "#!/bin/sh\nalembic upgrade head\nuvicorn --host 0.0.0.0 --port 8000 fast_zero.app:app\n",
    "Dockerfile": """
        FROM python:3.13-slim
        WORKDIR /app
        COPY . .
        RUN pip install "fastapi[standard]" sqlalchemy pydantic-settings alembic "psycopg[binary]"
        EXPOSE 8000
        CMD ["uvicorn", "--host", "0.0.0.0", "--port", "8000", "fast_zero.app:app"]
        """,
}


def course(folder: Path) -> None:
    """A project as the course's lesson on Docker leaves it, with its dependencies installed."""
    write_files(folder, COURSE)
    make_environment(folder)


FOLDERS: Mapping[str, Callable[[Path], None]] = {"course": course, "environment": make_environment}
