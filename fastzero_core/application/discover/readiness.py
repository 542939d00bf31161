"""Find the path that the web process answers when it is ready."""

import ast
import re
from collections.abc import Iterator

from ..sources import Sources
from .compose import compose_files, services_of
from .findings import Finding
from .objects import AppObject
from .started import dockerfiles, whole_lines

_PATH = re.compile(r"/(health(z|check|-check|_check)?|livez|readyz?|ping|up|status|heartbeat)/?")
_HEALTHCHECK = re.compile(r"\s*HEALTHCHECK\b.*?https?://[^/\s]+(/[\w/.-]*)")


def health(sources: Sources, app: AppObject | None) -> Finding | None:
    """Return the path, None if no file shows it with certainty; then any answer is accepted."""
    return next((found for found in _candidates(sources, app)), None)


def _candidates(sources: Sources, app: AppObject | None) -> Iterator[Finding]:
    for path in compose_files(sources):
        for service in services_of(sources, path):
            if service.health and (service.build or not service.image):
                yield Finding("health", service.health, service.where, "the Compose health check")
    for path in dockerfiles(sources):
        for number, line in whole_lines(sources.text(path)):
            if match := _HEALTHCHECK.match(line):
                yield Finding("health", match[1], f"{path}:{number}", "its HEALTHCHECK")
    for route, at in _routes(sources.tree(app.path), app.name) if app else ():
        yield Finding("health", route, f"{app.path if app else ''}:{at}", "a route for it")


def _routes(tree: ast.Module | None, app: str) -> Iterator[tuple[str, int]]:
    """Yield the health routes of the object itself. Prefixes of a router's routes are only certain at run time."""
    functions = (node for node in ast.walk(tree or ast.Module([], [])))
    for function in functions:
        for decorator in getattr(function, "decorator_list", []):
            match decorator:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=owner), attr="get" | "api_route" | "route"),
                    args=[ast.Constant(value=str(path)), *_],
                ) if owner == app and _PATH.fullmatch(path):
                    yield path, decorator.lineno
