"""Build the configuration of Patroni and etcd for a database with standbys. Pure, standard library only.

Each node runs one server, kept by Patroni, and one etcd. The members find each other by the names of their services.
https://patroni.readthedocs.io/en/latest/dynamic_configuration.html
https://patroni.readthedocs.io/en/latest/yaml_configuration.html
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from ..postgres.configuration import INITDB_COMMON, initdb_locale
from ..postgres.roles import APP, MAINTENANCE, OWNER, REPLICATION, REPLICATION_PASSWORD, SUPERUSER, creation
from .ask import PASSWORD_FILE, USER

NODES = 3  # etcd decides by majority: with two nodes, the loss of either would stop the database
SERVER, STORE = "database", "etcd"  # the services of node 1 are database-1 and etcd-1
POSTGRES_PORT, API_PORT, CLIENT_PORT, PEER_PORT = 5432, 8008, 2379, 2380
API_PASSWORD = Path(PASSWORD_FILE).name  # the name of a secret
API_PASSWORD_BEFORE = f"{API_PASSWORD}.before"  # while servers that have it are replaced
SOCKETS = "/tmp"  # noqa: S108 - in the container, whose root is read-only

# A host that is lost loses the leader's key after `ttl` seconds, of which Patroni accepts no fewer than 20. A primary
# that is cut off must have stopped by then: loop_wait + 2 × retry_timeout may not be more. A killed server is found
# within `loop_wait`.
TIMES = {"ttl": 20, "loop_wait": 1, "retry_timeout": 6}
# A commit waits for either standby (quorum), so that the loss of one does not stop writes until Patroni has chosen the
# other; strict: without any standby a commit waits, since the loss of the primary would lose it.
SYNCHRONOUS = {"synchronous_mode": "quorum", "synchronous_mode_strict": True, "synchronous_node_count": 1}
# Without etcd, a primary goes on if it reaches every standby, since none of them can have become one.
FAILSAFE = {"failsafe_mode": True}
# A primary whose recovery takes longer gives way to a standby, which would be ready sooner; a slow shutdown is killed.
LIMITS = {"primary_start_timeout": 15, "primary_stop_timeout": 15}
# A link that is cut is noticed before `ttl` ends. A standby soon tries again to connect: commits wait for it.
PARAMETERS = {"wal_sender_timeout": "10s", "wal_receiver_timeout": "10s", "wal_retrieve_retry_interval": "500ms"}

# Settings that Patroni decides.
OF_PATRONI = {
    "archive_cleanup_command",
    "cluster_name",
    "hot_standby",
    "primary_conninfo",
    "primary_slot_name",
    "recovery_end_command",
    "restore_command",
    "synchronous_standby_names",
    "wal_log_hints",
}
# With other values, a crash or the loss of the primary would lose commits that were acknowledged.
SAFE = {
    "fsync": ("on", "true", "yes", "1"),
    "full_page_writes": ("on", "true", "yes", "1"),
    "synchronous_commit": ("on", "true", "yes", "1", "remote_apply"),
    "wal_level": ("replica", "logical"),
}
# Patroni would ignore less, and only log it.
LEAST = {
    "max_connections": 25,
    "max_locks_per_transaction": 32,
    "max_replication_slots": 4,
    "max_wal_senders": 3,
    "max_worker_processes": 2,
}


def names(service: str) -> tuple[str, ...]:
    """Return the names of a service on every node."""
    return tuple(f"{service}-{number}" for number in range(1, NODES + 1))


def is_server(name: str) -> bool:
    """Return whether a service is one of several servers."""
    return name in names(SERVER)


def dynamic(parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the configuration that all members share, with these PostgreSQL settings. Raises InvalidInputError."""
    for name, value in (parameters or {}).items():
        _refuse(name, value)
    servers = {"use_pg_rewind": True, "use_slots": True, "parameters": {**PARAMETERS, **(parameters or {})}}
    return {**TIMES, **SYNCHRONOUS, **FAILSAFE, **LIMITS, "postgresql": servers}


def _refuse(name: str, value: str) -> None:
    """Raise InvalidInputError for a setting that Patroni decides, or that could lose data."""
    problem = ""
    if name in OF_PATRONI or name.startswith("recovery_target"):
        problem = f"{name} is set by Patroni and cannot be changed"
    elif name in SAFE and value.lower() not in SAFE[name]:
        problem = f"{name} = {value!r} could lose acknowledged writes"
    elif name in LEAST and not (value.isdigit() and int(value) >= LEAST[name]):
        problem = f"{name} = {value!r} is too low: with standbys it must be {LEAST[name]} or more"
    if problem:
        raise InvalidInputError(problem, field="postgres_settings", hint="Remove it from FASTZERO_POSTGRES_SETTINGS")


def patroni(
    cluster: str,
    number: int,
    *,
    major: int,
    data: str,
    database: str,
    parameters: Mapping[str, str],
    more_sockets: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the configuration of one node's Patroni, with names of files in place of passwords.

    A change of PostgreSQL settings or of a role's password must not restart a container. So the settings are part of
    `dynamic`, which begins with these `parameters`. Of the roles' passwords there is only the first of the superuser:
    the password of Patroni's API, which gives no less power. The owner of `database` has none at first. The server also
    has a socket in each folder of `more_sockets`.
    """
    name = names(SERVER)[number - 1]
    api = {"username": USER, "password_file": PASSWORD_FILE}
    return {
        "scope": cluster,
        "namespace": "/fastzero/",
        "name": name,
        "log": {"deduplicate_heartbeat_logs": True},  # not a line every second
        "restapi": {
            "listen": f"0.0.0.0:{API_PORT}",
            "connect_address": f"{name}:{API_PORT}",
            "authentication": api,
        },
        "etcd3": {"hosts": [f"{host}:{CLIENT_PORT}" for host in _from(number)]},
        "bootstrap": {
            "dcs": dynamic(parameters),
            "initdb": _initdb(major),
            "post_bootstrap": _first_start(database),
        },
        "postgresql": _postgresql(name, data, (SOCKETS, *more_sockets)),
        "watchdog": {"mode": "off"},  # containers have no such device
    }


def _from(number: int) -> list[str]:
    """Return the names of the etcds, the node's own first: it is reached also if the network is not."""
    hosts = list(names(STORE))
    return hosts[number - 1 :] + hosts[: number - 1]


def _postgresql(name: str, data: str, sockets: Sequence[str]) -> dict[str, Any]:
    replication = {"username": REPLICATION, "password_file": str(Path(PASSWORD_FILE).with_name(REPLICATION_PASSWORD))}
    return {
        "listen": f"0.0.0.0:{POSTGRES_PORT}",
        "connect_address": f"{name}:{POSTGRES_PORT}",
        "data_dir": data,
        "pgpass": f"{SOCKETS}/pgpass",
        "use_unix_socket": True,
        "use_unix_socket_repl": True,
        "parameters": {"unix_socket_directories": ",".join(sockets)},
        "authentication": {
            "superuser": {"username": SUPERUSER, "password_file": PASSWORD_FILE},
            "replication": replication,
            "rewind": replication,
        },
        "pg_hba": _hba(),
        "pg_ident": [f"container postgres {role}" for role in (SUPERUSER, OWNER, APP, REPLICATION)],
        "basebackup": [{"checkpoint": "fast"}],
        # A server that cannot follow the new primary is copied from it again.
        "remove_data_directory_on_rewind_failure": True,
        "remove_data_directory_on_diverged_timelines": True,
    }


def _hba() -> list[str]:
    """Return who may log in: in the container its user without a password, over the network by SCRAM alone."""
    return [
        "local all all peer map=container",
        "local replication all peer map=container",
        f"host replication {REPLICATION} all scram-sha-256",
        f"host {MAINTENANCE} {REPLICATION} all scram-sha-256",  # pg_rewind
        f"host all {REPLICATION} all reject",
        "host all all all scram-sha-256",
    ]


def _initdb(major: int) -> list[Any]:
    """Return the options of initdb in Patroni's form. `--data-checksums`, which is one, makes pg_rewind possible."""
    options = (each.removeprefix("--") for each in (*INITDB_COMMON, *initdb_locale(major), "--auth=scram-sha-256"))
    return [{name: value} if value else name for name, _, value in (each.partition("=") for each in options)]


def _first_start(database: str) -> str:
    """Return the command that creates the owner and its database. Patroni adds how to connect."""
    statements = (f"--command={statement}" for statement in creation("NULL", database))
    return shlex.join(["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *statements])


def address() -> dict[str, str]:
    """Return the options of a URL with which the application reaches the primary in the project's network."""
    ports = ",".join([str(POSTGRES_PORT)] * NODES)
    return {"host": ",".join(names(SERVER)), "port": ports, "target_session_attrs": "read-write"}


def etcd(cluster: str, number: int, data: str) -> dict[str, str]:
    """Return the variables of one node's etcd."""
    name = names(STORE)[number - 1]
    return {
        "ETCD_NAME": name,
        "ETCD_DATA_DIR": data,
        "ETCD_INITIAL_CLUSTER": ",".join(f"{host}=http://{host}:{PEER_PORT}" for host in names(STORE)),
        "ETCD_INITIAL_CLUSTER_TOKEN": cluster,
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"http://{name}:{PEER_PORT}",
        "ETCD_ADVERTISE_CLIENT_URLS": f"http://{name}:{CLIENT_PORT}",
        "ETCD_LISTEN_PEER_URLS": f"http://0.0.0.0:{PEER_PORT}",
        "ETCD_LISTEN_CLIENT_URLS": f"http://0.0.0.0:{CLIENT_PORT}",
        # Patroni writes the same few keys again and again: old versions are not kept.
        "ETCD_AUTO_COMPACTION_MODE": "periodic",
        "ETCD_AUTO_COMPACTION_RETENTION": "1h",
        "ETCD_LOG_LEVEL": "warn",
    }


def as_text(document: Mapping[str, Any]) -> str:
    """Return a configuration as the text of a variable, the same for the same configuration."""
    return json.dumps(document, sort_keys=True)
