"""What each key of the application's tables says, and at which line: for `fastzero config`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files import read_text
from ..settings import Origin
from ..toml_lines import line_numbers
from .placeholders import placeholders
from .reading import FILE, TABLES, load, parse

_SECRET = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)


def application_origins(folder: Path) -> list[Origin]:
    """Return every key that a folder's fastzero.toml has about its application, with its line. Raises as `parse`."""
    try:
        text = read_text(folder / FILE)
    except FileNotFoundError:
        return []
    if parse(text, folder) is None:
        return []
    document, lines = load(text), line_numbers(text)
    tables = {name: document[name] for name in TABLES if name in document}
    return [
        Origin(".".join(path), _shown(path, value), f"{FILE}:{lines.get(path, 1)}")
        for path, value in _leaves(tables, ())
    ]


def _shown(path: tuple[str, ...], value: Any) -> Any:
    """Return a value as anybody may see it: what a variable of such a name holds is hidden, a placeholder is not."""
    is_hidden = "environment" in path and _SECRET.search(path[-1]) and not any(placeholders(str(value)))
    return "**********" if is_hidden else value


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _leaves(each, (*path, name))
    else:
        yield path, value if isinstance(value, str | int | float) else json.dumps(value)
