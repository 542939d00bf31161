"""fastzero docs: open the manual."""

from typing import Annotated

import typer

from fastzero_core.errors import InvalidInputError

from .options import Run
from .tree import Group

LANGUAGES = ("en", "pt")

group = Group("docs")


@group.command(example="fastzero docs\nfastzero docs backups\nfastzero docs port_taken --language pt")
def docs(
    run: Run,
    page: Annotated[
        str, typer.Argument(metavar="[PAGE]", help="A page, the code of an error, or a command in quotes.")
    ] = "",
    language: Annotated[
        str | None, typer.Option("--language", metavar="LANGUAGE", help="en | pt; by default your locale's.")
    ] = None,
    path: Annotated[bool, typer.Option("--path", help="Print the path instead of opening a browser.")] = False,
) -> None:
    """Open the manual in a browser.

    It is part of the installation and needs no internet. Without a browser its path is printed.
    """
    from fastzero_core.manual_pages import find_page, language_of

    if language not in (None, *LANGUAGES):
        raise InvalidInputError(f"invalid language {language!r}", field="language", hint="Use en or pt")
    found = find_page(page, language or language_of())
    if path:
        run.render.text(f"{found.path}\n")
    elif not found.is_built:
        run.render.text(found.text)
    elif _open(found.url):
        run.render.message(f"Opened {found.url}")
    else:
        run.render.message("No browser found. Open this file in one:")
        run.render.text(f"{found.path}\n")


def _open(url: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
