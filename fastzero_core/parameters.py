"""Names of PostgreSQL settings, compared as PostgreSQL compares them. Standard library only."""

import re
from collections.abc import Mapping

# Settings that fastzero itself sets, or that would make the server read another configuration.
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
# Settings that name commands which PostgreSQL runs, or libraries which it loads.
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
_NAME = r"[a-z_][\w$-]*(\.[a-z_][\w$-]*)*"


def canonical(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings by their canonical names: in lower case, with underscores in place of dashes.

    Raises ValueError for an invalid name, for two spellings of one name, and for a setting that fastzero itself sets.
    """
    found: dict[str, str] = {}
    for name, value in settings.items():
        known = canonical_name(name)
        if not re.fullmatch(_NAME, name, re.ASCII | re.IGNORECASE):
            raise ValueError(f"{name!r} is not the name of a PostgreSQL setting")
        if known in DECIDED:
            raise ValueError(f"{name} is set by fastzero and cannot be changed")
        if known in found:
            raise ValueError(f"{known} is given twice, in two spellings")
        found[known] = value
    return found


def canonical_name(name: str) -> str:
    """Return the canonical spelling of a setting's name."""
    return name.lower().replace("-", "_")


def risk(name: str) -> str:
    """Describe what a folder could do with a setting."""
    if canonical_name(name) in RUNS_CODE:
        return "PostgreSQL runs the command or loads the library that it names"
    return "It changes how PostgreSQL works"
