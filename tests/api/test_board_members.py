"""Members of a list on the board: who may see and change them, with and without scripts."""

import re

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect

from fastzero_core.todo_app.api.page.texts import TEXTS

from .client import Account, Client
from .test_board_browser import NARROW, violations
from .test_board_lists import Shared, opened
from .test_board_lists import chromium as chromium
from .test_board_lists import shared as shared

HTMX = {"HX_Request": "true"}
CHANGES = ("", "/delete", "/leave", "/members", "/members/1", "/members/1/remove")


def members(shared: Shared) -> list[tuple[str, str]]:
    found = shared.api.get(f"/lists/{shared.id}/members", shared.ana.token).json["members"]
    return [(each["username"], each["role"]) for each in found]


def path(shared: Shared, rest: str = "") -> str:
    return f"/board/lists/{shared.id}{rest}"


def id_of(shared: Shared, account: Account) -> int:
    found = shared.api.get(f"/lists/{shared.id}/members", shared.ana.token).json["members"]
    return int(next(each["id"] for each in found if each["username"] == account.username))


# -- without scripts -------------------------------------------------------------------------------------------


def test_plain_forms_add_a_member_change_the_role_and_end_the_membership(shared: Shared) -> None:
    browser, bob = shared.browser(shared.ana), shared.bob.username
    assert f'href="{path(shared)}"' in browser.get(f"/?list={shared.id}").text
    added = browser.change(path(shared, "/members"), username=f" {bob} ", role="viewer")
    assert (added.status, added.headers["location"]) == (303, path(shared))
    assert members(shared) == [(bob, "viewer")]
    id = id_of(shared, shared.bob)
    page = browser.get(path(shared)).text
    assert re.search(rf'id="role-{id}".*?<option value="viewer" selected>', page, re.DOTALL)
    browser.change(path(shared, f"/members/{id}"), role="owner")
    assert members(shared) == [(bob, "owner")]
    removed = browser.change(path(shared, f"/members/{id}/remove"))
    assert (removed.status, removed.headers["location"]) == (303, path(shared))
    assert members(shared) == []
    assert browser.change(path(shared, f"/members/{id}"), role="viewer").status == 404  # from a page of before
    assert members(shared) == []
    assert TEXTS["en"]["no_members"] in browser.get(path(shared)).text


def test_a_plain_form_renames_the_list_and_another_one_deletes_it(shared: Shared) -> None:
    browser = shared.browser(shared.ana)
    answer = browser.change(path(shared), name=" Projects ")
    assert answer.headers["location"] == f"/?list={shared.id}"
    assert "<strong>Projects</strong>" in browser.get(answer.headers["location"]).text
    assert browser.change(path(shared, "/delete")).headers["location"] == "/"
    assert browser.get(path(shared)).status == 404
    trashed = shared.api.get("/todos/?state=trash", shared.ana.token).json["todos"]
    assert [todo["title"] for todo in trashed] == ["In work"]


@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
def test_a_member_leaves(shared: Shared, role: str) -> None:
    shared.share(role)
    browser = shared.browser(shared.bob)
    page = browser.get(path(shared)).text
    assert f'action="{path(shared, "/leave")}"' in page
    assert f'action="{path(shared, "/delete")}"' not in page
    assert browser.change(path(shared, "/leave")).headers["location"] == "/"
    assert members(shared) == []
    assert browser.get(path(shared)).status == 404


def test_an_owner_who_gives_up_the_role_is_led_to_the_board(shared: Shared) -> None:
    shared.share("owner")
    browser = shared.browser(shared.bob)
    answer = browser.change(path(shared, "/members"), username=shared.bob.username, role="viewer")
    assert answer.headers["location"] == f"/?list={shared.id}"
    assert browser.change(path(shared), name="Mine").status == 403


# -- who may ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_who_is_not_an_owner_sees_the_members_and_is_refused(shared: Shared, api: Client, role: str) -> None:
    shared.share(role)
    browser, carol = shared.browser(shared.bob), api.sign_up()
    page = browser.get(path(shared)).text
    assert shared.bob.username in page
    assert re.findall(r'action="([^"]+)"', page) == ["/logout", path(shared, "/leave")]
    id = id_of(shared, shared.bob)
    for change in ("", "/delete", "/members"):
        answer = browser.change(path(shared, change), username=carol.username, role="owner", name="Mine")
        assert answer.status == 403
        assert TEXTS["en"]["list_role"] in answer.text
    assert browser.change(path(shared, "/members"), username=str(id), role="owner").status == 403
    assert members(shared) == [(shared.bob.username, role)]


def test_only_the_user_whose_list_it_is_deletes_it(shared: Shared) -> None:
    shared.share("owner")
    browser = shared.browser(shared.bob)
    assert browser.change(path(shared, "/delete")).status == 403
    assert members(shared) == [(shared.bob.username, "owner")]


def test_a_list_of_another_is_as_one_that_does_not_exist(shared: Shared) -> None:
    browser = shared.browser(shared.bob)
    answers = [(browser.get(path(shared)), browser.get("/board/lists/987654"))]
    for change in CHANGES:
        both = (path(shared, change), f"/board/lists/987654{change}")
        own, unknown = (browser.change(each, name="x", username=shared.bob.username, role="owner") for each in both)
        answers.append((own, unknown))
    for own, unknown in answers:
        assert (own.status, unknown.status) == (404, 404)
        assert own.text == unknown.text
    assert members(shared) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_needs_the_session_and_its_proof(shared: Shared, change: str) -> None:
    shared.share("owner")
    browser = shared.browser(shared.bob)
    form = {"name": "Mine", "username": shared.ana.username, "role": "viewer"}
    assert browser.post(path(shared, change), form).status == 403
    foreign = browser.post(path(shared, change), {"csrf": browser.proof(), **form}, Sec_Fetch_Site="cross-site")
    assert foreign.status == 403
    browser.cookies.clear()
    assert browser.post(path(shared, change), form).headers["location"] == "/login"
    assert members(shared) == [(shared.bob.username, "owner")]


# -- messages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize(
    ("change", "form", "text"),
    [
        ("/members", {"username": "nobody-of-this-name", "role": "viewer"}, "user_not_found"),
        ("/members", {"username": "a@example.com", "role": "viewer"}, "user_not_found"),
        ("/members", {"username": "ANA", "role": "viewer"}, "own_list"),
        ("/members/987654", {"role": "viewer"}, "user_not_found"),
        ("/members/987654/remove", {}, "user_not_found"),
        ("/leave", {}, "own_list"),
        ("", {"name": "a/b"}, "invalid_name"),
        ("", {"name": "Taken"}, "list_name_taken"),
    ],
)
def test_a_mistake_is_told_in_the_language_of_the_page(
    shared: Shared, language: str, change: str, form: dict[str, str], text: str
) -> None:
    browser = shared.browser(shared.ana)
    if form.get("username") == "ANA":
        form = {**form, "username": shared.ana.username.upper()}
    shared.api.post("/lists/", {"name": "Taken"}, shared.ana.token)
    browser.get(f"/?lang={language}")
    browser.cookies["fastzero-language"] = language
    told = browser.change(path(shared, change), **form)
    assert told.status in {404, 409, 422}
    assert TEXTS[language][text].format(limit=100).replace("'", "&#39;") in told.text


def test_a_script_is_told_what_became_of_a_member(shared: Shared) -> None:
    browser, bob = shared.browser(shared.ana), shared.bob.username
    form = {"csrf": browser.proof(), "username": bob, "role": "viewer"}
    answer = browser.post(path(shared, "/members"), form, **HTMX)
    assert answer.status == 200
    assert f"Role of {bob}: viewer" in answer.text
    assert "<html" not in answer.text
    removing = path(shared, f"/members/{id_of(shared, shared.bob)}/remove")
    removed = browser.post(removing, {"csrf": browser.proof()}, **HTMX)
    assert f"{bob} is not a member any more." in removed.text
    renamed = browser.post(path(shared), {"csrf": browser.proof(), "name": "Other"}, **HTMX)
    assert renamed.headers["hx-redirect"] == f"/?list={shared.id}"


# -- in a real browser -----------------------------------------------------------------------------------------


def managing(chromium: Chromium, shared: Shared, account: Account) -> Page:
    """The dialog of the list Work."""
    page = opened(chromium, shared, account)
    page.get_by_role("link", name="Manage list").click()
    expect(page.get_by_role("dialog", name="List: Work")).to_be_visible()
    return page


@pytest.mark.slow
def test_a_list_is_shared_by_mouse(chromium: Chromium, shared: Shared) -> None:
    page, bob = managing(chromium, shared, shared.ana), shared.bob.username
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Username").fill("nobody-of-this-name")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.get_by_role("alert")).to_have_text(TEXTS["en"]["user_not_found"])
    expect(dialog.get_by_label("Username")).to_have_value("nobody-of-this-name")
    assert violations(page) == []
    dialog.get_by_label("Username").fill(bob)
    dialog.get_by_label("Role", exact=True).select_option("viewer")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.get_by_role("status")).to_have_text(f"Role of {bob}: viewer")
    expect(dialog.get_by_role("alert")).to_be_empty()
    dialog.get_by_role("combobox", name=f"Role of {bob}").select_option("editor")
    dialog.get_by_role("button", name=f"Change the role of {bob}").click()
    expect(dialog.get_by_role("status")).to_have_text(f"Role of {bob}: editor")
    assert members(shared) == [(bob, "editor")]
    assert violations(page) == []
    dialog.get_by_role("button", name=f"Remove {bob}").click()
    expect(dialog).to_contain_text("This list is not shared.")
    dialog.get_by_text("Close").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("link", name="Manage list")).to_be_focused()
    shared.add("Meanwhile", f"?list={shared.id}")
    expect(page.get_by_role("link", name="Meanwhile")).to_be_visible()


@pytest.mark.slow
def test_a_list_is_shared_by_keyboard_alone(chromium: Chromium, shared: Shared) -> None:
    page, bob = opened(chromium, shared, shared.ana), shared.bob.username
    keys, dialog = page.keyboard, page.get_by_role("dialog")
    page.get_by_role("link", name="Manage list").focus()
    keys.press("Enter")
    expect(page.get_by_role("heading", name="List: Work")).to_be_focused()
    keys.press("Tab")
    keys.type(bob)
    keys.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text(f"Role of {bob}: editor")
    role = dialog.get_by_role("combobox", name=f"Role of {bob}")
    role.focus()
    keys.press("ArrowUp")
    keys.press("Tab")
    keys.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text(f"Role of {bob}: viewer")
    expect(dialog.get_by_role("button", name=f"Change the role of {bob}")).to_be_focused()
    keys.press("Tab")
    keys.press("Enter")
    expect(dialog).to_contain_text("This list is not shared.")
    expect(page.get_by_role("heading", name="List: Work")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("link", name="Manage list")).to_be_focused()


@pytest.mark.slow
def test_a_list_is_renamed_and_deleted_in_the_dialog(chromium: Chromium, shared: Shared) -> None:
    page = managing(chromium, shared, shared.ana)
    page.get_by_label("Name", exact=True).fill("Projects")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_text("List: Projects")).to_be_visible()
    page.get_by_role("link", name="Manage list").click()
    page.get_by_text("Delete the list").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("List: All my lists")).to_be_visible()
    expect(page.get_by_role("link", name="In work")).to_have_count(0)


@pytest.mark.slow
@pytest.mark.parametrize("language", TEXTS)
def test_the_dialog_fits_a_narrow_screen_and_a_member_leaves(chromium: Chromium, shared: Shared, language: str) -> None:
    shared.share("owner")
    page, t = opened(chromium, shared, shared.bob), TEXTS[language]
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    shared.api.patch(f"/lists/{shared.id}", {"name": "W" * 100}, shared.ana.token)
    page.goto(f"{page.url}&lang={language}")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.get_by_role("link", name=t["manage_list"]).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert dialog.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    assert violations(page) == []
    page.get_by_text(t["leave_list"]).click()
    page.get_by_role("button", name=t["leave"], exact=True).click()
    expect(page.get_by_text(t["all_lists"]).first).to_be_visible()
    assert members(shared) == []


@pytest.mark.slow
def test_a_todo_s_dialog_fits_a_narrow_screen_beside_a_long_name(chromium: Chromium, shared: Shared) -> None:
    shared.api.post("/lists/", {"name": "W" * 100}, shared.ana.token)
    page = opened(chromium, shared, shared.ana)
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    page.get_by_role("link", name="In work").click()
    dialog = page.get_by_role("dialog", name="Edit todo")
    expect(dialog).to_be_visible()
    assert dialog.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")


@pytest.mark.slow
def test_the_page_of_the_members_works_by_itself(chromium: Chromium, shared: Shared) -> None:
    page = opened(chromium, shared, shared.ana)
    page.goto(f"http://127.0.0.1:{shared.api.port}{path(shared)}")
    page.get_by_label("Username").fill(shared.bob.username)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("button", name=f"Remove {shared.bob.username}")).to_be_visible()
    assert violations(page) == []
