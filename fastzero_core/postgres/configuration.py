"""Build the arguments that configure PostgreSQL: `-c` for a server, options for initdb. Standard library only."""

from collections.abc import Mapping

BUILTIN_LOCALE_SINCE = 17

# Settings for a server with temporary data: fast, but not safe in a crash.
THROW_AWAY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "autovacuum": "off",
    "shared_buffers": "16MB",  # small, since creating or dropping a database scans all buffers
}

INITDB_COMMON = ("--encoding=UTF8", "--data-checksums")


def arguments(settings: Mapping[str, str]) -> list[str]:
    """Return the settings as arguments for a server: `-c name=value` for each."""
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def initdb_locale(major: int) -> list[str]:
    """Return the options of initdb for the locale of every database that fastzero creates."""
    # The builtin locale does not depend on the C library, whose next version may sort differently.
    if major >= BUILTIN_LOCALE_SINCE:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return ["--locale=C.UTF-8"]
