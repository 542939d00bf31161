"""List the keys of the application's tables with their values and lines, for `fastzero config`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..settings import Origin, folder_trust
from .placeholders import placeholders
from .reading import FILE, TABLES, parse

_SECRET = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)


def application_origins(folder: Path) -> list[Origin]:
    """Return every key about the application in a folder's fastzero.toml, with its line. Raises errors like `parse`."""
    trust = folder_trust(folder)
    text = trust.folder.toml_text
    if parse(text, folder) is None:
        return []
    lines = trust.folder.toml_lines
    tables = {name: value for name, value in trust.folder.toml.items() if name in TABLES}
    return [
        Origin(".".join(path), _shown(path, value), f"{FILE}:{lines.get(path, 1)}", trust.is_given)
        for path, value in _leaves(tables, ())
    ]


def _shown(path: tuple[str, ...], value: Any) -> Any:
    """Return a value to show. Hides that of a variable whose name suggests a secret, unless it has a placeholder."""
    is_hidden = "environment" in path and _SECRET.search(path[-1]) and not any(placeholders(str(value)))
    return "**********" if is_hidden else value


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _leaves(each, (*path, name))
    else:
        yield path, value if isinstance(value, str | int | float) else json.dumps(value)
