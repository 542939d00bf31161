"""PostgreSQL's settings are the same in every spelling, as they are for PostgreSQL itself."""

import pytest

from fastzero_core import InvalidInputError, load_settings
from fastzero_core.parameters import DECIDED, canonical

SPELLINGS = ["work_mem", "WORK_MEM", "Work-Mem", "work-mem"]


@pytest.mark.parametrize("name", SPELLINGS)
def test_case_and_dashes_make_no_other_setting(name: str) -> None:
    assert load_settings(postgres_settings={name: "8MB"}).postgres_settings == {"work_mem": "8MB"}


@pytest.mark.parametrize("spell", [str, str.upper, str.title, lambda name: name.replace("_", "-")])
@pytest.mark.parametrize("name", sorted(DECIDED))
def test_what_fastzero_decides_is_refused_in_every_spelling(name: str, spell: type[str]) -> None:
    with pytest.raises(InvalidInputError, match="set by fastzero"):
        load_settings(postgres_settings={spell(name): "x"})


@pytest.mark.parametrize(
    "name",
    [
        "",
        "=",
        "port=1",
        "work_mem=1 ",
        " port",
        "port ",
        "po\nrt",
        "port\0",
        "ｐort",
        "-c",
        "--port",
        "a..b",
        "a.",
        "İ",
    ],
)
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="is not the name of a PostgreSQL setting"):
        load_settings(postgres_settings={name: "1"})


def test_a_setting_that_is_given_in_two_spellings_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="work_mem is given twice"):
        load_settings(postgres_settings={"work_mem": "1MB", "WORK-MEM": "2MB"})


def test_settings_of_extensions_have_a_name_with_a_dot() -> None:
    assert canonical({"pg_stat_statements.Max": "1000"}) == {"pg_stat_statements.max": "1000"}
