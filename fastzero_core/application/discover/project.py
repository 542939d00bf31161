"""Collect everything that is found about a folder's application, in the order of fastzero.toml."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from ...errors import NotFoundError
from ..installation import (
    Installation,
    allowed_minors,
    declared,
    environment_folder,
    installation,
    interpreter,
    project_of,
    python_command,
    requirement_names,
)
from ..sources import MOST, Sources, table_at
from .brokers import brokers
from .extras import addresses_of, notes, services
from .findings import Discovery, Finding, Note
from .images import build
from .objects import ASGI, Objects
from .obstacles import other_database, unfinished, without_driver
from .readiness import health
from .schema import Schema, lacking, schema
from .started import FoundCommand, found_commands, project_at
from .suites import suite
from .usages import Usages
from .variables import Variables, drivers_of
from .web import Served, served
from .workers import after_migrate, workers

_ORDER = (
    "asgi",
    "wsgi",
    "command",
    "directory",
    "health",
    "migrate",
    "after_migrate",
    "test",
    "env_from",
    "python",
    "install",
    "dockerfile",
    "context",
    "target",
    "environment",
    "processes",
    "database",
    "services",
)
_ASGI_SERVERS = {
    "hypercorn": "hypercorn {} --bind {{app_host}}:{{app_port}}",
    "granian": "granian --interface asgi {} --host {{app_host}} --port {{app_port}}",
    "daphne": "daphne --bind {{app_host}} --port {{app_port}} {}",
}


def _asgi_command(server: str, reference: str) -> str:
    """Return the command that serves an object with a server other than uvicorn."""
    plain = reference.removesuffix("()")
    if plain == reference:
        return _ASGI_SERVERS[server].format(reference)
    return _ASGI_SERVERS[server].format(f"--factory {plain}" if server == "granian" else f"'{reference}'")


def _beside_service(process: Finding, keys: list[str]) -> Finding:
    """Return a process under another name if a service has its name, which variables refer to."""
    name = process.key.removeprefix("processes.")
    if f"services.{name}" not in keys:
        return process
    return replace(process, key=f"{process.key}-process", why=f"{process.why}; a service is called {name} too")


def discover(folder: Path, extensions: frozenset[str] | None = None) -> Discovery:
    """Return what is found about the application in a folder.

    `extensions` are those that the embedded PostgreSQL has, None if that is unknown. Raises NotFoundError if the folder
    does not exist.
    """
    if not folder.is_dir():
        problem = f"{str(folder)!r} is not a folder" if folder.exists() else f"folder {str(folder)!r} does not exist"
        raise NotFoundError(problem, hint="Name the folder of an application")
    return _Project(Sources(folder), extensions).discovery()


class _Project:
    """The steps of one discovery. Each uses the results of the steps before it."""

    def __init__(self, sources: Sources, extensions: frozenset[str] | None) -> None:
        self.sources = sources
        self.extensions = extensions
        self.objects = Objects(sources)
        self.commands: list[FoundCommand] = found_commands(sources)
        self.dependencies = self._dependencies()
        self.schema: Schema = schema(sources, self.commands, self.dependencies)
        near = [self.schema.folder] if self.schema.folder is not None else []
        self.choices: list[Served] = served(sources, self.objects, self.commands, near)
        self.web: Served | None = self.choices[0] if len(self.choices) == 1 else None
        self.directory: str = self._directory()
        imported = (self.web.object.folder,) if self.web else ()
        self.usages = Usages(sources, tuple({self.directory, *imported}))
        self.notes: list[Note] = list(self.schema.notes)

    def discovery(self) -> Discovery:
        found = [each for each in self._findings() if each is not None]
        known: dict[str, Finding] = {}
        for each in found:
            known.setdefault(each.key, each)
        ordered = sorted(known.values(), key=lambda each: _ORDER.index(each.key.partition(".")[0]))
        return Discovery(self.sources.folder, tuple(ordered), tuple(self.notes))

    def _findings(self) -> Iterator[Finding | None]:
        yield from self._web()
        if self.directory:
            yield Finding("directory", self.directory, self._directory_reason(), "commands run there")
        yield health(self.sources, self.web.object if self.web else None)
        yield from self.schema.findings
        yield after_migrate(self.commands, self.sources, self.directory)
        yield suite(self.sources, self.directory, has_pytest=not self.dependencies or self._has("pytest"))
        beside = self._beside()
        known = {each.key for each in beside if each.is_written}
        yield from (each for each in self._environment() if each and each.key not in known)
        yield from self._installed()
        yield from build(self.sources, self.directory)
        yield from beside
        self.notes += notes(self.sources, {each.key: each for each in beside})
        self._tell_lacking()
        self.notes += unfinished(self.sources, self.directory)
        if self.sources.truncated:
            self.notes.append(
                Note(f"Only the first {MOST:,} files were read", hint="Describe a part: fastzero init FOLDER")
            )

    # -- the web process ---------------------------------------------------------------------------------------

    def _web(self) -> Iterator[Finding]:
        if not self.choices:
            question = "Application that serves HTTP, as module:object (empty: none)"
            yield Finding("asgi", None, "", "no ASGI or WSGI application was found", question)
        elif self.web is None:
            yield self._several()
        else:
            yield self._server(self.web)

    def _several(self) -> Finding:
        """Return the question which application to serve. Applications in other folders need a file of their own."""
        folders = {each.object.folder for each in self.choices}
        if len(folders) > 1:
            places = ", ".join(folder or "." for folder in sorted(folders))
            self.notes.append(
                Note(f"Several folders have an application: {places}", hint="Describe one: fastzero init FOLDER")
            )
        references = tuple(dict.fromkeys(each.object.reference for each in self.choices))
        question = "Application that serves HTTP, as module:object"
        return Finding("asgi", None, self.choices[0].where, "several applications", question, references)

    def _server(self, web: Served) -> Finding:
        reference, program = web.object.reference, web.program
        kind = web.object.kind or ("wsgi" if program in ("gunicorn", "waitress-serve") else ASGI)
        if kind == ASGI:
            other = next(
                (name for name in (program, *_ASGI_SERVERS) if name in _ASGI_SERVERS and self._has(name)), None
            )
            if other and not self._has("uvicorn"):
                return Finding("command", _asgi_command(other, reference), web.where, f"{other} is installed")
            self._tell_server("uvicorn")
            return Finding("asgi", reference, web.where, web.why)
        if self._has("gunicorn"):
            return Finding("wsgi", reference, web.where, web.why)
        return self._wsgi_without_gunicorn(web)

    def _wsgi_without_gunicorn(self, web: Served) -> Finding:
        reference = web.object.reference
        if self._has("waitress"):
            option = "--call " if reference.endswith("()") else ""
            command = f"waitress-serve --listen={{app_host}}:{{app_port}} {option}{reference.removesuffix('()')}"
            return Finding("command", command, web.where, "waitress is installed")
        if web.object.framework == "django":
            command = "python manage.py runserver {app_host}:{app_port} --noreload"
            return Finding("command", command, web.where, "Django without gunicorn: its development server")
        if web.object.framework == "flask" or self._has("flask"):
            command = f"flask --app {reference.removesuffix('()')} run --host {{app_host}} --port {{app_port}}"
            return Finding("command", command, web.where, "Flask without gunicorn: its development server")
        self._tell_server("gunicorn")
        return Finding("wsgi", reference, web.where, web.why)

    def _tell_server(self, server: str) -> None:
        if self.dependencies and not self._has(server):
            self.notes.append(
                Note(f"{server} is not among the dependencies", hint="Add it, or set command in fastzero.toml")
            )
        elif group := self._group(server):
            self.notes.append(
                Note(
                    f"{server} is a dependency of {group} alone", hint="Images need it too: add it to the project's own"
                )
            )

    def _has(self, name: str) -> bool:
        return self._group(name) is not None

    def _group(self, name: str) -> str | None:
        """Return the group that installs a package, "" for the project itself, None if no dependency does."""
        providers = {
            "uvicorn": ("uvicorn", "fastapi[standard]", "fastapi[all]", "litestar[standard]", "fastapi-cli"),
            "granian": ("granian", "litestar-granian", "litestar-granian[uvloop]"),
        }
        groups = [self.dependencies[each] for each in providers.get(name, (name,)) if each in self.dependencies]
        return min(groups, key=bool) if groups else None

    # -- where it runs -----------------------------------------------------------------------------------------

    def _directory(self) -> str:
        """Return the folder where migrations run, else the one from which the application is imported."""
        if self.schema.folder is not None:
            return self.schema.folder
        return self.web.object.folder if self.web else ""

    def _directory_reason(self) -> str:
        if self.schema.folder is not None and self.schema.alembic:
            return self.schema.alembic.config.relative_to(self.sources.folder).as_posix()
        return self.web.object.path if self.web else ""

    def _import_path(self) -> Finding | None:
        """Return PYTHONPATH if modules are imported from another folder than the directory."""
        if self.web is None or self.web.object.folder == self.directory:
            return None
        path = os.path.relpath(self.web.object.folder or ".", self.directory or ".")
        return Finding("environment.PYTHONPATH", path, self.web.where, "modules are imported from there")

    # -- variables ---------------------------------------------------------------------------------------------

    def _environment(self) -> Iterator[Finding | None]:
        drivers = drivers_of(self.dependencies)
        is_sqlalchemy = any(
            self._has(name) for name in ("sqlalchemy", "sqlmodel", "flask-sqlalchemy", "advanced-alchemy")
        )
        known = Variables(
            self.sources, self.usages, drivers, self.directory, is_sqlalchemy=is_sqlalchemy or not self.dependencies
        )
        if self.dependencies and not drivers and self.usages.all:
            self.notes.append(without_driver(self.dependencies))
        yield self._import_path()
        yield self._named_for_migrations()
        other, _ = ("", "") if drivers else other_database(self.dependencies)
        for each in known.findings():
            is_address = str(each.value).startswith("{") and each.value != "{secret}"
            yield replace(each, active=False, why=f"the application uses {other}") if other and is_address else each
        yield known.env_from()

    def _named_for_migrations(self) -> Finding | None:
        """Return the variable with which a framework's own migration command finds the application."""
        commands = [str(each.value) for each in self.schema.findings if each.key == "migrate"]
        program = next((command.partition(" ")[0] for command in commands), "")
        if self.web is None or program not in ("flask", "litestar"):
            return None
        reference = self.web.object.reference.removesuffix("()")
        return Finding(
            f"environment.{program.upper()}_APP", reference, self.web.where, f"{program} needs it to migrate"
        )

    def _beside(self) -> list[Finding]:
        """Return the workers and the services, with the variables of their addresses."""
        described = list(services(self.sources, self.usages.all))
        keys = [each.key for each in described]
        processes = [_beside_service(each, keys) for each in workers(self.commands, self.sources, self.directory)]
        kind = "valkey" if "services.valkey" in keys else "redis"
        needed = list(brokers(self.sources, processes, kind))
        if needed:
            needed += addresses_of(kind, self.usages.all)
        return [*processes, *needed, *described]

    # -- Python ------------------------------------------------------------------------------------------------

    def _installed(self) -> Iterator[Finding]:
        root = self.sources.folder / self.directory
        python = python_command(root, self.sources.folder)
        found: Installation | None = installation(self.sources.folder, root, python=python)
        if found:
            yield Finding("install", found.command, self._relative(found.file), f"{found.tool}", active=False)
        else:
            self.notes.append(Note("No file says which dependencies to install", hint="Set install in fastzero.toml"))
        folder = self.sources.folder
        there = environment_folder(folder, root, found.file if found else None)
        minors = allowed_minors(root, folder)
        if there:
            yield Finding("python", self._relative(there), self._relative(there), "the environment there", active=False)
        elif there := interpreter(root, folder):
            why = f"of {', '.join(f'3.{minor}' for minor in minors[:3])}{' …' if minors[3:] else ''}"
            yield Finding("python", there.name.removeprefix("python"), "", why, active=False)
        else:
            least = f"3.{minors[0]}" if minors else "another version"
            text = f"This machine has no Python that the application allows: it needs {least}"
            self.notes.append(Note(text, hint=f"Install it, for example: uv python install {least}"))

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.sources.folder)

    def _dependencies(self) -> dict[str, str]:
        """Return all declared dependencies of the folder, each with its group."""
        found: dict[str, str] = {}
        for path in self.sources.named("pyproject.toml"):
            for name, group in declared(project_of((self.sources.folder / path).parent)).items():
                found[name] = min(found.get(name, group), group, key=bool)
        for path in self.sources.files:
            if "requirements" in path and path.endswith((".txt", ".in")):
                for line in self.sources.text(path).splitlines():
                    for name in requirement_names(line.partition(";")[0].partition("--hash")[0].rstrip(" \\")):
                        found.setdefault(name, "")
        for path in self.sources.named("Pipfile"):
            found |= dict.fromkeys(map(canonicalize_name, table_at(project_at(self.sources, path), "packages")), "")
        return found

    # -- missing extensions ------------------------------------------------------------------------------------

    def _tell_lacking(self) -> None:
        wanted: list[str] = next((each.value for each in self.schema.findings if each.key == "database.extensions"), [])
        for name in lacking(wanted, self.extensions):
            text = f"The embedded PostgreSQL does not have the extension {name!r}, which the migrations need"
            self.notes.append(Note(text, hint="Use containers: fastzero up --runtime docker"))
