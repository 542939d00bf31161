"""The variables that sources read, in every usual way, and what each becomes."""

from pathlib import Path
from textwrap import dedent

import pytest

from fastzero_core.application.discover.usages import Usage, Usages
from fastzero_core.application.discover.variables import Variables, role
from fastzero_core.application.sources import Sources
from tests.application.folders import write_files


def usages(source: str, folder: Path) -> dict[str, Usage]:
    return Usages(Sources(write_files(folder, {"settings.py": source}))).all


def required(source: str, folder: Path) -> set[str]:
    return {name for name, usage in usages(source, folder).items() if usage.required}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import os\nA = os.environ['A']", "A"),
        ("from os import environ\nA = environ['A']", "A"),
        ("from decouple import config\nX = config('A')", "A"),
        ("from decouple import config\nX = config('A', cast=int)", "A"),
        ("from environs import Env\nenv = Env()\nX = env.str('A')", "A"),
        ("from environs import Env\nenv = Env()\nX = env('A')", "A"),
        ("import environ\nenv = environ.Env()\nX = env.db_url('A')", "A"),
        ("from starlette.config import Config\nconfig = Config('.env')\nX = config('A', cast=str)", "A"),
        ("from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    a: str", "A"),
        ("from pydantic import Field\nclass S(BaseSettings):\n    a: str = Field(...)", "A"),
        ("from pydantic import Field\nclass S(BaseSettings):\n    x: str = Field(alias='A')", "A"),
        ("class S(BaseSettings):\n    x: str = Field(validation_alias=AliasChoices('A', 'B'))", "A"),
        ("class S(BaseSettings):\n    a: str\n    class Config:\n        env_prefix = 'SHOP_'", "SHOP_A"),
        ("class S(BaseSettings):\n    model_config = SettingsConfigDict(env_prefix='SHOP_')\n    a: str", "SHOP_A"),
        ("class S(BaseSettings):\n    model_config = {'env_prefix': 'SHOP_'}\n    a: str", "SHOP_A"),
        ("class Base(BaseSettings):\n    pass\nclass S(Base):\n    a: str", "A"),
    ],
)
def test_a_required_variable_is_found(source: str, name: str, tmp_path: Path) -> None:
    assert required(source, tmp_path) == {name}


@pytest.mark.parametrize(
    ("source", "default"),
    [
        ("import os\nA = os.getenv('A')", None),
        ("import os\nA = os.getenv('A', 'x')", "x"),
        ("import os\nA = os.environ.get('A', 'x')", "x"),
        ("from decouple import config\nA = config('A', default='x')", "x"),
        ("from lib import get_env\nA = get_env('A', 'x')", "x"),
        ("class S(BaseSettings):\n    a: str = 'x'", "x"),
        ("class S(BaseSettings):\n    a: str | None = None", None),
        ("class S(BaseSettings):\n    a: PostgresDsn = PostgresDsn('x')", "x"),
        ("class S(BaseSettings):\n    a: str = Field('x')", "x"),
        ("class S(BaseSettings):\n    a: str = Field(default='x', min_length=1)", "x"),
    ],
)
def test_a_variable_with_a_default_is_not_required(source: str, default: str | None, tmp_path: Path) -> None:
    usage = usages(source, tmp_path)["A"]
    assert (usage.required, usage.default) == (False, default)


def test_a_nested_model_has_the_delimiter_in_its_variables(tmp_path: Path) -> None:
    source = """
        class Database(BaseModel):
            hostname: str = "localhost"
            password: SecretStr

        class Settings(BaseSettings):
            database: Database
            model_config = SettingsConfigDict(env_nested_delimiter="__")
        """
    assert set(usages(source, tmp_path)) == {"DATABASE__HOSTNAME", "DATABASE__PASSWORD"}
    assert required(source, tmp_path) == {"DATABASE__PASSWORD"}


def test_what_only_a_function_reads_is_late(tmp_path: Path) -> None:
    found = usages("import os\nA = os.environ['A']\ndef view():\n    return os.environ['B']", tmp_path)
    assert (found["A"].late, found["B"].late) == (False, True)


@pytest.mark.parametrize("path", ["tests/settings.py", "docs/conf.py", "test_app.py", "tools/deploy.py"])
def test_tests_documents_and_tools_are_not_the_application(path: str, tmp_path: Path) -> None:
    write_files(tmp_path, {path: "import os\nA = os.environ['A']"})
    assert Usages(Sources(tmp_path)).all == {}


def test_a_source_for_a_newer_python_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    source = "type X = int\n\nclass S(BaseSettings):\n    a: str\n\ndef f():\n    x = t'{1!!}'\n"
    assert required(source, tmp_path) == {"A"}


# -- what they mean --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("DATABASE_URL", "url"),
        ("DB_URI", "url"),
        ("SQLALCHEMY_DATABASE_URI", "url"),
        ("POSTGRES_DSN", "url"),
        ("DATABASE_ASYNC_URL", "url"),
        ("WRITER_DB_URL", "url"),
        ("PG_DSN", "url"),
        ("TEST_DATABASE_URL", "test_url"),
        ("DATABASE_URL_TEST", "test_url"),
        ("POSTGRES_HOST", "host"),
        ("POSTGRES_SERVER", "host"),
        ("DATABASE__HOSTNAME", "host"),
        ("DB_PORT", "port"),
        ("POSTGRES_USER", "user"),
        ("DATABASE_USERNAME", "user"),
        ("DB_PASS", "password"),
        ("POSTGRES_PASSWORD", "password"),
        ("POSTGRES_DB", "name"),
        ("DB_NAME", "name"),
        ("DATABASE__DB", "name"),
        ("POSTGRES_TEST_DB", "test_name"),
        ("TEST_DB_PASSWORD", "password"),
        ("SHOP_DB_HOST", "host"),
        ("REDIS_URL", ""),
        ("MONGO_DB_URL", ""),
        ("DB_POOL_SIZE", ""),
        ("DB_ECHO", ""),
        ("SENTRY_DSN", ""),
        ("CELERY_BROKER_URL", ""),
        ("SMTP_HOST", ""),
        ("BASE_URL", ""),
    ],
)
def test_a_name_tells_its_part_of_the_address(name: str, part: str) -> None:
    assert role(Usage(name, "", required=True)) == part


def form(files: dict[str, str], folder: Path, drivers: list[str], *, is_sqlalchemy: bool = True) -> str:
    """The placeholder that DATABASE_URL gets."""
    source = "import os\nURL = os.environ['DATABASE_URL']\n"
    sources = Sources(write_files(folder, {"settings.py": source, **files}))
    found = Variables(sources, Usages(sources), drivers, "", is_sqlalchemy=is_sqlalchemy).findings()
    return next(str(each.value) for each in found if each.key == "environment.DATABASE_URL")


@pytest.mark.parametrize(
    ("files", "drivers", "expected"),
    [
        ({".env.example": "DATABASE_URL=postgresql+asyncpg://a@b/c"}, ["psycopg"], "{url:asyncpg}"),
        ({".env.example": "DATABASE_URL=postgresql://a@b/c"}, ["psycopg"], "{url}"),
        ({".env": "DATABASE_URL=sqlite:///x.db"}, ["psycopg"], "{url:psycopg}"),
        ({"settings.py": "URL = getenv('DATABASE_URL', 'postgresql+psycopg2://')"}, [], "{url:psycopg2}"),
        ({"compose.yml": "services: {a: {environment: ['DATABASE_URL=postgresql+psycopg://x']}}"}, [], "{url:psycopg}"),
        ({"db.py": "from sqlalchemy.ext.asyncio import create_async_engine"}, ["psycopg2", "asyncpg"], "{url:asyncpg}"),
        ({"db.py": "from sqlalchemy import create_engine"}, ["asyncpg", "psycopg2"], "{url:psycopg2}"),
        ({"db.py": "url.replace('postgresql://', 'postgresql+asyncpg://')"}, ["asyncpg"], "{url}"),
        ({}, [], "{url}"),
    ],
    ids=["example", "plain example", "sqlite", "default", "compose", "async", "sync", "converted", "none"],
)  # fmt: skip
def test_the_form_of_a_url_is_what_the_application_takes(
    files: dict[str, str], drivers: list[str], expected: str, tmp_path: Path
) -> None:
    assert form(files, tmp_path, drivers) == expected


def test_without_sqlalchemy_a_url_is_plain(tmp_path: Path) -> None:
    assert form({}, tmp_path, ["asyncpg"], is_sqlalchemy=False) == "{url}"


def environment(files: dict[str, str], folder: Path) -> dict[str, object]:
    sources = Sources(write_files(folder, {path: dedent(text) for path, text in files.items()}))
    found = Variables(sources, Usages(sources), [], "", is_sqlalchemy=True)
    every = [*found.findings(), *filter(None, [found.env_from()])]
    return {each.key.removeprefix("environment."): each.value for each in every if each.active}


SETTINGS = "class S(BaseSettings):\n"


@pytest.mark.parametrize("field", ["SECRET_KEY: str", "JWT_SECRET: SecretStr", "SESSION_SECRET: str"])
def test_a_required_secret_is_generated(field: str, tmp_path: Path) -> None:
    assert environment({"s.py": f"{SETTINGS}    {field}"}, tmp_path) == {field.partition(":")[0]: "{secret}"}


@pytest.mark.parametrize(
    "field", ["JWT_EXPIRE_MINUTES: int", "JWT_ALGORITHM: str", "STRIPE_SECRET_KEY: str", "AWS_SECRET_ACCESS_KEY: str"]
)
def test_what_others_give_is_not_generated(field: str, tmp_path: Path) -> None:
    assert environment({"s.py": f"{SETTINGS}    {field}"}, tmp_path) == {}


def test_a_secret_with_a_default_is_left_alone(tmp_path: Path) -> None:
    assert environment({"s.py": f"{SETTINGS}    SECRET_KEY: str = 'x'"}, tmp_path) == {}


def test_an_example_gives_what_is_required(tmp_path: Path) -> None:
    files = {"s.py": f"{SETTINGS}    ADMIN: str\n    SECRET_KEY: str", ".env.example": "ADMIN=a\nSECRET_KEY=b\n"}
    assert environment(files, tmp_path) == {"SECRET_KEY": "{secret}", "env_from": [".env.example"]}


def test_an_example_that_gives_nothing_required_is_left_out(tmp_path: Path) -> None:
    assert environment({"s.py": f"{SETTINGS}    DEBUG: bool = False", ".env.example": "DEBUG=1\n"}, tmp_path) == {}


def test_a_value_of_the_compose_file_or_the_image_is_taken(tmp_path: Path) -> None:
    files = {
        "s.py": f"{SETTINGS}    STAGE: str\n    MODE: str",
        "compose.yml": "services: {app: {build: ., environment: {STAGE: local}}}",
        "Dockerfile": "FROM python\nENV MODE=production\n",
    }
    assert environment(files, tmp_path) == {"STAGE": "local", "MODE": "production"}


def test_a_url_made_of_parts_is_left_to_the_application(tmp_path: Path) -> None:
    source = f"{SETTINGS}    DB_HOST: str\n    DB_PASSWORD: str\n    DATABASE_URL: str | None = None"
    assert environment({"s.py": source}, tmp_path) == {"DB_HOST": "{host}", "DB_PASSWORD": "{password}"}


def test_an_application_with_a_choice_of_databases_gets_postgresql(tmp_path: Path) -> None:
    source = f"{SETTINGS}    DB_ENGINE: str = 'sqlite'  # or 'postgres'"
    assert environment({"s.py": source}, tmp_path) == {"DB_ENGINE": "postgres"}


def test_a_secret_whose_default_is_a_placeholder_is_generated(tmp_path: Path) -> None:
    source = f"{SETTINGS}    secret_key: SecretStr = SecretStr('CHANGE_ME_IN_ENV_FILE')"
    assert environment({"s.py": source}, tmp_path) == {"SECRET_KEY": "{secret}"}


@pytest.mark.parametrize(("default", "expected"), [("Stage.PRODUCTION", {"ENVIRONMENT": "LOCAL"}), ("'LOCAL'", {})])
def test_the_stage_of_an_example_is_taken_if_it_is_not_the_default(
    default: str, expected: dict[str, str], tmp_path: Path
) -> None:
    source = f"{SETTINGS}    ENVIRONMENT: Stage = {default}\n    DEBUG: bool = False"
    files = {"s.py": source, ".env.example": "ENVIRONMENT=LOCAL\nDEBUG=true\n"}
    assert environment(files, tmp_path) == expected
