"""The variables and words that a process of an application gets."""

import configparser
import os
import subprocess
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from fastzero_core.application.commands import needs_shell, words
from fastzero_core.application.description import Application, Process
from fastzero_core.application.environment import (
    Addresses,
    ServiceAddress,
    Variables,
    command_words,
    files_of_variables,
    variables,
)
from fastzero_core.errors import InvalidInputError
from tests.application.folders import write_files

WEB = Process("web", "serve --host {app_host} --port {app_port}", 8000)
WORKER = Process("worker", "work")
ADDRESSES = Addresses(
    host="127.0.0.1",
    port=5433,
    user="shop",
    password="p%ss/w@rd",
    name="shop",
    code="/code",
    ports={"web": 8123},
    services={"mailpit": ServiceAddress("mail.local", {1025: 31025, 8025: 38025})},
    secrets={"SECRET_KEY": "s3cret"},
)


def given(*, process: Process | None = WEB, addresses: Addresses = ADDRESSES, **environment: str) -> Variables:
    return variables(Application(Path("/code"), environment=environment), addresses, process)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_a_url_has_the_form_of_its_driver_and_keeps_the_password(driver: str) -> None:
    url = make_url(given(A=f"{{url:{driver}}}").all["A"])
    assert url.drivername == f"postgresql+{driver}"
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "shop",
        "p%ss/w@rd",
        "127.0.0.1",
        5433,
        "shop",
    )


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{url}", "postgresql://shop:p%25ss%2Fw%40rd@127.0.0.1:5433/shop"),
        ("{url:postgres}", "postgres://shop:p%25ss%2Fw%40rd@127.0.0.1:5433/shop"),
        ("{test_url:psycopg}", "postgresql+psycopg://shop:p%25ss%2Fw%40rd@127.0.0.1:5433/shop_test"),
        ("{host}:{port}", "127.0.0.1:5433"),
        ("{user} {name} {test_name}", "shop shop shop_test"),
        ("{app_host}:{app_port}", "127.0.0.1:8123"),
        ("{service:mailpit:host}:{service:mailpit:port}", "mail.local:31025"),
        ("{service:mailpit:8025}", "38025"),
        ("{{host}}", "{host}"),
        ('["http://localhost", {"a": {"b": 1}}]', '["http://localhost", {"a": {"b": 1}}]'),
        ("${HOME}", "${HOME}"),
    ],
)
def test_placeholders_are_replaced(template: str, value: str) -> None:
    assert given(A=template).all["A"] == value


def test_a_secret_is_that_of_its_variable() -> None:
    assert given(SECRET_KEY="{secret}").secret["SECRET_KEY"] == "s3cret"


def test_the_database_is_given_in_every_usual_form() -> None:
    found = given().all
    assert found["DATABASE_URL"] == ADDRESSES.url()
    assert [found[f"PG{name}"] for name in ("HOST", "PORT", "USER", "PASSWORD", "DATABASE")] == [
        "127.0.0.1",
        "5433",
        "shop",
        "p%ss/w@rd",
        "shop",
    ]
    assert (found["POSTGRES_DB"], found["POSTGRES_PASSWORD"]) == ("shop", "p%ss/w@rd")


def test_a_process_gets_its_port_and_its_sources() -> None:
    assert {"PORT": "8123", "PYTHONPATH": "/code", "PYTHONUNBUFFERED": "1"}.items() <= given().all.items()


def test_a_process_without_a_port_gets_none() -> None:
    assert "PORT" not in given(process=WORKER).all


def test_a_command_beside_the_processes_gets_the_port_of_web() -> None:
    assert given(process=None, A="{app_port}").all["A"] == "8123"


def test_a_process_without_a_port_knows_where_web_listens() -> None:
    assert given(process=WORKER, A="http://127.0.0.1:{app_port}").all["A"] == "http://127.0.0.1:8123"


def test_the_files_own_python_path_comes_first() -> None:
    assert given(PYTHONPATH="src").all["PYTHONPATH"] == "src:/code"


def test_what_holds_a_password_is_secret() -> None:
    found = given(A="{url}", B="{password}", C="{host}")
    assert {"A", "B", "DATABASE_URL", "PGPASSWORD", "POSTGRES_PASSWORD"} == set(found.secret)
    assert "C" in found.plain


def test_the_file_comes_before_the_environment_that_before_dotenv_and_examples_last() -> None:
    application = Application(Path("/code"), environment={"A": "file"})
    layers = {"defaults": "example", "dotenv": "dotenv", "inherited": "environment"}
    names = {"defaults": "ABCD", "dotenv": "ABC", "inherited": "AB"}
    found = variables(
        application,
        ADDRESSES,
        WEB,
        **{layer: dict.fromkeys(names[layer], value) for layer, value in layers.items()},
    )
    assert [found.all[name] for name in "ABCD"] == ["file", "environment", "dotenv", "example"]
    assert set("ABCD") & set(found.secret) == {"C"}


@pytest.mark.parametrize("name", ["DATABASE_URL", "PGHOST", "PGSERVICE", "FASTZERO_HOME", "PYTHONPATH", "VIRTUAL_ENV"])
def test_what_leads_elsewhere_is_not_inherited(name: str) -> None:
    found = variables(Application(Path("/code")), ADDRESSES, WEB, inherited={name: "elsewhere"})
    assert found.all.get(name) != "elsewhere"


def test_a_database_of_dotenv_does_not_count() -> None:
    found = variables(Application(Path("/code")), ADDRESSES, WEB, dotenv={"DATABASE_URL": "sqlite://"})
    assert found.all["DATABASE_URL"] == ADDRESSES.url()


def test_files_of_variables_are_read_without_fastzeros_own(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            ".env": "A=1\nB='two words'\nFASTZERO_PROJECT=x\n",
            "api/.env": "A=3\nexport C=${B}\n",
            ".env.example": "D=4\nE\n",
        },
    )
    application = Application(tmp_path, "api", env_from=(".env.example",))
    assert files_of_variables(application) == ({"A": "3", "B": "two words", "C": ""}, {"D": "4"})


def test_a_file_of_variables_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot read \.env\.example"):
        files_of_variables(Application(tmp_path, env_from=(".env.example",)))


# -- commands --------------------------------------------------------------------------------------------------


def test_a_command_is_split_into_words_with_its_placeholders() -> None:
    assert command_words(WEB.command, ADDRESSES, WEB) == ("serve", "--host", "127.0.0.1", "--port", "8123")


def test_a_value_with_spaces_stays_one_word() -> None:
    assert words("x {app_host}", lambda each: "a b; c") == ("x", "a b; c")


@pytest.mark.parametrize(
    ("command", "is_for_a_shell"),
    [
        ("uvicorn a:b --port 1", False),
        ("gunicorn 'a:make()'", False),
        ("echo 'a | b' \"c;d\"", False),
        ("echo '$HOME'", False),
        ("a && b", True),
        ("a;b", True),
        ("a | b", True),
        ("a > b", True),
        ("a $HOME", True),
        ("a `b`", True),
        ("A=1 a", True),
    ],
)
def test_a_shell_runs_only_what_needs_one(command: str, is_for_a_shell: bool) -> None:
    assert needs_shell(command) is is_for_a_shell


def test_a_shell_gets_values_that_it_cannot_misread() -> None:
    done = subprocess.run(
        words("echo {app_host} && echo $A", lambda each: "$(touch x); `y`"),
        capture_output=True,
        text=True,
        env={"A": "b", "PATH": os.environ["PATH"]},
    )
    assert done.stdout == "$(touch x); `y`\nb\n"


def test_a_shell_makes_way_for_a_single_program() -> None:
    assert words("work $N", lambda each: "") == ("sh", "-c", "exec work $N")


def test_generated_urls_survive_alembics_configuration() -> None:
    safe = Addresses("127.0.0.1", 1, "u", "Zm9v-_YmFy", "d", "/code")
    parser = configparser.ConfigParser()
    parser.read_string("[alembic]")
    parser.set("alembic", "sqlalchemy.url", safe.url("psycopg"))
    assert parser.get("alembic", "sqlalchemy.url") == safe.url("psycopg")


def test_references_within_references_are_refused_before_they_take_all_memory(tmp_path: Path) -> None:
    levels = [f"A{n}={f'${{A{n - 1}}}' * 8}" for n in range(1, 12)]
    (tmp_path / ".env").write_text("\n".join(["A0=xxxxxxxx", *levels]))

    with pytest.raises(InvalidInputError, match="more than"):
        files_of_variables(Application(tmp_path))
