"""Every command and program of the manual is run, in the order of its page, on a fresh home; what is shown is compared.

The blocks of all languages are the same (`test_parity.py`), so that those of one are run for all.
"""

import re
import tomllib
from pathlib import Path

import pytest

from fastzero_core import load_settings
from fastzero_core.application.reading import parse
from tests.ports import any_free_port

from .examples import FOLDERS
from .pages import Page, pages
from .running import blocks_to_run, matches, run

pytestmark = pytest.mark.slow

ENGLISH = pages("en")


def _marked(page: Page) -> object:
    marks = [pytest.mark.docker] if page.remark("needs") == "docker" else []
    return pytest.param(page, id=page.name, marks=marks)


@pytest.mark.parametrize("page", [_marked(page) for page in ENGLISH if blocks_to_run(page)])
def test_a_page_does_what_it_shows(page: Page, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTZERO_APP")
    if page.remark("needs") == "docker":
        monkeypatch.delenv("FASTZERO_RUNTIME")
    if name := page.remark("begins with"):
        (folder / "work").mkdir()
        FOLDERS[name](folder / "work")
    ports = {name: str(any_free_port()) for name in ("FASTZERO_DATABASE_PORT", "FASTZERO_APP_PORT")}
    run(page, folder, ports)


@pytest.mark.parametrize("page", ENGLISH, ids=lambda page: page.name)
def test_a_block_that_is_not_run_says_why(page: Page) -> None:
    languages = {block.language for block in page.blocks if block.not_run is None}
    assert languages <= {"sh", "console", "python", "text", "json", "toml", "yaml", "dockerfile", "mermaid", "ini"}
    assert all(len(block.not_run.split()) >= 3 for block in page.blocks if block.not_run is not None)


def test_no_example_gives_a_program_a_password_as_an_argument() -> None:
    shell = "\n".join(block.text for page in ENGLISH for block in page.blocks if block.language in ("sh", "console"))
    commands = re.findall(r"curl [^|\n]*", shell)
    assert len(commands) >= 10
    assert not [command for command in commands if re.search(r'password["=]', command)]
    assert "user add" in shell
    assert not re.search(r"user add[^|\n]*--password[ =]", shell)


@pytest.mark.usefixtures("trusted_folder")
def test_the_example_of_settings_is_understood(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    example = _toml("reference/settings")
    (folder / "fastzero.toml").write_text(example, encoding="utf-8")
    monkeypatch.chdir(folder)
    settings = load_settings()
    for name, value in tomllib.loads(example).items():
        assert getattr(settings, name) == value


def test_the_description_of_an_application_is_understood(folder: Path) -> None:
    application = parse(_toml("how-to/own-application"), folder)
    assert application is not None
    assert [process.name for process in application.processes] == ["web", "worker"]


def test_the_descriptions_of_services_are_understood(folder: Path) -> None:
    found = [parse(f"[application]\n{text}", folder) for text in _tomls("how-to/services")[:2]]
    services = [(each.name, each.ports) for application in found if application for each in application.services]
    assert services == [("redis", (6379,)), ("mailpit", (8025, 1025))]


def _toml(name: str) -> str:
    return _tomls(name)[0]


def _tomls(name: str) -> list[str]:
    [page] = [page for page in ENGLISH if page.name == name]
    return [block.text for block in page.blocks if block.language == "toml"]


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("✓ wait (0.1 s)\n", "✓ wait (12.9 s)\n", True),
        ("app running 127.0.0.1:8000 41911 now\n", "app   running  127.0.0.1:8123  52   3 s\n", False),
        ("app running 127.0.0.1:8000 41911 now\n", "app   running  127.0.0.1:8123  5212   3 s\n", True),
        ("first\n…\nlast\n", "first\nsecond\nthird\nlast\n", True),
        ("first\n…\nlast\n", "first\nlast\n", True),
        ("one … three\n", "one two three\n", True),
        ("first\n", "second\n", False),
        ("first\n", "first\nsecond\n", False),
    ],
)
def test_what_is_shown_is_compared_but_for_its_figures(shown: str, said: str, same: bool) -> None:
    assert matches(shown, said) is same
