"""How PostgreSQL is told its configuration: a server by `-c`, initdb by its options. Standard library only."""

from collections.abc import Mapping

BUILTIN_LOCALE_SINCE = 17

# A server whose data is worth nothing: no crash is prepared for.
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "autovacuum": "off",
    "shared_buffers": "16MB",  # each database made or dropped goes through all of them
}

INITDB_COMMON = ("--encoding=UTF8", "--data-checksums")


def arguments(settings: Mapping[str, str]) -> list[str]:
    """Return the settings as arguments of a server: `-c name=value` for each."""
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def initdb_locale(major: int) -> list[str]:
    """Return initdb's options for the locale of every database that fastzero creates."""
    # The builtin locale depends on no C library, whose next version would sort differently.
    if major >= BUILTIN_LOCALE_SINCE:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return ["--locale=C.UTF-8"]
