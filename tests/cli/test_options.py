"""The global options, and what wins over what."""

import os
from pathlib import Path
from typing import Any

import pytest

from fastzero_core import User

from .conftest import Run, records

PASSWORD = "s3cret-word"


def _settings(fastzero: Run, *words: str) -> dict[str, tuple[Any, str]]:
    return {each["name"]: (each["value"], each["source"]) for each in records(fastzero(*words, "config", "-o", "json"))}


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "json", "todo", "list"],
        ["todo", "-o", "json", "list"],
        ["todo", "list", "-o", "json"],
        ["todo", "list", "--output=json"],
        ["todo", "list", "-ojson"],
    ],
)
def test_options_stand_before_between_and_after_the_command(words: list[str], ana: User, fastzero: Run) -> None:
    assert records(fastzero(*words)) == []


def test_the_option_nearest_to_the_command_wins(ana: User, fastzero: Run) -> None:
    assert records(fastzero("-o", "csv", "todo", "-o", "ids", "list", "-o", "json")) == []


def test_a_database_is_named_before_the_command(database_url: str, fastzero: Run) -> None:
    assert records(fastzero("--database-url", database_url, "user", "list", "-o", "json")) == []


@pytest.mark.parametrize(
    ("places", "winner"),
    [
        (["flag", "environment", ".env", "fastzero.toml"], "flag"),
        (["environment", ".env", "fastzero.toml"], "environment"),
        ([".env", "fastzero.toml"], ".env"),
        (["fastzero.toml"], "fastzero.toml"),
        ([], "default"),
    ],
)
def test_flag_beats_environment_beats_dotenv_beats_the_project_file(
    places: list[str], winner: str, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"flag": "flagged", "environment": "env", ".env": "dot", "fastzero.toml": "toml", "default": "fastzero"}
    if "environment" in places:
        monkeypatch.setenv("FASTZERO_PROJECT", names["environment"])
    if ".env" in places:
        Path(".env").write_text(f"FASTZERO_PROJECT={names['.env']}\n")
    if "fastzero.toml" in places:
        Path("fastzero.toml").write_text(f'project = "{names["fastzero.toml"]}"\n')
    flags = ["-p", names["flag"]] if "flag" in places else []
    assert _settings(fastzero, *flags)["project"] == (names[winner], winner)


def test_the_user_configuration_comes_last(fastzero: Run) -> None:
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "fastzero" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('user = "ana"\nproject = "mine"\n')
    Path("fastzero.toml").write_text('project = "here"\n')
    settings = _settings(fastzero)
    assert settings["user"] == ("ana", "user configuration")
    assert settings["project"] == ("here", "fastzero.toml")


def test_an_empty_variable_counts_as_not_set(fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_PROJECT", "")
    assert _settings(fastzero)["project"] == ("fastzero", "default")


@pytest.mark.parametrize("option", ["-p", "--database-url", "-o", "--color"])
def test_an_empty_flag_is_refused_and_never_taken_for_the_default(option: str, fastzero: Run) -> None:
    assert fastzero(option, "", "user", "list").code == 2


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv", "tsv", "ids"])
def test_config_hides_secrets(output: str, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{PASSWORD}@localhost/db")
    result = fastzero("config", "-o", output)
    assert result.code == 0
    assert PASSWORD not in result.out + result.err


@pytest.mark.parametrize("source", ["flag", "environment", "fastzero.toml"])
def test_config_says_where_the_database_comes_from(source: str, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"postgresql://me:{PASSWORD}@localhost/db"
    if source == "environment":
        monkeypatch.setenv("DATABASE_URL", url)
    if source == "fastzero.toml":
        Path("fastzero.toml").write_text(f'database_url = "{url}"\n')
    assert _settings(fastzero, *(["--database-url", url] if source == "flag" else []))["database_url"][1] == source


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["-p", "Not A Name"], "--project"),
        (["-o", "xml"], "--output: 'xml'"),
        (["--color", "sometimes"], "--color: 'sometimes'"),
    ],
)
def test_a_bad_value_names_its_setting(words: list[str], named: str, fastzero: Run) -> None:
    result = fastzero(*words, "ls")
    assert result.code == 2
    assert result.out == ""
    assert f"Error: invalid {named}" in result.err


def test_quiet_silences_messages_and_leaves_results(ana: User, fastzero: Run) -> None:
    loud, quiet = fastzero("user", "use", "ana", "-o", "ids"), fastzero("-q", "user", "use", "ana", "-o", "ids")
    assert loud.err != ""
    assert quiet == (0, loud.out, "")


def test_quiet_leaves_errors(ana: User, fastzero: Run) -> None:
    assert fastzero("-q", "todo", "show", "9").err.startswith("Error: todo 9 does not exist")


def test_no_input_from_the_environment_counts(ana: User, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_NO_INPUT", "1")
    assert fastzero("user", "rm", "ana").code == 2
