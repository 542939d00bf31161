"""The board in a real browser: by mouse, by keyboard alone, on a narrow screen, and with the network cut."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import BrowserContext, Locator, Page, TimeoutError, expect, sync_playwright

from .client import PASSWORD, Account, Client
from .test_browser import BROWSER

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER, reason="no Chromium here")]

DRAGS, DROPPED = 5, 5_000  # attempts, and milliseconds until a card is dropped
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 800}


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
        browser.close()


@pytest.fixture
def page(context: BrowserContext, api: Client, ana: Account) -> Iterator[Page]:
    """Ana's board, with two todos. Nothing may be refused by the page's own policy."""
    for title in ("Buy milk", "Write the report"):
        api.post("/todos/", {"title": title, "description": ""}, ana.token)
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    page.on("pageerror", lambda error: refused.append(str(error)))
    page.goto(f"http://127.0.0.1:{api.port}/")
    page.get_by_label("Username or e-mail").fill(ana.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Buy milk")).to_be_visible()
    yield page
    assert refused == []


def column(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


def drag(card: Locator, target: Locator, *, prepare: Callable[[], object] = lambda: None, **where: Any) -> None:
    """Drag a card until the server has moved it. On a busy machine Playwright may lose a drag that has begun."""
    page = card.page
    for _ in range(DRAGS):
        prepare()
        with suppress(TimeoutError), page.expect_response(lambda answer: answer.url.endswith("/move"), timeout=DROPPED):
            card.drag_to(target, **where)
            return
        page.reload()
    raise AssertionError(f"the card was not dropped in {DRAGS} attempts")


def violations(page: Page) -> list[str]:
    """What axe finds, in each pair of colours."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {each['id']}" for each in Axe().run(page).response["violations"]]
    return found


def test_by_mouse(page: Page) -> None:
    page.get_by_label("New todo").fill("From the page")
    page.get_by_role("button", name="Add").click()
    card = page.get_by_role("link", name="From the page")
    expect(column(page, "To do").get_by_role("link")).to_have_count(3)
    drag(card, column(page, "Done"))
    expect(column(page, "Done")).to_contain_text("From the page")
    card.click()
    page.get_by_label("Title").fill("Renamed")
    page.get_by_label("State").select_option("Doing")
    page.get_by_role("button", name="Save").click()
    expect(column(page, "Doing")).to_contain_text("Renamed")
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_by_keyboard_alone(page: Page) -> None:
    keys = page.keyboard
    keys.press("n")
    keys.type("Typed")
    keys.press("Enter")
    expect(column(page, "To do").get_by_role("link")).to_have_count(3)
    keys.press("Tab")
    page.evaluate("document.activeElement.blur()")
    keys.press("ArrowDown")
    expect(page.get_by_role("link", name="Buy milk")).to_be_focused()
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    typed = page.get_by_role("link", name="Typed")
    expect(typed).to_be_focused()
    keys.press("Shift+ArrowRight")
    expect(column(page, "Doing")).to_contain_text("Typed")
    expect(typed).to_be_focused()
    expect(page.get_by_role("status")).to_have_text("Moved to Doing")
    keys.press("Enter")
    expect(page.get_by_label("Title")).to_be_focused()
    keys.press("Control+a")
    keys.type("Typed again")
    keys.press("Enter")
    again = page.get_by_role("link", name="Typed again")
    expect(again).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_label("Title")).to_be_focused()
    keys.press("Escape")
    expect(again).to_be_focused()
    keys.press("ArrowLeft")
    keys.press("Delete")
    expect(page.get_by_role("link", name="Buy milk")).to_have_count(0)
    expect(page.get_by_role("link", name="Write the report")).to_be_focused()
    keys.press("/")
    keys.type("again")
    expect(page.locator("#board").get_by_role("link")).to_have_count(1)


def test_a_mistake_is_announced_and_what_was_typed_stays(page: Page) -> None:
    page.get_by_label("New todo").fill(" ")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_have_text("The title must have 1 to 200 characters.")
    page.get_by_label("New todo").fill("Better")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_be_empty()
    expect(page.get_by_label("New todo")).to_be_empty()


def test_a_mistake_in_the_dialog_is_announced_in_it(page: Page) -> None:
    page.get_by_role("link", name="Buy milk").click()
    page.get_by_label("Title").fill(" ")
    page.get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog", name="Edit todo")
    expect(dialog.get_by_role("alert")).to_have_text("The title must have 1 to 200 characters.")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Buy milk").click()
    expect(dialog.get_by_role("alert")).to_be_empty()


def test_with_the_network_cut_the_page_says_so_and_works_again(page: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    page.get_by_label("New todo").fill("Kept")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(page.get_by_label("New todo")).to_have_value("Kept")
    context.set_offline(False)
    page.get_by_role("button", name="Add").click()
    expect(column(page, "To do")).to_contain_text("Kept")
    expect(page.get_by_role("alert")).to_be_empty()


def test_no_change_is_dropped_while_others_are_on_their_way(page: Page, api: Client, ana: Account) -> None:
    for number in range(6):
        api.post("/todos/", {"title": f"Todo {number}", "description": ""}, ana.token)
    expect(column(page, "To do").get_by_role("link")).to_have_count(8)
    moves = "document.querySelectorAll('#board li a').forEach((card) => move(card, columns()[3]))"
    page.evaluate(moves)
    expect(column(page, "Done").get_by_role("link")).to_have_count(8)


def test_what_is_being_typed_stays_while_another_todo_is_moved(page: Page) -> None:
    card = page.get_by_role("link", name="Buy milk")
    drag(card, column(page, "Done"), prepare=lambda: page.get_by_label("New todo").fill("Being typed"))
    expect(column(page, "Done")).to_contain_text("Buy milk")
    expect(page.get_by_role("status")).to_have_text("Moved to Done")
    expect(page.get_by_label("New todo")).to_have_value("Being typed")


def test_a_move_that_fails_is_not_announced(page: Page) -> None:
    page.evaluate(
        """() => {
            const card = document.querySelector("#board li a");
            card.setAttribute("href", "/board/todos/999999");
            move(card, columns()[2]);
        }"""
    )
    expect(page.get_by_role("alert")).to_have_text("That todo does not exist any more.")
    expect(page.get_by_role("status")).to_be_empty()


def titles(page: Page, name: str) -> list[str]:
    return [text.split("\n")[0].strip() for text in column(page, name).get_by_role("link").all_inner_texts()]


def test_the_order_is_made_by_hand(page: Page) -> None:
    first, second = titles(page, "To do")
    page.get_by_role("link", name=second).focus()
    page.keyboard.press("Shift+ArrowUp")
    expect(column(page, "To do").get_by_role("link").first).to_contain_text(second)
    expect(page.get_by_role("link", name=second)).to_be_focused()
    card, above = (page.get_by_role("link", name=name) for name in (first, second))
    drag(card, above, target_position={"x": 20, "y": 9})
    expect(column(page, "To do").get_by_role("link").first).to_contain_text(first)
    page.keyboard.press("Control+z")
    expect(column(page, "To do").get_by_role("link").first).to_contain_text(second)


def test_axe_finds_nothing(page: Page) -> None:
    assert violations(page) == []
    page.get_by_role("link", name="Buy milk").click()
    expect(page.locator("dialog[open]")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("language", ["en", "pt"])
def test_a_narrow_screen_needs_no_scrolling_sideways(page: Page, language: str) -> None:
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.goto(f"{page.url}?lang={language}")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"]


def test_a_change_is_taken_back_and_made_again(page: Page) -> None:
    keys = page.keyboard
    page.get_by_role("link", name="Buy milk").focus()
    keys.press("Delete")
    expect(page.get_by_role("link", name="Buy milk")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(column(page, "To do").get_by_role("link", name="Buy milk")).to_be_visible()
    page.get_by_role("button", name="Redo").click()
    expect(page.get_by_role("link", name="Buy milk")).to_have_count(0)
    page.get_by_role("link", name="Write the report").focus()
    keys.press("Control+z")
    expect(page.get_by_role("link", name="Buy milk")).to_be_visible()


def test_the_fields_of_a_todo_are_set_and_shown(page: Page) -> None:
    page.get_by_role("link", name="Buy milk").click()
    page.get_by_label("Priority").select_option("High")
    page.get_by_role("textbox", name="Due").fill("2026-01-02 18:00")
    page.get_by_label("Tags").fill("home, shop")
    page.get_by_role("button", name="Save").click()
    card = page.get_by_role("link", name="Buy milk")
    expect(card).to_contain_text("High")
    expect(card).to_contain_text("2026-01-02 18:00")
    expect(card).to_contain_text("#home #shop")
    page.get_by_role("searchbox", name="Tag").fill("shop")
    expect(page.locator("#board").get_by_role("link")).to_have_count(1)
    page.get_by_role("searchbox", name="Tag").fill("")
    expect(page.locator("#board").get_by_role("link")).to_have_count(2)
    page.get_by_label("Overdue").check()
    expect(page.locator("#board").get_by_role("link")).to_have_count(1)
    assert violations(page) == []


def test_the_page_of_a_todo_works_by_itself(page: Page) -> None:
    address = page.get_by_role("link", name="Buy milk").get_attribute("href")
    page.goto(f"{page.url.rstrip('/')}{address}")
    page.get_by_label("Title").fill("Buy bread")
    page.get_by_role("button", name="Save").click()
    expect(column(page, "To do").get_by_role("link", name="Buy bread")).to_be_visible()


def test_another_window_shows_a_change_at_once(page: Page, context: BrowserContext, api: Client, ana: Account) -> None:
    other = context.new_page()
    other.goto(page.url)
    expect(other.get_by_role("link", name="Buy milk")).to_be_visible()
    api.post("/todos/", {"title": "From the API", "description": ""}, ana.token)
    for window in (page, other):
        expect(window.get_by_role("link", name="From the API")).to_be_visible()
    other.get_by_role("link", name="From the API").click()
    other.get_by_label("Title").fill("From another window")
    other.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="From another window")).to_be_visible()


def test_a_dialog_that_is_open_stays_while_others_change_the_board(page: Page, api: Client, ana: Account) -> None:
    page.get_by_role("link", name="Buy milk").click()
    page.get_by_label("Title").fill("Being typed")
    api.post("/todos/", {"title": "Meanwhile", "description": ""}, ana.token)
    page.wait_for_timeout(500)
    expect(page.get_by_label("Title")).to_have_value("Being typed")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Meanwhile")).to_be_visible()
