"""Build the command tree on demand: to run one command, build that one and not all forty.

Typer builds every command of an app before it runs one, which takes as long as importing Typer itself.
"""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main

from .options import GLOBAL_OPTIONS, HELP_OPTIONS, Run, example_epilog, with_global_options
from .style import paint, width

Function = Callable[..., None]
EVERYWHERE = (*GLOBAL_OPTIONS, "help")
MIN_WIDTH, MAX_WIDTH = 30, 80  # columns of help
Sections = Mapping[str, tuple[str, ...]]


class Entry(NamedTuple):
    """A command or a group of the tree. A list of commands needs its `help`, and not what `build` makes."""

    build: Callable[[], Any]
    help: Callable[[], str | None]

    @property
    def summary(self) -> str:
        """The first sentence of the help."""
        sentence, dot, _ = " ".join((self.help() or "").split()).partition(". ")
        return sentence + dot.rstrip()


class Group:
    """A group of commands that are registered by decorators, as in Typer, and built on demand.

    `default` is the command to run if the user does not name one. `sections` are the headings under which the help
    lists the commands; commands without a heading come last. `help` is for a group that its
    parent has already imported; others have their help from `add_group`.
    """

    def __init__(
        self,
        name: str,
        help: str = "",
        *,
        example: str = "",
        alone_is_help: bool = True,
        add_completion: bool = False,
        default: str | None = None,
        sections: Sections | None = None,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.app = typer.Typer(
            name=name,
            help=help or None,
            epilog=example_epilog(example),
            cls=_lazy(self.entries, default, sections or {}),
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            no_args_is_help=alone_is_help and default is None,
            add_completion=add_completion,
            context_settings=HELP_OPTIONS,
        )
        self.app.callback()(with_global_options(_options_only))

    def callback(self, *, example: str, **settings: Any) -> Callable[[Function], Function]:
        """Register the function that runs before each command of the group."""
        return lambda function: self.app.callback(epilog=example_epilog(example), **settings)(
            with_global_options(function)
        )

    def command(self, name: str | None = None, *, example: str, **settings: Any) -> Callable[[Function], Function]:
        """Register a command: a function of a Run and its own parameters. Adds the global options."""

        def register(function: Function) -> Function:
            self.entries[name or function.__name__] = Entry(
                lambda: _command(function, name, example, settings), lambda: function.__doc__
            )
            return function

        return register

    def add_group(self, name: str, module: str, help: str) -> None:
        """Register the group of a module in this package. Imports the module when one of its commands is needed."""
        self.entries[name] = Entry(lambda: _of(module).built(help), lambda: help)

    def add_commands(self, module: str, *names: str) -> None:
        """Register commands of a module's group. Imports the module when one of them is needed, or their help."""
        for name in names:
            self.entries[name] = _command_of(module, name)

    def add_imported(self, other: "Group") -> None:
        """Register a group that is already imported."""
        self.entries[str(other.app.info.name)] = Entry(other.built, lambda: other.app.info.help)

    def built(self, help: str | None = None) -> Any:
        """Return what Typer makes of the group. `help` is the one that its parent has for it."""
        self.app.info.help = help or self.app.info.help
        return typer.main.get_group(self.app)


def _of(module: str) -> Group:
    group: Group = import_module(f".{module}", __package__).group
    return group


def _command_of(module: str, name: str) -> Entry:
    return Entry(lambda: _of(module).entries[name].build(), lambda: _of(module).entries[name].help())


def _options_only(run: Run) -> None:
    """A group itself does nothing but take the global options."""


class _Commands(MutableMapping[str, Any]):
    """Commands by name, each built on first use."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries = entries
        self._built: dict[str, Any] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = self._entries[name].build()
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._entries[name] = Entry(lambda: command, lambda: command.help)

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class _Command(typer.core.TyperCommand):
    """A command with bold headings in its help."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        _convert_only_what_is_given(self.params)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _prepare(formatter)
        super().format_help(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _format_parameters(self, ctx, formatter)


def _convert_only_what_is_given(parameters: list[Any]) -> None:
    """Keep Typer from building the converter of an option without a value, which takes half a millisecond for each."""
    for parameter in parameters:
        if not parameter.required and parameter.callback is None:
            absent = () if parameter.multiple or parameter.nargs == -1 else None
            parameter.process_value = partial(_converted, parameter.process_value, absent)


def _converted(convert: Callable[[Any, Any], Any], absent: Any, ctx: Any, value: Any) -> Any:
    return absent if value is None else convert(ctx, value)


def _format_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    """Write the command's own parameters, and then the options that every command accepts."""
    records: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Global options": []}
    for parameter in command.get_params(ctx):
        if record := parameter.get_help_record(ctx):
            is_argument = parameter.param_type_name == "argument"
            own = "Arguments" if is_argument else "Options"
            records["Global options" if parameter.name in EVERYWHERE else own].append(record)
    for heading, found in records.items():
        if found:
            with formatter.section(heading):
                formatter.write_dl(found, col_max=_first_column(formatter))


def _prepare(formatter: Any) -> None:
    """Make a help formatter fit the terminal, which its own minimum does not, and write its headings in bold."""
    formatter.width = max(MIN_WIDTH, min(width(), MAX_WIDTH) - 2)
    plain = formatter.write_heading
    formatter.write_heading = lambda heading: plain(paint(heading, "strong", sys.stdout))


def _first_column(formatter: Any) -> int:
    return min(30, int(formatter.width) * 2 // 5)


def _lazy(entries: dict[str, Entry], default: str | None, sections: Sections) -> type[typer.core.TyperGroup]:
    class LazyGroup(typer.core.TyperGroup):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            _convert_only_what_is_given(self.params)
            self.commands = _Commands(entries)

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if default and not {*HELP_OPTIONS["help_option_names"]} & {*args} and self._names_none(args):
                args = [default, *args]
            return super().parse_args(ctx, args)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            _prepare(formatter)
            super().format_help(ctx, formatter)

        def format_options(self, ctx: Any, formatter: Any) -> None:
            """Write the commands first, since the options are the same everywhere."""
            self._format_sections(formatter)
            _format_parameters(self, ctx, formatter)

        def _format_sections(self, formatter: Any) -> None:
            longest = max(map(len, entries))
            for heading, names in _sections(entries, sections).items():
                with formatter.section(heading):
                    formatter.write_dl([(name.ljust(longest), entries[name].summary) for name in names])

        def _names_none(self, args: list[str]) -> bool:
            """Return whether the first word that is neither an option nor an option's value is not a command."""
            flags = {option for each in self.params if getattr(each, "is_flag", False) for option in each.opts}
            words = iter(args)
            for word in words:
                if not word.startswith("-") or word == "-":
                    return word not in self.commands
                if word not in flags and "=" not in word:
                    next(words, None)
            return True

    return LazyGroup


def _sections(commands: Collection[str], sections: Sections) -> dict[str, list[str]]:
    """Return the existing commands under their headings."""
    named = {heading: [name for name in names if name in commands] for heading, names in sections.items()}
    others = [name for name in commands if not any(name in names for names in named.values())]
    return {heading: names for heading, names in {**named, "Commands": others}.items() if names}


def _command(function: Function, name: str | None, example: str, settings: dict[str, Any]) -> Any:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    context = {**HELP_OPTIONS, **settings.get("context_settings", {})}
    app.command(name, cls=_Command, epilog=example_epilog(example), **{**settings, "context_settings": context})(
        with_global_options(function)
    )
    return typer.main.get_command(app)
