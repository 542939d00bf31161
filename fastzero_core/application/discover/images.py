"""Find out how to build the application's image, from its Compose files and Dockerfiles."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from ..sources import Sources
from .compose import ComposeService, compose_files, services_of
from .findings import Finding

_PYTHON = re.compile(r"python|uvicorn|gunicorn|fastapi|\buv\b|poetry")
_DATABASE = re.compile(r"^FROM\s+\S*(postgres|postgis)", re.MULTILINE)
_OTHERS = re.compile(r"(^|/)(Dockerfile\.(prod|production|app|web)|docker/Dockerfile|docker/[\w-]+/Dockerfile)$")


def build(sources: Sources, directory: str) -> Iterator[Finding]:
    """Yield the keys to build the image that do not follow from a Dockerfile in its usual place."""
    near = [path for path in (f"{directory}/Dockerfile".lstrip("/"), "Dockerfile") if sources.has(path)]
    for path in compose_files(sources):
        for service in services_of(sources, path):
            if found := list(_of_service(sources, service, path, near)):
                yield from found
                return
    others = list(filter(_OTHERS.search, sources.files))
    if others and not near:
        yield Finding("dockerfile", others[0], others[0], "the only Dockerfile that looks like the application's")
        yield Finding("context", ".", others[0], "a Dockerfile in a folder of its own is built at the top")


def _of_service(sources: Sources, service: ComposeService, path: str, near: list[str]) -> Iterator[Finding]:
    context, dockerfile = _built_from(service, path)
    if not dockerfile or not _PYTHON.search(_text(sources, dockerfile)):
        return
    why = "as the Compose file builds it"
    if [dockerfile] != near[:1]:
        yield Finding("dockerfile", dockerfile, service.where, why)
    if context != str(PurePosixPath(dockerfile).parent):
        yield Finding("context", context, service.where, why)
    if target := service.build.get("target"):
        yield Finding("target", str(target), service.where, why)


def is_run(sources: Sources, service: ComposeService) -> bool:
    """Return whether fastzero runs a service of a Compose file: the database, the application and its commands.

    A service with a build section that depends on the database is the application too if its Dockerfile is missing.
    """
    if service.is_postgres or not (service.image or service.build):
        return True
    path = service.where.rpartition(":")[0]
    _, dockerfile = _built_from(service, path)
    if dockerfile and not sources.has(dockerfile):
        return any(each.is_postgres and each.name in service.needs for each in services_of(sources, path))
    text = _text(sources, dockerfile) if dockerfile else ""
    return bool(_PYTHON.search(text) or _DATABASE.search(text))


def _text(sources: Sources, path: str) -> str:
    return sources.text(path) if sources.has(path) else ""


def _built_from(service: ComposeService, path: str) -> tuple[str, str | None]:
    """Return the context and the Dockerfile of a service.

    The Dockerfile is None if the service is not built, or if a path leads out of the folder.
    """
    if not service.build:
        return ".", None
    context = _below(PurePosixPath(path).parent / str(service.build.get("context", ".")))
    if context is None:
        return ".", None
    return context, _below(PurePosixPath(context) / str(service.build.get("dockerfile", "Dockerfile")))


def _below(path: PurePosixPath) -> str | None:
    """Return a path without `.` and `..`, None if it leads out of the folder."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and not parts:
            return None
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts) or "."
