"""Define the global options, which every command accepts before or after its name, and the `Run` made from them."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastzero_core.errors import InvalidInputError

from . import messages, style
from .render import Renderer

if TYPE_CHECKING:
    from fastzero_core import FastZero, Settings, Stack
    from fastzero_core.care import DatabaseCare
    from fastzero_core.schema.interface import Schema
    from fastzero_core.stack.scaling import ScalableStack

OUTPUTS = ("table", "json", "ndjson", "csv", "tsv", "ids")
RUNTIMES = ("embedded", "docker", "swarm")
LEVELS = ("debug", "info", "warning", "error", "critical")  # of log lines
COLORS = ("auto", "always", "never")
ATTEMPTS = 3  # to type a password
DECLINED = 1  # exit code if the user answers no
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


def _complete_project(incomplete: str) -> list[str]:
    from .completion import project_names

    return project_names(incomplete)


def complete_from(*choices: str) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


GLOBAL_OPTIONS: dict[str, Any] = {
    "project": Annotated[
        str | None,
        typer.Option(
            "-p", "--project", metavar="NAME", help="The project to work on.", autocompletion=_complete_project
        ),
    ],
    "database_url": Annotated[
        str | None,
        typer.Option("--database-url", metavar="URL", help="A database to use instead of the stack's own."),
    ],
    "output": Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FORMAT",
            help="Output format: " + " | ".join(OUTPUTS),
            autocompletion=complete_from(*OUTPUTS),
        ),
    ],
    "quiet": Annotated[bool, typer.Option("-q", "--quiet", help="Print results only, no messages.")],
    "no_input": Annotated[bool, typer.Option("--no-input", help="Never prompt.")],
    "color": Annotated[
        str | None,
        typer.Option(
            "--color",
            metavar="WHEN",
            help="When to use colour: " + " | ".join(COLORS),
            autocompletion=complete_from(*COLORS),
        ),
    ],
}


class Run:
    """One invocation: its options, and the objects that they determine, each created on first use."""

    def __init__(self, given: dict[str, Any], subcommand: str | None = None) -> None:
        self.subcommand = subcommand  # the command after the group, if the group itself runs
        self.quiet = bool(given.pop("quiet", False))
        self._flags = given
        self._has_warned = False

    @cached_property
    def _settings(self) -> "Settings":
        """The settings, trusted or not: any folder may set how to print and whether to prompt."""
        from fastzero_core.settings import read_settings

        settings = read_settings(**self._flags)
        style.choose_color(settings.color)  # also for an error, before a command renders anything
        return settings

    @cached_property
    def settings(self) -> "Settings":
        settings = self._settings.trusted()
        if settings.is_flag("project") and settings.is_flag("database_url"):
            from fastzero_core.care import refuse_two_databases

            refuse_two_databases(settings)
        return settings

    @property
    def flags(self) -> dict[str, Any]:
        """The options on the command line, as settings."""
        return self._flags

    def command(self, words: str) -> str:
        """Return a command of fastzero as the user types it to work on the same project."""
        from shlex import quote

        flag = f"-p {quote(self._settings.project)} " if self._settings.is_flag("project") else ""
        return f"fastzero {flag}{words}"

    @cached_property
    def render(self) -> Renderer:
        return Renderer(self._settings.output, quiet=self.quiet)

    @property
    def database_url(self) -> str:
        from fastzero_core.project import database_url

        self._warn_of_clear_password()
        return database_url(self.settings)

    @cached_property
    def schema(self) -> "Schema":
        """The schema that the database should have: that of the built-in application, or of the user's own."""
        from fastzero_core.care import schema_of

        return schema_of(self.settings, on_event=self.render.event)

    @contextmanager
    def fastzero(self, *, autocommit: bool = False) -> "Iterator[FastZero]":
        from fastzero_core.project import refuse_another_application
        from fastzero_core.todo_app.fastzero import FastZero
        from fastzero_core.todo_app.passwords import HashCost

        settings = self.settings
        refuse_another_application(settings)
        cost = HashCost(settings.argon2_time, settings.argon2_memory, settings.argon2_parallelism)
        with FastZero(self.database_url, autocommit=autocommit, hash_cost=cost) as fz:
            yield fz

    @property
    def stack(self) -> "ScalableStack":
        """The project's stack without the care for its database, which takes as long to import as all the rest."""
        from fastzero_core.stack.scaling import ScalableStack

        return ScalableStack(self.settings, on_event=self.render.event)

    @property
    def whole_stack(self) -> "Stack":
        """The project's stack with the care for its database."""
        from fastzero_core.care import Stack

        return Stack(self.settings, on_event=self.render.event)

    @property
    def own_stack(self) -> "Stack":
        """The project's stack, for commands that only work on its own database."""
        from fastzero_core.care import stack_of

        return stack_of(self.settings, on_event=self.render.event)

    @property
    def doomed_stack(self) -> "Stack":
        """The project's stack, for a command that destroys it. Refuses if DATABASE_URL names another database."""
        from fastzero_core.care import stack_of

        return stack_of(self.settings, destroys=True, on_event=self.render.event)

    @property
    def stacks(self) -> "list[Stack]":
        """The stacks of all projects on this machine."""
        from fastzero_core.care import Stack

        return Stack.all(self.settings, on_event=self.render.event)

    @cached_property
    def database(self) -> "DatabaseCare":
        """The database that the command works on."""
        from fastzero_core.care import database_of

        self._warn_of_clear_password()
        return database_of(self.settings, on_event=self.render.event)

    @cached_property
    def doomed(self) -> "DatabaseCare":
        """The same database, for a destructive command. Refuses if it is not clear which database is meant."""
        from fastzero_core.care import database_to_destroy

        self._warn_of_clear_password()
        return database_to_destroy(self.settings, on_event=self.render.event)

    def _warn_of_clear_password(self) -> None:
        """Warn once that the password of a remote database may cross the network in clear text."""
        if self._has_warned or self.settings.database_url is None:
            return
        from fastzero_core.postgres.url import clear_password

        self._has_warned = True
        if warning := clear_password(self.settings.database_url.get_secret_value()):
            self.render.warning(warning)

    def confirm(self, what: str | Callable[[], str], yes: bool) -> None:
        """Continue only if the user agrees, now or with `--yes`. Exits with DECLINED otherwise.

        Raises InvalidInputError if stdin is not a terminal, or with `--no-input`.
        """
        if yes:
            return
        question = what if isinstance(what, str) else what()
        if self._settings.no_input or not sys.stdin.isatty():
            raise InvalidInputError(f"{question} Confirmation is required", field="yes", hint="Confirm it: --yes")
        if not self.render.confirms(f"{question} Go on?"):
            self.render.message("Nothing was changed.")
            raise SystemExit(DECLINED)

    def password(self, from_stdin: bool, file: str | None, *, of: tuple[str, str]) -> str:
        """Return a password from stdin, from a file, or typed twice without being shown.

        `of` is the username and the e-mail address. A typed password that breaks a rule is asked for again, up to
        ATTEMPTS times. Raises InvalidInputError.
        """
        if from_stdin:
            return sys.stdin.readline().rstrip("\r\n")
        if file is not None:
            return _first_line(file)
        if self._settings.no_input or not sys.stdin.isatty():
            raise InvalidInputError(
                "no password given", field="password", hint="Hand one over: --password-stdin or --password-file FILE"
            )
        from fastzero_core.todo_app.passwords import PASSWORD_RULE, check_new_password

        self.render.review(PASSWORD_RULE)
        for _ in range(ATTEMPTS):
            typed: str = typer.prompt("Password", hide_input=True, err=True)
            try:
                check_new_password(typed, username=of[0], email=of[1])
            except InvalidInputError as error:
                messages.error(error, None, [])
                continue
            if typed == typer.prompt("Repeat for confirmation", hide_input=True, err=True):
                return typed
            self.render.review("The two passwords do not match.")
        raise InvalidInputError("no password was accepted", field="password", hint=PASSWORD_RULE)


def _first_line(file: str) -> str:
    try:
        with open(file, encoding="utf-8") as lines:  # noqa: PTH123
            return lines.readline().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"cannot read the password from {file}: {error}", field="password") from None


def with_global_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function in Typer's form. Its Run is made from the global options of this level and outer levels."""
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if "bool" in str(kind) else None, annotation=kind
        )
        for name, kind in GLOBAL_OPTIONS.items()
    ]

    @functools.wraps(function)
    def invoke(ctx: typer.Context, **arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in GLOBAL_OPTIONS}
        ctx.obj = {**(ctx.obj or {}), **{name: value for name, value in given.items() if value not in (None, False)}}
        function(Run(dict(ctx.obj), ctx.invoked_subcommand), **arguments)

    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *shared]
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return invoke


def example_epilog(example: str) -> str:
    """Return the text below a command's help."""
    # \b keeps the lines of a paragraph as they are.
    lines = "\n".join(f"  {line}" for line in example.splitlines())
    return f"\b\nExample:\n{lines}"


def words_of(command: list[str]) -> list[str]:
    """Return the words of a command that runs elsewhere, without the `--` before them."""
    return command[1:] if command[:1] == ["--"] else command


Yes = Annotated[bool, typer.Option("-y", "--yes", help="Skip confirmation.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
PasswordFile = Annotated[
    str | None, typer.Option("--password-file", metavar="FILE", help="Read the password from a file's first line.")
]
NoBackup = Annotated[bool, typer.Option("--no-backup", help="Skip the automatic backup.")]
MoveTo = Annotated[
    str | None,
    typer.Option("--to", metavar="RUNTIME", help="embedded | docker | swarm", autocompletion=complete_from(*RUNTIMES)),
]
MoveServers = Annotated[
    bool | None, typer.Option("--ha/--no-ha", show_default=False, help="In a swarm: to three servers, or back to one.")
]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to wait.")]
