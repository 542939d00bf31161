"""The README's list of commands, made from the help: `poe reference` writes it, a test checks that it is current."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from fastzero_cli.main import root

README = Path(__file__).parents[2] / "README.md"
SECTION = re.compile(r"(<!-- commands: .*? -->\n)(.*)(<!-- end of commands -->)", re.DOTALL)


def reference() -> str:
    """A line a command: how it is called, and what it does."""
    lines = [f"| `{usage}` | {purpose} |" for usage, purpose in _commands("fastzero", get_command(root.app))]
    return "\n".join(["| command | |", "|---|---|", *lines]) + "\n"


def readme_with_reference() -> str:
    return SECTION.sub(lambda match: match[1] + reference() + match[3], README.read_text(encoding="utf-8"))


def _commands(path: str, command: Any) -> Iterator[tuple[str, str]]:
    for name, child in getattr(command, "commands", {}).items():
        arguments = " ".join(
            parameter.display_name_raw for parameter in child.params if parameter.param_type_name == "argument"
        )
        purpose = (child.help or "").split("\n")[0]
        yield f"{path} {name} {arguments}".strip().replace("|", "\\|"), purpose
        yield from _commands(f"{path} {name}", child)


if __name__ == "__main__":
    README.write_text(readme_with_reference(), encoding="utf-8")
