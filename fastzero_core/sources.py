"""What each source of settings says, which of them wins, and what of a folder's files needs the user's trust.

Works on any table of fields; which settings there are, `settings` says.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from .config_files import DOTENV, PREFIX, PROJECT_FILE, Folder
from .trust import FolderTrust, Risk, RiskySetting, digest, risk_of

Fields = Mapping[str, FieldInfo]

HIDDEN = "**********"
# Tables of fastzero.toml that are not settings: no setting may have one of these names.
TABLES = {
    "application": Risk("Runs the application's commands with your rights"),
    "services": Risk("Runs its image or program"),
}
_BARE_KEY = re.compile(r"[\w-]+", re.ASCII)


@dataclass(frozen=True)
class Layers:
    """What each source says, highest precedence first, by the settings' names."""

    fields: Fields
    values: Mapping[str, Mapping[str, Any]]
    trust: FolderTrust

    def merged(self) -> dict[str, Any]:
        """Return each setting that a source gives."""
        return {name: self._joined(name, givers) for name, givers in self._givers.items() if givers}

    def source(self, name: str) -> str:
        """Return the source that wins."""
        return next(iter(self._givers[name]), "default")

    @cached_property
    def of_folder(self) -> tuple[str, ...]:
        """The settings that a file of the folder gives."""
        return tuple(name for name, givers in self._givers.items() if {DOTENV, PROJECT_FILE} & {*givers})

    def trusts(self, name: str) -> bool | None:
        """Return whether a setting of the folder is trusted; None for one that needs no trust."""
        needs_trust = name in self.of_folder and risk_of(self.fields[name].metadata)
        return self.trust.is_given if needs_trust else None

    @cached_property
    def _givers(self) -> dict[str, list[str]]:
        """The sources that give each setting: one, or several that have a table each, whose keys are joined."""
        return {name: self._givers_of(name) for name in self.fields}

    def _givers_of(self, name: str) -> list[str]:
        naming = [label for label, values in self.values.items() if name in values]
        tables = list(takewhile(lambda label: isinstance(self.values[label][name], dict), naming))
        return tables or naming[:1]

    def _joined(self, name: str, givers: list[str]) -> Any:
        first, *others = (self.values[label][name] for label in givers)
        for table in others:
            first = {**table, **first}
        return first


def by_name(values: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return the values that are settings, by the names of their fields."""
    names = {key: name for name, field in fields.items() for key in (name, *_aliases(field))}
    return {names[key]: value for key, value in values.items() if key in names}


def of_dotenv(folder: Folder) -> dict[str, str]:
    """Return what a folder's `.env` says."""
    return {name.removeprefix(PREFIX.lower()): variable.value for name, variable in folder.variables.items()}


def variable_of(name: str, field: FieldInfo) -> str:
    """Return the environment variable of a setting."""
    return next(iter(_aliases(field)), f"{PREFIX}{name.upper()}")


def _aliases(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    return [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else []


# -- what needs trust ------------------------------------------------------------------------------------------


def risky_settings(folder: Folder, fields: Fields) -> Iterator[RiskySetting]:
    """Yield what of a folder's files no folder may set freely, key by key where it is a table."""
    for name, variable in folder.variables.items():
        field = name.removeprefix(PREFIX.lower())
        if field in fields and (risk := risk_of(fields[field].metadata)):
            yield _risky_setting(field, variable.value, DOTENV, variable.line, risk.text)
    for key, value in folder.toml.items():
        name = next(iter(by_name({key: value}, fields)), key)
        risk = risk_of(fields[name].metadata) if name in fields else TABLES.get(name)
        if risk:
            yield from _risky_keys(folder, (key,), name, value, risk)


def _risky_keys(folder: Folder, path: tuple[str, ...], name: str, value: Any, risk: Risk) -> Iterator[RiskySetting]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            text = risk.of_key(key) if risk.of_key else risk.text
            yield from _risky_keys(folder, (*path, key), f"{name}.{_quoted(key)}", each, Risk(text))
    else:
        yield _risky_setting(name, value, PROJECT_FILE, folder.toml_lines[path], risk.text)


def _risky_setting(name: str, value: Any, file: str, line: int, risk: str) -> RiskySetting:
    return RiskySetting(name, _shown(name, value), file, line, risk, sha256=digest(file, name, value))


def _quoted(key: str) -> str:
    """A key as TOML has it, and without what would steer a terminal."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)


def _shown(name: str, value: Any) -> Any:
    """A value as JSON types, without secrets. Of a database URL the rest is shown: who trusts it must see the host."""
    if name.startswith("secret_key"):
        return HIDDEN
    if name != "database_url":
        return json.loads(json.dumps(value, default=str), parse_constant=str)
    without_login = re.sub(r"^([\w+]+://[^:/]*):[^@]*@", r"\1:***@", str(value))
    return re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1***", without_login)
