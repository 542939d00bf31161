"""Settings, read at the edges and passed in: flag > environment > .env > /run/secrets > fastzero.toml > user > default.

Names begin with FASTZERO_ in the environment, but for those that every container image uses: DATABASE_URL, SECRET_KEY,
SECRET_KEY_PREVIOUS, ALGORITHM and ACCESS_TOKEN_EXPIRE_MINUTES. Of a `.env` only FASTZERO_ names count: the others are
an application's.
A project that a flag names beats a DATABASE_URL that no flag names.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_config_path, user_data_path
from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from .errors import InvalidInputError

PREFIX = "FASTZERO_"
PROJECT_FILE = Path("fastzero.toml")
SECRETS_FOLDER = Path("/run/secrets")

# PostgreSQL settings by which the stack reaches its database.
DECIDED = {"port", "listen_addresses", "data_directory", "unix_socket_directories", "hba_file", "external_pid_file"}

# What the app goes by, wherever the stack runs it: handed on through its environment. Secrets are not among them.
APP_SETTINGS = (
    "algorithm",
    "access_token_expire_minutes",
    "session_hours",
    "signup",
    "split_roles",
    "pool_size",
    "docs",
    "metrics",
    "operator_token_sha256",
    "forwarded_allow_ips",
    "cors_origins",
    "log",
    "argon2_time",
    "argon2_memory",
    "argon2_parallelism",
)

# Connections of each worker for what takes longer than a page: they are not the ones that pages wait for.
PATIENT_CONNECTIONS = 2

Output = Literal["table", "json", "ndjson", "csv", "tsv", "ids"]
Color = Literal["auto", "always", "never"]


class Settings(BaseSettings):
    """What fastzero goes by. Immutable; make one with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    project: str = Field("fastzero", description="the stack to work on")
    database_url: SecretStr | None = Field(
        None, validation_alias=AliasChoices("DATABASE_URL"), description="a database to use instead of the stack's own"
    )
    secret_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SECRET_KEY"),
        description="what tokens are signed with, instead of the stack's own",
    )
    secret_key_previous: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SECRET_KEY_PREVIOUS"),
        description="a key whose tokens are accepted as well, while SECRET_KEY is being changed",
    )
    algorithm: Literal["HS256", "HS384", "HS512"] = Field(
        "HS256", validation_alias=AliasChoices("ALGORITHM"), description="how tokens are signed"
    )
    access_token_expire_minutes: int = Field(
        30,
        ge=1,
        le=1440,
        validation_alias=AliasChoices("ACCESS_TOKEN_EXPIRE_MINUTES"),
        description="how long a token holds",
    )
    session_hours: float = Field(24, gt=0, le=8760, description="how long a login can be refreshed")
    user: str | None = Field(None, description="whose todos")
    runtime: Literal["embedded", "docker"] | None = Field(None, description="where a new project's services run")
    database_port: int | None = Field(None, ge=1, le=65535, description="the database's port on 127.0.0.1")
    app: bool = Field(True, description="whether the stack has the app, besides the database")
    app_port: int | None = Field(None, ge=1, le=65535, description="the app's port on 127.0.0.1")
    workers: int = Field(1, ge=1, le=64, description="processes that serve the app")
    pool_size: int = Field(10, ge=1, le=1000, description="connections to the database of each worker")
    signup: Literal["open", "closed", "invite"] = Field("open", description="who may create an account over HTTP")
    split_roles: bool = Field(False, description="whether the app uses a role that can only read and write rows")
    docs: bool = Field(True, description="whether the app has /docs, /redoc and /openapi.json")
    metrics: bool = Field(True, description="whether the app has /metrics")
    operator_token_sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256, in hex, of a token that /metrics, /docs, /redoc and /openapi.json then need",
    )
    forwarded_allow_ips: Annotated[list[str], NoDecode] = Field(
        [], description="addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted"
    )
    cors_origins: Annotated[list[str], NoDecode] = Field([], description="origins whose pages may call the app")
    log: Literal["json", "plain"] = Field("plain", description="the format of the app's log")
    argon2_time: int = Field(3, ge=2, le=100, description="passes of a password's hash")
    argon2_memory: int = Field(65_536, ge=19_456, le=4_194_304, description="KiB of memory of a password's hash")
    argon2_parallelism: int = Field(4, ge=1, le=64, description="lanes of a password's hash")
    postgres_image: str = Field("postgres:18", description="the database's image, for the docker runtime")
    python_image: str = Field("python:3.13-slim", description="what the app's image is built from")
    database_memory: int = Field(4096, ge=0, description="MiB that the database's container may use; 0 is no limit")
    database_cpus: int = Field(0, ge=0, description="processors that the database's container may use; 0 is no limit")
    postgres_settings: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="PostgreSQL settings of the stack's database"
    )
    timeout: float = Field(60, gt=0, le=86_400, description="how long commands wait, in seconds")
    output: Output | None = Field(None, description="the format of results")
    color: Color = Field("auto", description="whether to colour")
    no_input: bool = Field(False, description="never ask")
    home: Path = Field(user_data_path("fastzero"), description="where projects keep their state and data")

    _flags: frozenset[str] = PrivateAttr(frozenset())

    def is_flag(self, name: str) -> bool:
        """Return whether a flag gave this setting, and no environment, file or default."""
        return name in self._flags

    def names(self, name: str) -> bool:
        """Return whether a flag, the environment or a file gave this setting, and not its default alone."""
        return name in self.model_fields_set

    @property
    def connections(self) -> int:
        """How many connections to the database a worker may have."""
        return self.pool_size + PATIENT_CONNECTIONS

    def app_variables(self) -> dict[str, str]:
        """The app's settings that are not the default, as its environment has them."""
        changed = {name: getattr(self, name) for name in APP_SETTINGS}
        fields = type(self).model_fields
        return {
            _variable(name, fields[name].validation_alias): _text(value)
            for name, value in changed.items()
            if value != fields[name].default
        }

    @field_validator("postgres_settings", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            example = json.dumps({"work_mem": "64MB"})
            raise ValueError(f"{PREFIX}POSTGRES_SETTINGS is not valid JSON: {error}. Write it as {example}") from None

    @field_validator("postgres_settings")
    @classmethod
    def _not_ours(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := sorted(value.keys() & DECIDED):
            raise ValueError(f"{', '.join(taken)} is decided by fastzero itself")
        return value

    @field_validator("cors_origins", "forwarded_allow_ips", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for each in value:
            ip_network(each)  # its error says what is wrong
        return value

    @field_validator("project")
    @classmethod
    def _usable_everywhere(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", value):
            raise ValueError(f"{value!r} must be 1 to 40 of a-z, 0-9, - and _, and begin with a letter or digit")
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return tuple(_sources(init_settings).values())


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting: its value, secrets hidden, and where it comes from."""

    name: str
    value: Any
    source: str


def load_settings(**flags: Any) -> Settings:
    """The settings; `flags` that are None count as not given. Raises InvalidInputError that names the setting."""
    try:
        settings = Settings(**_in_force(flags))
        settings._flags = frozenset(_given(flags))
        return settings
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).lower()
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidInputError(
            f"setting {name}: {reason}",
            field=name,
            hint="It comes from a flag, the environment, .env or a fastzero.toml",
        ) from None
    except (SettingsError, ValueError, OSError) as error:
        raise InvalidInputError(f"the settings cannot be read: {error}", field="settings") from None


def origins(**flags: Any) -> list[Origin]:
    """Every setting with its value and the source that won. Raises InvalidInputError as `load_settings` does."""
    settings = load_settings(**flags)
    layers = {label: source() for label, source in _sources(InitSettingsSource(Settings, _in_force(flags))).items()}
    return [Origin(name, _shown(getattr(settings, name)), _source_of(name, layers)) for name in Settings.model_fields]


class _OwnDotEnv(DotEnvSettingsSource):
    """The names of a `.env` that are fastzero's own."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = super()._load_env_vars()
        return {name: value for name, value in found.items() if name.upper().startswith(PREFIX)}


def _sources(flags: PydanticBaseSettingsSource) -> dict[str, PydanticBaseSettingsSource]:
    """Highest precedence first."""
    sources: dict[str, PydanticBaseSettingsSource] = {
        "flag": flags,
        "environment": EnvSettingsSource(Settings),
        ".env": _OwnDotEnv(Settings),
    }
    if SECRETS_FOLDER.is_dir():
        sources[str(SECRETS_FOLDER)] = SecretsSettingsSource(Settings, secrets_dir=SECRETS_FOLDER)
    for label, path in (("fastzero.toml", PROJECT_FILE), ("user configuration", _user_file())):
        if path.is_file():
            sources[label] = TomlConfigSettingsSource(Settings, toml_file=path)
    return sources


def _variable(name: str, alias: Any) -> str:
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"{PREFIX}{name.upper()}"


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _user_file() -> Path:
    return user_config_path("fastzero") / "config.toml"


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _in_force(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags given. One that names a project puts the DATABASE_URL of every other source out of force."""
    given = _given(flags)
    return {"database_url": None, **given} if "project" in given else given


def _source_of(name: str, layers: Mapping[str, Mapping[str, Any]]) -> str:
    names = {name, name.upper()}
    return next((label for label, values in layers.items() if names & values.keys()), "default")


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "**********"
    return str(value) if isinstance(value, Path) else value
