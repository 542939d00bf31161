"""Names and texts as SQL writes them: the server reads back what was meant."""

import psycopg
import pytest

from fastzero_core.postgres.sql import literal, quote

TEXTS = ["plain", "a b", "it's", 'say "x"', "back\\slash", "100%s", "é", "a;--b", "$1", "\n", "'"]


@pytest.mark.parametrize("text", [*TEXTS, ""])
@pytest.mark.parametrize("conforming", ["on", "off"])
def test_a_literal_is_the_text_that_was_meant(database_url: str, text: str, conforming: str) -> None:
    with psycopg.connect(database_url, options=f"-c standard_conforming_strings={conforming}") as session:
        assert session.execute(f"SELECT {literal(text)}".encode()).fetchone() == (text,)


def test_no_text_is_null() -> None:
    assert literal(None) == "NULL"


@pytest.mark.parametrize("name", TEXTS)
def test_a_quoted_name_is_the_name_that_was_meant(database_url: str, name: str) -> None:
    with psycopg.connect(database_url) as session:
        cursor = session.execute(f"SELECT 1 AS {quote(name)}".encode())
        assert cursor.description is not None
        assert cursor.description[0].name == name
