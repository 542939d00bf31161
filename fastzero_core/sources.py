"""Merge settings from their sources by precedence, and find those in a folder's files that require trust.

The functions work on any mapping of fields; `settings` declares the actual ones.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SecretsSettingsSource, SettingsError

from .config_files import DOTENV, PREFIX, PROJECT_FILE, Folder
from .errors import InvalidInputError
from .trust import FolderTrust, Risk, digest, risk_of

if TYPE_CHECKING:
    from .trust_record import RiskySetting

Fields = Mapping[str, FieldInfo]

HIDDEN = "**********"
# Tables of fastzero.toml that are not settings. No setting may have one of these names.
TABLES = {
    "application": Risk("Runs the application's commands with your rights"),
    "services": Risk("Runs its image or program"),
}
_BARE_KEY = re.compile(r"[\w-]+", re.ASCII)


@dataclass(frozen=True)
class Layers:
    """The values of each source by setting, highest precedence first."""

    fields: Fields
    values: Mapping[str, Mapping[str, Any]]
    trust: FolderTrust

    def merged(self) -> dict[str, Any]:
        """Return the value of each setting that a source sets."""
        return {name: self._joined(name, sources) for name, sources in self._sources.items() if sources}

    def source(self, name: str) -> str:
        """Return the source with the highest precedence for a setting."""
        return next(iter(self._sources[name]), "default")

    @cached_property
    def of_folder(self) -> tuple[str, ...]:
        """The settings whose value comes from a file of the folder."""
        return tuple(name for name, sources in self._sources.items() if {DOTENV, PROJECT_FILE} & {*sources})

    def where(self, name: str) -> str:
        """Return the place where the winner is written, as a person looks for it: a flag, a variable or a line."""
        source, folder = self.source(name), self.trust.folder
        if source == "flag":
            return f"--{name.replace('_', '-')}"
        if source == "environment":
            return variable_of(name, self.fields[name])
        if source == DOTENV and (variable := folder.variables.get(f"{PREFIX}{name}".lower())):
            return f"{DOTENV}:{variable.line}: {PREFIX}{name.upper()}"
        if source == PROJECT_FILE:
            return f"{PROJECT_FILE}:{folder.toml_lines.get((name,), 1)}: {name}"
        return f"{source}: {name}"

    def trusts(self, name: str) -> bool | None:
        """Return whether a setting of the folder is trusted; None if it requires no trust."""
        needs_trust = name in self.of_folder and risk_of(self.fields[name].metadata)
        return self.trust.is_given if needs_trust else None

    @cached_property
    def _sources(self) -> dict[str, list[str]]:
        """The sources of each setting: one, or several with a table each, whose keys are merged."""
        return {name: self._sources_of(name) for name in self.fields}

    def _sources_of(self, name: str) -> list[str]:
        naming = [label for label, values in self.values.items() if name in values]
        tables = list(takewhile(lambda label: isinstance(self.values[label][name], dict), naming))
        return tables or naming[:1]

    def _joined(self, name: str, sources: list[str]) -> Any:
        first, *others = (self.values[label][name] for label in sources)
        for table in others:
            first = {**table, **first}
        return first


def by_name(values: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return the values that are settings, keyed by field name; aliases are resolved."""
    names = {key: name for name, field in fields.items() for key in (name, *_aliases(field))}
    return {names[key]: value for key, value in values.items() if key in names}


def refuse_unknown(values: Mapping[str, Any], where: Callable[[str], str], fields: Fields) -> None:
    """Raise InvalidInputError for a key that is neither a setting nor a table; it names the nearest that is."""
    known = [*TABLES, *(key for name, field in fields.items() for key in (name, *_aliases(field)))]
    for key in values:
        if key not in known:
            from difflib import get_close_matches

            nearest = get_close_matches(key, known, 1)
            hint = f"Did you mean {nearest[0]}?" if nearest else "See the settings: fastzero config"
            raise InvalidInputError(f"{where(key)}: unknown key {key!r}", field=key, hint=hint)


def of_dotenv(folder: Folder) -> dict[str, str]:
    """Return the values in a folder's `.env`, keyed by lower-case name without the prefix."""
    return {name.removeprefix(PREFIX.lower()): variable.value for name, variable in folder.variables.items()}


def variable_of(name: str, field: FieldInfo) -> str:
    """Return the environment variable of a setting."""
    return next(iter(_aliases(field)), f"{PREFIX}{name.upper()}")


def _aliases(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    return [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else []


def mounted_secrets(settings: type[BaseSettings], folder: Path) -> dict[str, Any]:
    """Return the settings in the folder of secrets that containers have. Raises InvalidInputError."""
    if not folder.is_dir():
        return {}
    try:
        found = SecretsSettingsSource(settings, secrets_dir=folder)()
    except (SettingsError, ValueError, OSError) as error:
        raise InvalidInputError(f"the settings in {folder} cannot be read: {error}", field="settings") from None
    # While the password is rotated in a swarm, a second line has the URL with the next one.
    return {name: _first_line(value) if name.lower() == "database_url" else value for name, value in found.items()}


def _first_line(value: Any) -> str:
    return str(value).partition("\n")[0]


# -- what needs trust ------------------------------------------------------------------------------------------


def risky_settings(folder: Folder, fields: Fields) -> "Iterator[RiskySetting]":
    """Yield the settings in a folder's files that require trust; a table yields one per key."""
    for name, variable in folder.variables.items():
        field = name.removeprefix(PREFIX.lower())
        if field in fields and (risk := risk_of(fields[field].metadata)):
            yield _risky_setting(field, variable.value, DOTENV, variable.line, risk.text)
    for key, value in folder.toml.items():
        name = next(iter(by_name({key: value}, fields)), key)
        risk = risk_of(fields[name].metadata) if name in fields else TABLES.get(name)
        if risk:
            yield from _risky_keys(folder, (key,), name, value, risk)


def _risky_keys(folder: Folder, path: tuple[str, ...], name: str, value: Any, risk: Risk) -> "Iterator[RiskySetting]":
    if isinstance(value, dict) and value:
        for key, each in value.items():
            text = risk.of_key(key) if risk.of_key else risk.text
            yield from _risky_keys(folder, (*path, key), f"{name}.{_quoted(key)}", each, Risk(text))
    else:
        yield _risky_setting(name, value, PROJECT_FILE, folder.toml_lines[path], risk.text)


def _risky_setting(name: str, value: Any, file: str, line: int, risk: str) -> "RiskySetting":
    from .trust_record import RiskySetting  # few folders have one

    return RiskySetting(name, _shown(name, value), file, line, risk, sha256=digest(file, name, value))


def _quoted(key: str) -> str:
    """Return a key in TOML syntax, with control characters escaped."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key)


def _shown(name: str, value: Any) -> Any:
    """Return a value as JSON types without secrets. A database URL keeps its host, which the user has to check."""
    if name.startswith("secret_key"):
        return HIDDEN
    if name != "database_url":
        return json.loads(json.dumps(value, default=str), parse_constant=str)
    without_login = re.sub(r"^([\w+]+://[^:/]*):[^@]*@", r"\1:***@", str(value))
    return re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1***", without_login)
