"""Generate the JSON schema of fastzero.toml, for editors: `fastzero config --schema`. Run this module to write it."""

import json
from pathlib import Path
from typing import Any

from ..settings import Settings
from .tables import File

PATH = Path(__file__).with_name("schema.json")
# Settings that do not belong in a file of a folder.
_NOT_IN_FILES = ("database_url", "secret_key", "secret_key_previous", "home")


def text() -> str:
    """Return the schema as JSON."""
    return json.dumps(_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema() -> dict[str, Any]:
    application = _plain(File.model_json_schema())
    settings = _plain(Settings.model_json_schema(by_alias=False)["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fastzero.toml",
        "description": "Settings of fastzero for a folder, and the application in it.",
        "type": "object",
        "properties": {
            **{name: value for name, value in settings.items() if name not in _NOT_IN_FILES},
            **application["properties"],
        },
        "$defs": application["$defs"],
    }


def _plain(value: Any) -> Any:
    """Return a schema without null, which does not exist in TOML, and without titles, which repeat the names."""
    if isinstance(value, list):
        return [_plain(each) for each in value if each != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {name: _plain(each) for name, each in value.items() if (name, each) not in (("default", None),)}
    if isinstance(kept.get("title"), str):
        kept.pop("title")
    match kept.get("anyOf"):
        case [only]:
            kept.pop("anyOf")
            kept |= only
    return kept


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
