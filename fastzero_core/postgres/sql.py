"""Quote identifiers and literals for statements that do not take parameters. Standard library only."""

import csv

# Settings with a list of names as their value. Each name is quoted if necessary.
LISTS = (
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
)


def quote(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def literal(value: str | None) -> str:
    """Return a text as an SQL literal, NULL for None."""
    if value is None:
        return "NULL"
    doubled = value.replace("'", "''")
    escaped = doubled.replace("\\", "\\\\")
    return f"'{doubled}'" if escaped == doubled else f"E'{escaped}'"


def assignment(name: str, value: str) -> str:
    """Return the SET clause of an ALTER statement, for a value from the catalogs or a configuration file."""
    return f"SET {name} TO {', '.join(map(literal, elements(value))) if name in LISTS else literal(value)}"


def elements(value: str) -> list[str]:
    """Return the names in a list setting. An empty list has one empty name."""
    return next(csv.reader([value], skipinitialspace=True), None) or [""]
