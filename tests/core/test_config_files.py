"""The files of a folder that was cloned from anywhere: read once, in bounds, without waiting."""

import os
import time
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastzero_core import InvalidInputError, load_settings
from fastzero_core.config_files import LIMIT, Variable, read_folder
from fastzero_core.toml_lines import line_numbers

PATIENCE = 20  # seconds: without limits each of the hostile files takes minutes
TOML = """\
project = "x"   # [home]

[postgres_settings]
work_mem = "8MB"
"Archive-Command" = \"\"\"
home = "no key"
[not.a.table]
\"\"\"
listed = [
  1, [2, "]"],  # ]
]
dotted.deep = { a = 1, b = { c = '[' } }
[application.processes]
web = 'uvicorn x'
[[services]]
name = "a"
"""


def test_every_key_has_its_line() -> None:
    assert line_numbers(TOML) == {
        ("project",): 1,
        ("postgres_settings",): 3,
        ("postgres_settings", "work_mem"): 4,
        ("postgres_settings", "Archive-Command"): 5,
        ("postgres_settings", "listed"): 9,
        ("postgres_settings", "dotted"): 12,
        ("postgres_settings", "dotted", "deep"): 12,
        ("postgres_settings", "dotted", "deep", "a"): 12,
        ("postgres_settings", "dotted", "deep", "b"): 12,
        ("postgres_settings", "dotted", "deep", "b", "c"): 12,
        ("application",): 13,
        ("application", "processes"): 13,
        ("application", "processes", "web"): 14,
        ("services",): 15,
        ("services", "name"): 16,
    }


def test_lines_that_end_as_on_windows_are_lines() -> None:
    assert line_numbers(TOML.replace("\n", "\r\n")) == line_numbers(TOML)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_no_text_in_a_value_moves_the_line_of_what_follows(values: list[str]) -> None:
    written = [value.replace("\\", "").replace("'''", "").rstrip("'") for value in values]
    text = "".join(f"k{number} = '''{value}'''\n" for number, value in enumerate(written)) + "last = 1\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # control characters are not TOML
    assert line_numbers(text)[("last",)] == text.replace("\r\n", "\n").count("\n")


def test_variables_have_their_lines_and_what_they_refer_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE", "e")
    Path(".env").write_text(
        "# a comment\nONE=1\n\nexport FASTZERO_A='two\nlines ${ONE}'\nX\nfastzero_b=${ELSEWHERE}${NONE:-d}${NONE} # c\n"
    )
    assert read_folder(Path()).variables == {
        "fastzero_a": Variable("two\nlines 1", 4),
        "fastzero_b": Variable("ed", 7),
    }


def test_a_line_that_cannot_be_read_is_an_error_if_it_is_fastzero_s_own() -> None:
    Path(".env").write_text("what is this\nFASTZERO_LOG json\n")
    with pytest.raises(InvalidInputError, match=r"\.env:2"):
        load_settings()


def test_what_a_dotenv_says_is_the_same_as_other_programs_read() -> None:
    from dotenv import dotenv_values

    values = ['"x\\ty"', "'a\\'b'", " spaced out # c", "a#b", "${FASTZERO_2}", "${NONE:-default}", '"${FASTZERO_3}"']
    Path(".env").write_text("".join(f"FASTZERO_{number}={value}\n" for number, value in enumerate(values)))
    own = {name: variable.value for name, variable in read_folder(Path()).variables.items()}
    assert own == {name.lower(): value for name, value in dotenv_values(".env").items()}


@pytest.mark.parametrize("name", [".env", "fastzero.toml"])
def test_a_pipe_is_refused_and_not_waited_for(name: str) -> None:
    os.mkfifo(name)
    with pytest.raises(InvalidInputError, match="not a regular file"):
        load_settings()


@pytest.mark.parametrize("name", [".env", "fastzero.toml"])
def test_a_file_without_end_is_refused(name: str) -> None:
    Path(name).symlink_to("/dev/zero")
    with pytest.raises(InvalidInputError, match="not a regular file"):
        load_settings()


@pytest.mark.parametrize("name", [".env", "fastzero.toml"])
def test_a_file_that_is_too_large_is_refused(name: str) -> None:
    Path(name).write_text("#" * LIMIT)
    load_settings()
    Path(name).write_text("#" * (LIMIT + 1))
    with pytest.raises(InvalidInputError, match="larger than 131,072 bytes"):
        load_settings()


def test_a_virtual_environment_called_dotenv_is_no_file_of_ours() -> None:
    Path(".env").mkdir()
    assert load_settings().project == "fastzero"


def test_a_folder_that_was_deleted_says_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    assert load_settings(home=Path("/tmp")).project == "fastzero"


HOSTILE = {
    "a key of many parts": ("fastzero.toml", ".".join("a" * 30_000) + " = 1"),
    "a quoted key of many parts": ("fastzero.toml", ".".join(['"a"'] * 20_000) + " = 1"),
    "a table of many parts": ("fastzero.toml", "x = {" + ".".join("a" * 30_000) + " = 1}"),
    "deep arrays": ("fastzero.toml", "x = " + "[" * 60_000 + "]" * 60_000),
    "quotes that are not closed": ("fastzero.toml", 'x = 1\n"' + '\\"' * 60_000),
    "values that double": (".env", "FASTZERO_A=aaaaaaaa\n" + "FASTZERO_A=${FASTZERO_A}${FASTZERO_A}\n" * 60),
    "references that are not closed": (".env", "FASTZERO_A=" + "${a" * 40_000),
    "defaults that are not closed": (".env", "FASTZERO_A=" + "${a:-" * 25_000),
    "blanks without a comment": (".env", "FASTZERO_A=a" + " " * 100_000 + "b"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
def test_no_file_takes_long_to_read(what: str) -> None:
    name, text = HOSTILE[what]
    Path(name).write_text(text)
    began = time.monotonic()
    with suppress(InvalidInputError):
        load_settings()
    assert time.monotonic() - began < PATIENCE
