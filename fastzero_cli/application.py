"""Commands for your own application: init, run, test."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.errors import InvalidInputError
from fastzero_core.formats import as_dict

from .options import Run, words_of
from .tree import Group

if TYPE_CHECKING:
    from fastzero_core.application.discover.findings import Discovery
    from fastzero_core.application.writing import Draft

group = Group("application")


@group.command(example="fastzero init --dry-run\nfastzero init\nfastzero init --example todo-api")
def init(
    run: Run,
    folder: Annotated[str, typer.Argument(metavar="[FOLDER]", help="The application's folder.")] = ".",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print fastzero.toml and write nothing.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Write a small application first.")] = False,
) -> None:
    """Describe the application in a folder: write its fastzero.toml.

    Source files are read, never run. Each line says where it was found. A file that was edited is not overwritten.
    """
    from fastzero_core.application.discover.project import discover
    from fastzero_core.application.example import write_example
    from fastzero_core.application.writing import answers, draft, is_described, write

    place = Path(folder)
    if example and dry_run:
        raise InvalidInputError("--example writes files, and --dry-run writes none", field="dry_run", hint="Choose one")
    if example:
        write_example(place)
    discovery = answers(discover(place, _embedded_extensions()))
    if not dry_run and not is_described(place):
        discovery = _asked(run, discovery)
    new = draft(discovery)
    _show(run, discovery, new)
    if not new.is_new:
        run.render.message(f"Nothing to change: {new.path} says this already.")
    elif not dry_run:
        write(new)
        run.render.message(f"Wrote {new.path}. Read it, then: fastzero up")
        _trust(run, place)


@group.command(
    "run",
    example="fastzero run -- alembic current\nfastzero run -- python -m app.seed",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def run_(run: Run, command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command.")]) -> None:
    """Run a command with your application's environment.

    In its directory, with its programs and its variables; the exit code is passed on.
    """
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    raise typer.Exit(run.stack.run(words_of(command), interactive=interactive))


@group.command(
    "test",
    example="fastzero test\nfastzero test -- pytest -n auto tests/unit",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def suite(
    run: Run,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]", help="What tests it; as fastzero.toml says without it.")
    ] = None,
) -> None:
    """Test your application on databases that are gone afterwards.

    Its own migrations make one, and each worker of pytest-xdist gets a copy. Nothing of fastzero has to be installed
    beside the application. A suite that starts PostgreSQL by testcontainers gets an empty database instead, unless
    FASTZERO_SUITE_CONTAINERS=1 is set. The exit code is passed on.
    """
    from fastzero_core.stack.suite import run_suite

    raise typer.Exit(run_suite(run.settings, words_of(command or []), on_event=run.render.event))


def _trust(run: Run, place: Path) -> None:
    """Trust the application that was just described and shown, unless the folder has other settings that need trust."""
    from fastzero_core.application.reading import TABLES
    from fastzero_core.settings import folder_trust

    found = folder_trust(place)
    if all(each.top in TABLES for each in found.settings):
        found.give()
    else:
        run.render.message("Other settings in this folder need your trust. See them: fastzero trust")


def _embedded_extensions() -> frozenset[str] | None:
    from fastzero_core.errors import FastZeroError
    from fastzero_core.postgres.binaries import find_binaries

    try:
        return find_binaries().extensions()
    except FastZeroError:  # PostgreSQL is not installed here, but containers have it
        return None


def _asked(run: Run, discovery: "Discovery") -> "Discovery":
    """Ask for unknown values if stdin is a terminal. An empty answer leaves a value unknown."""
    if run.settings.no_input or not sys.stdin.isatty():
        return discovery
    for finding in discovery.questions:
        if finding.choices:
            run.render.message(f"Choices: {', '.join(finding.choices)}")
        default = finding.choices[0] if finding.choices else ""
        if answer := typer.prompt(finding.question, default=default, show_default=bool(default), err=True):
            discovery = discovery.answered(finding.key, answer)
    return discovery


def _show(run: Run, discovery: "Discovery", new: "Draft") -> None:
    """Show the whole file, since what it runs is trusted afterwards."""
    if run.render.output == "json":
        run.render.object(_record(discovery, new))
    elif new.is_new:
        run.render.text(new.text)
    for note in discovery.notes:
        where = f"{note.where}: " if note.where else ""
        run.render.message(f"{where}{note.text}. {note.hint}.")


def _record(discovery: "Discovery", new: "Draft") -> dict[str, Any]:
    return {
        "file": str(new.path),
        "changed": new.is_new,
        "text": new.text,
        "findings": [as_dict(each) for each in discovery.findings],
        "notes": [as_dict(each) for each in discovery.notes],
    }
