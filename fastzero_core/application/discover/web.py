"""Find the application object that the web process serves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..sources import Sources, table_at
from .objects import ASGI, WSGI, AppObject, Objects
from .started import FoundCommand, project_at

SERVERS = {
    "uvicorn": ASGI,
    "hypercorn": ASGI,
    "daphne": ASGI,
    "granian": ASGI,
    "gunicorn": WSGI,
    "waitress-serve": WSGI,
}
_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(\))?")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_FASTAPI_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_WEB_NAMES = ("web", "app", "api", "backend", "server", "start", "run", "serve", "dev")


@dataclass(frozen=True)
class Served:
    """An application to serve, and the source and reason for it. `program` is the server, "" if it is unknown."""

    object: AppObject
    where: str
    why: str
    program: str = ""


def served(sources: Sources, objects: Objects, commands: list[FoundCommand], near: list[str]) -> list[Served]:
    """Return the applications that may be the web process: one if it is certain, several if the user must choose."""
    for found in (_entrypoints(sources, objects), _commanded(objects, commands, near)):
        if several := _distinct(found):
            return several
    return _made(objects)


def _distinct(found: Iterator[Served]) -> list[Served]:
    by_reference: dict[tuple[str, str], Served] = {}
    for each in found:
        by_reference.setdefault((each.object.folder, each.object.reference), each)
    return list(by_reference.values())


def _entrypoints(sources: Sources, objects: Objects) -> Iterator[Served]:
    for path in sources.named("pyproject.toml"):
        entrypoint = table_at(project_at(sources, path), "tool", "fastapi").get("entrypoint")
        if isinstance(entrypoint, str) and (found := objects.find(entrypoint, [path.rpartition("/")[0]])):
            yield Served(found, path, "[tool.fastapi] entrypoint", "uvicorn")


def _commanded(objects: Objects, commands: list[FoundCommand], near: list[str]) -> Iterator[Served]:
    """Yield the applications in commands of servers, from the first kind of file that has such commands."""
    origin = ""
    for command in commands:
        if origin and command.origin != origin:
            return
        if found := _of_command(objects, command, near):
            origin = command.origin
            yield found


def _of_command(objects: Objects, command: FoundCommand, near: list[str]) -> Served | None:
    folders = [command.folder, *near]
    if below := command.option("--app-dir", "--chdir"):
        folders.insert(0, f"{command.folder}/{below}".strip("/").removesuffix("/."))
    program = "uvicorn" if "uvicorn.workers.UvicornWorker" in command.words else command.program
    for reference in _references(objects, command, folders):
        if "--factory" in command.words and not reference.endswith("()"):
            reference = f"{reference}()"
        if found := objects.find(reference, folders):
            return Served(found, command.where, f"{command.program} {reference}", program)
    return None


def _references(objects: Objects, command: FoundCommand, folders: list[str]) -> Iterator[str]:
    match command.program, command.words[1:]:
        case "fastapi", ("run" | "dev", *rest):
            yield from _of_fastapi(objects, rest, folders)
        case "flask" | "litestar", _ if option := command.option("--app", "-A"):
            yield from _of_flask(objects, option, folders)
        case program, rest:
            yield from (word for word in rest if _OBJECT.fullmatch(word))
            if program == "gunicorn":
                yield from (f"{word}:application" for word in rest if _MODULE.fullmatch(word))


def _of_fastapi(objects: Objects, words: list[str], folders: list[str]) -> Iterator[str]:
    paths = [word for word in words if word.endswith(".py")] or _FASTAPI_FILES
    made = [
        each
        for folder in folders
        for path in paths
        for each in objects.all
        if each.path == f"{folder}/{path}".lstrip("/")
    ]
    yield from (each.reference for each in made)


def _of_flask(objects: Objects, option: str, folders: list[str]) -> Iterator[str]:
    if ":" in option:
        yield option
    module = option.removesuffix(".py").replace("/", ".")
    paths = {objects.file_of(module, folder) for folder in folders}
    yield from (each.reference for each in objects.all if each.path in paths)


def _made(objects: Objects) -> list[Served]:
    """Return the applications that the sources create, only those with the best rank."""
    found = [each for each in objects.all if each.kind]
    if not found:
        return []
    best = found[0]
    equal = [each for each in found if each.rank[:3] == best.rank[:3]]
    return [Served(each, each.where, f"{each.framework} object") for each in equal]
