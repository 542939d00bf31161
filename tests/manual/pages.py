"""The pages of the manual as they are written: headings and blocks of code, with what the tests are to do with each.

A block is a fence; with `title="NAME"` it is the file NAME. Remarks in the lines before a block say more:

    <!-- not run: REASON -->        it is not run, and why
    <!-- needs: docker -->          anywhere in a page: the page is run with a Docker Engine
    <!-- begins with: NAME -->      anywhere in a page: the page begins in a folder of `examples.py`
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
LANGUAGES = ("en", "pt")

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^ *```$", re.M | re.S
)
_HEADING = re.compile(r"^(#+) (.+)$", re.M)
_REMARK = re.compile(r"<!-- (not run|needs|begins with): (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title if it is a file, and why it is not run if it is not."""

    language: str
    text: str
    line: int
    title: str | None = None
    not_run: str | None = None


@dataclass(frozen=True)
class Page:
    """One page in one language. `name` is its path below the language's folder, without `.md`."""

    language: str
    name: str
    text: str

    @cached_property
    def blocks(self) -> list[Block]:
        return [self._block(match) for match in _FENCE.finditer(self.text)]

    @cached_property
    def headings(self) -> list[tuple[int, str]]:
        """Each heading with its level."""
        prose = _FENCE.sub("", self.text)
        return [(len(marks), title) for marks, title in _HEADING.findall(prose)]

    def remark(self, name: str) -> str | None:
        return dict(_REMARK.findall(self.text)).get(name)

    def _block(self, match: re.Match[str]) -> Block:
        indent = match["indent"]
        text = "".join(line.removeprefix(indent) for line in match["text"].splitlines(keepends=True))
        before = self.text[: match.start()].rstrip().rpartition("\n")[2]
        remark = _REMARK.search(before)
        not_run = remark[2] if remark and remark[1] == "not run" else None
        line = self.text.count("\n", 0, match.start()) + 1
        return Block(match["language"], text, line, match["title"], not_run)


def pages(language: str) -> list[Page]:
    """Return the pages of a language, by name."""
    folder = DOCS / language
    return [
        Page(language, path.relative_to(folder).with_suffix("").as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.md"))
    ]
