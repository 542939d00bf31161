"""Top-level commands for the stack: up, serve, exec, down, status, logs, restart, ls."""

import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.errors import FastZeroError, InvalidInputError, UnhealthyError

from . import completion
from .columns import DEPLOYED, NODE, PROJECT, SERVICE, TASK
from .ending import tell_of_plan, tell_of_running, warn_of_undescribed
from .options import LEVELS, RUNTIMES, NoBackup, Run, Timeout, Yes, complete_from, words_of
from .style import counted
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core import Stack
    from fastzero_core.stack.scaling import ScalableStack
    from fastzero_core.stack.status import ServiceStatus

group = Group("stack")
ADOPTION = (
    "What this engine has of project {} will be taken over, with its rows and new passwords. A FASTZERO_HOME that still"
    " has it can neither use nor change it any more, unless it takes it over again."
)
NO_SERVICES = "Project {} has no services yet. Start it: fastzero up"
NOTHING_TO_STOP = "Nothing to do: project {} is not running."

Port = Annotated[
    int | None,
    typer.Option("--database-port", "--port", metavar="PORT", min=1, max=65535, help="The database's port."),
]
Service = Annotated[
    str | None,
    typer.Argument(metavar="[SERVICE]", help="One service; all without it.", autocompletion=completion.services),
]


@group.command(example="fastzero up\nfastzero up -p demo --runtime docker --dry-run")
def up(
    run: Run,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why, and do nothing.")] = False,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="RUNTIME",
            help="embedded | docker | swarm; a project keeps its first.",
            autocompletion=complete_from(*RUNTIMES),
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="Run the containers there: ssh://USER@NAME; kept as well."),
    ] = None,
    port: Port = None,
    app_port: Annotated[
        int | None, typer.Option("--app-port", metavar="PORT", min=1, max=65535, help="The app's port.")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option("--replicas", metavar="N", min=1, max=1000, help="The app's tasks in a swarm; kept.")
    ] = None,
    ha: Annotated[
        bool | None,
        typer.Option(
            "--ha/--no-ha", show_default=False, help="A database with two standbys, on three nodes of a swarm."
        ),
    ] = None,
    no_app: Annotated[bool, typer.Option("--no-app", help="Leave the application out.")] = False,
    build: Annotated[bool, typer.Option("--build", help="Rebuild the app's image.")] = False,
    pull: Annotated[bool, typer.Option("--pull", help="Pull the images again, and rebuild the app's.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what failed as it is, to look at it.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over containers and data whose own FASTZERO_HOME is lost.")
    ] = False,
    start_over: Annotated[
        bool, typer.Option("--start-over", help="Begin with an empty database where the data is gone.")
    ] = False,
    install: Annotated[
        bool, typer.Option("--install", help="First install what your application depends on, without Docker.")
    ] = False,
    attach: Annotated[bool, typer.Option("--attach", help="Follow all logs, and stop it all with Ctrl-C.")] = False,
    reload: Annotated[
        bool, typer.Option("--reload", help="The same, and restart your application when its files change.")
    ] = False,
    yes: Yes = False,
    timeout: Timeout = None,
) -> None:
    """Start the stack and wait until it is ready.

    Its database is migrated to head. The first time, the runtime and the ports are chosen, and then kept.
    """
    stack = run.stack
    wanted: dict[str, Any] = {
        "runtime": runtime,
        "host": host,
        "port": port,
        "app_port": app_port,
        "app": False if no_app else None,
        "build": build,
        "pull": pull,
        "adopt": adopt,
        "start_over": start_over,
        "install": install,
        "replicas": replicas,
        "ha": ha,
    }
    if dry_run:
        tell_of_plan(run, stack.plan(**wanted))
        return
    if adopt:
        run.confirm(ADOPTION.format(run.settings.project), yes)
    if reload:
        stack.reloadable(runtime)
    record, began = stack.project.record, time.monotonic()
    stack.up(**wanted, keep=keep, timeout=timeout)
    tell_of_running(run, stack, is_new=not (record and record.initialised), took=time.monotonic() - began)
    if record is None:
        warn_of_undescribed(run, stack)
    named = run.settings.database_url
    if named and not stack.serves(named.get_secret_value()):
        run.render.warning("DATABASE_URL is set: user, todo and migrate use that database, not this stack's.")
    if attach or reload:
        _attend(run, stack, reload=reload and bool(stack.reloadable()))


def _attend(run: Run, stack: "ScalableStack", *, reload: bool) -> None:
    """Follow the logs until Ctrl-C, then stop the stack."""
    import threading

    stop = threading.Event()
    if reload:
        threading.Thread(target=stack.reload_on_change, args=(stop,), daemon=True).start()
    try:
        run.render.logs(stack.logs(tail=0, follow=True), stack.service_names)
    except KeyboardInterrupt:
        run.render.message("Stopping …")
    finally:
        stop.set()
        stack.down()


@group.command(example="fastzero serve --port 8000 --workers 2")
def serve(
    run: Run,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="The port.")] = 8000,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, max=64, help="Processes that serve.")
    ] = None,
    migrate: Annotated[bool, typer.Option("--migrate", help="Migrate the schema to head first.")] = False,
) -> None:
    """Serve the web app in the foreground.

    Until SIGTERM or Ctrl-C; requests in flight are finished.
    """
    from fastzero_core.project import refuse_another_application
    from fastzero_core.todo_app.api.server import serve

    refuse_another_application(run.settings)
    workers = workers or run.settings.workers
    serve(run.settings, host=host, port=port, workers=workers, migrate=migrate, on_event=run.render.event)


@group.command(
    "exec",
    example="fastzero exec app -- fastzero todo list -u ana\nfastzero exec database -- psql",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def exec_(
    run: Run,
    service: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", help="Where to run it, as database or app.", autocompletion=completion.services
        ),
    ],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command and its arguments.")],
) -> None:
    """Run a command where a service runs.

    On this terminal, if it is one; the exit code is passed on.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    raise typer.Exit(run.stack.execute(service, words_of(command), interactive=interactive))


@group.command(example="fastzero down\nfastzero down -p demo --volumes --yes\nfastzero down --all")
def down(
    run: Run,
    volumes: Annotated[bool, typer.Option("--volumes", "-v", help="Destroy the data as well.")] = False,
    all: Annotated[bool, typer.Option("-a", "--all", help="Every project of this machine.")] = False,
    no_backup: NoBackup = False,
    yes: Yes = False,
    timeout: Timeout = None,
) -> None:
    """Stop the stack; its data stays.

    With --volumes the project is destroyed: its database, passwords and logs. Its backups stay, with one more; writes
    are held from before that backup on.
    """
    stacks = [stack for stack in _chosen(run, all, destroy=volumes) if stack.exists]
    names = ", ".join(stack.project.name for stack in stacks)
    if not stacks:
        run.render.message("Nothing to do: no projects exist." if all else NOTHING_TO_STOP.format(run.settings.project))
    if volumes and stacks:
        gone = f"{_projects(len(stacks))} {names} will be permanently deleted: database, passwords and logs."
        run.confirm(lambda: " ".join([gone, *_databases(stacks)]), yes)
    statuses = []
    failure = None
    for stack in stacks:
        try:
            done = stack.destroy(no_backup=no_backup, timeout=timeout) if volumes else stack.down(timeout=timeout)
            _tell_of_down(run, stack, volumes=volumes, done=bool(done))
            statuses += stack.status()
        except FastZeroError as error:
            if len(stacks) == 1:
                raise
            run.render.message(f"{stack.project.name} could not be stopped: {error.message}")
            failure = error  # the other stacks can still be stopped
    if run.render.output != "table":
        run.render.many(statuses, SERVICE)
    if failure:
        raise failure


def _tell_of_down(run: Run, stack: "Stack", *, volumes: bool, done: bool) -> None:
    name = stack.project.name
    if not done:
        run.render.message(NOTHING_TO_STOP.format(name))
    elif volumes:
        run.render.verdict(f"Project {name} deleted", "its backups stay")
    else:
        run.render.verdict(f"Project {name} stopped", "its data stays")


@group.command(example="fastzero status\nfastzero status -o json")
def status(
    run: Run,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Refresh every second, until Ctrl-C.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 8 unless every service runs and is healthy.")
    ] = False,
) -> None:
    """Show the services and their state.

    Address, version, schema revision and time since the start of each. The reason of an unhealthy service stands below
    it.
    """
    services = _services(run)
    columns = DEPLOYED if any(hasattr(each, "tasks") for each in services) else SERVICE
    run.render.many(services, columns, none=NO_SERVICES.format(run.settings.project))
    if run.render.output == "table" and columns is DEPLOYED:
        run.render.many([task for each in services for task in getattr(each, "tasks", ())], TASK)
        run.render.many(run.stack.nodes(), NODE)
    while watch:
        time.sleep(1)
        run.render.again(run.stack.status(), columns)
    if exit_code and not (services and all(service.state == "running" for service in services)):
        raise typer.Exit(UnhealthyError.exit_code)


def _services(run: Run) -> "list[ServiceStatus]":
    """Return the services of the project. Raises ProjectNotFoundError if a flag names a project that does not exist."""
    from fastzero_core.project import refuse_unknown

    if run.settings.is_flag("project"):
        refuse_unknown(run.settings)
    return run.stack.status()


@group.command(example="fastzero logs -f\nfastzero logs database --tail 20\nfastzero logs --level error --since 1h")
def logs(
    run: Run,
    service: Service = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow new output.")] = False,
    tail: Annotated[int | None, typer.Option("-n", "--tail", metavar="N", min=0, help="The last lines only.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="A time as RFC 3339, or how long ago: 90s, 10m, 2h, 1d."),
    ] = None,
    grep: Annotated[
        str | None, typer.Option("-g", "--grep", metavar="PATTERN", help="Only lines that match a regular expression.")
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "-l",
            "--level",
            metavar="LEVEL",
            help=" | ".join(LEVELS) + "; this level and above.",
            autocompletion=complete_from(*LEVELS),
        ),
    ] = None,
    all: Annotated[bool, typer.Option("-a", "--all", help="Include health checks.")] = False,
) -> None:
    """Print the services' logs, in the order of time.

    Each line follows the name of its service. Health checks that were answered well are left out.
    """
    from .logs import last_of_each, selection

    began, stack = _moment(since), run.stack
    wanted = selection(() if all else stack.health_paths, grep, level)
    services = [service] if service else stack.service_names
    if tail is None or follow or wanted.is_all:
        run.render.logs(wanted.of(stack.logs(service, tail=tail, follow=follow, since=began)), services)
    else:
        run.render.logs(last_of_each(wanted.of(stack.logs(service, since=began)), tail), services)


@group.command(example="fastzero restart database")
def restart(run: Run, service: Service = None, timeout: Timeout = None) -> None:
    """Stop and start one service, or all."""
    stack = run.stack.restart(service, timeout=timeout)
    what = f"Service {service}" if service else f"Project {stack.project.name}"
    run.render.outcome(stack.status(), SERVICE, f"{what} restarted")


@group.command(example="fastzero ls\nfastzero ls --all")
def ls(
    run: Run, all: Annotated[bool, typer.Option("-a", "--all", help="Include projects that are not running.")] = False
) -> None:
    """List the projects of this machine."""
    from fastzero_core.stack.listing import RESTING, list_projects

    projects = list_projects(run.settings)
    shown = projects if all else [each for each in projects if each.state not in RESTING]
    run.render.many(shown, PROJECT, none="No project is running." if projects else "No projects yet: fastzero up")
    if run.render.output == "table" and len(shown) < len(projects):
        run.render.message(f"{counted(len(projects) - len(shown), 'project')} not running: fastzero ls -a")


def _chosen(run: Run, all: bool, *, destroy: bool) -> "list[Stack]":
    if all:
        return run.stacks
    return [run.doomed_stack if destroy else run.whole_stack]


def _databases(stacks: "list[Stack]") -> list[str]:
    """Return the data that each stack would lose, for stacks that have ever had data."""
    databases = [f"With {stack.description}." for stack in stacks if stack.has_data]
    services = [f"With the data of {', '.join(names)}, which no backup has." for names in _with_data(stacks)]
    return [*databases, *services]


def _with_data(stacks: "list[Stack]") -> "list[tuple[str, ...]]":
    return [names for stack in stacks if (names := stack.services_with_data)]


def _projects(count: int) -> str:
    return "Project" if count == 1 else "Projects"


def _moment(text: str | None) -> datetime | None:
    """Return the time of a text: a time, or how long ago, such as 90s, 10m, 2h or 1d. Raises InvalidInputError."""
    if text is None:
        return None
    ago = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if ago:
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[ago[2]]
        return datetime.now(UTC) - timedelta(**{unit: int(ago[1])})
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise InvalidInputError(
            f"invalid time {text!r}", field="since", hint="Use 2026-01-31T12:00:00Z, or 90s, 10m, 2h, 1d ago"
        ) from None
