"""The parts of the reference that are made from the code, in every language."""

import re

import pytest

from fastzero_core.settings import Settings
from fastzero_core.trust import risk_of

from . import portuguese, reference


def described(kind: str) -> set[str]:
    if kind == "application":
        return {field.description or "" for table in reference.TABLES.values() for field in table.model_fields.values()}
    fields = Settings.model_fields.values()
    risks = (risk_of(field.metadata) for field in fields)
    return {field.description or "" for field in fields} | {risk.text for risk in risks if risk}


@pytest.mark.parametrize(
    ("kind", "table"), [("settings", portuguese.SETTINGS), ("application", portuguese.APPLICATION)]
)
def test_every_description_has_a_translation_and_no_other_has(kind: str, table: dict[str, str]) -> None:
    assert set(table) == described(kind)
    assert all(ours != theirs for theirs, ours in table.items())


@pytest.mark.parametrize("kind", ["settings", "application"])
def test_the_page_is_portuguese(kind: str) -> None:
    text = re.sub(r"`[^`]*`", "", reference.PARTS[kind]("pt"))
    assert not re.findall(r"\b(?:the|of|that|which|with)\b", text)
    assert reference.PARTS[kind]("en").count("\n") == text.count("\n")
