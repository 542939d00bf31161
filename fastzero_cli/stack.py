"""The stack commands, at the top level: up, down, status, logs, restart, ls, env, config, doctor, version."""

import re
import shlex
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.errors import FastZeroError, InvalidInputError, UnhealthyError

from .columns import ACTION, FINDING, ORIGIN, PROJECT, SERVICE
from .options import NoBackup, Run, Timeout, Yes, words_of
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core import Stack

group = Group("stack", "")
ADOPTION = (
    "What this engine has of project {} will be taken over, with its rows and new passwords. A FASTZERO_HOME that still"
    " has it can neither use nor change it any more, unless it takes it over again."
)
NOTHING_TO_STOP = "Nothing to do: project {} is not running."
export = Group("export", "Hand the stack over to other tools.", example="fastzero export compose > compose.yaml")

Port = Annotated[int | None, typer.Option("--port", metavar="PORT", min=1, max=65535, help="The database's port.")]
Service = Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="One service; all without it.")]

ENV_FORMATS = ("shell", "dotenv", "json")


@group.command(example="fastzero up\nfastzero up -p demo --runtime docker --dry-run")
def up(
    run: Run,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why, and do nothing.")] = False,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", metavar="RUNTIME", help="embedded | docker; a project keeps its first."),
    ] = None,
    port: Port = None,
    app_port: Annotated[
        int | None, typer.Option("--app-port", metavar="PORT", min=1, max=65535, help="The app's port.")
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
        "port": port,
        "app_port": app_port,
        "app": False if no_app else None,
        "build": build,
        "pull": pull,
        "adopt": adopt,
        "start_over": start_over,
        "install": install,
    }
    if dry_run:
        run.render.many(stack.plan(**wanted), ACTION, none="Nothing to do.")
        return
    if adopt:
        run.confirm(ADOPTION.format(run.settings.project), yes)
    stack.up(**wanted, keep=keep, timeout=timeout)
    named = run.settings.database_url
    if named and not stack.serves(named.get_secret_value()):
        run.render.message("DATABASE_URL is set: user, todo and migrate use that database, not this stack's.")
    run.render.many(stack.status(fresh=False), SERVICE)
    if attach or reload:
        _attend(run, stack, reload)


def _attend(run: Run, stack: "Stack", reload: bool) -> None:
    """Follow the logs until Ctrl-C, and then stop the stack."""
    import threading

    stop = threading.Event()
    if reload:
        threading.Thread(target=stack.reload_on_change, args=(stop,), daemon=True).start()
    try:
        run.render.attached(stack.logs(tail=0, follow=True))
    except KeyboardInterrupt:
        run.render.message("stopping …")
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
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring the schema to head first.")] = False,
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
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="Where to run it, as database or app.")],
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
        run.render.message(
            "Nothing to do: there is no project." if all else NOTHING_TO_STOP.format(run.settings.project)
        )
    if volumes and stacks:
        gone = f"{_projects(len(stacks))} {names} will be permanently deleted: database, passwords and logs."
        run.confirm(lambda: " ".join([gone, *_databases(stacks)]), yes)
    statuses = []
    failure = None
    for stack in stacks:
        try:
            done = stack.destroy(no_backup=no_backup, timeout=timeout) if volumes else stack.down(timeout=timeout)
            if not done:
                run.render.message(NOTHING_TO_STOP.format(stack.project.name))
            statuses += stack.status()
        except FastZeroError as error:
            if len(stacks) == 1:
                raise
            run.render.message(f"{stack.project.name} could not be stopped: {error.message}")
            failure = error  # the others can be stopped all the same
    run.render.many(statuses, SERVICE, none="")
    if failure:
        raise failure


@group.command(example="fastzero status\nfastzero status -o json")
def status(
    run: Run,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Refresh every second, until Ctrl-C.")] = False,
) -> None:
    """Show the services and how they are.

    Each with its state, address, version, schema revision and since when it runs.
    """
    run.render.many(run.stack.status(), SERVICE)
    while watch:
        time.sleep(1)
        run.render.again(run.stack.status(), SERVICE)


@group.command(example="fastzero logs -f\nfastzero logs database --tail 20")
def logs(
    run: Run,
    service: Service = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow new output.")] = False,
    tail: Annotated[int | None, typer.Option("-n", "--tail", metavar="N", min=0, help="The last lines only.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="A time as RFC 3339, or how long ago: 90s, 10m, 2h, 1d."),
    ] = None,
) -> None:
    """Print the services' logs.

    Each line goes to the stream it was written to: PostgreSQL's to standard error.
    """
    run.render.logs(run.stack.logs(service, tail=tail, follow=follow, since=_moment(since)))


@group.command(example="fastzero restart database")
def restart(run: Run, service: Service = None, timeout: Timeout = None) -> None:
    """Stop and start one service, or all."""
    stack = run.stack.restart(service, timeout=timeout)
    run.render.many(stack.status(), SERVICE)


@group.command(example="fastzero ls\nfastzero ls --all")
def ls(run: Run, all: Annotated[bool, typer.Option("-a", "--all", help="Also those that do not run.")] = False) -> None:
    """List the projects of this machine."""
    from fastzero_core.stack.stack import list_projects

    run.render.many(list_projects(run.settings, all=all), PROJECT)


@group.command(example='eval "$(fastzero env)"\nfastzero env --format dotenv > .env')
def env(
    run: Run,
    format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help=" | ".join(ENV_FORMATS) + "; shell without it.")
    ] = None,
) -> None:
    """Print the environment for other programs.

    What they need to use the database, the password included.
    """
    variables = run.stack.environment()
    match format or ("json" if run.settings.output == "json" else "shell"):
        case "shell":
            run.render.text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
        case "dotenv":
            run.render.text("".join(f"{name}={value}\n" for name, value in variables.items()))
        case "json":
            run.render.object(variables)
        case _:
            raise InvalidInputError(f"format {format!r} is not one of {', '.join(ENV_FORMATS)}", field="format")


@group.command(example="fastzero config\nfastzero config -o json\nfastzero config --schema > fastzero.schema.json")
def config(
    run: Run,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of fastzero.toml for editors.")
    ] = False,
) -> None:
    """Show the settings and where each comes from.

    Secrets are hidden. Those of the application in this folder come last.
    """
    if schema:
        run.render.text(_schema())
        return
    from fastzero_core.application.explain import application_origins
    from fastzero_core.settings import origins

    run.render.many([*origins(**run.flags), *application_origins(Path())], ORIGIN)


@group.command(example="fastzero doctor\nfastzero doctor --fix")
def doctor(
    run: Run, fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired without a loss.")] = False
) -> None:
    """Look for what keeps the stack from working.

    Each finding says what to do about it. Exit 8 if something keeps it from working.
    """
    from fastzero_core.stack.doctor import examine

    findings = examine(run.settings, fix=fix)
    run.render.many(findings, FINDING)
    failed = [finding.code for finding in findings if finding.result == "failed"]
    if failed:
        raise UnhealthyError(f"found: {', '.join(failed)}", hint="Each finding above says what to do")


@group.command(example="fastzero version -o json")
def version(run: Run) -> None:
    """Show the versions of everything involved."""
    run.render.one(_versions(), ())


@export.command(example="fastzero export dockerfile > Dockerfile")
def dockerfile(run: Run) -> None:
    """Print the Dockerfile that fastzero makes for your application.

    It is the one that is used as long as the application has none of its own.
    """
    run.render.text(run.stack.dockerfile())


@export.command(example="fastzero export compose > compose.yaml")
def compose(run: Run) -> None:
    """Print the stack as a compose.yaml.

    For Docker Compose: the same services, images, secrets and volume.
    """
    run.render.text(run.stack.compose())


def _schema() -> str:
    from importlib.resources import files

    return (files("fastzero_core.application") / "schema.json").read_text("utf-8")


def _chosen(run: Run, all: bool, *, destroy: bool) -> "list[Stack]":
    if all:
        return run.stacks
    return [run.doomed_stack if destroy else run.stack]


def _databases(stacks: "list[Stack]") -> list[str]:
    """What is lost of each, where it ever held something."""
    databases = [f"With {stack.description}." for stack in stacks if stack.has_data]
    services = [f"With the data of {', '.join(names)}, which no backup has." for names in _services(stacks)]
    return [*databases, *services]


def _services(stacks: "list[Stack]") -> "list[tuple[str, ...]]":
    return [names for stack in stacks if (names := stack.services_with_data)]


def _projects(count: int) -> str:
    return "Project" if count == 1 else "Projects"


def _moment(text: str | None) -> datetime | None:
    """A time, or how long ago as 90s, 10m, 2h or 1d."""
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
            f"{text!r} is no time", field="since", hint="As 2026-01-31T12:00:00Z, or as 90s, 10m, 2h, 1d ago"
        ) from None


def _versions() -> dict[str, Any]:
    import platform

    from fastzero_core import __version__
    from fastzero_core.errors import FastZeroError
    from fastzero_core.postgres.binaries import find_binaries
    from fastzero_core.schema.revisions import head_revision

    try:
        postgresql: str | None = find_binaries().version
    except FastZeroError:
        postgresql = None
    return {
        "fastzero": __version__,
        "python": platform.python_version(),
        "postgresql": postgresql,
        "head": head_revision(),
    }
