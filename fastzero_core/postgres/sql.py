"""Names and texts as SQL writes them, for statements that take no parameters. Standard library only."""


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
