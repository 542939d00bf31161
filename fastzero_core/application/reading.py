"""Read an application's description from fastzero.toml. Every error has the file, the line and a remedy."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from ..config_files import PROJECT_FILE, read_bounded
from ..errors import InvalidInputError
from ..postgres.provisions import DatabaseNeeds
from ..toml_lines import has_long_key, line_numbers
from .description import (
    WEB,
    Application,
    Build,
    Container,
    ExtraService,
    Migrate,
    Process,
)
from .migrations import DEFAULT_COMMAND, alembic_command, has_alembic
from .placeholders import program_mistake
from .tables import ApplicationTable, File, ProcessTable, ServiceContainerTable, ServiceTable, Table

FILE = PROJECT_FILE
TABLES = ("application", "services")
SERVERS = {"redis": "redis:8", "valkey": "valkey/valkey:8"}
REDIS_PORT = 6379
_DOCKERFILE = "Dockerfile"


class Mistake(NamedTuple):
    """A mistake at a key of the file, and its remedy."""

    path: tuple[str, ...]
    message: str
    hint: str


def application_of(folder: Path) -> Application | None:
    """Return the application that a folder's fastzero.toml describes, None if it does not describe one.

    Raises InvalidInputError for a mistake, with file and line; NotAllowedError, UnavailableError if it cannot be read.
    """
    return parse(read_bounded(folder / FILE), folder)


def parse(text: str, folder: Path, label: str = FILE) -> Application | None:
    """Return the application that a text describes, None if it does not describe one.

    `label` is the name of the text in errors. Raises InvalidInputError.
    """
    document = load(text, label)
    described = {name: document[name] for name in TABLES if name in document}
    if not described:
        return None
    try:
        file = _validated(described)
    except ValidationError as error:
        raise _first(list(map(_told, error.errors())), text, label) from None
    mistakes = list(_contradictions(file, document, folder))
    if file.application is None or mistakes:
        raise _first(mistakes, text, label)
    lines = line_numbers(text) if file.services else {}
    services = [
        replace(_service(name, each), line=_line(("services", name), lines)) for name, each in file.services.items()
    ]
    return replace(_application(file.application, folder.absolute()), services=tuple(services))


def load(text: str, label: str = FILE) -> dict[str, Any]:
    """Return a TOML text as a dictionary. Raises InvalidInputError, for a syntax error with its line."""
    if has_long_key(text):
        raise InvalidInputError(f"{label} is nested too deeply", field=label, hint="Make it flatter")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).partition(" (at ")
        line = place.split()[1].rstrip(",") if place.startswith("line") else str(text.count("\n") + 1)
        message = f"{label}:{line}: {reason[:1].lower()}{reason[1:]}"
        raise InvalidInputError(message, field=label, hint="Correct the line; see https://toml.io") from None
    except RecursionError:
        raise InvalidInputError(f"{label} is nested too deeply", field=label, hint="Make it flatter") from None
    except ValueError as error:  # an integer of thousands of digits
        raise InvalidInputError(f"{label}: {error}", field=label, hint="Correct that value") from None


# -- mistakes --------------------------------------------------------------------------------------------------


def _validated(described: Mapping[str, Any]) -> File:
    """Return the tables. Validates services first, since placeholders refer to them."""
    services = File.model_validate({"services": described.get("services", {})}).services
    ports = {name: _service(name, table).ports for name, table in services.items()}
    application = {name: described[name] for name in described if name == "application"}
    return File.model_validate({**application, "services": described.get("services", {})}, context={"services": ports})


def _first(mistakes: list[Mistake], text: str, label: str) -> InvalidInputError:
    lines = line_numbers(text)
    mistakes.sort(key=lambda each: (_line(each.path, lines), each.message.endswith("missing")))
    path, message, hint = mistakes[0]
    more = f" ({len(mistakes) - 1} more after it)" if len(mistakes) > 1 else ""
    name = ".".join(path)
    return InvalidInputError(f"{label}:{_line(path, lines)}: {name}: {message}{more}", field=name, hint=hint)


def _line(path: tuple[str, ...], lines: Mapping[tuple[str, ...], int]) -> int:
    """Return the line of a key, or of the nearest table that contains it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _told(error: Any) -> Mistake:
    path = tuple(str(part) for part in error["loc"] if part != "[key]")
    context = error.get("ctx", {})
    match error["type"]:
        case "value":
            return Mistake(path, context["message"], context["hint"])
        case "extra_forbidden":
            return Mistake(path, "unknown key", _nearest(path))
        case "missing":
            return Mistake(path[:-1], f"{path[-1]!r} is missing", f"Add: {path[-1]} = …")
        case "greater_than_equal":
            return Mistake(path, f"{error['input']} is too small", f"Use {context['ge']} or more")
        case "less_than_equal":
            return Mistake(path, f"{error['input']} is too large", f"Use {context['le']} or less")
        case "literal_error":
            return Mistake(path, f"{error['input']!r} is not a choice", f"Use one of: {context['expected']}")
        case kind:
            return _mistyped(path, kind, error["input"])


_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}


def _mistyped(path: tuple[str, ...], kind: str, value: Any) -> Mistake:
    key, shown = path[-1], str(value).lower() if isinstance(value, bool) else value
    if "environment" in path:
        shown = "…"  # it may be a secret
    hints = {
        "string_type": f'Write it in quotes: {key} = "{shown}"',
        "int_type": f"Write it without quotes, like {key} = 8000",
        "bool_type": f"Write {key} = true or {key} = false, without quotes",
        "list_type": f"Write it in brackets: {key} = [{value!r}]".replace("'", '"'),
    }
    hint = hints.get(kind, f"Write a table: [{'.'.join(path)}]")
    return Mistake(path, f"must be {_KINDS.get(kind, kind)}", hint)


def _nearest(path: tuple[str, ...]) -> str:
    """Return the hint for an unknown key: a similar key of its table, else all keys of the table."""
    keys = list(_table_at(path[:-1]).model_fields)
    near = get_close_matches(path[-1], keys, 1)
    return f"Did you mean {near[0]!r}?" if near else f"Keys there: {', '.join(keys)}"


def _table_at(path: tuple[str, ...]) -> type[BaseModel]:
    match path:
        case ("services", _):
            return ServiceTable
        case ("services", _, "container"):
            return ServiceContainerTable
        case ("application", "processes", _):
            return ProcessTable
        case ("application", name):
            return type(getattr(ApplicationTable(), name))
    return ApplicationTable


def _contradictions(file: File, document: Mapping[str, Any], folder: Path) -> Iterator[Mistake]:
    """Yield the mistakes that the check of a single key cannot find."""
    table = file.application
    if table is None:
        yield Mistake(("services",), "[application] is missing", "Services belong to an application: fastzero init")
        return
    yield from _two_webs(table)
    for name in table.processes.keys() & file.services.keys():
        what = f"a service is called {name!r} too"
        yield Mistake(("application", "processes", name), what, "Give one of them another name")
    yield from _of_services(table, file.services)
    yield from _absent(table, folder)


def _of_services(table: ApplicationTable, services: Mapping[str, ServiceTable]) -> Iterator[Mistake]:
    replicas = {f"{name}-{number + 1}" for name, each in table.processes.items() for number in range(each.replicas)}
    others = replicas | ({WEB} if table.command or _server(table) else set())
    published: dict[int, str] = {}
    for name, service in services.items():
        if service.image is None and name not in SERVERS:
            yield Mistake(("services", name), "'image' is missing", 'Name its image, like image = "axllent/mailpit"')
        if name in others and name not in table.processes:
            yield Mistake(("services", name), f"a process is called {name!r} too", "Give the service another name")
        described = _service(name, service)
        if found := program_mistake(described.program or "", described.ports):
            yield Mistake(("services", name, "program"), found.message, found.hint)
        for port in described.published.values():
            if port in published:
                what = f"port {port} on 127.0.0.1 is that of {published[port]} already"
                yield Mistake(("services", name, "ports"), what, "Choose another one, or write the port's number alone")
            published[port] = name


def _two_webs(table: ApplicationTable) -> Iterator[Mistake]:
    given = [name for name in ("asgi", "wsgi", "command") if getattr(table, name)]
    if len(given) > 1:
        yield Mistake(
            ("application", given[1]), f"the web process has {given[0]!r} already", f"Keep one of: {', '.join(given)}"
        )
    if WEB in table.processes:
        for name in [*given, *({"port", "health"} & table.model_fields_set)]:
            hint = f"Keep it in one place: move {name!r} into [application.processes.web], or remove that table"
            yield Mistake(("application", name), "the web process is described under processes too", hint)


def _absent(table: ApplicationTable, folder: Path) -> Iterator[Mistake]:
    """Yield a mistake for each path in the file that does not exist, or that leads out of the folder by a link."""
    single = {name: getattr(table, name) for name in ("directory", "dockerfile", "context")}
    named = [(("application", name), value) for name, value in single.items() if value]
    named += [(("application", name), value) for name in ("env_from", "watch") for value in getattr(table, name)]
    for path, value in named:
        target = folder / value
        if not target.exists():
            yield Mistake(path, f"{value!r} does not exist", f"Create {target}, or correct the path")
        elif not target.resolve().is_relative_to(folder.resolve()):
            yield Mistake(path, f"{value!r} leads out of the folder", "Use a path below the folder of fastzero.toml")


# -- the description -------------------------------------------------------------------------------------------


def _application(table: ApplicationTable, folder: Path) -> Application:
    return Application(
        folder=folder,
        directory=table.directory,
        processes=tuple(_processes(table)),
        migrate=_migrate(table, folder / table.directory),
        after_migrate=table.after_migrate,
        test=table.test,
        environment=table.environment,
        env_from=tuple(table.env_from),
        python=table.python,
        install=table.install,
        extras=tuple(table.extras),
        groups=tuple(table.groups),
        build=_build(table, folder),
        container=Container(**_values(table.container)),
        database=DatabaseNeeds(**_values(table.database)),
        watch=tuple(table.watch or [table.directory]),
    )


def _values(table: Table) -> dict[str, Any]:
    """Return the values of a table, lists as tuples, for the dataclass that has the same fields."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in dict(table).items()}


def _processes(table: ApplicationTable) -> Iterator[Process]:
    if command := table.command or _server(table):
        yield Process(WEB, command, table.port, table.health)
    for name, process in table.processes.items():
        values = _values(process)
        if name == WEB:
            values["port"] = process.port or table.port
        if values["port"]:  # only in a swarm can several listen on one port
            values |= {"replicas": 1, "tasks": process.replicas}
        yield Process(name, **values)


def _server(table: ApplicationTable) -> str | None:
    """Return the command that serves the ASGI or WSGI application."""
    if table.asgi:
        factory = " --factory" if table.asgi.endswith("()") else ""
        return f"python -m uvicorn {table.asgi.removesuffix('()')}{factory} --host {{app_host}} --port {{app_port}}"
    if table.wsgi:
        return f"python -m gunicorn '{table.wsgi}' --bind {{app_host}}:{{app_port}}"
    return None


def _migrate(table: ApplicationTable, root: Path) -> Migrate:
    default = DEFAULT_COMMAND if has_alembic(root) else None
    command = table.migrate if "migrate" in table.model_fields_set else default
    return Migrate(command, alembic_command(command) if command else None)


def _build(table: ApplicationTable, folder: Path) -> Build:
    dockerfile = table.dockerfile
    if "dockerfile" not in table.model_fields_set:
        nearest = (Path(table.directory) / _DOCKERFILE, Path(_DOCKERFILE))
        dockerfile = next((str(path) for path in nearest if (folder / path).is_file()), None)
    context = table.context or (str(Path(dockerfile).parent) if dockerfile else ".")
    return Build(dockerfile, table.target, context, table.build_args, table.image)


def _service(name: str, table: ServiceTable) -> ExtraService:
    pairs = [(host, int(inside)) for host, _, inside in (str(port).rpartition(":") for port in table.ports)]
    values = _values(table) | {
        "ports": tuple(inside for _, inside in pairs),
        "published": {inside: int(host) for host, inside in pairs if host},
    }
    container = _values(table.container)
    if name in SERVERS:
        values |= {key: value for key, value in _known(name, values["ports"]).items() if not values[key]}
        container["read_only"] = table.container.read_only or "read_only" not in table.container.model_fields_set
    return ExtraService(name, **{**values, "container": Container(**container)})


def _known(name: str, ports: tuple[int, ...]) -> dict[str, Any]:
    """Return the defaults for Redis and Valkey. A server that requires a password is also ready."""
    [port, *_] = ports or (REDIS_PORT,)
    return {
        "image": SERVERS[name],
        "ports": (REDIS_PORT,),
        "volume": "/data",
        "health": f"{name}-cli -p {port} ping | grep -qE 'PONG|NOAUTH'",
        "program": f"{name}-server --bind {{app_host}} --port {{app_port}}",
    }
