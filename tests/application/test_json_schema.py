"""The JSON schema that editors get says what the reading does."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastzero_core.application import json_schema
from fastzero_core.application.explain import application_origins
from tests.application.folders import write_files


@pytest.fixture
def schema() -> Any:
    return json.loads(json_schema.PATH.read_text())


def test_its_file_is_up_to_date() -> None:
    assert json_schema.PATH.read_text() == json_schema.text(), "run: poe schema"


def test_unknown_keys_of_the_application_are_mistakes(schema: Any) -> None:
    assert schema["$defs"]["ApplicationTable"]["additionalProperties"] is False
    assert schema["$defs"]["ServiceTable"]["additionalProperties"] is False


def test_every_key_is_explained(schema: Any) -> None:
    tables = [table for name, table in schema["$defs"].items()]
    silent = [name for table in tables for name, key in table["properties"].items() if not key.get("description")]
    assert silent == []


def test_short_forms_are_allowed(schema: Any) -> None:
    application = schema["$defs"]["ApplicationTable"]["properties"]
    assert {"type": "string"} in application["processes"]["additionalProperties"]["anyOf"]
    assert {"const": False, "type": "boolean"} in application["migrate"]["anyOf"]


def test_it_names_no_setting_that_no_file_is_for(schema: Any) -> None:
    assert {"project", "postgres_image", "application", "services"} <= schema["properties"].keys()
    assert not {"database_url", "secret_key", "home"} & schema["properties"].keys()


# -- fastzero config -------------------------------------------------------------------------------------------


def test_each_value_is_explained_with_its_line(tmp_path: Path) -> None:
    text = '[application]\nwatch = ["."]\n\n[application.environment]\nA = "{host}"\n'
    origins = application_origins(write_files(tmp_path, {"fastzero.toml": text}))
    assert [(each.name, each.value, each.source) for each in origins] == [
        ("application.watch", '["."]', "fastzero.toml:2"),
        ("application.environment.A", "{host}", "fastzero.toml:5"),
    ]


def test_what_may_be_a_secret_is_hidden_and_a_placeholder_is_not(tmp_path: Path) -> None:
    text = '[application.environment]\nAPI_KEY = "k-123"\nSECRET_KEY = "{secret}"\nMODE = "x"\n'
    origins = application_origins(write_files(tmp_path, {"fastzero.toml": text}))
    assert [each.value for each in origins] == ["**********", "{secret}", "x"]


def test_a_folder_without_an_application_explains_nothing(tmp_path: Path) -> None:
    assert application_origins(tmp_path) == []
