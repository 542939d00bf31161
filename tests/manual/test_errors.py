"""Each error has a section of the manual, with its cause and what to do."""

import pytest

from .pages import LANGUAGES, pages
from .reference import error_classes

PAGES = {language: next(page for page in pages(language) if page.name == "reference/errors") for language in LANGUAGES}
LABELS = {"en": ("**Cause.**", "**Remedy.**"), "pt": ("**Causa.**", "**Solução.**")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_error_has_a_section_and_no_other_has(language: str) -> None:
    sections = [title for level, title in PAGES[language].headings if level == 3]
    assert sorted(sections) == sorted(error_classes())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", error_classes())
def test_a_section_has_a_cause_and_a_remedy(code: str, language: str) -> None:
    section = PAGES[language].text.partition(f"\n### {code}\n")[2].partition("\n#")[0]
    cause, remedy = LABELS[language]
    assert section.count(cause) == section.count(remedy) == 1
    assert all(len(part.split()) >= 3 for part in section.split(remedy))
