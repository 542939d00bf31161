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
from typing import Annotated, Any, Literal, Self

from platformdirs import user_config_path, user_data_path
from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from . import parameters
from .config_files import DOTENV, PREFIX, PROJECT_FILE, parse_toml, read_bounded, read_folder
from .errors import InvalidInputError
from .sources import HIDDEN, Layers, by_name, of_dotenv, risky_settings, variable_of
from .trust import FolderTrust, Free, Risk

SECRETS_FOLDER = Path("/run/secrets")
PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


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


_FORGES = Risk("Whoever knows the key can make valid tokens")
_POSTGRES = Risk("PostgreSQL can run programs by its settings", of_key=parameters.risk)


class Settings(BaseSettings):
    """What fastzero goes by. Immutable; make one with `load_settings`.

    The file of any folder may set what is `Free`. Everything else needs the user's trust: see `trust`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    project: Free[str] = Field("fastzero", description="the stack to work on")
    database_url: Annotated[SecretStr | None, Risk("Commands and the app then work on that database")] = Field(
        None, validation_alias=AliasChoices("DATABASE_URL"), description="a database to use instead of the stack's own"
    )
    secret_key: Annotated[SecretStr | None, _FORGES] = Field(
        None,
        validation_alias=AliasChoices("SECRET_KEY"),
        description="what tokens are signed with, instead of the stack's own",
    )
    secret_key_previous: Annotated[SecretStr | None, _FORGES] = Field(
        None,
        validation_alias=AliasChoices("SECRET_KEY_PREVIOUS"),
        description="a key whose tokens are accepted as well, while SECRET_KEY is being changed",
    )
    algorithm: Free[Literal["HS256", "HS384", "HS512"]] = Field(
        "HS256", validation_alias=AliasChoices("ALGORITHM"), description="how tokens are signed"
    )
    access_token_expire_minutes: Free[int] = Field(
        30,
        ge=1,
        le=1440,
        validation_alias=AliasChoices("ACCESS_TOKEN_EXPIRE_MINUTES"),
        description="how long a token holds",
    )
    session_hours: Free[float] = Field(24, gt=0, le=8760, description="how long a login can be refreshed")
    user: Free[str | None] = Field(None, description="whose todos")
    runtime: Free[Literal["embedded", "docker"] | None] = Field(None, description="where a new project's services run")
    database_port: Free[int | None] = Field(None, ge=1, le=65535, description="the database's port on 127.0.0.1")
    app: Free[bool] = Field(True, description="whether the stack has the app, besides the database")
    app_port: Free[int | None] = Field(None, ge=1, le=65535, description="the app's port on 127.0.0.1")
    workers: Free[int] = Field(1, ge=1, le=64, description="processes that serve the app")
    pool_size: Free[int] = Field(10, ge=1, le=1000, description="connections to the database of each worker")
    signup: Annotated[Literal["open", "closed", "invite"], Risk("It decides who may create an account")] = Field(
        "open", description="who may create an account over HTTP"
    )
    split_roles: Annotated[bool, Risk("Without it the app may change the schema")] = Field(
        False, description="whether the app uses a role that can only read and write rows"
    )
    docs: Free[bool | None] = Field(
        None,
        description="whether the app has /docs, /redoc and /openapi.json; by default behind a proxy only with a token",
    )
    metrics: Free[bool | None] = Field(
        None, description="whether the app has /metrics; by default behind a proxy only with a token"
    )
    operator_token_sha256: Annotated[str | None, Risk("Whoever knows the token sees the metrics")] = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256, in hex, of a token that /metrics, /docs, /redoc and /openapi.json then need",
    )
    forwarded_allow_ips: Annotated[list[str], NoDecode, Risk("Clients there can pretend any address")] = Field(
        [], description="addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted"
    )
    cors_origins: Annotated[list[str], NoDecode, Risk("Pages from there may call the app")] = Field(
        [], description="origins whose pages may call the app"
    )
    log: Free[Literal["json", "plain"]] = Field("plain", description="the format of the app's log")
    argon2_time: Free[int] = Field(3, ge=2, le=100, description="passes of a password's hash")
    argon2_memory: Free[int] = Field(65_536, ge=19_456, le=4_194_304, description="KiB of memory of a password's hash")
    argon2_parallelism: Free[int] = Field(4, ge=1, le=64, description="lanes of a password's hash")
    postgres_image: Annotated[str, Risk("Its code runs, and has the data and the secrets of the database")] = Field(
        "postgres:18", description="the database's image, for the docker runtime"
    )
    python_image: Annotated[str, Risk("Its code runs, and has the secrets of the app")] = Field(
        "python:3.13-slim", description="what the app's image is built from"
    )
    database_memory: Free[int] = Field(
        4096, ge=0, description="MiB that the database's container may use; 0 is no limit"
    )
    database_cpus: Free[int] = Field(
        0, ge=0, description="processors that the database's container may use; 0 is no limit"
    )
    postgres_settings: Annotated[dict[str, str], NoDecode, _POSTGRES] = Field(
        {}, description="PostgreSQL settings of the stack's database"
    )
    timeout: Free[float] = Field(60, gt=0, le=86_400, description="how long commands wait, in seconds")
    output: Free[Output | None] = Field(None, description="the format of results")
    color: Free[Color] = Field("auto", description="whether to colour")
    no_input: Free[bool] = Field(False, description="never ask")
    home: Annotated[Path, Risk("Data and secrets of projects are kept, looked for and deleted there")] = Field(
        user_data_path("fastzero"), description="where projects keep their state and data"
    )

    _flags: frozenset[str] = PrivateAttr(frozenset())
    _of_folder: tuple[str, ...] = PrivateAttr(())  # those that the folder's files give
    _trust: FolderTrust | None = PrivateAttr(None)

    def trusted(self) -> Self:
        """Return these settings. Raises UntrustedFolderError if one is of a folder that has to be trusted first."""
        if self._trust is not None:
            self._trust.require(*self._of_folder)
        return self

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
            variable_of(name, fields[name]): _text(value)
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
    def _canonical(cls, value: dict[str, str]) -> dict[str, str]:
        return parameters.canonical(value)

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
        if not PROJECT_NAME.fullmatch(value):
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
        return (init_settings,)  # the winners of all sources: see `sources`


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting: its value, secrets hidden, where it comes from, and whether that is trusted if it has to be."""

    name: str
    value: Any
    source: str
    trusted: bool | None = None


def load_settings(**flags: Any) -> Settings:
    """The settings; `flags` that are None count as not given.

    Raises InvalidInputError that names the setting; UntrustedFolderError for those of a folder that has to be trusted
    first, unless another source overrides them.
    """
    return read_settings(**flags).trusted()


def read_settings(**flags: Any) -> Settings:
    """The same, trusted or not: to show them, or to go by those that are `Free`."""
    return _settings(_layers(flags), flags)


def origins(**flags: Any) -> list[Origin]:
    """Every setting with its value and the source that won. Raises InvalidInputError as `load_settings` does."""
    layers = _layers(flags)
    settings = _settings(layers, flags)
    return [
        Origin(name, _shown(getattr(settings, name)), layers.source(name), layers.trusts(name))
        for name in Settings.model_fields
    ]


def folder_trust(path: Path = Path()) -> FolderTrust:
    """What of a folder's files needs trust, and whether the user trusts it. Raises as `read_folder` does."""
    folder = read_folder(path)
    return FolderTrust(folder, risky_settings(folder, Settings.model_fields))


# -- sources ---------------------------------------------------------------------------------------------------


def _layers(flags: Mapping[str, Any]) -> Layers:
    trust = folder_trust()
    sources = {
        "flag": _in_force(flags),
        "environment": EnvSettingsSource(Settings)(),
        DOTENV: of_dotenv(trust.folder),
        str(SECRETS_FOLDER): _mounted_secrets(),
        PROJECT_FILE: trust.folder.toml,
        "user configuration": parse_toml(read_bounded(_user_file()), _user_file()),
    }
    fields = Settings.model_fields
    return Layers(fields, {label: by_name(values, fields) for label, values in sources.items()}, trust)


def _mounted_secrets() -> dict[str, Any]:
    if not SECRETS_FOLDER.is_dir():
        return {}
    try:
        return SecretsSettingsSource(Settings, secrets_dir=SECRETS_FOLDER)()
    except (SettingsError, ValueError, OSError) as error:
        raise InvalidInputError(f"the settings in {SECRETS_FOLDER} cannot be read: {error}", field="settings") from None


def _settings(layers: Layers, flags: Mapping[str, Any]) -> Settings:
    try:
        settings = Settings(**layers.merged())
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).lower()
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidInputError(
            f"setting {name}: {reason}",
            field=name,
            hint="It comes from a flag, the environment, .env or a fastzero.toml",
        ) from None
    settings._flags = frozenset(_given(flags))
    settings._of_folder = layers.of_folder
    settings._trust = layers.trust
    return settings


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


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return HIDDEN
    return str(value) if isinstance(value, Path) else value
