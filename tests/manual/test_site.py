"""The manual as readers have it: built without a link that leads nowhere, and without any request to the internet."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from fastzero_core import Settings
from fastzero_core.polling import wait_until
from tests.cli.tree import COMMANDS

from .pages import LANGUAGES, pages
from .site import build

BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), "")
PAUSE = 500  # ms between what a person does; what is not ready by then is tried again
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    target = tmp_path_factory.mktemp("manual")
    build(target)
    yield target
    shutil.rmtree(target)


class _Loaded(HTMLParser):
    """What a page loads from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get(LOADING.get(tag, "")) or ""
        if re.match(r"(https?:)?//", address):
            self.addresses.append(address)


def test_every_page_is_there_in_every_language(site: Path) -> None:
    for language in LANGUAGES:
        built = {
            path.relative_to(site / language).with_suffix("").as_posix() for path in site.glob(f"{language}/**/*.html")
        }
        assert built == {*(page.name for page in pages(language)), "404", "faults"}


def test_no_page_loads_anything_from_the_internet(site: Path) -> None:
    loaded = {path.name: _Loaded(path.read_text("utf-8")).addresses for path in site.rglob("*.html")}
    assert {name: addresses for name, addresses in loaded.items() if addresses} == {}
    styles = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert not [style for style in styles if re.search(r"url\([\"']?https?:", style)]


def test_every_picture_is_there(site: Path) -> None:
    for path in site.rglob("*.html"):
        for source in re.findall(r'<img[^>]* src="([^"]+)"', path.read_text("utf-8")):
            assert (path.parent / source).is_file(), (path.name, source)


def test_the_other_language_is_one_click_away_on_the_same_page(site: Path) -> None:
    text = (site / "en" / "how-to" / "backups.html").read_text("utf-8")
    assert 'href="../../pt/how-to/backups.html" hreflang="pt-BR"' in text


def test_a_picture_shows_what_the_command_printed(site: Path) -> None:
    picture = (site / "en" / "pictures" / "todos.svg").read_text("utf-8")
    assert "Write" in picture
    assert "doing" in picture
    assert "@font-face" not in picture


def test_the_reference_has_every_command_and_setting(site: Path) -> None:
    commands = (site / "en" / "reference" / "commands.html").read_text("utf-8")
    settings = (site / "pt" / "reference" / "settings.html").read_text("utf-8")
    assert [name for name in COMMANDS if name and f'id="{name.replace(" ", "-")}"' not in commands] == []
    assert [name for name in Settings.model_fields if f'id="{name}"' not in settings] == []


def _found(page: Page, start: str, word: str) -> str:
    """Search as a person does, from a page on. Returns where that leads; its scripts may not be there yet."""
    page.goto(start)
    page.keyboard.press("/")
    page.wait_for_timeout(PAUSE)
    page.keyboard.type(word)
    page.wait_for_timeout(PAUSE)
    page.keyboard.press("Enter")
    page.wait_for_timeout(PAUSE)
    return page.url


@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
@pytest.mark.parametrize(("width", "language"), [(1280, "en"), (390, "pt")])
def test_a_browser_finds_a_word_in_it_without_internet(site: Path, width: int, language: str) -> None:
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        start = (site / language / "tutorial.html").as_uri()
        page.goto(start)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        found = "/reference/errors.html?h=port_taken#port_taken"
        assert wait_until(lambda: _found(page, start, "port_taken").endswith(found), 60)
        browser.close()
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]
