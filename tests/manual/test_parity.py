"""The manual says the same in every language: the same pages, headings, blocks of code, tables and links."""

import re

import pytest

from .pages import LANGUAGES, Page, pages

ENGLISH = {page.name: page for page in pages("en")}
OTHERS = [page for language in LANGUAGES if language != "en" for page in pages(language)]

by_page = pytest.mark.parametrize("page", OTHERS, ids=lambda page: f"{page.language}/{page.name}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_pages(language: str) -> None:
    assert [page.name for page in pages(language)] == list(ENGLISH)


@by_page
def test_headings_have_the_same_levels(page: Page) -> None:
    assert [level for level, _ in page.headings] == [level for level, _ in ENGLISH[page.name].headings]


@by_page
def test_blocks_of_code_are_the_same(page: Page) -> None:
    here, there = (
        [
            (block.language, block.title, bool(block.not_run), block.text)
            for block in each.blocks
            if block.language != "mermaid"
        ]
        for each in (page, ENGLISH[page.name])
    )
    assert here == there


@by_page
def test_tables_and_links_are_the_same(page: Page) -> None:
    here, there = (_shape(each.text) for each in (page, ENGLISH[page.name]))
    assert here == there


@by_page
def test_a_page_is_translated(page: Page) -> None:
    same = set(_paragraphs(page.text)) & set(_paragraphs(ENGLISH[page.name].text))
    assert not {text for text in same if len(re.findall(r"[a-z]{3,}", text)) > 5}


def _shape(text: str) -> tuple[int, list[str]]:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    return len(re.findall(r"^\|", text, re.MULTILINE)), sorted(targets)


def _paragraphs(text: str) -> list[str]:
    prose = re.sub(r"^ *```.*?^ *```$|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    return [part.strip() for part in re.split(r"\n\s*\n", prose) if part.strip()]
