"""Find the application's migrations: their tool, their folder, and what they need in the database."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..description import AlembicCommand
from ..migrations import (
    DEFAULT_COMMAND,
    INI,
    AlembicProject,
    alembic_command,
    alembic_project,
    has_alembic,
    script_folder_of,
)
from ..sources import Sources, text_of
from .findings import Finding, Note
from .started import FoundCommand

_NAME = r"(?:IF\s+NOT\s+EXISTS\s+)?[\"']?([\w-]+)[\"']?"
_EXTENSION = re.compile(rf"CREATE\s+EXTENSION\s+{_NAME}", re.IGNORECASE)
_SCHEMA = re.compile(rf"CREATE\s+SCHEMA\s+{_NAME}", re.IGNORECASE)
_FIXED = re.compile(r"^sqlalchemy\.url\s*=\s*postgres", re.MULTILINE)
_SETS_ADDRESS = re.compile(
    r"set_(?:main|section)_option|[\"']sqlalchemy\.url[\"']\s*[\]:,]|create_(?:async_)?engine"
    r"|^\s*(?:from\s+\S+\s+)?import\b.*engine\b|environ|getenv|[sS]ettings",
    re.MULTILINE,
)
_BY_PACKAGE = {"advanced-alchemy": "litestar database upgrade --no-prompt", "aerich": "aerich upgrade"}
# Names that only the extension defines.
_USES = {
    "uuid-ossp": re.compile(r"\buuid_generate_v\d"),
    "pg_trgm": re.compile(r"\bgin_trgm_ops\b|\bgist_trgm_ops\b"),
    "pgcrypto": re.compile(r"\bgen_salt\(|\bcrypt\("),
    "citext": re.compile(r"\bCITEXT\(\)"),
    "vector": re.compile(r"\bvector_cosine_ops\b|\bVECTOR\(\d|pgvector\.sqlalchemy"),
    "postgis": re.compile(r"\bgeoalchemy2\b"),
    "hstore": re.compile(r"\bHSTORE\b"),
}


@dataclass(frozen=True)
class Schema:
    """What was found about migrations. Their command runs in `folder`, None if their tool does not determine it."""

    folder: str | None = None
    alembic: AlembicProject | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass
class _Found:
    findings: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def schema(sources: Sources, commands: list[FoundCommand], dependencies: Mapping[str, str]) -> Schema:
    """Return what is found about a project's migrations."""
    found = _alembic(sources, commands, dependencies)
    if found is None:
        return _other(sources, dependencies)
    folder, command, where = found
    project = _project(sources, folder, command)
    told = _Found()
    if project:
        _heads(project, command, where, told)
    told.findings.append(Finding("migrate", command, where, _revisions(project), active=command != DEFAULT_COMMAND))
    if project:
        _needs(project, sources, told)
        _address(project, told)
    return Schema(folder, project, tuple(told.findings), tuple(told.notes))


# -- which tool ------------------------------------------------------------------------------------------------


def _alembic(
    sources: Sources, commands: list[FoundCommand], dependencies: Mapping[str, str]
) -> tuple[str, str, str] | None:
    """Return the folder where Alembic runs, its command, and where both were found; None without Alembic."""
    if "advanced-alchemy" in dependencies:
        return None
    by_flask = any(name in dependencies for name in ("flask-migrate", "flask-alembic"))
    candidates = [*_configured(sources, by_flask), *_commanded(sources, commands)]
    real = [each for each in candidates if _has_revisions(sources, each)]
    return next(iter(real or candidates), None)


def _configured(sources: Sources, by_flask: bool) -> Iterator[tuple[str, str, str]]:
    for path in sources.named(INI, "pyproject.toml"):
        folder, _, name = path.rpartition("/")
        if by_flask and name == INI and (folder == "migrations" or folder.endswith("/migrations")):
            yield folder.rpartition("/")[0], "flask db upgrade", path
        elif has_alembic(sources.folder / folder) and (name == INI or not sources.has(f"{folder}/{INI}".lstrip("/"))):
            yield folder, DEFAULT_COMMAND, path


def _commanded(sources: Sources, commands: list[FoundCommand]) -> Iterator[tuple[str, str, str]]:
    for command in commands:
        words = alembic_command(" ".join(command.words)) if command.program == "alembic" else None
        if words and (sources.folder / command.folder / words.config).is_file():
            yield command.folder, " ".join(command.words), command.where


def _has_revisions(sources: Sources, found: tuple[str, str, str]) -> bool:
    project = _project(sources, found[0], found[1])
    return bool(project and project.revisions)


def _project(sources: Sources, folder: str, command: str) -> AlembicProject | None:
    """Return the contents of Alembic's files, None if they are outside of the searched folder."""
    words = alembic_command(command) or AlembicCommand(f"migrations/{INI}")
    script_folder = script_folder_of(sources.folder / folder, words)
    if script_folder is None or not script_folder.resolve().is_relative_to(sources.folder):
        return None
    return alembic_project(sources.folder / folder, words)


def _other(sources: Sources, dependencies: Mapping[str, str]) -> Schema:
    for path in sources.named("manage.py"):
        if "DJANGO_SETTINGS_MODULE" in sources.text(path):
            finding = Finding("migrate", "python manage.py migrate --noinput", path, "Django")
            return Schema(path.rpartition("/")[0], None, (finding,))
    for package, command in _BY_PACKAGE.items():
        if package in dependencies:
            return Schema(None, None, (Finding("migrate", command, "", f"{package} is installed"),))
    is_there = "alembic" in dependencies
    text = "Alembic is installed, but nothing leads to its scripts" if is_there else "No migrations were found"
    return Schema(notes=(Note(text, hint="Set migrate in fastzero.toml, unless the application makes its own tables"),))


# -- contents of the migrations --------------------------------------------------------------------------------


def _revisions(project: AlembicProject | None) -> str:
    count = len(project.revisions) if project else 0
    return f"{count} revision{'' if count == 1 else 's'}"


def _heads(project: AlembicProject, command: str, where: str, told: _Found) -> None:
    if not project.revisions:
        told.notes.append(
            Note(
                "Alembic has no revisions yet",
                where,
                "Create the first one: fastzero migrate new MESSAGE --autogenerate",
            )
        )
    if len(project.heads) > 1:
        heads = [command.replace("upgrade head", f"upgrade {head}") for head in ("heads", *project.heads)]
        question = f"Alembic has {len(project.heads)} heads: {', '.join(project.heads)}. Command that migrates"
        told.findings.append(Finding("migrate", None, where, "several heads", question, tuple(heads)))


def _address(project: AlembicProject, told: _Found) -> None:
    """Add a note if alembic.ini has a fixed address, since the migrations would run on another database."""
    env = text_of(project.script_folder / "env.py") or ""
    if _FIXED.search(text_of(project.config) or "") and not _SETS_ADDRESS.search(env):
        text = f"{project.config.name} fixes the database's address, and env.py sets no other"
        told.notes.append(Note(text, hint="In env.py, set sqlalchemy.url to the variable DATABASE_URL"))


def _needs(project: AlembicProject, sources: Sources, told: _Found) -> None:
    """Add the extensions and the schemas that the revisions use."""
    extensions: dict[str, str] = {}
    created: set[str] = set()
    used: dict[str, str] = {}
    for path in _files(project, sources):
        tree = sources.tree(path) or ast.Module([], [])
        for name, line in _extensions(tree, sources.text(path)):
            extensions.setdefault(name, f"{path}:{line}")
        for name, line in _schemas(tree):
            used.setdefault(name, f"{path}:{line}")
        created |= {name for _, text in _texts(tree) for name in _SCHEMA.findall(text)}
    if project.version_table_schema:
        used.setdefault(project.version_table_schema, "env.py")
    missing = {name: where for name, where in used.items() if name not in {*created, "public"}}
    told.findings += _listed("database.extensions", extensions, "the revisions need them")
    told.findings += _listed("database.schemas", missing, "no revision creates them")


def _listed(key: str, found: dict[str, str], why: str) -> list[Finding]:
    return [Finding(key, sorted(found), next(iter(found.values())), why)] if found else []


def _files(project: AlembicProject, sources: Sources) -> Iterator[str]:
    """Yield the revisions and env.py, as paths below the folder."""
    for path in [*(each.path for each in project.revisions), project.script_folder / "env.py"]:
        if path.is_relative_to(sources.folder) and sources.has(below := path.relative_to(sources.folder).as_posix()):
            yield below


def _extensions(tree: ast.Module, source: str) -> Iterator[tuple[str, int]]:
    """Yield the extensions that a revision creates or uses, with the line."""
    for line, text in _texts(tree):
        for name in _EXTENSION.findall(text):
            yield name.lower(), line
    for name, pattern in _USES.items():
        if match := pattern.search(source):
            yield name, source.count("\n", 0, match.start()) + 1


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _schemas(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the schemas of tables that a revision creates or changes, with the line."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="op")), keywords=keywords):
                values = (each.value for each in keywords if each.arg == "schema")
                texts = (value for value in values if isinstance(value, ast.Constant))
                yield from ((str(text.value), text.lineno) for text in texts if text.value)


def lacking(extensions: list[str], available: frozenset[str] | None) -> list[str]:
    """Return the extensions that are not available, empty if `available` is None (unknown)."""
    return [] if available is None else [name for name in extensions if name not in available]
