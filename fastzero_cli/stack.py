"""The stack commands, at the top level: up, down, status, logs, restart, ls, env, config, doctor, version."""

import shlex
from typing import Annotated, Any

import typer

from fastzero_core.errors import InvalidInputError, UnhealthyError

from .options import Run, Timeout, Yes
from .render import ACTION, FINDING, ORIGIN, PROJECT, SERVICE
from .tree import Group

group = Group("stack", "")

Port = Annotated[int | None, typer.Option("--port", metavar="PORT", min=1, max=65535, help="The database's port.")]
Service = Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="One service; all without it.")]

ENV_FORMATS = ("shell", "dotenv", "json")


@group.command(example="fastzero up\nfastzero up -p demo --port 5433 --dry-run")
def up(
    run: Run,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why, and do nothing.")] = False,
    runtime: Annotated[
        str | None, typer.Option("--runtime", metavar="RUNTIME", help="embedded; a project keeps its first.")
    ] = None,
    port: Port = None,
    timeout: Timeout = None,
) -> None:
    """Start the stack and wait until it is ready.

    Its database is migrated to head. The first time, the runtime and the ports are chosen, and then kept.
    """
    stack = run.stack
    if dry_run:
        actions = stack.plan(runtime=runtime, port=port)
        run.render.many(actions, ACTION, none="Nothing to do.")
        return
    stack.up(runtime=runtime, port=port, timeout=timeout)
    if run.settings.database_url:
        run.render.message("DATABASE_URL is set: user, todo and migrate use that database, not this stack's.")
    run.render.many(stack.status(), SERVICE)


@group.command(example="fastzero down\nfastzero down -p demo --volumes --yes")
def down(
    run: Run,
    volumes: Annotated[bool, typer.Option("--volumes", "-v", help="Destroy the data as well.")] = False,
    yes: Yes = False,
    timeout: Timeout = None,
) -> None:
    """Stop the stack; its data stays.

    With --volumes the project is destroyed: its database, passwords and logs.
    """
    stack = run.stack
    if volumes and stack.exists:
        run.confirm(f"Project {run.settings.project} will be gone for ever: its database, passwords and logs.", yes)
    done = stack.down(volumes=volumes, timeout=timeout)
    if not done:
        run.render.message(f"Nothing to do: project {run.settings.project} is not running.")
    run.render.many(stack.status(), SERVICE, none=f"Project {run.settings.project} is gone.")


@group.command(example="fastzero status\nfastzero status -o json")
def status(run: Run) -> None:
    """Show the services and how they are.

    Each with its state, address, version, schema revision and since when it runs.
    """
    run.render.many(run.stack.status(), SERVICE)


@group.command(example="fastzero logs -f\nfastzero logs database --tail 20")
def logs(
    run: Run,
    service: Service = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    tail: Annotated[int | None, typer.Option("-n", "--tail", metavar="N", min=0, help="The last lines only.")] = None,
) -> None:
    """Print the services' logs.

    Each line goes to the stream it was written to: PostgreSQL's to standard error.
    """
    run.render.logs(run.stack.logs(service, tail=tail, follow=follow))


@group.command(example="fastzero restart database")
def restart(run: Run, service: Service = None, timeout: Timeout = None) -> None:
    """Stop and start one service, or all."""
    stack = run.stack.restart(service, timeout=timeout)
    run.render.many(stack.status(), SERVICE)


@group.command(example="fastzero ls")
def ls(run: Run) -> None:
    """List the projects of this machine."""
    from fastzero_core.stack.stack import list_projects

    run.render.many(list_projects(run.settings), PROJECT)


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


@group.command(example="fastzero config\nfastzero config -o json")
def config(run: Run) -> None:
    """Show the settings and where each comes from.

    Secrets are hidden.
    """
    from fastzero_core.settings import origins

    run.render.many(origins(**run.flags), ORIGIN)


@group.command(example="fastzero doctor")
def doctor(run: Run) -> None:
    """Look for what keeps the stack from working.

    Each finding says what to do about it. Exit 8 if something keeps it from working.
    """
    from fastzero_core.stack.doctor import examine

    findings = examine(run.settings)
    run.render.many(findings, FINDING)
    failed = [finding.code for finding in findings if finding.result == "failed"]
    if failed:
        raise UnhealthyError(f"found: {', '.join(failed)}", hint="Each finding above says what to do")


@group.command(example="fastzero version -o json")
def version(run: Run) -> None:
    """Show the versions of everything involved."""
    run.render.one(_versions(), ())


def _versions() -> dict[str, Any]:
    import platform

    from fastzero_core import __version__
    from fastzero_core.errors import FastZeroError
    from fastzero_core.revisions import head_revision
    from fastzero_core.stack.binaries import find_binaries

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
