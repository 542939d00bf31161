"""`/docs` and `/redoc` work where there is no internet."""

import re

import pytest

from .conftest import ServeApp

PAGES = ["/docs", "/redoc"]
LOADED = re.compile(r"""(?:src|href|url\()\s*=?\s*["']?([^"'\s)>]+)""")


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
