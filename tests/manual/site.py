"""Builds the manual: one offline site a language, below `fastzero_core/manual`, where `fastzero docs` looks for it."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmdr
import yaml

from . import reference
from .pages import DOCS, LANGUAGES, Page, pages

BUILT = DOCS.parent / "fastzero_core" / "manual"
ASSETS = DOCS / "assets"
FAULTS = DOCS / "faults.md"

NAV: tuple[str | tuple[str, tuple[str, ...]], ...] = (
    "index",
    "tutorial",
    "course",
    (
        "how-to",
        (
            "own-application",
            "services",
            "backups",
            "archives",
            "upgrades",
            "tests",
            "containers",
            "http",
            "todos",
            "scripts",
            "ci",
            "production",
        ),
    ),
    ("reference", ("commands", "settings", "application", "errors", "exit-codes", "library")),
    ("explanation", ("design", "data-safety", "larger-databases")),
)
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {"how-to": "How-to", "reference": "Reference", "explanation": "Explanation", "theme": "en"},
    "pt": {"how-to": "Como fazer", "reference": "Referência", "explanation": "Explicação", "theme": "pt-BR"},
}
NAMES = {"en": "English", "pt": "Português (Brasil)"}
EXTENSIONS: list[Any] = [
    "admonition",
    "attr_list",
    "tables",
    "pymdownx.details",
    "pymdownx.superfences",
    {"pymdownx.highlight": {"anchor_linenums": True}},
    {"toc": {"permalink": True}},
]

_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURE = re.compile(r"^!\[[^]]*\]\((\.\./)*pictures/.*\)\n", re.MULTILINE)
_TRANSLATION = re.compile(rf'(href="(?:\.\./)+(?:{"|".join(LANGUAGES)})/)index\.html(" hreflang)')
_GENERATED = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def build(target: Path = BUILT, *, pictures: bool = True) -> None:
    """Build the site of every language below `target`. Raises CalledProcessError for a link that leads nowhere."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if pictures:
            from .pictures import take

            take(work / "pictures")
        for language in LANGUAGES:
            _write_sources(work, language, pictures)
            _run_zensical(work / language)
        shutil.rmtree(target, ignore_errors=True)
        for language in LANGUAGES:
            shutil.copytree(work / language / "site", target / language)
            _link_translations(target / language)


def _link_translations(site: Path) -> None:
    """Lead the choice of a language to the same page, where the theme leads to the first."""
    for path in site.rglob("*.html"):
        page = path.relative_to(site).as_posix()
        text = path.read_text(encoding="utf-8")
        path.write_text(_TRANSLATION.sub(rf"\g<1>{page}\2", text), encoding="utf-8")


def _write_sources(work: Path, language: str, pictures: bool) -> None:
    sources = work / language / "docs"
    shutil.copytree(ASSETS, sources / "assets")
    shutil.copy(FAULTS, sources / "faults.md")
    if pictures:
        shutil.copytree(work / "pictures", sources / "pictures")
    for page in pages(language):
        path = sources / f"{page.name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = _with_diagrams(page, path)
        if not pictures:
            text = _PICTURE.sub("", text)
        path.write_text(_GENERATED.sub(lambda match: reference.PARTS[match[1]](language), text), encoding="utf-8")
    (work / language / "mkdocs.yml").write_text(yaml.safe_dump(_configuration(language)), encoding="utf-8")


def _with_diagrams(page: Page, path: Path) -> str:
    """The page's text with each Mermaid diagram as a picture, drawn here: no reader needs a script for it."""

    def draw(match: re.Match[str]) -> str:
        name = f"{path.stem}-{match.start()}.svg"
        path.with_name(name).write_text(mmdr.render(match[1]).svg(), encoding="utf-8")
        return f"![]({name}){{ .diagram }}"

    return _DIAGRAM.sub(draw, reference.with_facts(page))


def _configuration(language: str) -> dict[str, Any]:
    words = WORDS[language]
    return {
        "site_name": "fastzero",
        "docs_dir": "docs",
        "site_dir": "site",
        "use_directory_urls": False,
        "theme": {
            "language": words["theme"],
            "font": False,
            "features": [
                "content.code.copy",
                "navigation.footer",
                "navigation.indexes",
                "navigation.sections",
                "navigation.top",
                "search.highlight",
            ],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate"},
            ],
        },
        "plugins": ["search", "offline"],
        "markdown_extensions": EXTENSIONS,
        "extra_css": ["assets/extra.css"],
        "extra": {
            "generator": False,
            "polyfills": ["assets/iframe-worker.js"],  # what the offline plugin would load from the internet
            "alternate": [
                {"name": NAMES[each], "link": f"../{each}/index.html", "lang": WORDS[each]["theme"]}
                for each in LANGUAGES
            ],
        },
        "nav": [_entry(each, words) for each in NAV],
    }


def _entry(entry: str | tuple[str, tuple[str, ...]], words: Mapping[str, str]) -> Any:
    if isinstance(entry, str):
        return f"{entry}.md"
    folder, names = entry
    return {words[folder]: [f"{folder}/{name}.md" for name in names]}


def _run_zensical(folder: Path) -> None:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "-f", "mkdocs.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
