"""fastzero docs: which page a name means, in which language, and what is done with it."""

import json
from pathlib import Path

import pytest

from fastzero_cli import messages
from fastzero_core import manual_pages
from fastzero_core.errors import FastZeroError
from tests.manual.reference import error_classes

from .conftest import Run


@pytest.fixture(autouse=True)
def browsers_are_looked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbrowser._tryorder", None)


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manual of a few pages, as `poe docs` builds it."""
    for language in ("en", "pt"):
        for name in ("index", "tutorial", "how-to/backups", "reference/errors", "reference/commands"):
            path = tmp_path / language / f"{name}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('<h3 id="db-restore">fastzero db restore</h3>', encoding="utf-8")
    monkeypatch.setattr(manual_pages, "BUILT", tmp_path)
    return tmp_path


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a browser writes down what it is asked to open."""
    program = tmp_path / "browser"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" >{tmp_path}/opened\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{program} %s")
    return tmp_path / "opened"


@pytest.mark.parametrize(
    ("name", "file"),
    [("", "index"), ("tutorial", "tutorial"), ("backups", "how-to/backups"), ("how-to/backups", "how-to/backups")],
)
def test_a_page_is_found_by_its_name(name: str, file: str, built: Path, fastzero: Run) -> None:
    words = [name] if name else []
    assert fastzero("docs", *words, "--path").out == f"{built}/en/{file}.html\n"


def test_a_browser_opens_it(built: Path, browser: Path, fastzero: Run) -> None:
    result = fastzero("docs", "port_taken")
    url = f"file://{built}/en/reference/errors.html#port_taken"
    assert (result.code, result.err) == (0, f"Opened {url}\n")
    assert browser.read_text() == url


def test_a_command_is_found_in_the_reference(built: Path, browser: Path, fastzero: Run) -> None:
    for words in ("db restore", "fastzero db restore"):
        fastzero("docs", words)
        assert browser.read_text().endswith("/reference/commands.html#db-restore")


def test_without_a_browser_its_path_is_printed(built: Path, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "false")
    result = fastzero("docs")
    assert (result.code, result.out) == (0, f"{built}/en/index.html\n")
    assert "No browser found" in result.err


def test_the_language_is_that_of_the_locale_or_the_one_asked_for(
    built: Path, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "pt_BR.UTF-8")
    assert fastzero("docs", "--path").out == f"{built}/pt/index.html\n"
    assert fastzero("docs", "--path", "--language", "en").out == f"{built}/en/index.html\n"
    assert fastzero("docs", "--language", "de").code == 2


def test_an_unknown_page_is_not_found_and_the_nearest_is_named(built: Path, fastzero: Run) -> None:
    result = fastzero("docs", "bakups")
    assert (result.code, result.out) == (3, "")
    assert "Did you mean: backups" in result.err


def test_where_it_is_not_built_a_page_is_printed_as_it_is_written(
    tmp_path: Path, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manual_pages, "BUILT", tmp_path / "nothing")
    result = fastzero("docs", "tutorial", "--language", "pt")
    assert (result.code, result.out.splitlines()[0]) == (0, "# Tutorial")
    assert "fastzero up --runtime embedded" in result.out


def test_an_installation_without_a_manual_says_how_to_build_it(
    tmp_path: Path, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BUILT", "INSTALLED", "CHECKOUT"):
        monkeypatch.setattr(manual_pages, name, tmp_path / "nothing")
    result = fastzero("docs")
    assert (result.code, "poe docs" in result.err) == (3, True)


# -- the line of an error that names its section ---------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "pt"])
@pytest.mark.parametrize("code", error_classes())
def test_an_error_names_its_section_and_the_command_shows_it(
    code: str,
    language: str,
    tmp_path: Path,
    fastzero: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(manual_pages, "BUILT", tmp_path / "nothing")
    problem = FastZeroError("it failed", hint="Try again")
    problem.code = code
    messages.error(problem, None, [])
    told = capsys.readouterr().err
    assert told == f"Error: it failed\nHint: Try again\nMore: fastzero docs {code}\n"
    shown = fastzero(*told.splitlines()[-1].split()[2:], "--language", language)
    assert (shown.code, shown.out.splitlines()[0]) == (0, f"### {code}")
    assert shown.out.count("\n#") == 0


def test_programs_get_the_same_line(fastzero: Run) -> None:
    assert json.loads(fastzero("todo", "list", "-o", "json").err)["error"]["more"] == "fastzero docs project_not_found"


def test_a_command_line_that_cannot_be_parsed_has_none(fastzero: Run) -> None:
    assert "More: " not in fastzero("todo", "list", "--nope").err
