"""Tell what keeps an application from running on PostgreSQL, or at all."""

import ast
from collections.abc import Iterator, Mapping

from ..sources import Sources, source_of
from .findings import Note
from .objects import is_source

_DRIVERS = {
    "MySQL": ("aiomysql", "asyncmy", "pymysql", "mysqlclient", "mysql-connector-python", "mariadb"),
    "MongoDB": ("motor", "pymongo", "beanie", "mongoengine", "odmantic", "flask-pymongo"),
    "Oracle": ("oracledb", "cx-oracle"),
    "SQL Server": ("pyodbc", "pymssql", "aioodbc"),
    "SQLite": ("aiosqlite",),
}


def other_database(dependencies: Mapping[str, str]) -> tuple[str, str]:
    """Return the database that an application without a PostgreSQL driver uses, and its driver, "" if unknown."""
    found = ((name, each) for name, packages in _DRIVERS.items() for each in packages if each in dependencies)
    return next(found, ("", ""))


def without_driver(dependencies: Mapping[str, str]) -> Note:
    """Return the note about an application without a PostgreSQL driver, with the database that it uses instead."""
    database, driver = other_database(dependencies)
    if not database:
        return Note("No PostgreSQL driver is among the dependencies", hint="Add one, such as psycopg")
    text = f"The application uses {database} ({driver}), and fastzero runs PostgreSQL alone"
    return Note(text, hint="If its code can use PostgreSQL, add a driver such as psycopg, and run again: fastzero init")


def unfinished(sources: Sources, directory: str) -> Iterator[Note]:
    """Yield a note for each thing that has to be made before the application can start."""
    if template := next((path for path in sources.files if "{{" in path.partition("/")[0]), None):
        text = "This folder is a template of Cookiecutter"
        hint = "Make the application first: cookiecutter FOLDER. Then run in its folder: fastzero init"
        yield Note(text, template.partition("/")[0], hint)
    dotenv = f"{directory}/.env".lstrip("/")
    if not sources.has(dotenv) and (where := next(_read_by_starlette(sources), None)):
        text = f"Some versions of Starlette do not start without {dotenv}"
        yield Note(text, where, f"Create it, it may be empty: touch {dotenv}")


def _read_by_starlette(sources: Sources) -> Iterator[str]:
    """Yield each call of starlette's Config with a file: some versions refuse one that does not exist."""
    for path in sources.ending(".py"):
        text = sources.text(path) if is_source(path) else ""
        tree = sources.tree(path) if "starlette.config" in text and "Config(" in text else None
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Call) and node.args and source_of(node.func).rpartition(".")[2] == "Config":
                yield f"{path}:{node.lineno}"
