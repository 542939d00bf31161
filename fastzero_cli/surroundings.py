"""Top-level commands about the environment of a stack: env, config, doctor, version."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from fastzero_core.errors import InvalidInputError, UnhealthyError

from .columns import FINDING, ORIGIN
from .options import Run, complete_from
from .tree import Group

group = Group("surroundings")

ENV_FORMATS = ("shell", "dotenv", "json")


@group.command(example='eval "$(fastzero env)"\nfastzero env --format dotenv > .env')
def env(
    run: Run,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=" | ".join(ENV_FORMATS) + "; shell without it.",
            autocompletion=complete_from(*ENV_FORMATS),
        ),
    ] = None,
) -> None:
    """Print the environment for other programs.

    What they need to use the database, the password included.
    """
    chosen = format or ("json" if run.settings.output == "json" else "shell")
    if chosen not in ENV_FORMATS:
        raise InvalidInputError(
            f"invalid --format {chosen!r}", field="format", hint=f"Use one of: {', '.join(ENV_FORMATS)}"
        )
    variables = run.stack.environment()
    if chosen == "json":
        run.render.object(variables)
    elif chosen == "dotenv":
        run.render.text("".join(f"{name}={value}\n" for name, value in variables.items()))
    else:
        run.render.text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))


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


def _schema() -> str:
    from importlib.resources import files

    return (files("fastzero_core.application") / "schema.json").read_text("utf-8")


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
