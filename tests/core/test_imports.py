"""What importing costs, and in which direction imports go."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastzero_core

CORE = Path(fastzero_core.__file__).parent
MODULES = sorted(CORE.rglob("*.py"))
HEAVY = {"sqlalchemy", "psycopg", "alembic", "pydantic", "pydantic_settings", "typer", "docker", "rich", "psutil"}
STANDARD_LIBRARY_ONLY = {
    "application.causes",
    "application.commands",
    "application.description",
    "application.migrations",
    "application.placeholders",
    "application.sources",
    "errors",
    "events",
    "files",
    "folders",
    "formats",
    "ha.ask",
    "ha.cluster",
    "ha.configuration",
    "ha.passwords",
    "ha.run_etcd",
    "ha.run_patroni",
    "listening",
    "manual_pages",
    "marks",
    "parameters",
    "polling",
    "postgres.access",
    "postgres.account",
    "postgres.binaries",
    "postgres.cluster",
    "postgres.configuration",
    "postgres.driver_errors",
    "postgres.ownership",
    "postgres.programs",
    "postgres.provisions",
    "postgres.roles",
    "postgres.sql",
    "postgres.url",
    "schema.revisions",
    "todo_app.dashboard",
    "todo_app.due",
    "todo_app.models",
    "todo_app.transfer.csv_file",
    "todo_app.transfer.files",
    "todo_app.transfer.icalendar",
    "todo_app.transfer.json_file",
    "todo_app.transfer.records",
    "todo_app.transfer.taskwarrior",
    "todo_app.transfer.todo_txt",
    "todo_app.validate",
    "toml_lines",
    "tunnel",
}

# The rooms from the ground up: a module imports from its own room and from those before it.
ROOMS = (
    (
        "errors",
        "events",
        "files",
        "config_files",
        "folders",
        "formats",
        "listening",
        "manual_pages",
        "parameters",
        "polling",
        "settings",
        "sources",
        "toml_lines",
        "trust",
        "trust_record",
        "tunnel",
    ),
    ("postgres",),
    ("archive",),
    ("ha",),
    ("application",),
    ("marks", "record", "project", "credentials"),
    ("todo_app",),
    ("schema",),
    ("backup",),
    ("stack",),
    ("todo_app.api",),
    ("care",),
    ("testing",),
)
FLOOR = {name: floor for floor, names in enumerate(ROOMS) for name in names}
NOT_FOR_OPERATIONS = {"typer", "docker", "fastapi", "pydantic", "pydantic_settings"}
OPERATIONS = [
    "users",
    "invitations",
    "todos",
    "tables",
    "models",
    "validate",
    "passwords",
    "logins",
    "tokens",
    "todo_statements",
    "todo_rows",
    "filters",
    "changes",
    "calendars",
    "importing",
    "import_statements",
    "placing",
    "reports",
    "due",
    "access",
    "owner",
    "lists",
    "list_statements",
    "history",
]


def _floor(module: str) -> int | None:
    """How high the room of a module of the core lies, None for what is in no room."""
    name = module.removeprefix("fastzero_core.")
    rooms = [room for room in FLOOR if name == room or name.startswith(f"{room}.")]
    return FLOOR[max(rooms, key=len)] if rooms else None


def _module(path: Path) -> str:
    parts = path.relative_to(CORE).with_suffix("").parts
    return ".".join(["fastzero_core", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _imports(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """The modules that a file names; with `at_import` those alone that importing it loads."""
    package = ("fastzero_core", *path.relative_to(CORE).parent.parts)
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), at_import):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _nodes(tree: ast.AST, at_import: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if at_import and (isinstance(node, ast.FunctionDef) or _is_for_type_checkers(node)):
            continue
        yield node
        yield from _nodes(node, at_import)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _is_one_of(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, fastzero_core; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split())


@pytest.mark.parametrize("name", fastzero_core.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fastzero_core, name) is getattr(fastzero_core, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        fastzero_core.Nothing  # noqa: B018


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_knows_nothing_of_the_command_line(path: Path) -> None:
    assert not [name for name in _imports(path) if _is_one_of(name, {"fastzero_cli", "typer", "rich"})]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_a_module_imports_from_its_room_and_those_below(path: Path) -> None:
    own = _floor(_module(path))
    if path == CORE / "__init__.py":
        return  # the public names
    assert own is not None, "every module is in a room"
    imported = [module for module in _imports(path) if module.startswith("fastzero_core.")]
    assert not [module for module in imported if (_floor(module) or 0) > own]


@pytest.mark.parametrize("name", sorted(STANDARD_LIBRARY_ONLY))
def test_what_every_module_imports_needs_the_standard_library_alone(name: str) -> None:
    modules = set(_imports(CORE / f"{name.replace('.', '/')}.py", at_import=True)) - {"fastzero_core"}
    modules -= {
        "fastzero_core.application",
        "fastzero_core.ha",
        "fastzero_core.postgres",
        "fastzero_core.schema",
        "fastzero_core.todo_app",
        "fastzero_core.todo_app.transfer",
    }  # packages that hold nothing
    light = {f"fastzero_core.{module}" for module in STANDARD_LIBRARY_ONLY} | set(sys.stdlib_module_names)
    assert not [module for module in modules if not _is_one_of(module, light)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_see_no_edge_and_no_settings(name: str) -> None:
    forbidden = NOT_FOR_OPERATIONS | {f"fastzero_core.{each}" for each in ("settings", "project", "todo_app.fastzero")}
    assert not [module for module in _imports(CORE / "todo_app" / f"{name}.py") if _is_one_of(module, forbidden)]


def test_fastzero_finds_the_settings_only_when_it_must() -> None:
    at_import = list(_imports(CORE / "todo_app" / "fastzero.py", at_import=True))
    forbidden = NOT_FOR_OPERATIONS | {"fastzero_core.settings", "fastzero_core.project"}
    assert not [module for module in at_import if _is_one_of(module, forbidden)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_two_rooms_alone_know_docker(path: Path) -> None:
    if not {CORE / "stack" / "docker", CORE / "stack" / "swarm"} & set(path.parents):
        assert not [module for module in _imports(path) if _is_one_of(module, {"docker"})]
