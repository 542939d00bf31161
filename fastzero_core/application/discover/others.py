"""Workers, readiness, first data, images and the services of a Compose file."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from ..sources import Sources
from .compose import ComposeService, compose_files, services_of
from .findings import Finding, Note
from .objects import AppObject
from .started import FoundCommand
from .usages import Usage

_HEALTH = re.compile(
    r"/(health|healthz|healthcheck|health-check|health_check|livez|readyz|ready|ping|up|status|heartbeat)/?$"
)
_PYTHON = re.compile(r"python|uvicorn|gunicorn|fastapi|\buv\b|poetry")
_OTHER_DOCKERFILE = re.compile(
    r"(^|/)(Dockerfile\.(prod|production|app|web)|docker/Dockerfile|docker/[\w-]+/Dockerfile)$"
)
_ROUTE = ("get", "api_route", "route")
_KNOWN_SERVICES = {"redis": "redis", "valkey": "valkey"}
_WAYS_OUT = "Run it with Docker Compose, or describe it in a table [services.{}]"


# -- workers ---------------------------------------------------------------------------------------------------


def workers(commands: list[FoundCommand]) -> Iterator[Finding]:
    """Yield the processes beside the web process, by name; each command once."""
    seen: dict[tuple[str, ...], str] = {}
    names: set[str] = set()
    for command in commands:
        kind = _kind_of_worker(command)
        if not kind or command.words in seen or command.origin == "script":
            continue
        name = _process_name(
            command.name if command.origin in ("procfile", "compose", "task") and command.name else kind
        )
        if name in names:
            continue
        names.add(name)
        seen[command.words] = name
        yield Finding(f"processes.{name}", _without_reload(command), command.where, kind)


def _kind_of_worker(command: FoundCommand) -> str:
    words = command.words[1:]
    match command.program:
        case "celery" if "worker" in words or "beat" in words:
            return "worker" if "worker" in words else "beat"
        case "arq" | "dramatiq" | "faststream" if words and words[0] not in ("--help", "docs"):
            return command.program
        case "rq" | "taskiq" | "procrastinate" if any(word in ("worker", "scheduler") for word in words):
            return "scheduler" if "scheduler" in words else command.program
        case "huey_consumer" | "huey_consumer.py" | "rqworker" | "saq" if words:
            return command.program.partition("_")[0]
        case "python" | "python3" if command.origin in ("procfile", "compose") and command.name in (
            "worker",
            "scheduler",
            "consumer",
            "beat",
        ):
            return command.name
    return ""


def _process_name(text: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:40] or "worker"


def _without_reload(command: FoundCommand) -> str:
    import shlex

    return shlex.join(word for word in command.words if word != "--reload")


# -- readiness -------------------------------------------------------------------------------------------------


def health(
    sources: Sources, commands: list[FoundCommand], app: AppObject | None, usages: Mapping[str, Usage]
) -> Finding | None:
    """Return the path that tells whether the web process is ready, None where nothing tells it surely."""
    for path in compose_files(sources):
        for service in services_of(sources, path):
            if service.health and not service.is_postgres and (service.build or not service.image):
                return Finding("health", service.health, service.where, "the Compose health check")
    for path in sources.files:
        if "dockerfile" in path.lower() and (
            match := re.search(r"HEALTHCHECK[^\n]*(?:\\\n[^\n]*)*?https?://[^/\s]+(/[\w/-]*)", sources.text(path))
        ):
            return Finding("health", match[1], path, "its HEALTHCHECK")
    return (
        _route(sources, app, usages) if app and app.framework in ("fastapi", "starlette", "flask", "litestar") else None
    )


def _route(sources: Sources, app: AppObject, usages: Mapping[str, Usage]) -> Finding | None:
    """A route of the application object itself; one of a router has prefixes that only running it tells for sure."""
    tree = sources.tree(app.path)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                match decorator:
                    case ast.Call(
                        func=ast.Attribute(value=ast.Name(id=owner), attr=method),
                        args=[ast.Constant(value=str(path)), *_],
                    ):
                        if owner == app.name and method in _ROUTE and _HEALTH.search(path):
                            return Finding("health", path, f"{app.path}:{decorator.lineno}", f"a route of {owner}")
    return None


# -- first data ------------------------------------------------------------------------------------------------


def after_migrate(commands: list[FoundCommand]) -> Finding | None:
    """Return the command that a script runs right after the migrations, and that is no server."""
    for at, command in enumerate(commands):
        is_upgrade = command.program == "alembic" and "upgrade" in command.words
        for following in commands[at + 1 :] if is_upgrade else ():
            if following.where.rpartition(":")[0] != command.where.rpartition(":")[0] or following.name != command.name:
                break
            if following.program in ("python", "python3") and len(following.words) > 1 and _is_seed(following):
                import shlex

                return Finding(
                    "after_migrate", shlex.join(following.words), following.where, "runs after the migrations"
                )
    return None


def _is_seed(command: FoundCommand) -> bool:
    return (
        bool(re.search(r"init|seed|initial|fixture|create|load|data", " ".join(command.words[1:])))
        and "uvicorn" not in command.words
    )


# -- images ----------------------------------------------------------------------------------------------------


def build(sources: Sources, directory: str) -> Iterator[Finding]:
    """Yield how the application's image is built, where that does not follow from a Dockerfile in its usual place."""
    if found := next(filter(None, _built(sources, directory)), None):
        yield from found
        return
    usual = [f"{directory}/Dockerfile".removeprefix("./"), "Dockerfile"]
    others = list(filter(_OTHER_DOCKERFILE.search, sources.files))
    if others and not any(sources.has(path) for path in usual):
        yield Finding("dockerfile", others[0], others[0], "the only Dockerfile that looks like the application's")
        yield Finding("context", ".", others[0], "a Dockerfile in a folder of its own is built at the top")


def _built(sources: Sources, directory: str) -> Iterator[list[Finding]]:
    """Yield how each service of the Compose files is built."""
    for path in compose_files(sources):
        for service in services_of(sources, path):
            if service.build and not service.is_postgres:
                yield list(_build(sources, service, PurePosixPath(path).parent, directory))


def _build(sources: Sources, service: ComposeService, base: PurePosixPath, directory: str) -> Iterator[Finding]:
    context = _below(base / str(service.build.get("context", ".")))
    dockerfile = (
        _below(PurePosixPath(context) / str(service.build.get("dockerfile", "Dockerfile"))) if context else None
    )
    if not context or not dockerfile or not sources.has(dockerfile) or not _is_python(sources, dockerfile):
        return
    default = next(
        (path for path in (f"{directory}/Dockerfile".removeprefix("./"), "Dockerfile") if sources.has(path)), None
    )
    if dockerfile != default:
        yield Finding("dockerfile", dockerfile, service.where, "as the Compose file builds it")
    if context != str(PurePosixPath(dockerfile).parent):
        yield Finding("context", context, service.where, "as the Compose file builds it")
    if target := service.build.get("target"):
        yield Finding("target", str(target), service.where, "as the Compose file builds it")


def _below(path: PurePosixPath) -> str | None:
    """Return a path without dots, None for one out of the folder."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and not parts:
            return None
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts) or "."


def _is_python(sources: Sources, dockerfile: str) -> bool:
    return bool(_PYTHON.search(sources.text(dockerfile)))


# -- the services of a Compose file ----------------------------------------------------------------------------


def services(sources: Sources, web: AppObject | None, usages: Mapping[str, Usage]) -> tuple[list[Finding], list[Note]]:
    """Return the services to run beside the database, and which of the Compose file's fastzero does not run."""
    findings: list[Finding] = []
    notes: list[Note] = []
    told: set[str] = set()
    first = compose_files(sources)[:1]
    folder = PurePosixPath(first[0]).parent if first else PurePosixPath()
    for path in [each for each in compose_files(sources) if PurePosixPath(each).parent == folder]:
        every = services_of(sources, path)
        needed = {name for service in every if service.build for name in service.needs}
        for service in every:
            known = next((kind for kind in _KNOWN_SERVICES if kind in service.image.rpartition("/")[2].lower()), None)
            if known and f"services.{known}" not in {each.key for each in findings}:
                findings += _known(known, service, usages, is_needed=service.name in needed)
            elif not known and service.name not in told and not _is_run(sources, service, path):
                what = service.image or "an image of its own"
                text = f"{service.name} ({what}) of the Compose file is not run by fastzero"
                notes.append(Note(text, service.where, _WAYS_OUT.format(service.name)))
            told.add(service.name)
    return findings, notes


def _is_run(sources: Sources, service: ComposeService, path: str) -> bool:
    """Whether a service is the database, or built from the application: it, its workers, or its own commands."""
    if service.is_postgres or not (service.image or service.build):
        return True
    if not service.build:
        return False
    base = PurePosixPath(path).parent
    context = _below(base / str(service.build.get("context", ".")))
    dockerfile = (
        _below(PurePosixPath(context) / str(service.build.get("dockerfile", "Dockerfile"))) if context else None
    )
    text = sources.text(dockerfile) if dockerfile and sources.has(dockerfile) else ""
    return bool(_PYTHON.search(text) or re.search(r"^FROM\s+\S*(postgres|postgis)", text, re.MULTILINE))


def _known(kind: str, service: ComposeService, usages: Mapping[str, Usage], *, is_needed: bool) -> Iterator[Finding]:
    yield Finding(f"services.{kind}", {}, service.where, "the Compose file has it", active=is_needed)
    for name, usage in usages.items():
        if not usage.composed and (template := _redis_variable(name, kind, usage)):
            yield Finding(f"environment.{name}", template, usage.where, f"where {kind} is", active=is_needed)


def _redis_variable(name: str, kind: str, usage: Usage) -> str | None:
    upper = name.upper()
    address = f"{{service:{kind}:host}}:{{service:{kind}:port}}"
    if re.search(r"(REDIS|VALKEY)\w*_(HOST|HOSTNAME|SERVER)$", upper):
        return f"{{service:{kind}:host}}"
    if re.search(r"(REDIS|VALKEY)\w*_PORT$", upper):
        return f"{{service:{kind}:port}}"
    is_broker = re.search(r"BROKER(_URL|_URI)?$|RESULT_BACKEND$", upper) and "redis:" in (usage.default or "redis:")
    if re.search(r"\bint\b|Literal", usage.kind):
        return None
    if re.search(r"(REDIS|VALKEY)\w*_?(URL|URI|DSN)$", upper) or is_broker:
        database = re.search(r":\d+/(\d+)$", usage.default or "")
        return f"redis://{address}/{database[1] if database else 0}"
    return None
