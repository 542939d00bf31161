"""The board, as it goes over the wire: who may see and change what, and what a page may load."""

import re
import time

import pytest

from fastzero_core.todo_app.api.page.texts import TEXTS, language_of

from .browsing import Browser
from .client import Account, Client
from .conftest import ServeApp

GZIP = {"Accept-Encoding": "gzip"}
PAGES = ("/", "/login", "/board", "/board/todos/1")
CHANGES = ("/logout", "/board/todos", "/board/todos/1", "/board/todos/1/move")


@pytest.fixture
def browser(api: Client, ana: Account) -> Browser:
    """Ana's browser, logged in."""
    browser = Browser(api)
    assert browser.log_in(ana).headers["location"] == "/"
    return browser


def add(api: Client, account: Account, title: str, state: str = "todo") -> int:
    return int(api.post("/todos/", {"title": title, "description": "", "state": state}, account.token).json["id"])


def todo(api: Client, account: Account, id: int) -> dict[str, str]:
    found: dict[str, str] = api.get(f"/todos/{id}", account.token).json
    return found


# -- who gets what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["", "*/*", "application/json"])
def test_a_client_that_does_not_ask_for_a_page_gets_the_greeting(api: Client, accept: str) -> None:
    answer = api.request("GET", "/", headers={"Accept": accept} if accept else {})
    assert answer.json == {"message": "Olá Mundo!"}


def test_a_browser_that_is_not_logged_in_is_led_to_the_login(api: Client) -> None:
    browser = Browser(api)
    assert [(browser.get(path).status, browser.get(path).headers["location"]) for path in ("/", "/board")] == [
        (303, "/login")
    ] * 2
    assert browser.get("/board", HX_Request="true").headers["hx-redirect"] == "/login"
    assert browser.get("/login").status == 200


def test_the_board_has_ones_own_todos_by_state(api: Client, ana: Account, bob: Account, browser: Browser) -> None:
    add(api, ana, "Mine to do")
    add(api, ana, "Mine being done", "doing")
    add(api, ana, "Thrown away", "trash")
    add(api, bob, "Somebody else's")
    board = browser.get("/").text
    columns = dict(re.findall(r'data-state="(\w+)".*?</h2>(.*?)</section>', board, re.DOTALL))
    assert list(columns) == ["draft", "todo", "doing", "done"]
    assert "Mine to do" in columns["todo"]
    assert "Mine being done" in columns["doing"]
    assert "Thrown away" not in board
    assert "Somebody else" not in board


def test_a_search_shows_what_matches(api: Client, ana: Account, browser: Browser) -> None:
    add(api, ana, "Buy milk")
    add(api, ana, "Call home")
    assert ("Buy milk" in (found := browser.get("/board?q=MILK").text), "Call home" in found) == (True, False)


def test_html_in_a_todo_is_text(api: Client, ana: Account, browser: Browser) -> None:
    id = add(api, ana, '"><script>alert(1)</script>')
    for path in ("/", f"/board/todos/{id}"):
        text = browser.get(path).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


# -- changes ---------------------------------------------------------------------------------------------------


def test_changes_are_those_of_the_api(api: Client, ana: Account, browser: Browser) -> None:
    assert browser.change("/board/todos", title="From a page").headers["location"] == "/"
    [made] = api.get("/todos/?title=From", ana.token).json["todos"]
    assert made["state"] == "todo"

    form = {"title": "Renamed", "description": "two\r\nlines", "state": "doing"}
    assert browser.change(f"/board/todos/{made['id']}", **form).status == 303
    changed = todo(api, ana, made["id"])
    assert (changed["title"], changed["description"], changed["state"]) == ("Renamed", "two\nlines", "doing")

    assert browser.change(f"/board/todos/{made['id']}/move", state="done").status == 303
    assert todo(api, ana, made["id"])["state"] == "done"


def test_a_script_gets_the_board_after_a_change(browser: Browser) -> None:
    headers = {"HX_Request": "true", "X_CSRF_Token": browser.proof()}
    answer = browser.post("/board/todos", {"title": "From a script"}, **headers)
    assert answer.headers["hx-trigger"] == "saved"
    assert answer.text.startswith('<div id="board">')
    assert "From a script" in answer.text


@pytest.mark.parametrize("form", [{"title": ""}, {"title": "x" * 201}, {"title": "\0"}, {"title": "ok", "state": "no"}])
def test_a_mistake_is_told_in_the_page(browser: Browser, form: dict[str, str]) -> None:
    headers = {"HX_Request": "true", "X_CSRF_Token": browser.proof()}
    answer = browser.post("/board/todos", form, **headers)
    assert answer.status == 422
    assert "#problem" in answer.headers["hx-retarget"]
    assert answer.text.strip()


def test_a_todo_of_somebody_else_is_not_there(api: Client, ana: Account, bob: Account, browser: Browser) -> None:
    theirs, none = add(api, bob, "Bob's"), 2**62
    assert browser.get(f"/board/todos/{theirs}").status == browser.get(f"/board/todos/{none}").status == 404
    for path, form in (("", {"title": "taken"}), ("/move", {"state": "trash"})):
        mine, missing = (browser.change(f"/board/todos/{id}{path}", **form) for id in (theirs, none))
        assert (mine.status, mine.text) == (missing.status, missing.text) == (404, missing.text)
    assert todo(api, bob, theirs)["title"] == "Bob's"


@pytest.mark.parametrize("path", CHANGES)
def test_a_change_without_the_session_s_proof_is_refused(
    api: Client, ana: Account, bob: Account, browser: Browser, path: str
) -> None:
    other = Browser(api)
    other.log_in(bob)
    for proof in ("", "x", other.proof()):
        assert browser.post(path, {"csrf": proof, "title": "forged", "state": "todo"}).status == 403
    assert "forged" not in browser.get("/").text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_change_from_another_site_is_refused(browser: Browser, site: str) -> None:
    form = {"csrf": browser.proof(), "title": "forged"}
    assert browser.post("/board/todos", form, Sec_Fetch_Site=site).status == 403
    assert browser.post("/login", {"username": "a", "password": "b"}, Sec_Fetch_Site=site).status == 403


@pytest.mark.parametrize(("origin", "code"), [("", 403), ("http://evil.example", 403), ("http://127.0.0.1:{}", 303)])
def test_an_older_browser_names_its_origin(api: Client, browser: Browser, origin: str, code: int) -> None:
    headers = {"Accept": "text/html", "Cookie": "; ".join(f"{k}={v}" for k, v in browser.cookies.items())}
    named = {"Origin": origin.format(api.port)} if origin else {}
    answer = api.request(
        "POST", "/board/todos", form={"csrf": browser.proof(), "title": "old"}, headers={**headers, **named}
    )
    assert answer.status == code


# -- the session -----------------------------------------------------------------------------------------------


def test_the_cookie_is_for_this_site_alone(browser: Browser, ana: Account) -> None:
    [cookie] = browser.set_cookies
    assert cookie.startswith("fastzero=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_over_tls_the_cookie_is_bound_to_the_host(api: Client, ana: Account) -> None:
    browser = Browser(api, https=True)
    browser.log_in(ana)
    [cookie] = browser.set_cookies
    assert cookie.startswith("__Host-fastzero=")
    assert "Secure" in cookie.split("; ")
    assert browser.get("/").status == 200


def test_a_wrong_password_is_told_and_counted(api: Client, ana: Account) -> None:
    browser = Browser(api)
    refused = [browser.log_in(ana, "wrong password") for _ in range(6)]
    assert refused[0].status == 401
    assert TEXTS["en"]["login_refused"] in refused[0].text
    assert refused[-1].status == 429
    assert not browser.cookies


def test_logging_out_ends_every_session(api: Client, ana: Account, browser: Browser) -> None:
    other = Browser(api)
    other.log_in(ana)
    before = dict(browser.cookies)
    assert browser.change("/logout").headers["location"] == "/login"
    assert browser.get("/").status == 303
    browser.cookies = before
    assert browser.get("/").status == other.get("/").status == 303


def test_a_session_that_is_used_lasts_and_keeps_its_proof(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    proof, first = browser.proof(), dict(browser.cookies)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 16 * 60)
    assert browser.post("/board/todos", {"csrf": proof, "title": "Later"}).status == 303
    assert browser.cookies != first
    monkeypatch.setattr(time, "time", lambda: now + 40 * 60)
    assert browser.post("/board/todos", {"csrf": proof, "title": "Even later"}).status == 303
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    assert browser.get("/").status == 303


# -- the page --------------------------------------------------------------------------------------------------


def test_no_page_may_run_a_script_that_is_not_a_file_of_ours(browser: Browser) -> None:
    for path in PAGES:
        answer = browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), path
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]* src=)|<style| on\w+=| style=", answer.text), path


def test_what_a_page_loads_is_here_and_is_kept_by_the_browser(browser: Browser) -> None:
    loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', browser.get("/").text)
    assert len(loaded) == 4
    for path in loaded:
        answer = browser.get(path)
        assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert browser.get("/static/../routes.py").status == 404


def test_500_todos_are_few_bytes(api: Client, ana: Account, browser: Browser) -> None:
    titles = [f"{number} of five hundred todos, with a title of usual length" for number in range(500)]
    states = ["draft", "todo", "doing", "done"]
    bulk = [{"title": title, "description": "", "state": states[n % 4]} for n, title in enumerate(titles)]
    api.post("/todos/bulk", {"todos": bulk}, ana.token)
    page = browser.get("/", Accept_Encoding="gzip")
    assert page.headers["content-encoding"] == "gzip"
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', browser.get("/").text)
    sent = [page, *(browser.get(path, Accept_Encoding="gzip") for path in files)]
    assert sum(int(answer.headers["content-length"]) for answer in sent) <= 60_000


def test_a_long_column_says_that_there_are_more(api: Client, ana: Account, browser: Browser) -> None:
    bulk = [{"title": f"todo {number}", "description": "", "state": "todo"} for number in range(201)]
    api.post("/todos/bulk", {"todos": bulk}, ana.token)
    board = browser.get("/board").text
    assert board.count('href="/board/todos/') == 200
    assert TEXTS["en"]["more"].format(count=200) in board


# -- languages -------------------------------------------------------------------------------------------------


def test_each_language_has_each_text() -> None:
    names = [name.format() for texts in TEXTS.values() for name in texts]
    assert {name: names.count(name) for name in names} == dict.fromkeys(TEXTS["en"], len(TEXTS))
    fields = {language: [re.findall(r"{\w+}", text) for text in texts.values()] for language, texts in TEXTS.items()}
    assert fields["pt"] == fields["en"]


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ("", "pt-BR,pt;q=0.9,en;q=0.8", "pt"),
        ("", "de,en;q=0.5", "en"),
        ("", "de", "en"),
        ("", "", "en"),
        ("pt", "en", "pt"),
        ("xx", "pt", "pt"),
    ],
)
def test_the_language_is_the_one_that_the_reader_prefers(chosen: str, accepted: str, language: str) -> None:
    assert language_of(chosen, accepted) == language


def test_a_language_that_was_chosen_is_kept(api: Client) -> None:
    browser = Browser(api)
    assert TEXTS["pt"]["log_in"] in browser.get("/login?lang=pt").text
    assert TEXTS["pt"]["log_in"] in browser.get("/login").text


def test_pages_need_no_page_of_operators(serve_app: ServeApp, database_url: str) -> None:
    client = serve_app(database_url, operator_token_sha256="0" * 64)
    assert Browser(client).get("/login").status == 200


@pytest.mark.parametrize(
    ("zone", "shown"),
    [("", "2026-12-24 18:00"), ("America/Sao_Paulo", "2026-12-24 15:00"), ("../x", "2026-12-24 18:00")],
)
def test_times_are_those_of_the_browser(api: Client, ana: Account, browser: Browser, zone: str, shown: str) -> None:
    new = {"title": "Dinner", "description": "", "due": "2026-12-24T18:00:00Z"}
    id = api.post("/todos/", new, ana.token).json["id"]
    browser.cookies["fastzero-zone"] = zone
    assert shown in browser.get("/board").text
    assert f'value="{shown}"' in browser.get(f"/board/todos/{id}").text


def test_a_change_is_undone_and_redone(api: Client, ana: Account, browser: Browser) -> None:
    browser.change("/board/todos", title="First")
    assert browser.change("/board/undo").status == 303
    assert "First" not in browser.get("/board").text
    assert browser.change("/board/redo").status == 303
    assert "First" in browser.get("/board").text
    assert browser.change("/board/redo").status == 404
