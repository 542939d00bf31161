"""Where the pages of the manual are: built for a browser by `poe docs`, else as they are written.

Standard library only. A page is named by its path (`how-to/backups`), by the last part of it, by an error's code, or by
a command (`db restore`).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from .errors import NotFoundError

BUILT = Path(__file__).parent / "manual"
INSTALLED = Path(__file__).parent / "docs"
CHECKOUT = Path(__file__).parents[1] / "docs"

ERRORS = "reference/errors"
COMMANDS = "reference/commands"


@dataclass(frozen=True)
class ManualPage:
    """A page, and the section of it that is meant."""

    path: Path
    section: str = ""

    @property
    def is_built(self) -> bool:
        """Whether it is for a browser."""
        return self.path.suffix == ".html"

    @property
    def text(self) -> str:
        """The page as it is written, or the section that is meant."""
        text = self.path.read_text(encoding="utf-8")
        section = rf"^### {self.section}$.*?(?=^##|\Z)"
        found = re.search(section, text, re.MULTILINE | re.DOTALL)
        return f"{found[0].rstrip()}\n" if found else text

    @property
    def url(self) -> str:
        return self.path.as_uri() + (f"#{self.section}" if self.section else "")


def find_page(name: str, language: str) -> ManualPage:
    """Return the page that a name means; "" is the first. Raises NotFoundError with the names that are near."""
    root, suffix = _root(language)
    known = {path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob(f"*{suffix}")}
    if path := _named(name or "index", known):
        return ManualPage(path)
    if name.replace("_", "").isalpha() and name in _error_codes():
        return ManualPage(known[ERRORS], name)
    command = name.removeprefix("fastzero ").replace(" ", "-")
    if f'id="{command}"' in known[COMMANDS].read_text(encoding="utf-8"):
        return ManualPage(known[COMMANDS], command)
    raise NotFoundError(f"the manual has no page {name!r}", hint=_nearest(name, known))


def language_of(environment: Mapping[str, str] = os.environ) -> str:
    """Return the manual's language for the user's locale: `pt`, or `en` for every other one."""
    names = (environment.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "pt" if next(filter(None, names), "").lower().startswith("pt") else "en"


def _root(language: str) -> tuple[Path, str]:
    for root, suffix in ((BUILT, ".html"), (INSTALLED, ".md"), (CHECKOUT, ".md")):
        if (root / language / f"index{suffix}").is_file():
            return root / language, suffix
    raise NotFoundError("this installation has no manual", hint="In a checkout, build it: poe docs")


def _named(name: str, known: Mapping[str, Path]) -> Path | None:
    ends = [path for page, path in known.items() if page == name or page.rpartition("/")[2] == name]
    return known.get(name) or (ends[0] if len(ends) == 1 else None)


def _error_codes() -> set[str]:
    from . import errors

    kinds = (each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception))
    return {each.code for each in kinds if issubclass(each, errors.FastZeroError)}


def _nearest(name: str, known: Mapping[str, Path]) -> str:
    names = sorted(page.rpartition("/")[2] for page in known if page != "404")
    near = get_close_matches(name, names, n=3)
    return f"Did you mean: {', '.join(near)}" if near else f"Pages: {', '.join(names)}"
