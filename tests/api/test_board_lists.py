"""Lists on the board: which one is shown, what a viewer gets, and that windows of members stay current."""

import contextlib
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect, sync_playwright

from .browsing import Browser
from .client import PASSWORD, Account, Client
from .test_board_browser import WIDE, column, drag, violations
from .test_browser import BROWSER
from .test_windows import until_changed, window


class Shared:
    """Ana's list Work, with a todo, and a role of bob in it."""

    def __init__(self, api: Client, ana: Account, bob: Account) -> None:
        self.api, self.ana, self.bob = api, ana, bob
        self.id = int(api.post("/lists/", {"name": "Work"}, ana.token).json["id"])
        self.add("In work", f"?list={self.id}")
        self.add("In the inbox")

    def add(self, title: str, query: str = "") -> int:
        return int(self.api.post(f"/todos/{query}", {"title": title}, self.ana.token).json["id"])

    def share(self, role: str) -> None:
        path = f"/lists/{self.id}/members/{self.bob.username}"
        assert self.api.put(path, {"role": role}, self.ana.token).status == 200

    def browser(self, account: Account) -> Browser:
        browser = Browser(self.api)
        browser.log_in(account)
        return browser


@pytest.fixture
def shared(api: Client, ana: Account, bob: Account) -> Shared:
    return Shared(api, ana, bob)


def test_the_board_shows_a_list(shared: Shared) -> None:
    browser = shared.browser(shared.ana)
    whole, work = browser.get("/").text, browser.get(f"/?list={shared.id}").text
    assert "In work" in whole
    assert "In the inbox" in whole
    assert "In work" in work
    assert "In the inbox" not in work
    assert browser.get("/?list=inbox").text.count("In work") == 0


def test_a_plain_form_adds_to_the_list_and_stays_in_it(shared: Shared) -> None:
    browser = shared.browser(shared.ana)
    answer = browser.change(f"/board/todos?list={shared.id}", title="By form")
    assert answer.headers["location"] == f"/?list={shared.id}"
    assert "By form" in browser.get(f"/?list={shared.id}").text
    assert browser.change("/board/lists", name="Home").headers["location"].startswith("/?list=")


def test_a_todo_moves_to_another_own_list(shared: Shared) -> None:
    browser = shared.browser(shared.ana)
    id = shared.add("Moves")
    assert 'name="to_list"' in browser.get(f"/board/todos/{id}").text
    browser.change(f"/board/todos/{id}", title="Moves", to_list=str(shared.id))
    assert "Moves" in browser.get(f"/?list={shared.id}").text


def test_a_list_of_another_is_as_one_that_does_not_exist(shared: Shared) -> None:
    browser = shared.browser(shared.bob)
    for path in ("/?list={}", "/board?list={}", "/board/todos/1?list={}", "/board/events?list={}"):
        own, unknown = (browser.get(path.format(id)) for id in (shared.id, 987654))
        assert (own.status, unknown.status) == (404, 404)
        assert own.text == unknown.text
        assert "is not shared with you" in own.text
    assert "Work" not in browser.get("/").text


def test_a_viewer_gets_no_form_that_changes_and_is_refused(shared: Shared) -> None:
    shared.share("viewer")
    browser = shared.browser(shared.bob)
    page = browser.get(f"/?list={shared.id}").text
    assert "In work" in page
    assert f"{shared.ana.username} · viewer" in page
    for form in ('id="new"', 'id="undo"', 'id="redo"', "draggable"):
        assert form not in page
    id = shared.api.get(f"/todos/?list={shared.id}", shared.bob.token).json["todos"][0]["id"]
    card = browser.get(f"/board/todos/{id}?list={shared.id}", HX_Request="true").text
    assert "<form" not in card
    for path in ("/board/todos", f"/board/todos/{id}/move", "/board/undo", f"/board/todos/{id}"):
        answer = browser.change(f"{path}?list={shared.id}", title="x", state="done")
        assert answer.status == 403
        assert "You may only read this list." in answer.text


def test_members_windows_are_told_of_this_list_alone(shared: Shared) -> None:
    shared.share("viewer")
    browser = shared.browser(shared.bob)
    with window(shared.api.port, browser, f"?list={shared.id}") as events:
        shared.add("In the inbox, too")
        events.fp.raw._sock.settimeout(1)  # type: ignore[attr-defined]
        with contextlib.suppress(TimeoutError):
            until_changed(events)
            raise AssertionError("told of a todo in another list")
    with window(shared.api.port, browser, f"?list={shared.id}") as events:
        shared.add("In work, too", f"?list={shared.id}")
        until_changed(events)


def test_members_windows_are_told_of_other_roles(shared: Shared) -> None:
    shared.share("viewer")
    browser, path = shared.browser(shared.bob), f"/lists/{shared.id}/members/{shared.bob.username}"
    with window(shared.api.port, browser, f"?list={shared.id}") as events:
        shared.share("editor")
        until_changed(events)
        shared.api.delete(path, shared.ana.token)
        until_changed(events)
    assert browser.get(f"/board?list={shared.id}").status == 404


def test_the_owner_s_windows_are_told_of_what_a_member_changes(shared: Shared) -> None:
    shared.share("editor")
    with window(shared.api.port, shared.browser(shared.ana)) as events:
        shared.api.post(f"/todos/?list={shared.id}", {"title": "By Bob"}, shared.bob.token)
        until_changed(events)


# -- in a real browser -----------------------------------------------------------------------------------------


@pytest.fixture
def chromium() -> Iterator[Chromium]:
    if not BROWSER:
        pytest.skip("no Chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(chromium: Chromium, shared: Shared, account: Account) -> Page:
    """A user's board, in a context of its own, with the list Work chosen by mouse."""
    page = chromium.new_context(viewport=WIDE).new_page()  # type: ignore[arg-type]
    page.goto(f"http://127.0.0.1:{shared.api.port}/")
    page.get_by_label("Username or e-mail").fill(account.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("List: All my lists").click()
    page.get_by_role("link", name="Work", exact=True).click()
    expect(page.get_by_role("link", name="In work")).to_be_visible()
    return page


@pytest.mark.slow
def test_two_accounts_work_on_one_list(chromium: Chromium, shared: Shared) -> None:
    shared.share("editor")
    ana, bob = (opened(chromium, shared, account) for account in (shared.ana, shared.bob))
    bob.get_by_label("New todo").fill("By Bob")
    bob.get_by_role("button", name="Add").first.click()
    card = ana.get_by_role("link", name="By Bob")
    expect(card).to_be_visible()
    drag(card, column(ana, "Done"))
    expect(column(bob, "Done").get_by_role("link", name="By Bob")).to_be_visible()
    ana.get_by_role("button", name="Undo").click()
    expect(column(bob, "To do").get_by_role("link", name="By Bob")).to_be_visible()
    assert "list=" in bob.url
    assert violations(bob) == []


@pytest.mark.slow
def test_a_viewer_reads_by_mouse_and_keyboard(chromium: Chromium, shared: Shared) -> None:
    shared.share("viewer")
    page = opened(chromium, shared, shared.bob)
    card = page.get_by_role("link", name="In work")
    card.click()
    expect(page.get_by_role("heading", name="In work")).to_be_visible()
    page.get_by_text("Close").click()
    expect(page.locator("dialog[open]")).to_have_count(0)
    card.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Delete")
    expect(column(page, "To do").get_by_role("link", name="In work")).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.get_by_text("List: Work").click()
    assert violations(page) == []
    shared.add("While bob reads", f"?list={shared.id}")
    expect(page.get_by_role("link", name="While bob reads")).to_be_visible()


@pytest.mark.slow
def test_a_window_follows_its_user_s_role(chromium: Chromium, shared: Shared) -> None:
    shared.share("viewer")
    page = opened(chromium, shared, shared.bob)
    add = page.get_by_role("button", name="Add")
    expect(add).to_have_count(0)
    shared.share("editor")
    expect(add).to_be_visible()
    shared.share("viewer")
    expect(add).to_have_count(0)
    shared.api.delete(f"/lists/{shared.id}/members/{shared.bob.username}", shared.ana.token)
    expect(page.get_by_text("is not shared with you")).to_be_visible()
