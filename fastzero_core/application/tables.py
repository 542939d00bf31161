"""Define the tables `[application]` and `[services.NAME]` of fastzero.toml, as they are written.

Only this module defines their keys, with the meaning and the valid values of each. The validation, the JSON schema for
editors and `fastzero config` use it. `reading.py` converts the tables to an Application.
"""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from .commands import split
from .description import DATABASE, ENTRYPOINT_CAPABILITIES, Restart
from .placeholders import mistake

# Names of temporary containers are reserved too: those with RESERVED_ENDS, and database-… while a database moves.
RESERVED = (DATABASE, "migrate", "release", "test", "all")
RESERVED_ENDS = ("-new", "-old")
DEFAULT_PORT = 8000
PORT_MAX = 65535


def wrong(message: str, hint: str) -> PydanticCustomError:
    """Return the error for a value; `reading.py` adds its location."""
    return PydanticCustomError("value", "{message}", {"message": message, "hint": hint})


# -- kinds of values -------------------------------------------------------------------------------------------


def _path(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not value or "\0" in value:
        raise wrong(f"{value!r} leads out of the folder", "Use a path below the folder of fastzero.toml")
    return value


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts:
        raise wrong(f"{value!r} is not an absolute path", 'Use a path inside the container, like "/data"')
    return value


def _name(value: str) -> str:
    if value in RESERVED or value.startswith(f"{DATABASE}-") or value.endswith(RESERVED_ENDS):
        raise wrong(f"the name {value!r} is reserved", "Choose another name")
    return value


def _variable(value: str) -> str:
    if value.upper().startswith("FASTZERO_"):
        raise wrong(f"{value} is a setting of fastzero itself", "Choose another name")
    return value


def _splits(value: str) -> str:
    try:
        empty = not split(value)
    except ValueError as error:
        raise wrong(f"the command cannot be split into words: {str(error).lower()}", "Close the quotation") from None
    if empty or "\0" in value:
        raise wrong("the command is empty or not text", "Write a command, or remove the key")
    return value


def _service_port(value: Any) -> int | str:
    """Return a port of a service: a number, or HOST:CONTAINER as in Docker Compose."""
    numbers = [value] if type(value) is int else re.findall(r"\d+", value) if isinstance(value, str) else []
    is_pair = isinstance(value, str) and re.fullmatch(r"\d{1,5}:\d{1,5}", value, re.ASCII)
    if (type(value) is int or is_pair) and all(1 <= int(number) <= PORT_MAX for number in numbers):
        return cast("int | str", value)
    raise wrong(f"invalid port {value!r}", 'Write its number, like 6379, or "6380:6379" to choose the one on 127.0.0.1')


def _fits(*, command: bool) -> AfterValidator:
    def check(value: str, info: ValidationInfo) -> str:
        services = (info.context or {}).get("services", {})
        if found := mistake(value, services, command=command):
            raise wrong(found.message, found.hint)
        return value

    return AfterValidator(check)


def _like(pattern: str, what: str, hint: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise wrong(f"invalid {what} {value!r}", hint)
        return value

    return AfterValidator(check)


def _or_false(value: Any) -> Any:
    return None if value is False else value


def _as_table(value: Any) -> Any:
    return {"command": value} if isinstance(value, str) else value


FALSE = BeforeValidator(_or_false, json_schema_input_type=str | Literal[False])
Name = Annotated[
    str,
    _like("[a-z][a-z0-9-]{0,39}", "name", "Use 1 to 40 of a-z, 0-9 and -, and begin with a letter"),
    AfterValidator(_name),
]
Variable = Annotated[
    str,
    _like(r"[A-Za-z_]\w*", "variable", "Use letters, digits and _, and begin with a letter"),
    AfterValidator(_variable),
]
Template = Annotated[str, _like(r"[^\0]*", "text", "Remove the NUL character"), _fits(command=False)]
PlainCommand = Annotated[str, AfterValidator(_splits)]
Command = Annotated[PlainCommand, _fits(command=True)]
PathBelow = Annotated[str, AfterValidator(_path)]
InsidePath = Annotated[str, AfterValidator(_inside)]
Port = Annotated[int, Field(ge=1, le=PORT_MAX)]
ServicePort = Annotated[
    Any,
    AfterValidator(_service_port),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": PORT_MAX}, {"type": "string"}]}),
]
Seconds = Annotated[float, Field(ge=0, le=3600)]
Object = Annotated[
    str,
    _like(
        r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?",
        "object",
        'Write module and object, like "app.main:app", or "app.main:create_app()" for a factory',
    ),
]
UrlPath = Annotated[str, _like("(/[!-~]*)?", "path", 'Begin the path with a slash, like "/health"')]
Schema = Annotated[str, _like(r"(?!pg_)[^\0]{1,63}", "schema", "Use up to 63 characters that do not begin with pg_")]
Extension = Annotated[str, _like(r"[A-Za-z0-9_-]{1,63}", "extension", 'Use the extension\'s name, like "uuid-ossp"')]
Memory = Annotated[str, _like(r"[1-9]\d*[kmg]", "amount of memory", 'Write a number and a unit, like "512m"')]
Capability = Annotated[str, _like("[A-Z_]+", "capability", 'Write it like "NET_BIND_SERVICE"')]
Image = Annotated[str, _like(r"[\w./:@-]+", "image", 'Write an image\'s name, like "redis:8"')]


# -- tables ----------------------------------------------------------------------------------------------------


def _key(description: str, default: Any = None, **limits: Any) -> Any:
    kind = "default_factory" if callable(default) else "default"
    return Field(**{kind: default}, description=description, **limits)


class Table(BaseModel):
    """A table that does not accept unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ProcessTable(Table):
    command: Command = Field(description="The command that runs it.")
    port: Port | None = _key("The port on 127.0.0.1 that it listens on; it gets it as PORT and {app_port}.")
    health: Annotated[UrlPath | None, FALSE] = _key(
        "The path that answers when it is ready; false: an open port is enough.", ""
    )
    replicas: int = _key("How many run at once; one that listens on a port only in a swarm.", 1, ge=1, le=64)
    restart: Restart = _key("When it is started again: on-failure, always or no.", "on-failure")
    grace_period: Seconds = _key("Seconds that it must keep running to be ready, where it has no port.", 2.0)
    stop_timeout: Seconds = _key("Seconds between SIGTERM and SIGKILL.", 10.0)


class DatabaseTable(Table):
    schemas: list[Schema] = _key("Schemas to create before the first migration.", list)
    extensions: list[Extension] = _key("Extensions to create before the first migration.", list)
    superuser: bool = _key("Whether the application's role is a superuser of its database server.", False)


class ContainerTable(Table):
    read_only: bool = _key("Whether the container's own files cannot be changed.", True)
    writable: list[InsidePath] = _key("Paths inside that it may write to; lost with it.", lambda: ["/tmp"])  # noqa: S108
    user: str | None = _key("The user inside, instead of the image's own.")
    capabilities: list[Capability] = _key("Linux capabilities to keep; none by default.", list)
    memory: Memory | None = _key("The most memory that each process may use.")


class ApplicationTable(Table):
    """Your own application: its processes, its migrations and its environment."""

    asgi: Object | None = _key("The ASGI application that uvicorn serves, as module:object; a factory ends in ().")
    wsgi: Object | None = _key("The WSGI application that gunicorn serves, as module:object; a factory ends in ().")
    command: Command | None = _key("The command of the web process, instead of asgi or wsgi.")
    port: Port = _key("The web process's port on 127.0.0.1.", DEFAULT_PORT)
    health: Annotated[UrlPath | None, FALSE] = _key(
        "The path that answers when the web process is ready; by default any answer will do.", ""
    )
    directory: PathBelow = _key("Where commands run, below this folder.", ".")
    processes: dict[
        Name, Annotated[ProcessTable, BeforeValidator(_as_table, json_schema_input_type=str | ProcessTable)]
    ] = _key("Further processes by name: a command, or a table.", dict)
    migrate: Annotated[Command | None, FALSE] = _key(
        "The command that migrates; by default `alembic upgrade head` where Alembic is configured. false: none."
    )
    after_migrate: Command | None = _key(
        "A command to run after migrations, such as one that fills in first data; `fastzero test` does not run it."
    )
    test: Command = _key("What `fastzero test` runs.", "pytest")
    environment: dict[Variable, Template] = _key("Variables of every process; they may hold placeholders.", dict)
    env_from: list[PathBelow] = _key("Files of variables that count where nothing else sets them.", list)
    python: str | None = _key("The interpreter: a version such as 3.12, an environment's folder, or a path.")
    install: Command | None = _key("The command that installs dependencies; by default it follows from the lock file.")
    extras: list[str] = _key("Optional dependencies of the project to install.", list)
    groups: list[str] = _key("Dependency groups to install.", list)
    dockerfile: Annotated[PathBelow | None, FALSE] = _key("The Dockerfile; false: fastzero makes one.")
    target: str | None = _key("The stage of the Dockerfile to build.")
    context: PathBelow | None = _key("The folder that the Dockerfile is built in.")
    build_args: dict[str, str] = _key("Build arguments of the Dockerfile.", dict)
    image: Image | None = _key("The image that fastzero's Dockerfile starts from, such as python:3.13-slim.")
    container: ContainerTable = _key("How the application's containers are confined.", ContainerTable)
    database: DatabaseTable = _key("What the application needs in its database.", DatabaseTable)
    watch: list[PathBelow] = _key(
        "What `up --reload` watches, all files below; by default the sources in the directory.", list
    )


class ServiceContainerTable(Table):
    """How to confine a third-party image. Its entrypoint often starts as root and writes to the image's files."""

    read_only: bool = _key("Whether the container's own files cannot be changed.", False)
    writable: list[InsidePath] = _key("Paths inside that it may write to; lost with it.", list)
    user: str | None = _key("The user inside, instead of the image's own.")
    capabilities: list[Capability] = _key(
        "Linux capabilities to keep; by default those that entrypoints need.", lambda: list(ENTRYPOINT_CAPABILITIES)
    )
    memory: Memory | None = _key("The most memory that it may use.")


class ServiceTable(Table):
    """A service besides the database. Redis and Valkey do not require any keys."""

    image: Image | None = _key("Its image.")
    ports: list[ServicePort] = _key(
        'The ports that it listens on inside, the main one first; "6380:6379" chooses the one on 127.0.0.1.',
        list,
    )
    volume: InsidePath | None = _key("The path of its data inside; without one its data is lost with its container.")
    health: PlainCommand | None = _key(
        "A command inside its container that succeeds when it is ready; by default its main port answers."
    )
    command: PlainCommand | None = _key("Its command, instead of the image's own.")
    program: PlainCommand | None = _key(
        "The command that runs it without Docker, on {app_host} and {app_port}, with its data in the working directory."
    )
    environment: dict[Variable, str] = _key("Its variables.", dict)
    container: ServiceContainerTable = _key("How its container is confined.", ServiceContainerTable)


class File(BaseModel):
    """The keys of `fastzero.toml` about an application. The other keys are settings of fastzero."""

    application: ApplicationTable | None = None
    services: dict[Name, ServiceTable] = {}
