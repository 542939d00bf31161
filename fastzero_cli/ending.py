"""Print the end of `up`: all addresses, how to connect, and the next command. Or what a command would do."""

from pathlib import Path
from typing import TYPE_CHECKING

from .columns import ACTION, SERVICE
from .style import counted, seconds

if TYPE_CHECKING:
    from fastzero_core.stack.actions import Action
    from fastzero_core.stack.scaling import ScalableStack
    from fastzero_core.stack.status import ServiceStatus

    from .options import Run

APP = "app"  # the process of the built-in application


def tell_of_running(run: "Run", stack: "ScalableStack", *, is_new: bool, took: float) -> None:
    """Print that a stack is running, on a terminal with addresses and the next command."""
    services = stack.status(fresh=False)
    name, record = stack.project.name, stack.project.record
    runtime = record.runtime if record else ""
    details = (runtime, "nothing to do" if stack.found_all_well else seconds(took))
    run.render.outcome(services, SERVICE, f"Project {name} is running", *details)
    if run.render.output != "table":
        return
    is_own = bool(record and record.application)
    run.render.pairs(
        [*_places(run, services, record.processes if record else (), is_own), ("Next", _next(run, is_own, is_new))]
    )


def tell_of_plan(run: "Run", actions: "list[Action]") -> None:
    """Print the actions that a command would perform, with their causes."""
    run.render.many(actions, ACTION, none="Nothing to do.")
    if actions and run.render.output == "table":
        run.render.message(f"{counted(len(actions), 'action')} planned. Nothing was changed.")


def warn_of_undescribed(run: "Run", stack: "ScalableStack") -> None:
    """Warn that the built-in application runs in a folder that has one of the user's."""
    from fastzero_core.application.undescribed import signs_of_application

    record = stack.project.record
    if record and not record.application and (signs := signs_of_application(Path.cwd())):
        found = ", ".join(signs[:3])
        run.render.warning(
            f"the built-in application runs, not the one of this folder ({found}). Run it: fastzero init"
        )


def _places(
    run: "Run", services: "list[ServiceStatus]", processes: tuple[str, ...], is_own: bool
) -> "list[tuple[str, str]]":
    places = []
    for service in services:
        if service.revision is not None or service.version.startswith("PostgreSQL"):
            places += [("Database", _database(run)), ("psql", run.command("db shell"))]
        elif service.address and service.service not in processes:
            places.append((service.service, service.address))
        elif service.address:
            name = "App" if service.service == APP else service.service
            places.append((name, service.url))
            if not is_own:
                places.append(("API docs", f"{service.url}/docs"))
    return sorted(places, key=lambda place: place[0] in ("Database", "psql"))


def _database(run: "Run") -> str:
    from fastzero_core.postgres.url import url_of

    return url_of(run.stack.database_url, require_auth=False, password=False)


def _next(run: "Run", is_own: bool, is_new: bool) -> str:
    if is_own:
        return run.command("logs -f")
    return run.command("user add NAME --email ADDRESS" if is_new else "todo list")
