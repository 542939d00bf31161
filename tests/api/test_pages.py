"""`/docs` and `/redoc` work where there is no internet, and a browser that shows them asks nobody else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import ServeApp

PAGES = ["/docs", "/redoc"]
LOADED = re.compile(r"""(?:src|href|url\()\s*=?\s*["']?([^"'\s)>]+)""")
BROWSERS = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), "")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_other_host(page: str, serve_app: ServeApp, database_url: str) -> None:
    answer = serve_app(database_url).get(page)
    assert answer.status == 200
    assert not re.search(r"https?://|[\"']//", answer.text)


@pytest.mark.parametrize("page", PAGES)
def test_everything_that_a_page_loads_is_served_here(page: str, serve_app: ServeApp, database_url: str) -> None:
    api = serve_app(database_url)
    loaded = [path for path in LOADED.findall(api.get(page).text) if path.startswith("/")]
    assert loaded
    assert {path: api.get(path).status for path in loaded} == dict.fromkeys(loaded, 200)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_lets_the_browser_load_nothing_from_elsewhere(page: str, serve_app: ServeApp, database_url: str) -> None:
    policy = serve_app(database_url).get(page).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_the_pages_describe_the_paths_that_there_are(serve_app: ServeApp, database_url: str) -> None:
    assert {"/", "/healthz", "/readyz"} <= serve_app(database_url).get("/openapi.json").json["paths"].keys()


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
@pytest.mark.parametrize("page", PAGES)
def test_a_real_browser_shows_a_page_and_asks_nobody_else(
    page: str, serve_app: ServeApp, database_url: str, folder: Path
) -> None:
    address = f"http://127.0.0.1:{serve_app(database_url).port}"
    log = folder / "net.json"
    shown = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            f"{address}{page}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "/healthz" in shown.stdout, shown.stderr
    asked = set(re.findall(r'"url":"(https?://[^/"]+)', log.read_text()))
    assert asked == {address}
