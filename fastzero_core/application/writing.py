"""Write what was found in a folder to its fastzero.toml, without overwriting a user's changes."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..config_files import read_bounded
from ..errors import ConflictError
from ..files import CHOSEN, write_atomically
from .discover.findings import Discovery, Finding
from .installation import project_of
from .reading import FILE, TABLES, load, parse
from .sources import table_at

HEADER = "# The application of this folder, as `fastzero init` found it. Edit it, then run: fastzero up\n"
_TABLES = ("environment", "processes", "database")
NAME_MAX = 40  # characters of a project's name
_SHOWN = 100  # characters of a reason


class Draft(NamedTuple):
    """The text of a whole fastzero.toml. `is_new` is false if the file already describes the same application."""

    path: Path
    text: str
    is_new: bool


def draft(discovery: Discovery) -> Draft:
    """Return the file for what was found. Keeps existing settings that are not about an application, at the beginning.

    Raises ConflictError, with the difference, if the file describes another application.
    """
    path = discovery.folder / FILE
    found = toml_of(discovery)
    before = read_bounded(path)
    described = _described(before)
    if described == _described(found):
        return Draft(path, before, False)
    if described:
        raise ConflictError(
            f"{path} differs from what was found, and is not overwritten:\n{_difference(before, found)}",
            hint=f"Edit {FILE}, or move it away and run again: fastzero init",
        )
    name = "" if "project" in load(before) else f'project = "{project_name(discovery.folder)}"\n\n'
    text = f"{name}{before.rstrip()}\n\n{HEADER}\n{found}" if before.strip() else f"{HEADER}\n{name}{found}"
    return Draft(path, text, True)


def project_name(folder: Path) -> str:
    """Return a project name for the application in a folder: the name in pyproject.toml, else that of the folder."""
    declared = table_at(project_of(folder), "project").get("name", "")
    for text in (declared, folder.resolve().name):
        if name := re.sub("[^a-z0-9_-]+", "-", str(text).lower()).strip("-_")[:NAME_MAX]:
            return name
    return "application"


def write(new: Draft) -> None:
    """Write the file atomically. Raises InvalidInputError, NotAllowedError, UnavailableError."""
    parse(new.text, new.path.parent)
    write_atomically(new.path, new.text, hints=CHOSEN)


def is_described(folder: Path) -> bool:
    """Return whether a folder's fastzero.toml describes an application. Raises InvalidInputError."""
    return bool(_described(read_bounded(folder / FILE)))


def answers(discovery: Discovery) -> Discovery:
    """Return the discovery with the answers that the folder's fastzero.toml has to its questions."""
    document = load(read_bounded(discovery.folder / FILE))
    for finding in discovery.questions:
        value = document.get("application", {})
        for part in finding.key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            discovery = discovery.answered(finding.key, value)
    return discovery


def _described(text: str) -> dict[str, Any]:
    document = load(text)
    return {name: document[name] for name in TABLES if name in document}


def _difference(before: str, found: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), found.splitlines(), FILE, "found", lineterm="", n=1)
    return "\n".join(lines)


# -- TOML ------------------------------------------------------------------------------------------------------


def toml_of(discovery: Discovery) -> str:
    """Return the findings as TOML, with the reason for each line in a comment."""
    top = [each for each in discovery.findings if "." not in each.key]
    parts = ["[application]\n" + "".join(_line(each.key, each) for each in top)]
    for table in _TABLES:
        parts += _table(
            f"application.{table}", [each for each in discovery.findings if each.key.startswith(f"{table}.")]
        )
    for each in discovery.findings:
        if each.key.startswith("services."):
            mark = "" if each.active else "# "
            keys = "".join(f"{mark}{key} = {_value(value)}\n" for key, value in each.value.items())
            parts.append(f"{mark}[{each.key}]{_reason(each)}\n{keys}")
    return "\n".join(parts)


def _table(name: str, findings: list[Finding]) -> Iterator[str]:
    if findings:
        is_commented = not any(each.is_written for each in findings)
        header = f"{'# ' if is_commented else ''}[{name}]\n"
        yield header + "".join(_line(each.key.partition(".")[2], each) for each in findings)


def _line(key: str, finding: Finding) -> str:
    value = "…" if finding.value is None else _value(finding.value)
    return f"{'' if finding.is_written else '# '}{key} = {value}{_reason(finding)}\n"


def _reason(finding: Finding) -> str:
    reason = finding.question if finding.question and not finding.is_known else finding.why
    said = ": ".join(part for part in (finding.where, reason) if part)
    readable = "".join(character if character.isprintable() else "?" for character in said)
    return f"  # {readable[:_SHOWN]}" if readable else ""


def _value(value: Any) -> str:
    """Return a value as TOML: in the form of JSON, with characters that a terminal does not show escaped."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {_value(each)}' for name, each in value.items())} }}"
    return "".join(_escaped(character) for character in json.dumps(value, ensure_ascii=False))


def _escaped(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"
