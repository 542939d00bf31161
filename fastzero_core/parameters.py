"""Names of PostgreSQL's settings, compared as PostgreSQL does. Standard library only."""

import re
from collections.abc import Mapping

# What fastzero decides itself, or what would make the server read another configuration than its own.
DECIDED = {
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
    "unix_socket_directories",
}
# What PostgreSQL runs, or loads into its processes.
RUNS_CODE = {
    "archive_cleanup_command",
    "archive_command",
    "archive_library",
    "dynamic_library_path",
    "extension_control_path",
    "jit_provider",
    "local_preload_libraries",
    "oauth_validator_libraries",
    "recovery_end_command",
    "restore_command",
    "session_preload_libraries",
    "shared_preload_libraries",
    "ssl_passphrase_command",
}
_NAME = re.compile(r"[a-z_][\w$-]*(\.[a-z_][\w$-]*)*", re.ASCII | re.IGNORECASE)


def canonical(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings by the names that PostgreSQL knows: in lower case, with underscores in place of dashes.

    Raises ValueError for what cannot be a name, for two spellings of one, and for what fastzero decides.
    """
    found: dict[str, str] = {}
    for name, value in settings.items():
        known = canonical_name(name)
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a PostgreSQL setting")
        if known in DECIDED:
            raise ValueError(f"{name} is decided by fastzero itself")
        if known in found:
            raise ValueError(f"{known} is given twice, in two spellings")
        found[known] = value
    return found


def canonical_name(name: str) -> str:
    """Return a name as PostgreSQL has it, whatever its spelling."""
    return name.lower().replace("-", "_")


def risk(name: str) -> str:
    """Return what a folder could do with a setting."""
    if canonical_name(name) in RUNS_CODE:
        return "PostgreSQL runs or loads what it names"
    return "PostgreSQL works with it"
