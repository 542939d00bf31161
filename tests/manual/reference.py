"""The parts of the reference that are made from the code: commands, settings, keys of fastzero.toml, errors, library.

Descriptions of settings and keys have a translation in `portuguese`. Help and docstrings are English in every language.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

import fastzero_core
from fastzero_cli.main import root
from fastzero_core import errors
from fastzero_core.application.tables import ApplicationTable, ContainerTable, DatabaseTable, ProcessTable, ServiceTable
from fastzero_core.settings import Settings
from fastzero_core.sources import variable_of
from fastzero_core.trust import risk_of

from . import portuguese
from .pages import Page

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "options": "Option | ",
        "global": "The options of all commands are at the top of this page.",
        "variable": "Environment variable",
        "key": "Key of `fastzero.toml`",
        "default": "Default",
        "values": "Values",
        "trust": "Needs trust in a folder's file",
        "none": "none",
        "command": "Command",
        "purpose": "What it does",
        "error": "Class",
    },
    "pt": {
        "options": "Opção | ",
        "global": "As opções comuns a todos os comandos estão no início desta página.",
        "variable": "Variável de ambiente",
        "key": "Chave no `fastzero.toml`",
        "default": "Padrão",
        "values": "Valores",
        "trust": "Exige confiança na pasta",
        "none": "nenhum",
        "command": "Comando",
        "purpose": "O que faz",
        "error": "Classe",
    },
}
TABLES: Mapping[str, type[BaseModel]] = {
    "[application]": ApplicationTable,
    "[application.processes.NAME]": ProcessTable,
    "[application.database]": DatabaseTable,
    "[application.container]": ContainerTable,
    "[services.NAME]": ServiceTable,
}


TRANSLATED: Mapping[str, str] = {**portuguese.SETTINGS, **portuguese.APPLICATION}


def translated(text: str, language: str) -> str:
    """Return a description of the code in a language. Raises KeyError for one without a translation."""
    return TRANSLATED[text] if language == "pt" and text else text


# -- commands --------------------------------------------------------------------------------------------------


def commands(language: str) -> str:
    """Each command with its usage, help, own options and example; before them the options that all have."""
    tree: Any = get_command(root.app)
    shared = {parameter.name for parameter in tree.params if parameter.name != "version"}
    found = list(_walk("fastzero", tree))
    overview = [f"| [`{path}`](#{_anchor(path)}) | {_first_line(command)} |" for path, command in found]
    words = WORDS[language]
    head = [f"| {words['command']} | {words['purpose']} |", "|---|---|", *overview, ""]
    options = _options([each for each in tree.params if each.name in shared], language)
    return "\n".join([options, "", *head, *(_command(*each, shared, language) for each in found)])


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        yield f"{path} {name}", child
        yield from _walk(f"{path} {name}", child)


def _command(path: str, command: Any, shared: set[str], language: str) -> str:
    arguments = " ".join(each.display_name_raw for each in command.params if each.param_type_name == "argument")
    own = [each for each in command.params if each.param_type_name == "option" and each.name not in shared]
    parts = [f"### {path} {{ #{_anchor(path)} }}", "", _plain(command.help or ""), ""]
    parts += ["```text", f"{path} {arguments}".strip(), "```", ""]
    if own:
        parts += [_options(own, language), ""]
    if example := (command.epilog or "").partition("Example:\n")[2]:
        parts += ["```text", inspect.cleandoc(example), "```", ""]
    return "\n".join(parts)


def _options(parameters: list[Any], language: str) -> str:
    rows = []
    for each in parameters:
        names = ", ".join(f"`{name}`" for name in each.opts)
        metavar = "" if getattr(each, "is_flag", False) else f" `{each.metavar}`" if each.metavar else ""
        rows.append(f"| {names}{metavar} | {_cell(each.help or '')} |")
    return "\n".join([f"| {WORDS[language]['options']} |", "|---|---|", *rows])


def _first_line(command: Any) -> str:
    return _cell((command.help or "").split("\n")[0])


def _anchor(path: str) -> str:
    return path.removeprefix("fastzero ").replace(" ", "-")


# -- settings --------------------------------------------------------------------------------------------------


def settings(language: str) -> str:
    """Each setting with its names, values, default and whether a folder's file needs trust to set it."""
    words = WORDS[language]
    parts = []
    for name, field in Settings.model_fields.items():
        risk = risk_of(field.metadata)
        facts = {
            words["variable"]: f"`{variable_of(name, field)}`",
            words["key"]: f"`{name}`",
            words["values"]: _type(field, language),
            words["default"]: _default(name, field, words),
        }
        if risk:
            facts[words["trust"]] = translated(risk.text, language)
        rows = [f"| {key} | {_cell(value)} |" for key, value in facts.items()]
        parts += [
            f"### {name}",
            "",
            _sentence(translated(field.description or "", language)),
            "",
            "| | |",
            "|---|---|",
            *rows,
            "",
        ]
    return "\n".join(parts)


def application(language: str) -> str:
    """Each key of the tables of fastzero.toml that describe an application."""
    words = WORDS[language]
    parts = []
    for title, table in TABLES.items():
        rows = [
            f"| `{name}` | {_cell(_type(field, language))} | {_cell(translated(field.description or '', language))} |"
            for name, field in table.model_fields.items()
        ]
        head = [f"| {words['key']} | {words['values']} | |", "|---|---|---|"]
        parts += [f"### {title}", "", *head, *rows, ""]
    return "\n".join(parts)


def _type(field: FieldInfo, language: str) -> str:
    limits = {type(each).__name__: each for each in field.metadata}
    low, high = limits.get("Ge"), limits.get("Le")
    kinds = portuguese.KINDS if language == "pt" else {}
    text = " / ".join(kinds.get(kind, kind) for kind in _type_name(field.annotation).split(" / "))
    if low and high:
        text += f", {low.ge:,}–{high.le:,}"
    return text


def _type_name(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " / ".join(dict.fromkeys(_type_name(each) for each in arguments if each is not type(None)))
    if origin in (list, dict):
        return {list: "list", dict: "table"}[origin]
    names = {"bool": "true / false", "int": "integer", "float": "number", "Path": "path", "str": "text"}
    name = getattr(kind, "__name__", str(kind))
    return names.get(name, "text" if name == "SecretStr" else "table")


def _default(name: str, field: FieldInfo, words: Mapping[str, str]) -> str:
    if name == "home":
        return "`~/.local/share/fastzero` (Linux), `~/Library/Application Support/fastzero` (macOS)"
    value = field.default
    if value in (None, [], {}):
        return words["none"]
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


# -- errors ----------------------------------------------------------------------------------------------------


def error_classes() -> dict[str, type[errors.FastZeroError]]:
    """Return every class of errors by its code."""
    found: dict[str, type[errors.FastZeroError]] = {}
    waiting = [errors.FastZeroError]
    while waiting:
        each = waiting.pop(0)
        found[each.code] = each
        waiting += each.__subclasses__()
    return {code: found[code] for code in found if found[code].__module__ == errors.__name__}


def with_facts(page: Page) -> str:
    """Return the page's text; below each heading that is an error's code stand its class, exit code and status."""
    if page.name != "reference/errors":
        return page.text
    classes = error_classes()

    def facts(match: re.Match[str]) -> str:
        code = match[1]
        kind = classes[code]
        line = f"`{kind.__name__}` · exit {kind.exit_code} · HTTP {kind.http_status}"
        return f"### {code} {{ #{code} }}\n\n{line}\n"

    return re.sub(r"^### (\w+)\n", facts, page.text, flags=re.MULTILINE)


# -- library ---------------------------------------------------------------------------------------------------


def library(language: str) -> str:
    """The public names of fastzero_core, each with its signature and docstring, classes with their public methods."""
    names = [name for name in fastzero_core.__all__ if name != "Settings"]
    return "\n".join(_documented(name, getattr(fastzero_core, name)) for name in names)


def _documented(name: str, value: Any) -> str:
    parts = [f"### {name} {{ #{name} }}", ""]
    if not inspect.isclass(value) and not inspect.isfunction(value):
        return "\n".join([*parts, f"`{value}`", ""]) if isinstance(value, str) else "\n".join([*parts, _alias(value)])
    parts += [_signature(name, value), _plain(inspect.getdoc(value) or ""), ""]
    if inspect.isclass(value) and not issubclass(value, Exception):
        for method, function in sorted(inspect.getmembers(value, _is_public)):
            parts += [f"#### {name}.{method} {{ #{name}.{method} }}", ""]
            if inspect.isfunction(function):
                parts += [_signature(method, function)]
            parts += [_plain(inspect.getdoc(function) or ""), ""]
    return "\n".join(parts)


def _alias(value: Any) -> str:
    return ", ".join(f"`{each}`" for each in get_args(value)) + "\n"


def _is_public(member: Any) -> bool:
    if isinstance(member, property):
        member = member.fget
    name = getattr(member, "__name__", "_")
    module = getattr(member, "__module__", "") or ""
    return inspect.isfunction(member) and not name.startswith("_") and module.startswith("fastzero_core")


def _signature(name: str, value: Any) -> str:
    if inspect.isclass(value) and issubclass(value, Exception):
        return ""
    if is_typeddict(value):
        fields = "\n".join(f"{each}: {_short(str(kind))}" for each, kind in get_type_hints(value).items())
        return f"```text\n{fields}\n```\n"
    text = _short(str(inspect.signature(value)))
    return f"```text\n{name}{text.replace('(self, ', '(').replace('(self)', '()')}\n```\n"


def _short(text: str) -> str:
    """Types without their modules."""
    return re.sub(r"(fastzero_core\.[a-z_.]+\.|typing\.|collections\.abc\.|<class '|'>)", "", text)


# -- text ------------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """A docstring as Markdown: code that it shows stays code, and nothing else in it is markup."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text.replace("\b", ""))):
        if all(line.startswith("    ") for line in paragraph.splitlines()):
            paragraphs.append(f"```text\n{inspect.cleandoc(paragraph)}\n```")
        else:
            paragraphs.append(_escaped(paragraph))
    return "\n\n".join(paragraphs)


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("[", "\\[")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


PARTS: Mapping[str, Callable[[str], str]] = {
    "commands": commands,
    "settings": settings,
    "application": application,
    "library": library,
}
