"""The command tree as the shell sees it, walked for tests that are about every command."""

from collections.abc import Iterator
from typing import Any

import typer.main

from fastzero_cli.main import root

ROOT: Any = typer.main.get_command(root.app)


def walk(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command and group with its path, the root's being empty."""
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


COMMANDS = dict(walk())
