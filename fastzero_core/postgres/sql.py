"""Names and texts as SQL writes them, for statements that take no parameters. Standard library only."""

import csv

# Settings whose value is a list of names, each quoted where it needs to be.
LISTS = (
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
    "shared_preload_libraries",
    "unix_socket_directories",
)


def quote(name: str) -> str:
    """Return a name as SQL writes it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def literal(value: str | None) -> str:
    """Return a text as SQL writes it; None is NULL."""
    if value is None:
        return "NULL"
    doubled = value.replace("'", "''")
    escaped = doubled.replace("\\", "\\\\")
    return f"'{doubled}'" if escaped == doubled else f"E'{escaped}'"


def assignment(name: str, value: str) -> str:
    """A setting as the end of an ALTER, from its value as the catalogs and files have it."""
    return f"SET {name} TO {', '.join(map(literal, elements(value))) if name in LISTS else literal(value)}"


def elements(value: str) -> list[str]:
    """The names of a list; an empty one has one, which is empty."""
    return next(csv.reader([value], skipinitialspace=True), None) or [""]
