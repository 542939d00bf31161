"""The pages in a real browser, without internet: shown, and a todo made there, asking nobody but the app."""

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, Request, expect, sync_playwright

from .client import PASSWORD, Account, Client

BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), "")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER, reason="no Chromium here")]


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


def operation(page: Page, method: str, path: str) -> Locator:
    """The block of an operation, opened and ready to try."""
    block = page.locator(f".opblock-{method}").filter(
        has=page.locator(".opblock-summary-path", has_text=re.compile(f"^\\W*{re.escape(path)}\\W*$"))
    )
    block.locator(".opblock-summary").click()
    block.get_by_role("button", name="Try it out").click()
    return block


def execute(block: Locator) -> Locator:
    """Sends the request; what came back."""
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table .response")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_is_shown_and_asks_nobody_else(path: str, page: Page, api: Client) -> None:
    address = f"http://127.0.0.1:{api.port}"
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.goto(f"{address}{path}")
    expect(page.locator("body")).to_contain_text("/healthz")
    page.wait_for_load_state("networkidle")
    sent = [request.url.removeprefix("blob:") for request in asked if request.failure != "csp"]
    assert len(sent) > 1
    assert [url for url in sent if not url.startswith((f"{address}/", "data:"))] == []


def test_a_todo_is_made_from_the_pages(page: Page, api: Client, ana: Account) -> None:
    address = f"http://127.0.0.1:{api.port}"
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))

    page.goto(f"{address}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    form = page.locator(".auth-container")
    form.get_by_label("username:").fill(ana.username)
    form.get_by_label("password:").fill(PASSWORD)
    form.locator("button.authorize").click()
    expect(form).to_contain_text("Authorized")
    form.locator("button.btn-done").click()

    adding = operation(page, "post", "/todos/")
    adding.locator("textarea.body-param__text").fill('{"title": "Typed into a browser"}')
    expect(execute(adding)).to_contain_text("201")
    expect(adding.locator(".live-responses-table")).to_contain_text("Typed into a browser")

    listing = operation(page, "get", "/todos/")
    expect(execute(listing)).to_contain_text("200")
    expect(listing.locator(".live-responses-table")).to_contain_text("Typed into a browser")

    assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    assert problems == []
    assert [todo["title"] for todo in api.get("/todos/", ana.token).json["todos"]] == ["Typed into a browser"]
