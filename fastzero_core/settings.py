"""The settings. Precedence: flag, environment, .env, /run/secrets, fastzero.toml, user configuration, default.

Environment variables begin with FASTZERO_, except those that are customary in container images: DATABASE_URL,
SECRET_KEY, SECRET_KEY_PREVIOUS, ALGORITHM and ACCESS_TOKEN_EXPIRE_MINUTES. Only FASTZERO_ names are read from a `.env`:
the others belong to an application. A project given by a flag overrides a DATABASE_URL that is not given by a flag.
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
    SettingsConfigDict,
)

from . import parameters
from .config_files import DOTENV, PREFIX, PROJECT_FILE, parse_toml, read_bounded, read_folder
from .errors import InvalidInputError
from .sources import HIDDEN, Layers, by_name, mounted_secrets, of_dotenv, refuse_unknown, risky_settings, variable_of
from .trust import FolderTrust, Free, Risk

SECRETS_FOLDER = Path("/run/secrets")
PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


# The app's settings, which the stack passes to it through the environment. Secrets are passed in files.
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

# Connections per worker for slow requests, so that fast ones do not have to wait for these.
SLOW_CONNECTIONS = 2
WATCHING_CONNECTIONS = 1  # per worker, to be told of changes while the board is open somewhere

Output = Literal["table", "json", "ndjson", "csv", "tsv", "ids"]
Color = Literal["auto", "always", "never"]


_FORGES = Risk("Anyone who knows the key can create valid tokens")
_POSTGRES = Risk("PostgreSQL settings can run programs", of_key=parameters.risk)


class Settings(BaseSettings):
    """The settings of fastzero. Immutable; create them with `load_settings`.

    The files of any folder may set a `Free` setting. All others require the user's trust: see `trust`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    project: Free[str] = Field("fastzero", description="name of the project")
    database_url: Annotated[SecretStr | None, Risk("Commands and the app then use that database")] = Field(
        None, validation_alias=AliasChoices("DATABASE_URL"), description="database to use instead of the project's own"
    )
    secret_key: Annotated[SecretStr | None, _FORGES] = Field(
        None,
        validation_alias=AliasChoices("SECRET_KEY"),
        description="key for signing tokens, instead of the project's own",
    )
    secret_key_previous: Annotated[SecretStr | None, _FORGES] = Field(
        None,
        validation_alias=AliasChoices("SECRET_KEY_PREVIOUS"),
        description="previous key, whose tokens are still accepted while SECRET_KEY is being changed",
    )
    algorithm: Free[Literal["HS256", "HS384", "HS512"]] = Field(
        "HS256", validation_alias=AliasChoices("ALGORITHM"), description="algorithm for signing tokens"
    )
    access_token_expire_minutes: Free[int] = Field(
        30,
        ge=1,
        le=1440,
        validation_alias=AliasChoices("ACCESS_TOKEN_EXPIRE_MINUTES"),
        description="lifetime of an access token, in minutes",
    )
    session_hours: Free[float] = Field(
        24, gt=0, le=8760, description="how long tokens can be refreshed after a login, in hours"
    )
    user: Free[str | None] = Field(None, description="default user for the todo commands")
    runtime: Free[Literal["embedded", "docker", "swarm"] | None] = Field(None, description="runtime of a new project")
    host: Annotated[str | None, Risk("Containers run there, with the project's secrets")] = Field(
        None, description="machine of the Docker Engine for a new project, ssh://USER@NAME; by default this one"
    )
    database_port: Free[int | None] = Field(None, ge=1, le=65535, description="port of the database on 127.0.0.1")
    app: Free[bool] = Field(True, description="run the app as well as the database")
    app_port: Free[int | None] = Field(None, ge=1, le=65535, description="port of the app on 127.0.0.1")
    workers: Free[int] = Field(1, ge=1, le=64, description="number of processes that serve the app")
    replicas: Free[int] = Field(
        2, ge=1, le=1000, description="number of tasks of the app in a swarm, until `fastzero scale` chooses another"
    )
    pool_size: Free[int] = Field(10, ge=1, le=1000, description="database connections per worker")
    signup: Annotated[Literal["open", "closed", "invite"], Risk("It decides who may create an account")] = Field(
        "open", description="who may create an account over HTTP"
    )
    split_roles: Annotated[bool, Risk("Without it the app may change the schema")] = Field(
        False, description="connect the app with a role that can only read and write rows"
    )
    docs: Free[bool | None] = Field(
        None,
        description="serve /docs, /redoc and /openapi.json; by default off behind a proxy unless a token protects them",
    )
    metrics: Free[bool | None] = Field(
        None, description="serve /metrics; by default off behind a proxy unless a token protects it"
    )
    operator_token_sha256: Annotated[str | None, Risk("Anyone who knows the token can read the metrics")] = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256, in hex, of the token required for /metrics, /docs, /redoc and /openapi.json",
    )
    forwarded_allow_ips: Annotated[list[str], NoDecode, Risk("Clients there can forge their address")] = Field(
        [], description="addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted"
    )
    cors_origins: Annotated[list[str], NoDecode, Risk("Pages from these origins may call the app")] = Field(
        [], description="origins whose pages may call the app"
    )
    log: Free[Literal["json", "plain"]] = Field("plain", description="format of the app's log")
    argon2_time: Free[int] = Field(3, ge=2, le=100, description="passes of a password hash")
    argon2_memory: Free[int] = Field(65_536, ge=19_456, le=4_194_304, description="memory of a password hash, in KiB")
    argon2_parallelism: Free[int] = Field(4, ge=1, le=64, description="lanes of a password hash")
    postgres_image: Annotated[str, Risk("Its code runs, and can read the database's data and secrets")] = Field(
        "postgres:18", description="image of the database, for the docker runtime"
    )
    python_image: Annotated[str, Risk("Its code runs, and can read the app's secrets")] = Field(
        "python:3.13-slim", description="base image of the app's image"
    )
    proxy_image: Annotated[str, Risk("Its code runs, and sees every request")] = Field(
        "caddy:2", description="image of the edge proxy, for the swarm runtime"
    )
    registry: Annotated[str | None, Risk("The app's image is pushed there, and nodes run what is there")] = Field(
        None,
        pattern=r"^[A-Za-z0-9.-]+(:\d{1,5})?(/[a-z0-9._-]+)*$",
        description="registry of the images that are built for a swarm, such as registry.example.com/team",
    )
    domain: Annotated[str | None, Risk("The edge proxy asks for certificates of it, and answers for it")] = Field(
        None,
        pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$",
        description="domain of the app in a swarm: the edge proxy serves it with TLS on ports 80 and 443",
    )
    acme_directory: Annotated[str | None, Risk("It says who may answer for the domain")] = Field(
        None,
        pattern=r"^https://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?$",
        description="URL of the ACME directory that certificates come from, if not from the proxy's own choice",
    )
    database_memory: Free[int] = Field(
        4096, ge=0, description="memory limit of the database's container, in MiB; 0 for no limit"
    )
    database_cpus: Free[int] = Field(0, ge=0, description="CPU limit of the database's container; 0 for no limit")
    postgres_settings: Annotated[dict[str, str], NoDecode, _POSTGRES] = Field(
        {}, description="PostgreSQL settings of the project's database"
    )
    timeout: Free[float] = Field(60, gt=0, le=86_400, description="how long commands wait, in seconds")
    output: Free[Output | None] = Field(None, description="output format")
    color: Free[Color] = Field("auto", description="when to use colour")
    no_input: Free[bool] = Field(False, description="never prompt")
    home: Annotated[Path, Risk("Data and secrets of projects are stored, read and deleted there")] = Field(
        user_data_path("fastzero"), description="folder for the state and data of projects"
    )

    _flags: frozenset[str] = PrivateAttr(frozenset())
    _of_folder: tuple[str, ...] = PrivateAttr(())  # set by the folder's files
    _trust: FolderTrust | None = PrivateAttr(None)

    def trusted(self) -> Self:
        """Return these settings. Raises UntrustedFolderError if one of them requires trust that was not given."""
        if self._trust is not None:
            self._trust.require(*self._of_folder)
        return self

    def is_flag(self, name: str) -> bool:
        """Return whether a flag set this setting, as opposed to the environment, a file or the default."""
        return name in self._flags

    def names(self, name: str) -> bool:
        """Return whether a flag, the environment or a file set this setting, as opposed to the default."""
        return name in self.model_fields_set

    @property
    def connections(self) -> int:
        """The maximum number of database connections per worker."""
        return self.pool_size + SLOW_CONNECTIONS + WATCHING_CONNECTIONS

    def app_variables(self) -> dict[str, str]:
        """Return the app's settings that differ from the default, as environment variables."""
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
            ip_network(each)  # raises ValueError with a clear message
        return value

    @field_validator("project")
    @classmethod
    def _usable_everywhere(cls, value: str) -> str:
        if not PROJECT_NAME.fullmatch(value):
            raise ValueError(f"{value!r} must be 1 to 40 of a-z, 0-9, - and _, and begin with a letter or digit")
        return value

    @field_validator("host")
    @classmethod
    def _of_an_engine(cls, value: str | None) -> str | None:
        if value:
            from .tunnel import parse_host

            try:
                parse_host(value)
            except InvalidInputError as error:
                raise ValueError(error.message) from None
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
        return (init_settings,)  # the values already merged from all sources: see `sources`


@dataclass(frozen=True, slots=True)
class Origin:
    """The value of one setting, with secrets hidden, and its source. `trusted` is None if it requires no trust."""

    name: str
    value: Any
    source: str
    trusted: bool | None = None


def load_settings(**flags: Any) -> Settings:
    """Return the settings; `flags` that are None count as not given.

    Raises InvalidInputError, which names the setting; UntrustedFolderError if a folder's files set one that requires
    trust, unless the user trusts the folder or another source overrides the setting.
    """
    return read_settings(**flags).trusted()


def read_settings(**flags: Any) -> Settings:
    """Return the settings without checking trust: for showing them, or for using only those that are `Free`."""
    return _settings(_layers(flags), flags)


def origins(**flags: Any) -> list[Origin]:
    """Return every setting with its value and its source. Raises InvalidInputError as `load_settings` does."""
    layers = _layers(flags)
    settings = _settings(layers, flags)
    return [
        Origin(name, _shown(getattr(settings, name)), layers.source(name), layers.trusts(name))
        for name in Settings.model_fields
    ]


def folder_trust(path: Path = Path()) -> FolderTrust:
    """Return the settings in a folder's files that require trust, and whether the user trusts them.

    Raises the errors of `read_folder`.
    """
    folder = read_folder(path)
    return FolderTrust(folder, risky_settings(folder, Settings.model_fields))


# -- sources ---------------------------------------------------------------------------------------------------


def _layers(flags: Mapping[str, Any]) -> Layers:
    trust, user_file = folder_trust(), _user_file()
    fields = Settings.model_fields
    of_user = parse_toml(read_bounded(user_file), user_file)
    refuse_unknown(trust.folder.toml, lambda key: f"{PROJECT_FILE}:{trust.folder.toml_lines.get((key,), 1)}", fields)
    refuse_unknown(of_user, lambda key: str(user_file), fields)
    sources = {
        "flag": _overriding(flags),
        "environment": EnvSettingsSource(Settings)(),
        DOTENV: of_dotenv(trust.folder),
        str(SECRETS_FOLDER): mounted_secrets(Settings, SECRETS_FOLDER),
        PROJECT_FILE: trust.folder.toml,
        "user configuration": of_user,
    }
    return Layers(fields, {label: by_name(values, fields) for label, values in sources.items()}, trust)


def _settings(layers: Layers, flags: Mapping[str, Any]) -> Settings:
    try:
        settings = Settings(**layers.merged())
    except ValidationError as error:
        raise _invalid(error, layers) from None
    settings._flags = frozenset(_given(flags))
    settings._of_folder = layers.of_folder
    settings._trust = layers.trust
    return settings


def _invalid(error: ValidationError, layers: Layers) -> InvalidInputError:
    """The error of a value that is refused, with the place where it is written."""
    first = error.errors()[0]
    path = [str(part).lower() for part in first["loc"]]
    field, where = ".".join(path), layers.where(path[0]) if path[0] in Settings.model_fields else path[0]
    if first["type"] == "literal_error":
        choices = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return InvalidInputError(f"invalid {where}: {first['input']!r}", field=field, hint=f"Use one of: {choices}")
    reason = (
        first["msg"].removeprefix("Value error, ").replace("Input should be", "it must be").partition(", unable")[0]
    )
    return InvalidInputError(f"invalid {where}: {reason}", field=field, hint="Correct it, or remove it")


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _user_file() -> Path:
    return user_config_path("fastzero") / "config.toml"


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _overriding(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags given. A flag for the project overrides the DATABASE_URL of all other sources."""
    given = _given(flags)
    return {"database_url": None, **given} if "project" in given else given


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return HIDDEN
    return str(value) if isinstance(value, Path) else value
