"""Describe an action of a plan, or a phase of a copy, for the user: what is being done, and what was done. Pure.

An action is one operation, and several actions can form one step: creating a container, starting its service and
waiting until the service is ready are one step. Writing to the project's folder is not shown. `up --dry-run` prints
every action with its cause.
"""

from pathlib import Path
from typing import Any, NamedTuple

from fastzero_core.events import Progress

PHASES = {
    "dump": ("Copying the rows", "Rows copied"),
    "restore": ("Restoring the rows", "Rows restored"),
    "count": ("Counting the rows", "Rows counted"),
    "compare": ("Comparing the rows", "Rows compared"),
    "check": ("Checking the backup", "Backup checked"),
    "migrate": ("Migrating the schema", "Schema migrated"),
    "swap": ("Putting the database into service", "Database put into service"),
    "analyze": ("Collecting statistics", "Statistics collected"),
    "fetch": ("Fetching the base backup", "Base backup fetched"),
    "wal": ("Fetching the write-ahead log", "Write-ahead log fetched"),
    "replay": ("Replaying the write-ahead log", "Write-ahead log replayed"),
    "pages": ("Checking each page", "Pages checked"),
    "rehearse": ("Rehearsing on a copy", "Rehearsed on a copy"),
}
DOING = {
    "create": "Creating",
    "update": "Updating",
    "restart": "Restarting",
    "fill": "Updating",
}  # a service of a swarm
STARTS = ("process", "container", "service")


class Step(NamedTuple):
    """What the user sees of actions with the same `key`: `done` is empty until the last of them."""

    key: str
    doing: str
    done: str = ""
    details: tuple[str, ...] = ()
    slow: bool = False  # without a terminal, its beginning is printed too


def step_of(action: Any) -> Step | None:
    """Return the step that an action belongs to, None for an action that is not shown."""
    match (str(action.verb), str(action.kind)):
        case ("start", kind) if kind in STARTS:
            return Step(_service(action), f"Starting {_name(action)}")
        case ("wait for", _):
            name = _name(action)
            return Step(_service(action), f"Waiting for {name}", f"{_title(name)} started", _served(action.subject))
        case ("stop", kind) if kind in STARTS:
            name = _name(action)
            return Step(f"stop {action.service}", f"Stopping {name}", f"{_title(name)} stopped")
        case ("pull", _):
            return _whole(action, "Pulling", "Image pulled", action.name, slow=True)
        case ("build", _):
            return _whole(action, "Building image", "Image built", action.name, slow=True)
        case ("push", _):
            return _whole(action, "Pushing", "Image pushed", action.name, slow=True)
        case ("create" | "update" | "restart" | "fill", "service" | "secrets") if _is_deployed(action):
            return Step(_service(action), f"{DOING[str(action.verb)]} {_name(action)}")
        case ("set", "replicas"):
            return Step(_service(action), f"Scaling {_name(action)} to {action.to}")
        case ("remove", "service"):
            return Step(str(action), f"Removing {_name(action)}", f"{_title(_name(action))} stopped")
        case ("revert", "service"):
            return Step(
                str(action), f"Going back to the previous {_name(action)}", f"{_title(_name(action))} as before"
            )
        case ("install", _):
            return _whole(action, "Installing", "Dependencies installed", action.to or action.name, slow=True)
        case ("create", "data"):
            return Step(str(action), "Creating the database", "Database created", (action.name,))
        case ("create", "volume"):
            return Step(str(action), f"Creating volume {action.name}", "Volume created", (action.name,))
        case ("remove", "data" | "volume"):
            return _whole(action, f"Deleting {action.kind}", f"{_title(str(action.kind))} deleted", action.name)
        case ("migrate", _):
            return Step(str(action), "Migrating the schema", "Schema migrated")
        case ("copy", "database"):
            return Step(str(action), "Copying the database", "Database copied", slow=True)
        case ("hold", _):
            return Step(str(action), "Holding writes", "Writes held")
        case ("remove", "content"):
            return _whole(action, "Emptying volume", "Volume emptied", action.name)
        case ("set", "settings"):
            return Step(str(action), "Changing the settings of the servers", "Settings changed")
        case ("set", "primary"):
            return Step(str(action), f"Replacing {action.name} as the primary", "Another server is the primary")
        case ("set", "password" | "role"):
            return Step(str(action), "Changing a password", "Password changed", (action.name,))
    return None


def phase_of(progress: Progress) -> Step:
    """Return the step of a phase. A phase that is not in PHASES is a program's message, shown while the phase lasts."""
    doing, done = PHASES.get(progress.step, (progress.step, ""))
    return Step(progress.step, doing, done)


def _is_deployed(action: Any) -> bool:
    return bool(getattr(action.subject, "deploy", None))


def _whole(action: Any, doing: str, done: str, name: str, *, slow: bool = False) -> Step:
    return Step(str(action), f"{doing} {name}", done, (name,), slow)


def _service(action: Any) -> str:
    return f"service {action.service}"


def _name(action: Any) -> str:
    return "the new database" if action.service == "moving" else str(action.service or action.name)


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


def _served(service: Any) -> tuple[str, ...]:
    """Return what a service serves, and its address."""
    address = f"{service.host}:{service.port}" if service.port else ""
    if service.is_database:
        return (f"PostgreSQL {_major(service)}", address)
    return (service.url or address,) if address else ()


def _major(service: Any) -> str:
    """Return the major version of a database, from its image or its data; "" if it cannot be read."""
    if service.image:
        return str(service.major)
    try:
        return (Path(service.data) / "PG_VERSION").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
